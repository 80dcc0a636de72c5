//! What the Kafka sink needs to know.

use std::collections::BTreeMap;
use std::time::Duration;

use cdr_model::Stream;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::secret::Secret;

/// Which time a message carries as its Kafka timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// The time of sending.
    Send,
    /// The time of the event; topics made with it keep their records for ever.
    Event,
}

/// Validated settings of the Kafka sink.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    pub topic_data: String,
    pub topic_voice: String,
    pub topic_progress: String,
    /// Partitions of a record topic that has to be created.
    pub partitions: u32,
    /// Replicas of a topic that has to be created; `None` is the smaller of 3 and the brokers.
    pub replication: Option<u32>,
    pub compression: String,
    pub timestamps: Timestamps,
    /// Records, of both streams, in one transaction.
    pub transaction_records: u32,
    /// Bytes of keys and values in one transaction.
    pub transaction_bytes: usize,
    /// How long a transaction waits for further records at a slow pace.
    pub transaction_open: Duration,
    /// After this time the brokers abort a transaction whose producer is gone.
    pub transaction_timeout: Duration,
    /// How long brokers may be away before the run stops.
    pub give_up_after: Duration,
    /// Any further properties of librdkafka; values may be secret.
    pub properties: BTreeMap<String, Secret>,
}

/// Of consumers that read much. The client's own bounds let it read 100,000 records of each partition
/// ahead, which cost 250 MB and are no faster.
const BULK_READING: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "100"),
    ("fetch.message.max.bytes", "500000"),
    ("fetch.max.bytes", "2000000"),
    ("queued.min.messages", "5000"),
    // A full queue would otherwise rest for a second, which readers of short topics notice.
    ("fetch.queue.backoff.ms", "1"),
];

impl KafkaConfig {
    /// The topics of data and voice records.
    pub fn record_topics(&self) -> [&str; 2] {
        [&self.topic_data, &self.topic_voice]
    }

    /// The topic of a record stream.
    pub fn topic(&self, stream: Stream) -> &str {
        match stream {
            Stream::Data => &self.topic_data,
            Stream::Voice => &self.topic_voice,
        }
    }

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
            ("compression.codec", &self.compression),
            ("transaction.timeout.ms", &self.transaction_timeout.as_millis().to_string()),
        ]);
        config.set("transactional.id", transactional_id);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // A failed delivery fails the transaction's commit, so reports of success tell nothing new.
        config.set("delivery.report.only.error", "true");
        config
    }

    /// A consumer that reads by position; it joins no group.
    pub(super) fn consumer(&self, isolation: &str) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("group.id", "cdr-progress");
        // Brokers may make a topic that somebody asks for by its name.
        config.set("allow.auto.create.topics", "false");
        config.set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", isolation);
        // The end of a partition is told with the first answer that is empty; a broker gives that
        // only when this time is over.
        config.set("fetch.wait.max.ms", "10");
        config
    }

    /// A consumer of committed records that reads much: it checks what came over the network.
    pub(super) fn bulk_consumer(&self) -> ClientConfig {
        let mut config = self.consumer("read_committed");
        config.set("check.crcs", "true");
        for (name, value) in BULK_READING {
            config.set(name, value);
        }
        config
    }

    /// A member of a group that shares partitions out among its members. Where it begins is told by
    /// who keeps what it reads, never by the brokers.
    pub(super) fn group_consumer(&self, group: &str) -> ClientConfig {
        let of_members = [
            ("queued.max.messages.kbytes", "16384"),
            // Topics that are made later are found within this time.
            ("topic.metadata.refresh.interval.ms", "5000"),
            // A member that was killed is missed after this time, and others take its partitions over.
            ("session.timeout.ms", "10000"),
        ];
        let mut config = self.client(&[&BULK_READING[..], &of_members].concat());
        config.set("group.id", group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "error");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "false");
        config.set("allow.auto.create.topics", "false");
        config.set("check.crcs", "true");
        config.set("statistics.interval.ms", "500");
        config
    }

    /// A producer of single records, each stored before the next step is taken.
    pub(super) fn plain_producer(&self) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.codec", &self.compression),
            // The brokers have taken messages of that size, so they are asked.
            ("message.max.bytes", "100000000"),
            // Whoever waits looks after this time whether it is to stop.
            ("message.timeout.ms", "5000"),
        ]);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
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
}
