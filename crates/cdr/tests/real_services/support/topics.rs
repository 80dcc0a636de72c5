//! Reads topics as any consumer would.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cdr_model::progress::Progress;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::process::LIMIT;
use super::scene::Scene;
use super::services::Services;

/// A record of a topic.
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The record's timestamp, in milliseconds since the epoch.
    pub time_ms: i64,
    pub offset: i64,
}

/// Reads one topic, all its partitions.
pub struct Topic {
    name: String,
    committed: BaseConsumer,
    /// Sees open and aborted transactions, too.
    everything: BaseConsumer,
}

impl Topic {
    pub fn new(services: &Services, name: &str) -> Topic {
        Topic {
            name: name.to_owned(),
            committed: consumer(services, "read_committed"),
            everything: consumer(services, "read_uncommitted"),
        }
    }

    /// Zero if the topic does not exist.
    pub fn partitions(&self) -> usize {
        // All topics, since naming one would create it.
        let metadata = self.everything.fetch_metadata(None, LIMIT).expect("the brokers answer");
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.name);
        topic.map_or(0, |topic| topic.partitions().len())
    }

    /// The end offsets by partition; none if the topic does not exist, or is just being made.
    pub fn ends(&self) -> Vec<i64> {
        self.ends_seen_by(&self.everything)
    }

    /// Whether a transaction is open.
    pub fn has_open_transaction(&self) -> bool {
        self.ends_seen_by(&self.committed) != self.ends()
    }

    /// All committed records by partition, when no transaction is open that could hide some.
    pub fn records(&self) -> Vec<Vec<Record>> {
        let begun = Instant::now();
        // A transaction's markers are written a moment after its commit is answered.
        while self.has_open_transaction() {
            assert!(begun.elapsed() < LIMIT, "a transaction stays open in {}", self.name);
        }
        self.read(&self.committed)
    }

    /// How many records there are, and how many with those of aborted transactions.
    pub fn counts(&self) -> (usize, usize) {
        let committed = self.records().iter().map(Vec::len).sum();
        (committed, self.read(&self.everything).iter().map(Vec::len).sum())
    }

    /// Behind the last record that the consumer may see.
    fn ends_seen_by(&self, consumer: &BaseConsumer) -> Vec<i64> {
        let end = |partition| consumer.fetch_watermarks(&self.name, partition, LIMIT);
        let ends = (0..self.partitions() as i32).map(|partition| end(partition).map(|(_, end)| end));
        match ends.collect::<Result<_, _>>() {
            Ok(ends) => ends,
            Err(error) if error.rdkafka_error_code().is_some_and(is_settling) => vec![],
            Err(error) => panic!("the brokers do not report where {} ends: {error}", self.name),
        }
    }

    fn read(&self, consumer: &BaseConsumer) -> Vec<Vec<Record>> {
        let partitions = self.partitions();
        assert!(partitions > 0, "there is no topic {}", self.name);
        consumer.assign(&self.beginnings(partitions)).expect("the partitions exist");
        let mut records: Vec<Vec<Record>> = (0..partitions).map(|_| Vec::new()).collect();
        let (mut at_end, begun) = (BTreeSet::new(), Instant::now());
        while at_end.len() < partitions {
            assert!(begun.elapsed() < LIMIT, "reading {} takes too long", self.name);
            match consumer.poll(Duration::from_secs(1)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end.insert(partition);
                }
                Some(Err(error)) => panic!("cannot read {}: {error}", self.name),
                Some(Ok(message)) => records[message.partition() as usize].push(record(&message)),
            }
        }
        consumer.unassign().expect("it was assigned");
        records
    }

    fn beginnings(&self, partitions: usize) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            let added = list.add_partition_offset(&self.name, partition, Offset::Beginning);
            added.expect("a valid offset");
        }
        list
    }
}

/// Whether a topic is not known everywhere yet, or has no leaders.
fn is_settling(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
    )
}

fn consumer(services: &Services, isolation: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", services.brokers());
    config.set("group.id", "reader").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
    config.set("isolation.level", isolation);
    config.create().expect("the properties are valid")
}

fn record(message: &impl Message) -> Record {
    Record {
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().unwrap_or_default().to_vec(),
        time_ms: message.timestamp().to_millis().expect("it has a timestamp"),
        offset: message.offset(),
    }
}

/// Every committed progress record of a scene's run, oldest first.
pub fn progress(scene: &Scene) -> Vec<Progress> {
    let records = Topic::new(scene.services, scene.progress_topic()).records();
    let ours = |record: &&Record| record.key.starts_with(format!("{}/", scene.name).as_bytes());
    let parse = |record: &Record| serde_json::from_slice(&record.value).expect("a progress record");
    records.iter().flatten().filter(ours).map(parse).collect()
}
