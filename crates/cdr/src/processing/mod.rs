//! The stream processor: topics → usage per subscriber and load per tower, exactly once.
//!
//! ```text
//! topics → group member → message → batch writer → store (sums and offsets in one transaction)
//! ```

pub mod api;
mod batch_writer;
mod config;
pub mod message;
pub mod metrics;
mod probes;
mod problem;
mod python;
mod retry;
pub mod statement;
pub mod store;
pub mod tariff;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::{MessageFormat, PerStream, Stream, Streams};
use tracing::{debug, warn};

use self::batch_writer::BatchWriter;
pub use self::config::ProcessSettings;
pub use self::probes::Readiness;
pub use self::retry::StoreRetry;
use self::store::{Added, Committed, Store, StoreError};
use crate::kafka::{
    Cluster, DeadLetters, Isolation, KafkaConfig, KafkaError, Lags, Member, NewTopic, Polled, Rebalance,
    StartOffset, TopicPartition,
};

/// How long to wait for a message before the time and the shutdown are checked.
const WAIT: Duration = Duration::from_millis(50);

/// How long after its first message a batch is stored although more may come, when all that there
/// was is read.
const LULL: Duration = Duration::from_millis(100);

/// How often the ends of partitions that are read up to there are committed.
const COMMIT_ENDS_EVERY: Duration = Duration::from_secs(30);

/// How often the ends of the topics are queried, once all seems to be read.
const QUERY_ENDS_EVERY: Duration = Duration::from_millis(300);

/// Messages that are taken over from the client at once.
const POLL_RECORDS: usize = 100;

/// What a processor needs to know.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    pub kafka: Arc<KafkaConfig>,
    /// The streams that are counted, which report usage, and the topic of each stream.
    pub streams: Streams,
    pub topics: PerStream<String>,
    pub message_format: MessageFormat,
    pub settings: ProcessSettings,
    /// Begin with the first message that is still there, where the next one is not.
    pub accept_loss: bool,
    /// End when all that there is has been read, rather than wait for more.
    pub until_end: bool,
}

/// Learns of the processor's course. Is called when something happens, and must not take long.
pub trait Observer: Send + Sync {
    /// A batch is stored: records by stream, the time since its first one came, and the part of that
    /// which the store took.
    fn stored(&self, counted: &PerStream<u64>, since_first: Duration, store_time: Duration);

    /// A message could not be used.
    fn dead(&self, stream: Stream, reason: &'static str);

    /// How much is still to be read.
    fn lags(&self, lags: &Lags);

    /// The group has assigned partitions.
    fn assigned(&self);

    /// The store does not answer, and is waited for; or it does again.
    fn store_answers(&self, answers: bool);

    /// Whether a broker is connected; reported again and again.
    fn brokers_answer(&self, answer: bool);

    /// A partition is somebody else's from now on.
    fn revoked(&self, partition: &TopicPartition);
}

/// Why a processor cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the usage store has read topic {topic}, partition {partition}, up to offset {next}, but the topic ends at {end}: \
         it was deleted and created again, or emptied. Count again from the beginning with cdr process --restart, or \
         into another store with STORE_PATH or STORE_URL"
    )]
    Shrunk { topic: String, partition: i32, next: i64, end: i64 },
    #[error(
        "topic {topic}, partition {partition}, has lost the messages from offset {next} to before {first} to its \
         retention before they were counted. Go on without them with cdr process --accept-loss, or count again what \
         is there with cdr process --restart"
    )]
    Lost { topic: String, partition: i32, next: i64, first: i64 },
}

