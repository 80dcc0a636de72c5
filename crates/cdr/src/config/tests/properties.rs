//! Further librdkafka properties.

use super::*;

/// Each property in force as `name=value from origin`, secrets masked.
fn shown(given: &Given) -> Vec<String> {
    let properties = given.resolve().unwrap().properties;
    properties.iter().map(|(name, p)| format!("{name}={} from {}", p.shown(), p.origin)).collect()
}

#[test]
fn each_property_is_layered_by_itself() {
    let given = dev()
        .file("[kafka.properties]\nlinger.ms = 5\n\"client.id\" = \"filed\"\nsocket.keepalive.enable = true\n")
        .variable("KAFKA_PROPERTIES", "client.id=exported, retries=3")
        .property("retries=7");
    assert_eq!(
        shown(&given),
        [
            "client.id=exported from environment KAFKA_PROPERTIES",
            "linger.ms=5 from cdr.toml:2",
            "retries=7 from --kafka-property",
            "socket.keepalive.enable=true from cdr.toml:4",
        ]
    );
    assert_eq!(given.config().kafka.properties["retries"].expose(), "7");
}

#[test]
fn a_comma_in_a_value_needs_no_quoting() {
    let given = dev().variable("KAFKA_PROPERTIES", "debug=broker,topic,linger.ms=5");
    let properties = given.config().kafka.properties.clone();
    assert_eq!(properties["debug"].expose(), "broker,topic");
    assert_eq!(properties["linger.ms"].expose(), "5");
}

#[test]
fn a_value_may_hold_equals_signs() {
    let given = dev().variable("KAFKA_PROPERTIES", "sasl.password=YQ==");
    assert_eq!(given.config().kafka.properties["sasl.password"].expose(), "YQ==");
    assert_eq!(shown(&given), ["sasl.password=*** from environment KAFKA_PROPERTIES"]);
}

#[test]
fn secrets_are_known_by_their_names() {
    for name in ["sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem"] {
        let given = dev().variable("KAFKA_PROPERTIES", &format!("{name}=hidden"));
        assert_eq!(shown(&given), [format!("{name}=*** from environment KAFKA_PROPERTIES")]);
    }
}

#[test]
fn a_secret_is_refused_on_the_command_line_without_repeating_it() {
    assert_eq!(
        dev().property("sasl.password=hidden").error(),
        "kafka.properties: sasl.password from --kafka-property is a secret, and others can read \
         a command line; use KAFKA_PROPERTIES or [kafka.properties] in cdr.toml"
    );
}

#[test]
fn what_is_not_name_and_value_is_refused() {
    for (given, named) in [("linger.ms", "linger.ms"), ("=5", ""), ("Linger Ms=5", "Linger")] {
        assert_eq!(
            dev().property(given).error(),
            format!(
                "kafka.properties: {named:?} from --kafka-property is not NAME=VALUE \
                 with a name of a-z 0-9 . _"
            )
        );
    }
}

#[test]
fn fixed_properties_are_refused_with_the_reason() {
    let exactly_once = "fixed, because exactly-once delivery depends on it";
    for (name, reason) in [
        ("bootstrap.servers", "use kafka.brokers"),
        ("metadata.broker.list", "use kafka.brokers"),
        ("compression.type", "use kafka.compression"),
        ("transaction.timeout.ms", "use kafka.transaction_timeout_ms"),
        (
            "transactional.id",
            "fixed by run.name and run.shard, because exactly-once delivery depends on it",
        ),
        ("enable.idempotence", exactly_once),
        ("acks", exactly_once),
        ("isolation.level", exactly_once),
        ("enable.auto.commit", exactly_once),
        ("delivery.report.only.error", exactly_once),
        ("partitioner", "fixed, because a key's place depends on it"),
    ] {
        assert_eq!(
            dev().property(&format!("{name}=x")).error(),
            format!("kafka.properties: {name} from --kafka-property cannot be set: {reason}")
        );
    }
    assert_eq!(
        dev().file("[kafka.properties]\nacks = 1\n").error(),
        format!("kafka.properties: acks from cdr.toml:2 cannot be set: {exactly_once}")
    );
}

#[test]
fn an_unknown_property_is_refused_with_the_nearest_and_without_its_value() {
    assert_eq!(
        dev().file("[kafka.properties]\n\"sasl.passwrd\" = \"hidden\"\n").error(),
        "kafka.properties: sasl.passwrd from cdr.toml:2 is not a property of librdkafka; \
         did you mean sasl.password?"
    );
}

#[test]
fn a_value_that_the_client_refuses_is_shown_unless_it_is_a_secret() {
    let error = dev().property("linger.ms=soon").error();
    assert!(
        error.starts_with(
            "kafka.properties: linger.ms from --kafka-property has a value that librdkafka refuses: "
        ),
        "{error}"
    );
    let error = dev().variable("KAFKA_PROPERTIES", "sasl.jaas.config=hidden").error();
    assert!(error.contains("sasl.jaas.config") && !error.contains("hidden"), "{error}");
}
