//! A member of a consumer group, which reads committed records from offsets that its caller knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as Response;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::close::close_within;
use super::config::KafkaConfig;
use super::connection::Connection;
use super::error::{KafkaError, is_retriable};
use super::health::{HealthContext, lock};
use super::rights::Right;
use crate::pause::pause;
use crate::telemetry::{RateLimit, and_more};

/// A topic and the number of one of its partitions.
pub type TopicPartition = (String, i32);

/// Where to read a partition; `None` is the first record that there is.
pub type StartOffset = (TopicPartition, Option<i64>);

/// How long leaving the group may take: what is read is stored by then, and brokers that are away
/// find out by themselves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Corrupt batches may be the network's doing; so often, one time soon after the other, they are the
/// disk's.
const CORRUPT_MAX: u32 = 10;
const CORRUPT_WINDOW: Duration = Duration::from_secs(60);

/// By how much longer each pause is than the last, before a corrupt batch is fetched again.
const CORRUPT_PAUSE: Duration = Duration::from_millis(200);

/// Of keys and values that are handed over at once.
const POLL_BYTES: usize = 4 << 20;

/// At most one line about a kind of error in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What the group has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// All partitions that the member has now.
    pub assigned: Vec<TopicPartition>,
    /// Those of them of which nothing is read until [`seek`](Member::seek) sets their offsets.
    pub new: Vec<TopicPartition>,
}

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records were handed over.
    Records,
    /// None came in the time.
    Idle,
    /// An offset that the partition does not have, or no longer.
    OutOfRange,
    /// A batch was corrupt, and the client has passed over it: the how-manieth time of the most.
    Corrupt(u32, u32),
}

/// A record of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
}

/// How far reading has come in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Records that are still to be read.
    pub behind: i64,
    /// With nothing left to be read: the offset up to which it is read, transaction markers included.
    pub end: Option<i64>,
}

/// Of the partitions of which it is known.
pub type Lags = BTreeMap<TopicPartition, Lag>;

/// A member of a group. Its calls fail when brokers are away for too long, or refuse.
pub struct Member {
    consumer: Arc<BaseConsumer<MemberContext>>,
    connection: Connection,
    topics: Vec<String>,
    group: String,
    corrupt: Option<CorruptBatches>,
    logged: RateLimit,
}

/// Keeps a member in its group while its caller waits for something else than records.
#[derive(Clone, Default)]
pub struct Standby(Weak<BaseConsumer<MemberContext>>);

impl Standby {
    /// Waits, and answers the group meanwhile. The member reads nothing more, and has to
    /// [seek](Member::seek) before it does again.
    pub fn wait(&self, time: Duration) {
        // Without a member, or behind its end, there is nobody to be kept.
        let Some(consumer) = self.0.upgrade() else { return pause(time) };
        let begun = Instant::now();
        let read = lock(&consumer.context().partitions).take_all_read();
        if read.count() > 0 {
            // It fails where they are given up already.
            drop(consumer.incremental_unassign(&read));
        }
        while begun.elapsed() < time {
            drop(consumer.poll(time.saturating_sub(begun.elapsed())));
        }
    }
}

/// How often brokers gave what cannot be used, one time soon after the other.
#[derive(Clone, Copy)]
struct CorruptBatches {
    times: u32,
    last: Instant,
    /// That of a corrupt batch, if there was any: after one, the client (librdkafka 2.12) reads on at a
    /// wrong place in the brokers' answer, and may fetch from offsets that there are not.
    code: Code,
}

/// What librdkafka calls back.
struct MemberContext {
    health: HealthContext,
    connected: AtomicBool,
    /// Whether partitions came or went since the caller learned which there are.
    rebalanced: AtomicBool,
    partitions: Mutex<Partitions>,
}

/// Those that the member has.
#[derive(Default)]
struct Partitions {
    assigned: Vec<TopicPartition>,
    /// Those that have come since the caller learned of rebalances.
    new: Vec<TopicPartition>,
    /// Those that the client reads.
    read: BTreeSet<TopicPartition>,
    lags: Lags,
    /// When offsets were last set, in microseconds of the monotonic clock.
    positioned_us: i64,
}

