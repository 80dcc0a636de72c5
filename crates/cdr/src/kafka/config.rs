//! How to reach the brokers, and the properties of each kind of client.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;

use crate::secret::Secret;
use crate::settings::{
    ConfigError, Resolved, choice, is_host, list, milliseconds, nested, properties, seconds, settings,
    whole, word,
};

choice! {
    /// Compression of the batches that are sent.
    Compression {
        /// Uncompressed.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }
}

choice! {
    /// Which time a message carries as its Kafka timestamp.
    RecordTimestamp {
        /// The time of sending.
        Send = "send",
        /// The time of the event; topics made with it keep their records for ever.
        Event = "event",
    }
}

settings! {
    /// How to reach the brokers, and what every client of them has in common.
    pub struct KafkaConfig in "kafka" {
        /// brokers to find the cluster by
        pub brokers: String =
            list("KAFKA_BROKERS", "a comma list of host:port (IPv6 in brackets)", broker)
                .map(|brokers| brokers.join(","))
                .dev_prod(
                    "localhost:19092,localhost:29092,localhost:39092",
                    "redpanda-0:9092,redpanda-1:9092,redpanda-2:9092",
                ),
        /// partitions of a topic that has to be created
        pub partitions: u32 = whole("KAFKA_PARTITIONS", 1..=10_000).default("3"),
        /// replicas of a topic that has to be created; 0: the smaller of 3 and the number of brokers
        pub replication: Option<u32> =
            whole("KAFKA_REPLICATION", 0..=100).map(|replicas| Some(replicas).filter(|&n| n > 0)).default("0"),
        /// compression of record batches
        pub compression: Compression =
            word("KAFKA_COMPRESSION", Compression::NAMES, Compression::from_name).default("lz4"),
        /// a record's timestamp: time of sending, or the event's own time
        pub timestamp: RecordTimestamp =
            word("KAFKA_TIMESTAMP", RecordTimestamp::NAMES, RecordTimestamp::from_name).default("send"),
        /// after which the broker aborts what a vanished producer left open, in milliseconds
        pub transaction_timeout: Duration =
            milliseconds("KAFKA_TRANSACTION_TIMEOUT_MS", 1_000..=900_000).default("60000"),
        /// how long to keep trying unreachable brokers, or the stream processor's store, in seconds
        pub give_up_after: Duration = seconds("KAFKA_GIVE_UP_SECONDS", 1..=604_800).default("300"),
        /// A sentence on what helps when the brokers are not there.
        pub start_hint: String = nested(start_hint),
        /// further librdkafka property, such as security.protocol=ssl; repeatable
        pub properties: BTreeMap<String, Secret> =
            properties("KAFKA_PROPERTIES").flag("kafka-property"),
    }
}

/// `host:port`; an IPv6 address stands in brackets.
fn broker(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let host_is_fine = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host) && !host.contains([':', '[', ']', '/', '=']),
    };
    let port_is_fine = port.parse::<u16>().is_ok_and(|port| port > 0);
    (host_is_fine && port_is_fine).then(|| text.to_owned())
}

/// The environment's own brokers are those of the Compose file; of others nobody here knows how they
/// are started.
fn start_hint((): (), values: &Resolved) -> Result<String, ConfigError> {
    let hint = match values.is_default("kafka.brokers") {
        true => "Start them with: docker-compose up -d redpanda-0 redpanda-1 redpanda-2",
        false => "Check KAFKA_BROKERS",
    };
    Ok(hint.to_owned())
}

/// Of consumers. The client's own bounds let it read 100,000 records of each partition ahead, which cost
/// 250 MB and are no faster.
const READING: [(&str, &str); 4] = [
    ("fetch.message.max.bytes", "500000"),
    ("fetch.max.bytes", "2000000"),
    ("queued.min.messages", "5000"),
    // A full queue would otherwise rest for a second, which readers of short topics notice.
    ("fetch.queue.backoff.ms", "1"),
];

