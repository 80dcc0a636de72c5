//! The table of further librdkafka properties: which may be given, and who wins.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::file::nearest;
use crate::kafka::{PropertyError, USUAL_PROPERTIES, check_property};
use crate::secret::{MASK, Secret};
use crate::settings::{ConfigError, Origin, Property};

const EXACTLY_ONCE: &str = "fixed, because exactly-once delivery depends on it";

/// Names, librdkafka's aliases included, with the reason why they are not given here.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use kafka.brokers"),
    ("metadata.broker.list", "use kafka.brokers"),
    ("compression.codec", "use kafka.compression"),
    ("compression.type", "use kafka.compression"),
    ("transaction.timeout.ms", "use kafka.transaction_timeout_ms"),
    ("transactional.id", "fixed by run.name and run.shard, because exactly-once delivery depends on it"),
    ("enable.idempotence", EXACTLY_ONCE),
    ("acks", EXACTLY_ONCE),
    ("request.required.acks", EXACTLY_ONCE),
    ("isolation.level", EXACTLY_ONCE),
    ("enable.auto.commit", EXACTLY_ONCE),
    ("auto.commit.enable", EXACTLY_ONCE),
    ("delivery.report.only.error", EXACTLY_ONCE),
    ("partitioner", "fixed, because a key's place depends on it"),
];

/// What in a property's name marks its value as a secret.
const SECRET_PARTS: &[&str] =
    &["password", "passphrase", "secret", "key.pem", "jaas", "oauthbearer.config"];

/// Whether a property of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Puts the layers together: the file's table, `KAFKA_PROPERTIES`, each `--kafka-property`. A later one
/// wins.
pub fn merge(
    file: Vec<(String, Secret, Origin)>,
    variable: Option<&str>,
    flags: &[String],
) -> Result<BTreeMap<String, Property>, ConfigError> {
    let mut properties = BTreeMap::new();
    for (name, value, origin) in file {
        add(&mut properties, name, value, origin)?;
    }
    let of_variable = variable.map(split).unwrap_or_default().into_iter();
    let of_variable = of_variable.map(|given| (given, Origin::Variable("KAFKA_PROPERTIES")));
    let of_flags = flags.iter().map(|given| (given.clone(), Origin::Flag("kafka-property")));
    for (given, origin) in of_variable.chain(of_flags) {
        let (name, value) = pair(&given, &origin)?;
        if is_secret(&name) && matches!(origin, Origin::Flag(_)) {
            let what = "is a secret, and others can read a command line; \
                        use KAFKA_PROPERTIES or [kafka.properties] in cdr.toml";
            return Err(refused(name, &origin, what));
        }
        add(&mut properties, name, value, origin)?;
    }
    Ok(properties)
}

/// Splits `a=b,c=d`. A part without a name of its own belongs to the value before it, so that
/// `debug=broker,topic` needs no quoting.
fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        let has_name = part.split_once('=').is_some_and(|(name, _)| is_name(name.trim()));
        match parts.last_mut() {
            Some(last) if !has_name => *last = format!("{last},{part}"),
            _ => parts.push(part.trim_start().to_owned()),
        }
    }
    parts
}

fn pair(given: &str, origin: &Origin) -> Result<(String, Secret), ConfigError> {
    match given.split_once('=') {
        Some((name, value)) if is_name(name.trim()) => Ok((name.trim().to_owned(), Secret::new(value))),
        // What follows the name could be a secret, whatever stands in the place of an equals sign, so
        // it is left out of the message.
        _ => {
            let in_names = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            let name = given.trim_start().split(|letter| !in_names(letter)).next();
            Err(refused(format!("{:?}", name.unwrap_or_default()), origin, FORM))
        }
    }
}

fn add(
    properties: &mut BTreeMap<String, Property>,
    name: String,
    value: Secret,
    origin: Origin,
) -> Result<(), ConfigError> {
    if !is_name(&name) {
        return Err(refused(format!("{name:?}"), &origin, FORM));
    }
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(refused(name, &origin, format_args!("cannot be set: {reason}")));
    }
    let secret = is_secret(&name);
    match check_property(&name, &value) {
        Ok(()) => {}
        Err(PropertyError::Unknown) => {
            let nearest = nearest(&name, USUAL_PROPERTIES.split_whitespace());
            let what = format_args!("is not a property of librdkafka; did you mean {nearest}?");
            return Err(refused(name, &origin, what));
        }
        Err(PropertyError::Value(reason)) => {
            let reason = match secret {
                true => reason.replace(value.expose(), MASK),
                // By a missing equals sign, the next property has become part of this one's value.
                false if is_secret(value.expose()) => format!("{MASK}, which seems to hold a secret"),
                false => reason,
            };
            let what = format_args!("has a value that librdkafka refuses: {reason}");
            return Err(refused(name, &origin, what));
        }
    }
    properties.insert(name, Property { value, origin, secret });
    Ok(())
}

const FORM: &str = "is not NAME=VALUE with a name of a-z 0-9 . _";

fn refused(name: impl Display, origin: &Origin, what: impl Display) -> ConfigError {
    ConfigError::new(format!("kafka.properties: {name} from {origin} {what}"))
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && name.bytes().all(allowed)
}