impl Partitions {
    /// Those of these that the client reads; they count as no longer read.
    fn take_read(&mut self, named: &[TopicPartition]) -> TopicPartitionList {
        let read: Vec<StartOffset> =
            named.iter().filter_map(|of| self.read.take(of)).map(|of| (of, None)).collect();
        list(&read)
    }

    fn take_all_read(&mut self) -> TopicPartitionList {
        let all: Vec<TopicPartition> = self.read.iter().cloned().collect();
        self.take_read(&all)
    }
}

impl Member {
    /// Joins a group that reads topics. Its partitions come, and go, while `poll` is called;
    /// [`rebalanced`](Member::rebalanced) gives them.
    pub fn join(
        config: &Arc<KafkaConfig>,
        group: &str,
        topics: &[&str],
        shutdown: &CancellationToken,
    ) -> Result<Member, KafkaError> {
        let connection = Connection::new(config, shutdown);
        let context = MemberContext {
            health: HealthContext(connection.health.clone()),
            connected: AtomicBool::new(true),
            rebalanced: AtomicBool::new(false),
            partitions: Mutex::default(),
        };
        let consumer: BaseConsumer<MemberContext> =
            config.group_consumer(group).create_with_context(context).map_err(KafkaError::property)?;
        consumer.subscribe(topics).map_err(KafkaError::property)?;
        Ok(Member {
            consumer: Arc::new(consumer),
            connection,
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            group: group.to_owned(),
            corrupt: None,
            logged: RateLimit::new(LOG_INTERVAL),
        })
    }

