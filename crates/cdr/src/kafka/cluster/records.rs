//! Reads topics as a consumer of committed records sees them, by position and outside any group.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::debug;

use super::Cluster;
use crate::kafka::error::{KafkaError, is_retriable};
use crate::kafka::health::HealthContext;
use crate::kafka::rights::Right;

/// How long to wait for records before the deadline and the shutdown are checked.
const WAIT: Duration = Duration::from_millis(100);

/// Silence after which the brokers count as away.
const SILENCE: Duration = Duration::from_secs(2);

/// How far one partition may be read ahead of another, as a share of the whole.
const LEAD: f64 = 0.01;

/// What to read of a topic.
#[derive(Clone, Debug)]
pub struct TopicRange {
    pub topic: String,
    /// The first offset, by partition.
    pub from: Vec<i64>,
    /// The offset behind the last, by partition.
    pub to: Vec<i64>,
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl Cluster {
    /// Reads topics side by side, none of their partitions far ahead of the others; hands `each` the
    /// number of the range and the record. `false`: there was a shutdown.
    pub fn read(
        &mut self,
        ranges: &[TopicRange],
        each: impl FnMut(usize, ReadRecord<'_>),
    ) -> Result<bool, KafkaError> {
        let shutdown = self.connection.shutdown.clone();
        self.read_unless(|| shutdown.is_cancelled(), ranges, each)
    }

    /// The same until `stop`, and not until a shutdown: what ends may have to read before.
    pub fn read_unless(
        &mut self,
        stop: impl Fn() -> bool,
        ranges: &[TopicRange],
        mut each: impl FnMut(usize, ReadRecord<'_>),
    ) -> Result<bool, KafkaError> {
        let mut partitions = self.assign(ranges)?;
        let mut received_at = Instant::now();
        while partitions.iter().any(|partition| !partition.is_done()) {
            if stop() {
                return Ok(false);
            }
            let behind = partitions.iter().map(PartitionReader::share).fold(1.0, f64::min);
            let mut taken = 0;
            for reader in partitions.iter_mut().filter(|one| one.share() <= behind + LEAD) {
                taken += reader.drain(self, behind + LEAD, Duration::ZERO, &mut each)?;
            }
            if taken == 0
                && let Some(last) = partitions.iter_mut().min_by(|a, b| a.share().total_cmp(&b.share()))
            {
                // Events of the client that belong to no partition.
                drop(self.clients.committed.poll(Duration::ZERO));
                taken = last.drain(self, behind + LEAD, WAIT, &mut each)?;
            }
            if taken > 0 {
                received_at = Instant::now();
                self.connection.success();
            } else if received_at.elapsed() >= SILENCE {
                self.connection.failure(received_at, "records are not delivered")?;
            }
        }
        // It cannot fail in a way that matters: the next reading assigns again.
        drop(self.clients.committed.unassign());
        debug!("read {ranges:?}");
        Ok(true)
    }

    /// Begins to fetch, into a queue for each partition.
    fn assign<'a>(&self, ranges: &'a [TopicRange]) -> Result<Vec<PartitionReader<'a>>, KafkaError> {
        let consumer = &self.clients.committed;
        let (mut list, mut readers) = (TopicPartitionList::new(), Vec::new());
        for (number, range) in ranges.iter().enumerate() {
            for ((partition, &from), &to) in (0..).zip(&range.from).zip(&range.to) {
                let added = list.add_partition_offset(&range.topic, partition, Offset::Offset(from));
                added.map_err(KafkaError::property)?;
                // The queue comes first. Records that are fetched before their partition has one
                // stand in the client's common queue, where nobody looks for them. (rust-rdkafka
                // states that `assign` takes the queues away; librdkafka leaves alone those that an
                // application has requested, see `RD_KAFKA_Q_F_FWD_APP`.)
                let queue = consumer.split_partition_queue(&range.topic, partition);
                let queue = queue.ok_or_else(|| KafkaError::Property(range.topic.clone()))?;
                let topic = &range.topic;
                readers.push(PartitionReader { number, topic, partition, queue, from, next: from, to });
            }
        }
        consumer.assign(&list).map_err(KafkaError::property)?;
        Ok(readers)
    }
}

/// One partition that is being read.
struct PartitionReader<'a> {
    /// The number of its topic's range.
    number: usize,
    topic: &'a str,
    partition: i32,
    queue: PartitionQueue<HealthContext>,
    from: i64,
    next: i64,
    to: i64,
}

impl PartitionReader<'_> {
    fn is_done(&self) -> bool {
        self.next >= self.to
    }

    /// How much of it is read, up to 1.
    fn share(&self) -> f64 {
        match self.is_done() {
            true => 1.0,
            false => (self.next - self.from) as f64 / (self.to - self.from) as f64,
        }
    }

    /// Takes what has come, up to a share of the whole, and returns how many offsets that were; waits
    /// for the first record at most so long.
    fn drain(
        &mut self,
        cluster: &Cluster,
        until: f64,
        mut wait: Duration,
        each: &mut impl FnMut(usize, ReadRecord<'_>),
    ) -> Result<i64, KafkaError> {
        let before = self.next;
        let last = self.from + ((self.to - self.from) as f64 * until).ceil() as i64;
        while !self.is_done() && self.next <= last {
            match self.queue.poll(wait) {
                None => break,
                Some(Ok(message)) if message.offset() < self.to => {
                    self.next = message.offset() + 1;
                    let (partition, offset) = (self.partition, message.offset());
                    let (key, value) = (message.key(), message.payload());
                    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                    each(self.number, ReadRecord { partition, offset, key, value });
                }
                // Behind the last record there are only the marks of transactions.
                Some(Ok(_) | Err(ClientError::PartitionEOF(_))) => self.next = self.to,
                Some(Err(error)) if is_retriable(&error) => {}
                Some(Err(error)) => {
                    let action = format!("to read topic {}", self.topic);
                    return Err(cluster.refused(&action, Right::on_topic("Read", self.topic), &error));
                }
            }
            wait = Duration::ZERO;
        }
        Ok(self.next - before)
    }
}
