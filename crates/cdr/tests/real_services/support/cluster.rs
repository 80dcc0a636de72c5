//! Who leads what among the brokers.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::process::LIMIT;
use super::services::Services;

/// Looks at the brokers' metadata.
pub struct Cluster {
    client: BaseConsumer,
}

/// A partition and the brokers that hold it.
#[derive(Clone, Debug)]
pub struct Partition {
    /// -1 while there is none.
    pub leader: i32,
    pub replicas: Vec<i32>,
}

impl Cluster {
    pub fn new(services: &Services) -> Cluster {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", services.brokers()).set("group.id", "looker");
        Cluster { client: config.create().expect("the properties are valid") }
    }

    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        // All topics, since naming one would create it.
        let metadata = self.client.fetch_metadata(None, LIMIT).expect("the brokers answer");
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.unwrap_or_else(|| panic!("there is no topic {topic}"));
        let of = |partition: &rdkafka::metadata::MetadataPartition| {
            (
                partition.id(),
                Partition { leader: partition.leader(), replicas: partition.replicas().to_vec() },
            )
        };
        let mut partitions: Vec<_> = found.partitions().iter().map(of).collect();
        partitions.sort_by_key(|(id, _)| *id);
        partitions.into_iter().map(|(_, partition)| partition).collect()
    }

    /// The broker that coordinates a producer's transactions: it leads the partition to which the
    /// transactional id belongs by its hash.
    pub fn coordinator(&self, transactional_id: &str) -> i32 {
        let partitions = self.partitions("__transaction_state");
        let hash = java_hash(transactional_id).checked_abs().unwrap_or(0);
        partitions[hash as usize % partitions.len()].leader
    }
}

/// `String.hashCode` of the Java platform.
fn java_hash(ascii: &str) -> i32 {
    ascii.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
}