    /// Waits for a record, and hands it over with those that have come behind it: at most `max`, and
    /// not many more bytes than [`POLL_BYTES`].
    pub fn poll(
        &mut self,
        wait: Duration,
        max: usize,
        take: impl FnOnce(&[Received<'_>]),
    ) -> Result<Polled, KafkaError> {
        let (mut messages, mut bytes, mut failure) = (Vec::new(), 0, None);
        // What is behind a rebalance is for the next time.
        while messages.len() < max && bytes < POLL_BYTES && !self.consumer.context().is_rebalanced() {
            let wait = if messages.is_empty() { wait } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    bytes += message.payload_len() + message.key_len();
                    messages.push(message);
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                None => break,
            }
        }
        let is_idle = messages.is_empty();
        if !is_idle {
            take(&messages.iter().map(received).collect::<Vec<_>>());
        }
        drop(messages);
        match failure {
            Some(error) => self.failed(&error),
            None if is_idle => self.check_connection(),
            None => {
                self.connection.success();
                Ok(Polled::Records)
            }
        }
    }

    /// Silence may be a topic's, or that of brokers that are away.
    fn check_connection(&mut self) -> Result<Polled, KafkaError> {
        match self.is_connected() {
            true => self.connection.success(),
            false => self.connection.failure(Instant::now(), "no broker is connected")?,
        }
        Ok(Polled::Idle)
    }

    fn failed(&mut self, error: &ClientError) -> Result<Polled, KafkaError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => Ok(Polled::OutOfRange),
            Code::BadMessage | Code::NotImplemented | Code::BadCompression => {
                self.corrupt_batch(Code::BadMessage)
            }
            Code::GroupAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::GroupMaxSizeReached
            | Code::InvalidGroupId => {
                let action = format!("to join group {}", self.group);
                let right = || Right::on_group("Read", &self.group);
                let (config, reason) = (&self.connection.config, error.to_string());
                Err(KafkaError::refused(config, &action, right, code, reason))
            }
            _ if code == Code::TopicAuthorizationFailed
                || matches!(error, ClientError::MessageConsumptionFatal(_)) =>
            {
                Err(self.refused(code, error.to_string()))
            }
            _ => {
                if is_retriable(error) {
                    debug!("while reading: {error}");
                } else if let Some(more) = self.logged.pass(&error.to_string()) {
                    warn!("Reading goes on after an error: {error}{}", and_more(more));
                }
                self.check_connection()
            }
        }
    }

    /// That the brokers give no records.
    fn refused(&self, code: Code, reason: String) -> KafkaError {
        let right = || Right::on_topics("Read", self.topics.clone());
        KafkaError::refused(&self.connection.config, "to deliver records", right, code, reason)
    }

    /// Leaves the brokers some time after they called an offset out of range that they have, unless it is
    /// too often to be a passing fault.
    pub fn out_of_range(&mut self) -> Result<(), KafkaError> {
        self.corrupt_batch(Code::OffsetOutOfRange).map(drop)
    }

    fn corrupt_batch(&mut self, code: Code) -> Result<Polled, KafkaError> {
        let before = self.corrupt.filter(|corrupt| corrupt.last.elapsed() < CORRUPT_WINDOW);
        let times = before.map_or(0, |corrupt| corrupt.times) + 1;
        let code = match before {
            Some(CorruptBatches { code: Code::BadMessage, .. }) => Code::BadMessage,
            _ => code,
        };
        if times > CORRUPT_MAX {
            return Err(self.refused(code, code.to_string()));
        }
        pause(CORRUPT_PAUSE * times);
        self.corrupt = Some(CorruptBatches { times, last: Instant::now(), code });
        Ok(Polled::Corrupt(times, CORRUPT_MAX))
    }

    /// Whether a broker is connected; brought up to date twice a second.
    pub fn is_connected(&self) -> bool {
        self.consumer.context().connected.load(Ordering::Relaxed)
    }

    /// Leaves the group, as far as brokers answer.
    pub fn leave(self) {
        close_within(LEAVE_TIMEOUT, self);
    }

    /// What rebalances have brought since the last call, if there was any.
    pub fn rebalanced(&mut self) -> Option<Rebalance> {
        let context = self.consumer.context();
        context.rebalanced.swap(false, Ordering::Relaxed).then(|| {
            let mut partitions = lock(&context.partitions);
            Rebalance { assigned: partitions.assigned.clone(), new: std::mem::take(&mut partitions.new) }
        })
    }

    /// For whoever has to wait between two polls.
    pub fn standby(&self) -> Standby {
        Standby(Arc::downgrade(&self.consumer))
    }

    /// The partitions that this member has.
    pub fn assigned(&self) -> Vec<TopicPartition> {
        lock(&self.consumer.context().partitions).assigned.clone()
    }

    /// How far behind this member is, in its partitions; brought up to date twice a second.
    pub fn lags(&self) -> Lags {
        lock(&self.consumer.context().partitions).lags.clone()
    }

    /// Goes on reading partitions at other offsets; `None` is the first record that there is.
    ///
    /// They are given up and assigned again, since the client seeks only where it reads, and it reads no
    /// more where an offset was out of range.
    pub fn seek(&mut self, offsets: &[StartOffset]) -> Result<(), KafkaError> {
        let assigned = self.assigned();
        let ours: Vec<StartOffset> =
            offsets.iter().filter(|(at, _)| assigned.contains(at)).cloned().collect();
        if ours.is_empty() {
            return Ok(());
        }
        let named: Vec<TopicPartition> = ours.iter().map(|(of, _)| of.clone()).collect();
        let read = lock(&self.consumer.context().partitions).take_read(&named);
        let (begun, list) = (Instant::now(), list(&ours));
        if read.count() > 0 {
            // It fails where they are given up already.
            drop(self.consumer.incremental_unassign(&read));
        }
        while let Err(error) = self.consumer.incremental_assign(&list) {
            self.connection.failure(begun, &error.to_string())?;
            pause(Duration::from_millis(100));
        }
        lock(&self.consumer.context().partitions).read.extend(named);
        self.consumer.context().positioned();
        Ok(())
    }

    /// Commits offsets to the brokers, for people and tools that look there. Nothing depends on it.
    pub fn commit(&self, offsets: &[StartOffset]) {
        if let Err(error) = self.consumer.commit(&list(offsets), CommitMode::Async) {
            debug!("offsets are not committed to the brokers: {error}");
        }
    }
}

fn received<'a>(message: &'a BorrowedMessage<'_>) -> Received<'a> {
    Received {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key(),
        value: message.payload().unwrap_or_default(),
    }
}