impl KafkaConfig {
    /// The producer's properties: durable, in order, in large batches.
    ///
    /// The longer records may linger, the larger the batches and the less work for the brokers; but
    /// each transaction begins with nothing in flight, and until a first batch is full the brokers
    /// are idle. 20 ms was the best of 2, 5, 10, 20 and 50 ms. The end of a transaction does not wait.
    pub fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.client(&[
            ("linger.ms", "20"),
            ("batch.size", "1000000"),
            ("batch.num.messages", "100000"),
            ("queue.buffering.max.kbytes", "65536"),
            ("compression.codec", self.compression.name()),
            ("transaction.timeout.ms", &self.transaction_timeout.as_millis().to_string()),
        ]);
        config.set("transactional.id", transactional_id);
        config.set("enable.idempotence", "true").set("acks", "all");
        // A failed delivery fails the transaction's commit, so reports of success add nothing.
        config.set("delivery.report.only.error", "true");
        config
    }

    /// A consumer that reads by position; it joins no group, though the client wants a name for one.
    pub(super) fn consumer(&self, isolation: &str) -> ClientConfig {
        let mut config = self.any_consumer("cdr-progress", isolation, &READING);
        config.set("enable.partition.eof", "true");
        // The end of a partition is reported with the first answer that is empty; a broker gives that
        // only when this time is over.
        config.set("fetch.wait.max.ms", "10");
        config
    }

    /// A member of a group that shares partitions out among its members.
    pub(super) fn group_consumer(&self, group: &str) -> ClientConfig {
        let of_members = [
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", "16384"),
            // Topics that are made later are found within this time.
            ("topic.metadata.refresh.interval.ms", "5000"),
            // A member that was killed is missed after this time, and others take its partitions over.
            ("session.timeout.ms", "10000"),
        ];
        let defaults = [&READING[..], &of_members].concat();
        let mut config = self.any_consumer(group, "read_committed", &defaults);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.offset.store", "false").set("enable.partition.eof", "false");
        config.set("statistics.interval.ms", "500");
        config
    }

    /// Where it begins is decided by whoever reads, never by the brokers. It checks what came over the
    /// network.
    fn any_consumer(&self, group: &str, isolation: &str, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client(defaults);
        // The client wants it to be no less than what a user sets as the largest message.
        if self.properties.contains_key("message.max.bytes")
            && !self.properties.contains_key("fetch.max.bytes")
        {
            config.remove("fetch.max.bytes");
        }
        config.set("group.id", group).set("isolation.level", isolation);
        config.set("auto.offset.reset", "error").set("enable.auto.commit", "false");
        // Brokers may make a topic that somebody requests by its name.
        config.set("allow.auto.create.topics", "false").set("check.crcs", "true");
        config
    }

    /// A producer of single records, each stored before the next step is taken.
    pub(super) fn plain_producer(&self) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.codec", self.compression.name()),
            // The brokers have taken messages of that size, so they are queried.
            ("message.max.bytes", "100000000"),
            // Whoever waits looks after this time whether it is to stop.
            ("message.timeout.ms", "5000"),
        ]);
        config.set("enable.idempotence", "true").set("acks", "all");
        config
    }

    /// Properties of every client; the user's replace `defaults`.
    pub(super) fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "cdr");
        config.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "2000");
        config.set("topic.metadata.refresh.sparse", "true");
        // Otherwise the last, small packet of a transaction waits 40 ms for the other side's
        // delayed acknowledgement.
        config.set("socket.nagle.disable", "true");
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value.expose());
        }
        config
    }

    /// Of brokers that nobody runs.
    #[cfg(test)]
    pub(crate) fn for_tests() -> KafkaConfig {
        let second = Duration::from_secs(1);
        KafkaConfig {
            brokers: "127.0.0.1:9".to_owned(),
            partitions: 1,
            replication: None,
            compression: Compression::None,
            timestamp: RecordTimestamp::Send,
            transaction_timeout: second,
            give_up_after: second,
            start_hint: "Start them.".to_owned(),
            properties: BTreeMap::new(),
        }
    }
}

/// Why a property cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyError {
    /// There is none of this name.
    Unknown,
    /// The client's words, which may repeat the value.
    Value(String),
}

/// Whether the client would take a property, and why not.
pub fn check_property(name: &str, value: &Secret) -> Result<(), PropertyError> {
    match ClientConfig::new().set(name, value.expose()).create_native_config() {
        Err(ClientError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)) => Err(PropertyError::Unknown),
        Err(ClientError::ClientConfig(_, reason, ..)) => Err(PropertyError::Value(reason)),
        Err(other) => Err(PropertyError::Value(other.to_string())),
        Ok(_) => Ok(()),
    }
}

/// Those that are given most, and most easily mistyped; the client does not list all of its own.
pub const USUAL_PROPERTIES: &str = "\
    batch.num.messages batch.size broker.address.family client.dns.lookup client.id \
    compression.level debug delivery.timeout.ms linger.ms message.max.bytes message.timeout.ms \
    metadata.max.age.ms queue.buffering.max.kbytes queue.buffering.max.messages \
    reconnect.backoff.max.ms request.timeout.ms retries sasl.kerberos.service.name sasl.mechanism \
    sasl.password sasl.username security.protocol socket.keepalive.enable socket.timeout.ms \
    ssl.ca.location ssl.certificate.location ssl.endpoint.identification.algorithm ssl.key.location \
    ssl.key.password statistics.interval.ms";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_known_by_their_names_and_values() {
        assert_eq!(check_property("linger.ms", &Secret::new("5")), Ok(()));
        assert_eq!(check_property("sasl.passwrd", &Secret::new("x")), Err(PropertyError::Unknown));
        assert!(matches!(
            check_property("linger.ms", &Secret::new("soon")),
            Err(PropertyError::Value(_))
        ));
    }

    #[test]
    fn the_usual_properties_exist() {
        for name in USUAL_PROPERTIES.split_whitespace() {
            assert_ne!(check_property(name, &Secret::new("x")), Err(PropertyError::Unknown), "{name}");
        }
    }
}
