//! Looks at what is delivered, as a reader of committed records sees it, and changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::progress::{ByPartition, Progress};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::config::KafkaConfig;
use super::error::{KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch};
use super::rights::Right;
use super::session::failure;
use crate::delivery::board::Board;

/// How long to wait for records before we look at the time and at the wish to stop.
const WAIT: Duration = Duration::from_millis(100);

/// Silence after which the brokers are said to be away.
const SILENCE: Duration = Duration::from_secs(2);

/// How far one partition may be read ahead of another, as a share of the whole.
const LEAD: f64 = 0.01;

/// What to read of a topic.
#[derive(Clone, Debug)]
pub struct Span {
    pub topic: String,
    /// The first offset, by partition.
    pub from: ByPartition,
    /// The offset behind the last, by partition.
    pub to: ByPartition,
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// A connection to look with.
pub struct Reader {
    config: Arc<KafkaConfig>,
    board: Arc<Board>,
    cluster: Cluster,
}

impl Reader {
    /// Connects. Blocks, as all that this does.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn open(config: KafkaConfig, board: Arc<Board>) -> Result<Reader, KafkaSinkError> {
        let config = Arc::new(config);
        let mut cluster = Cluster::new(&config, &board)?;
        cluster.reach()?;
        Ok(Reader { config, board, cluster })
    }

    /// The last committed progress of all shards of a run, of any split.
    ///
    /// # Errors
    /// As `open`; and progress that cannot be read.
    pub fn progress(&mut self, run: &str) -> Result<Vec<Progress>, KafkaSinkError> {
        self.cluster.progress_of_run(run)
    }

    /// What a topic holds now for readers of committed records; `None` if it does not exist.
    ///
    /// # Errors
    /// As `open`.
    pub fn span(&mut self, topic: &str) -> Result<Option<Span>, KafkaSinkError> {
        let range = self.cluster.committed_range(topic)?;
        Ok(range.map(|partitions| {
            let (from, to) = partitions.into_iter().unzip();
            Span { topic: topic.to_owned(), from, to }
        }))
    }

    /// Reads topics side by side, none of their partitions far ahead of the others; tells `each` the
    /// number of the span and the record. `false`: the user wants to stop.
    ///
    /// # Errors
    /// As `open`.
    pub fn read(
        &mut self,
        spans: &[Span],
        mut each: impl FnMut(usize, Seen<'_>),
    ) -> Result<bool, KafkaSinkError> {
        let health = Arc::new(Health::new(&self.config.brokers));
        let mut patience = Patience::new(health.clone(), self.board.clone(), self.config.give_up_after);
        let (consumer, mut lanes) = self.assign(spans, &health)?;
        let mut heard = Instant::now();
        while lanes.iter().any(|lane| !lane.is_done()) {
            if self.board.is_stopping() {
                return Ok(false);
            }
            let behind = lanes.iter().map(Lane::share).fold(1.0, f64::min);
            let mut taken = 0;
            for lane in lanes.iter_mut().filter(|lane| lane.share() <= behind + LEAD) {
                let before = lane.next;
                lane.drain(behind + LEAD, Duration::ZERO, &mut each)?;
                taken += lane.next - before;
            }
            if taken == 0
                && let Some(lane) = lanes.iter_mut().min_by(|a, b| a.share().total_cmp(&b.share()))
            {
                // Events of the client that belong to no partition.
                drop(consumer.poll(Duration::ZERO));
                let before = lane.next;
                lane.drain(behind + LEAD, WAIT, &mut each)?;
                taken = lane.next - before;
            }
            if taken > 0 {
                heard = Instant::now();
                patience.success();
            } else if heard.elapsed() >= SILENCE {
                patience.failure(heard, "records are not delivered")?;
            }
        }
        Ok(true)
    }

    /// Begins to fetch, into a queue for each partition.
    fn assign(
        &self,
        spans: &[Span],
        health: &Arc<Health>,
    ) -> Result<(Arc<BaseConsumer<Watch>>, Vec<Lane>), KafkaSinkError> {
        let refused = |error: KafkaError| KafkaSinkError::Property(error.to_string());
        let consumer = self.config.bulk_consumer().create_with_context(Watch(health.clone()));
        let consumer: Arc<BaseConsumer<Watch>> = Arc::new(consumer.map_err(refused)?);
        let (mut list, mut lanes) = (TopicPartitionList::new(), Vec::new());
        for (number, span) in spans.iter().enumerate() {
            for ((partition, &from), &to) in (0..).zip(&span.from).zip(&span.to) {
                let added = list.add_partition_offset(&span.topic, partition, Offset::Offset(from));
                added.map_err(refused)?;
                // The queue comes first. Records that are fetched before their partition has one
                // stand in the client's common queue, where nobody looks for them. (rust-rdkafka
                // says that `assign` takes the queues away; librdkafka leaves alone those that an
                // application has asked for, see `RD_KAFKA_Q_F_FWD_APP`.)
                let queue = consumer.split_partition_queue(&span.topic, partition);
                let queue = queue.ok_or_else(|| KafkaSinkError::Property(span.topic.clone()))?;
                let (topic, brokers) = (span.topic.clone(), self.config.brokers.clone());
                lanes.push(Lane {
                    span: number,
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
        consumer.assign(&list).map_err(refused)?;
        Ok((consumer, lanes))
    }
}

/// One partition that is being read.
struct Lane {
    span: usize,
    topic: String,
    partition: i32,
    queue: PartitionQueue<Watch>,
    from: i64,
    next: i64,
    to: i64,
    brokers: String,
}

impl Lane {
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

    /// Takes what has come, up to a share of the whole; waits for the first record at most so long.
    fn drain(
        &mut self,
        until: f64,
        wait: Duration,
        each: &mut impl FnMut(usize, Seen<'_>),
    ) -> Result<(), KafkaSinkError> {
        let last = self.from + ((self.to - self.from) as f64 * until).ceil() as i64;
        let mut wait = wait;
        while !self.is_done() && self.next <= last {
            match self.queue.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) if message.offset() < self.to => {
                    let (key, value) = (message.key(), message.payload());
                    self.next = message.offset() + 1;
                    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
                    let (partition, offset) = (self.partition, message.offset());
                    each(self.span, Seen { partition, offset, key, value });
                }
                // Behind the last record there are only the marks of transactions.
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => self.next = self.to,
                Some(Err(error)) if remedy(failure(&error)) == Remedy::Retry => {}
                Some(Err(error)) => {
                    let (brokers, action) = (self.brokers.clone(), "to read records".to_owned());
                    let (failure, reason) = (failure(&error), error.to_string());
                    return Err(match remedy(failure) {
                        Remedy::Unauthorized => {
                            let right = Right::on_topic("Read", &self.topic);
                            KafkaSinkError::Unauthorized { brokers, action, right, reason }
                        }
                        _ => KafkaSinkError::Rejected { brokers, action, code: failure.code, reason },
                    });
                }
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }
}