impl ClientContext for MemberContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.health.log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.health.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut partitions = lock(&self.partitions);
        if statistics.ts <= partitions.positioned_us {
            return;
        }
        let connected =
            statistics.brokers.values().any(|broker| matches!(&*broker.state, "UP" | "UPDATE"));
        self.connected.store(connected, Ordering::Relaxed);
        let lag_of = |(topic, partition): &TopicPartition| {
            lag(statistics.topics.get(topic)?.partitions.get(partition)?)
        };
        let lags = partitions.assigned.iter().filter_map(|one| Some((one.clone(), lag_of(one)?)));
        partitions.lags = lags.collect();
    }
}

/// What a reader of committed records has still to read; at the end there may be transaction markers,
/// which are no records.
///
/// When a partition is taken, its offsets are for a moment those of the time before, but for that of
/// the end that was seen, which is unknown then.
fn lag(partition: &Partition) -> Option<Lag> {
    if partition.ls_offset < 0 || partition.next_offset < 0 || partition.fetch_state != "active" {
        return None;
    }
    let is_read = partition.next_offset >= partition.ls_offset && partition.fetchq_cnt == 0;
    match is_read && partition.eof_offset == partition.next_offset {
        true => Some(Lag { behind: 0, end: Some(partition.next_offset) }),
        false => {
            let behind = partition.ls_offset - partition.app_offset.max(partition.lo_offset);
            Some(Lag { behind: behind.max(1), end: None })
        }
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        response: Response,
        partitions: &mut TopicPartitionList,
    ) {
        let named: Vec<TopicPartition> =
            partitions.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
        let done = match response == Response::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            true => self.assign(consumer, &named),
            false => self.revoke(consumer, &named),
        };
        if let Err(error) = done {
            warn!("Partitions are not taken over, or not given up: {error}");
        }
    }
}

/// The callbacks of a rebalance. The whole group waits for them, so they wait for nothing: offsets are
/// looked up, and records stored, behind the poll that called them.
impl MemberContext {
    fn is_rebalanced(&self) -> bool {
        self.rebalanced.load(Ordering::Relaxed)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        named: &[TopicPartition],
    ) -> Result<(), ClientError> {
        self.rebalanced.store(true, Ordering::Relaxed);
        let mut partitions = lock(&self.partitions);
        partitions.assigned.extend_from_slice(named);
        partitions.new.extend_from_slice(named);
        // Nothing is added, mostly, when others come or go.
        if !named.is_empty() || partitions.assigned.is_empty() {
            info!("Reading {}", shown(named));
        }
        drop(partitions);
        // The client reads nothing of them before `seek`.
        consumer.incremental_assign(&TopicPartitionList::new())
    }

    fn revoke(
        &self,
        consumer: &BaseConsumer<Self>,
        named: &[TopicPartition],
    ) -> Result<(), ClientError> {
        self.rebalanced.store(true, Ordering::Relaxed);
        let mut partitions = lock(&self.partitions);
        partitions.assigned.retain(|one| !named.contains(one));
        partitions.new.retain(|one| !named.contains(one));
        partitions.lags.retain(|one, _| !named.contains(one));
        let read = partitions.take_read(named);
        drop(partitions);
        if !named.is_empty() {
            info!("No longer reading {}", shown(named));
        }
        consumer.incremental_unassign(&read)
    }

    /// Statistics of the time before do not count any more.
    fn positioned(&self) {
        // The clock of librdkafka's statistics.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mut partitions = lock(&self.partitions);
        partitions.positioned_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        partitions.lags.clear();
    }
}

fn list(offsets: &[StartOffset]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in offsets {
        let offset = offset.map_or(Offset::Beginning, Offset::Offset);
        if let Err(error) = list.add_partition_offset(topic, *partition, offset) {
            // Only an offset that cannot be is refused; those that are stored were read before.
            debug!("offset {offset:?}: {error}");
        }
    }
    list
}

/// `cdr_data 0, 1, 2 and cdr_voice 0`
fn shown(partitions: &[TopicPartition]) -> String {
    let mut by_topic: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic).or_default().push(partition.to_string());
    }
    let topics: Vec<_> =
        by_topic.iter().map(|(topic, numbers)| format!("{topic} {}", numbers.join(", "))).collect();
    match topics.is_empty() {
        true => "nothing: others have all partitions".to_owned(),
        false => topics.join(" and "),
    }
}
