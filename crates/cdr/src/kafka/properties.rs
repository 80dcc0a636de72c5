//! What librdkafka knows of its properties.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;

use crate::secret::Secret;

/// Why a property cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyError {
    /// There is none of this name.
    Unknown,
    /// The client's words, which may repeat the value.
    Value(String),
}

/// Whether the client would take a property.
///
/// # Errors
/// Why not.
pub fn check_property(name: &str, value: &Secret) -> Result<(), PropertyError> {
    let mut config = ClientConfig::new();
    config.set(name, value.expose());
    match config.create_native_config() {
        Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)) => Err(PropertyError::Unknown),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(PropertyError::Value(reason)),
        Err(other) => Err(PropertyError::Value(other.to_string())),
        Ok(_) => Ok(()),
    }
}

/// Those that are given most, and most easily mistyped; the client does not list all of its own.
pub const USUAL_PROPERTIES: [&str; 30] = [
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "client.dns.lookup",
    "client.id",
    "compression.level",
    "debug",
    "delivery.timeout.ms",
    "linger.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "reconnect.backoff.max.ms",
    "request.timeout.ms",
    "retries",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "statistics.interval.ms",
];

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
        for name in USUAL_PROPERTIES {
            assert_ne!(check_property(name, &Secret::new("x")), Err(PropertyError::Unknown), "{name}");
        }
    }
}