/// Consumes the topics into a store until shutdown, or with `until_end` until all is read. Blocks;
/// must be called in a thread of the runtime that may.
///
/// # Errors
/// Brokers or a store that are away for too long or refuse, and topics that are not those that the
/// store was filled from.
pub fn process(config: &ProcessConfig, store: Store, retry: StoreRetry) -> Result<(), ProcessError> {
    let (kafka, shutdown) = (&config.kafka, &retry.shutdown);
    let topics: Vec<&str> = config.streams.iter().map(|of| config.topics[of].as_str()).collect();
    let mut cluster = Cluster::new(kafka, shutdown)?;
    // The others are made by who writes to them, with the settings that they need.
    cluster.ensure(&[NewTopic {
        name: &config.settings.topic_dead_letter,
        partitions: kafka.partitions,
        settings: &[],
    }])?;
    let dead_letters = DeadLetters::new(kafka, &config.settings.topic_dead_letter, shutdown)?;
    let mut writer = BatchWriter::new(
        store,
        dead_letters,
        config.topics.clone(),
        config.message_format,
        retry.clone(),
    );
    if let Some(id) = cluster.id()? {
        writer.with_store(|store| store.bind(&id))?;
    }
    for stream in config.streams.iter() {
        let topic = &config.topics[stream];
        if cluster.partitions(topic)?.is_none() {
            let setting = format!("TOPIC_{}", stream.short_name().to_uppercase());
            warn!(
                "Topic {topic} does not exist; it is counted as soon as it does. cdr run makes it; {setting} names it"
            );
        }
    }
    let ids = cluster.topic_ids(&topics)?;
    writer.with_store(|store| store.bind_topics(&ids))?;
    let member = Member::join(kafka, &config.settings.group, &topics, shutdown)?;
    writer.keep(&member);
    let now = Instant::now();
    let mut processor = Processor {
        config,
        topics,
        cluster,
        member,
        writer,
        retry: &retry,
        reported: now,
        ends_committed: now,
        ends_queried: now,
    };
    let outcome = processor.run();
    processor.member.leave();
    outcome
}

struct Processor<'a> {
    config: &'a ProcessConfig,
    topics: Vec<&'a str>,
    cluster: Cluster,
    member: Member,
    writer: BatchWriter,
    retry: &'a StoreRetry,
    /// When the lags were reported.
    reported: Instant,
    /// When the ends of partitions were committed.
    ends_committed: Instant,
    /// When the ends were last queried.
    ends_queried: Instant,
}

