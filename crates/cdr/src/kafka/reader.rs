//! Reads topics as a consumer of committed records sees them, by position and outside any group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, ReadRecord};
use super::config::KafkaConfig;
use super::error::{Failure, KafkaError, is_retriable};
use super::health::{Health, HealthContext};
use super::retry::RetryDeadline;
use super::rights::Right;

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

/// A connection to read with.
pub struct Reader {
    config: Arc<KafkaConfig>,
    shutdown: CancellationToken,
    cluster: Cluster,
}

impl Reader {
    /// Connects. Blocks, as all that a reader does.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn open(config: &Arc<KafkaConfig>, shutdown: &CancellationToken) -> Result<Reader, KafkaError> {
        let cluster = Cluster::connect(config, shutdown)?;
        Ok(Reader { config: config.clone(), shutdown: shutdown.clone(), cluster })
    }

    /// The cluster that is read from.
    pub fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// What a topic holds now for readers of committed records; `None` if it does not exist.
    ///
    /// # Errors
    /// As `open`.
    pub fn range(&mut self, topic: &str) -> Result<Option<TopicRange>, KafkaError> {
        let range = self.cluster.committed_range(topic)?;
        Ok(range.map(|partitions| {
            let (from, to) = partitions.into_iter().unzip();
            TopicRange { topic: topic.to_owned(), from, to }
        }))
    }

    /// Reads topics side by side, none of their partitions far ahead of the others; hands `each` the
    /// number of the range and the record. `false`: there was a shutdown.
    ///
    /// # Errors
    /// As `open`.
    pub fn read(
        &mut self,
        ranges: &[TopicRange],
        mut each: impl FnMut(usize, ReadRecord<'_>),
    ) -> Result<bool, KafkaError> {
        let health = Arc::new(Health::new(&self.config.brokers));
        let mut deadline = RetryDeadline::new(health.clone(), self.shutdown.clone(), &self.config);
        let (consumer, mut partitions) = self.assign(ranges, &health)?;
        let mut received_at = Instant::now();
        while partitions.iter().any(|partition| !partition.is_done()) {
            if self.shutdown.is_cancelled() {
                return Ok(false);
            }
            let behind = partitions.iter().map(PartitionReader::share).fold(1.0, f64::min);
            let mut taken = 0;
            for reader in partitions.iter_mut().filter(|one| one.share() <= behind + LEAD) {
                taken += reader.drain(behind + LEAD, Duration::ZERO, &mut each)?;
            }
            if taken == 0
                && let Some(last) = partitions.iter_mut().min_by(|a, b| a.share().total_cmp(&b.share()))
            {
                // Events of the client that belong to no partition.
                drop(consumer.poll(Duration::ZERO));
                taken = last.drain(behind + LEAD, WAIT, &mut each)?;
            }
            if taken > 0 {
                received_at = Instant::now();
                deadline.success();
            } else if received_at.elapsed() >= SILENCE {
                deadline.failure(received_at, "records are not delivered")?;
            }
        }
        Ok(true)
    }

    /// Begins to fetch, into a queue for each partition.
    fn assign(
        &self,
        ranges: &[TopicRange],
        health: &Arc<Health>,
    ) -> Result<(Arc<BaseConsumer<HealthContext>>, Vec<PartitionReader>), KafkaError> {
        let consumer = self.config.bulk_consumer().create_with_context(HealthContext(health.clone()));
        let consumer: Arc<BaseConsumer<HealthContext>> =
            Arc::new(consumer.map_err(KafkaError::property)?);
        let (mut list, mut readers) = (TopicPartitionList::new(), Vec::new());
        for (nth, range) in ranges.iter().enumerate() {
            for ((partition, &from), &to) in (0..).zip(&range.from).zip(&range.to) {
                let added = list.add_partition_offset(&range.topic, partition, Offset::Offset(from));
                added.map_err(KafkaError::property)?;
                // The queue comes first. Records that are fetched before their partition has one
                // stand in the client's common queue, where nobody looks for them. (rust-rdkafka
                // states that `assign` takes the queues away; librdkafka leaves alone those that an
                // application has requested, see `RD_KAFKA_Q_F_FWD_APP`.)
                let queue = consumer.split_partition_queue(&range.topic, partition);
                let queue = queue.ok_or_else(|| KafkaError::Property(range.topic.clone()))?;
                let (topic, brokers) = (range.topic.clone(), self.config.brokers.clone());
                readers.push(PartitionReader {
                    range: nth,
                    topic,
                    partition,
                    queue,
                    from,
                    next: from,
                    to,
                    brokers,
                });
            }
        }
        consumer.assign(&list).map_err(KafkaError::property)?;
        Ok((consumer, readers))
    }
}

/// One partition that is being read.
struct PartitionReader {
    /// The number of its topic's range.
    range: usize,
    topic: String,
    partition: i32,
    queue: PartitionQueue<HealthContext>,
    from: i64,
    next: i64,
    to: i64,
    brokers: String,
}

impl PartitionReader {
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
        until: f64,
        wait: Duration,
        each: &mut impl FnMut(usize, ReadRecord<'_>),
    ) -> Result<i64, KafkaError> {
        let before = self.next;
        let last = self.from + ((self.to - self.from) as f64 * until).ceil() as i64;
        let mut wait = wait;
        while !self.is_done() && self.next <= last {
            match self.queue.poll(wait) {
                None => break,
                Some(Ok(message)) if message.offset() < self.to => {
                    let (key, value) = (message.key(), message.payload());
                    self.next = message.offset() + 1;
                    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                    let (partition, offset) = (self.partition, message.offset());
                    each(self.range, ReadRecord { partition, offset, key, value });
                }
                // Behind the last record there are only the marks of transactions.
                Some(Ok(_) | Err(ClientError::PartitionEOF(_))) => self.next = self.to,
                Some(Err(error)) if is_retriable(&error) => {}
                Some(Err(error)) => {
                    let (right, code) = (Right::on_topic("Read", &self.topic), Failure::of(&error).code);
                    let reason = error.to_string();
                    return Err(KafkaError::refused(
                        &self.brokers,
                        "to read records",
                        right,
                        code,
                        reason,
                    ));
                }
            }
            wait = Duration::ZERO;
        }
        Ok(self.next - before)
    }
}