impl Processor<'_> {
    fn run(&mut self) -> Result<(), ProcessError> {
        while !self.retry.shutdown.is_cancelled() {
            let polled = self.poll()?;
            if let Some(rebalance) = self.member.rebalanced() {
                self.rebalanced(rebalance)?;
            }
            if self.writer.must_seek() {
                self.flush()?;
            }
            match polled {
                Polled::OutOfRange => self.out_of_range()?,
                Polled::Corrupt(time, most) => {
                    warn!("A batch of records was corrupt; reading it again ({time} of {most})");
                    self.read_again()?;
                }
                Polled::Records | Polled::Idle => {
                    let settings = &self.config.settings;
                    let longest = if polled == Polled::Idle { LULL } else { settings.batch_open };
                    if self.writer.is_due(settings.batch_records, longest) {
                        self.flush()?;
                    }
                    self.report()?;
                    if self.config.until_end && self.is_at_end()? {
                        return Ok(());
                    }
                }
            }
        }
        self.flush()?;
        self.writer.commit_ends(&self.member.lags())
    }

    fn poll(&mut self) -> Result<Polled, ProcessError> {
        let waiting = self.writer.waiting();
        let max = self.config.settings.batch_records.saturating_sub(waiting).clamp(1, POLL_RECORDS);
        Ok(self.member.poll(WAIT, max, |received| self.writer.take(received))?)
    }

    /// Goes over to other partitions. Whoever reads those that are gone begins where the open batch ends,
    /// if it is stored in time; otherwise one of the two has an offset conflict, and nothing is counted
    /// twice.
    fn rebalanced(&mut self, rebalance: Rebalance) -> Result<(), ProcessError> {
        if self.writer.flush()? == Added::OffsetConflict {
            debug!("others were faster with the partitions that were revoked");
        }
        self.writer.reassign(rebalance);
        self.check_topics_if_any_answer()
    }

    fn flush(&mut self) -> Result<(), ProcessError> {
        if self.writer.flush()? == Added::OffsetConflict {
            warn!("Another processor has counted these messages already; going on behind them");
        }
        if let Some(offsets) = self.writer.offsets_to_seek()? {
            self.member.seek(&offsets)?;
        }
        if self.member.is_connected() {
            let mut read: Vec<StartOffset> = self.writer.start_offsets();
            read.retain(|(_, next)| next.is_some());
            self.member.commit(&read);
        }
        Ok(())
    }

    fn report(&mut self) -> Result<(), ProcessError> {
        if self.reported.elapsed() >= LULL {
            self.retry.observer.brokers_answer(self.member.is_connected());
            self.retry.observer.lags(&self.writer.behind(self.member.lags()));
            self.reported = Instant::now();
        }
        if self.ends_committed.elapsed() >= COMMIT_ENDS_EVERY {
            self.ends_committed = Instant::now();
            self.writer.commit_ends(&self.member.lags())?;
            self.check_topics_if_any_answer()?;
        }
        Ok(())
    }

    /// Fails when a topic is not the one that the store has read, though it may be as long. A topic
    /// that is deleted and created again comes as new partitions, before any of its messages is
    /// stored, unless that goes faster than the client notices.
    fn check_topics(&mut self) -> Result<(), ProcessError> {
        let ids = self.cluster.topic_ids(&self.topics)?;
        self.writer.with_store(|store| store.bind_topics(&ids))
    }

    /// The same, unless brokers do not answer now: others may give records all the same.
    fn check_topics_if_any_answer(&mut self) -> Result<(), ProcessError> {
        let ids = self.cluster.topic_ids_if_any_answer(&self.topics)?.unwrap_or_default();
        self.writer.with_store(|store| store.bind_topics(&ids))
    }

    /// Whether all that there is in all topics has been read, by whomever, and is stored.
    fn is_at_end(&mut self) -> Result<bool, ProcessError> {
        let (assigned, lags) = (self.member.assigned(), self.member.lags());
        let is_read = |of: &TopicPartition| lags.get(of).is_some_and(|lag| lag.end.is_some());
        let is_read = self.writer.waiting() == 0 && assigned.iter().all(is_read);
        if !is_read || self.ends_queried.elapsed() < QUERY_ENDS_EVERY {
            return Ok(false);
        }
        self.ends_queried = Instant::now();
        self.writer.commit_ends(&lags)?;
        let committed = self.writer.with_store(Store::committed)?;
        for topic in self.topics.clone() {
            if !self.is_topic_at_end(topic, &committed)? {
                return Ok(false);
            }
        }
        self.check_topics()?;
        Ok(true)
    }

    fn is_topic_at_end(
        &mut self,
        topic: &str,
        committed: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<bool, ProcessError> {
        // A topic that does not exist holds nothing.
        let (from, to) =
            self.cluster.committed_range(topic)?.map(|range| (range.from, range.to)).unwrap_or_default();
        for ((&first, &end), partition) in from.iter().zip(&to).zip(0..) {
            let at = committed.get(&(topic.to_owned(), partition));
            if at.map_or(first, |at| at.offset) < end {
                return Ok(false);
            }
        }
        for ((of, partition), &Committed { offset: next, .. }) in committed {
            let end = to.get(*partition as usize).copied().unwrap_or(0);
            if of == topic && next > end {
                self.check_topics()?;
                let (topic, partition) = (topic.to_owned(), *partition);
                return Err(ProcessError::Shrunk { topic, partition, next, end });
            }
        }
        Ok(true)
    }

    /// Goes back to the committed offsets, since the client passes over what is corrupt.
    fn read_again(&mut self) -> Result<(), ProcessError> {
        self.flush()?;
        let committed = self.writer.start_offsets();
        Ok(self.member.seek(&committed)?)
    }

    /// Finds the partition that has not, or no longer, what comes next.
    fn out_of_range(&mut self) -> Result<(), ProcessError> {
        self.flush()?;
        let committed = self.writer.start_offsets();
        let (mut offsets, mut found) = (Vec::new(), false);
        for (partition, next) in committed {
            let Some(next) = next else {
                offsets.push((partition, None));
                continue;
            };
            let (topic, partition) = partition;
            let (first, end) = self.cluster.partition_range(&topic, partition, Isolation::Committed)?;
            if !(first..=end).contains(&next) {
                found = true;
                self.check_topics()?;
            }
            if next > end {
                return Err(ProcessError::Shrunk { topic, partition, next, end });
            }
            if next < first {
                if !self.config.accept_loss {
                    return Err(ProcessError::Lost { topic, partition, next, first });
                }
                let lost = first - next;
                warn!(
                    "Topic {topic}, partition {partition}: {lost} offsets are lost to retention; going on behind them"
                );
            }
            offsets.push(((topic, partition), Some(next.max(first))));
        }
        if !found {
            warn!("The brokers report that an offset is out of range, and then that it is not");
            self.member.out_of_range()?;
        }
        // The client reads on only after a seek.
        Ok(self.member.seek(&offsets)?)
    }
}
