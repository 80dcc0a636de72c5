//! A member of a consumer group, which reads committed records from the places that it is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_resp_err_t as Response;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::config::KafkaConfig;
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use super::retire::retire;
use super::rights::Right;
use crate::delivery::board::Board;
use crate::telemetry::{RateLimit, and_more};

/// A topic and the number of one of its partitions.
pub type TopicPartition = (String, i32);

/// Where to read a partition; `None` is the first record that there is.
pub type Place = (TopicPartition, Option<i64>);

/// How long one call may block.
const CALL: Duration = Duration::from_secs(5);

/// How long leaving the group may take: what is read is stored by then, and brokers that are away
/// find out by themselves.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// What brokers refuse when they give no records.
const READING: &str = "to deliver records";

/// Damaged records may be the network's doing; so often, one time soon after the other, they are the
/// disk's.
const DAMAGED_MAX: u32 = 10;
const DAMAGED_AGAIN: Duration = Duration::from_secs(60);

/// By how much longer each pause is than the last, before damaged records are asked for again.
const DAMAGED_PAUSE: Duration = Duration::from_millis(200);

/// At most one line about a kind of trouble in this time.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a member does when it gets partitions, or loses them. Called in the thread that reads.
pub trait Duties: Send {
    /// Tells the offset at which to begin with each of these; `None` is the first that there is.
    fn assigned(&mut self, partitions: &[TopicPartition]) -> Vec<Option<i64>>;

    /// Others will read these from now on, or do so already.
    fn revoked(&mut self, partitions: &[TopicPartition]);
}

/// What a member hears next.
#[derive(Debug)]
pub enum Heard {
    /// Nothing, for a while.
    Nothing,
    /// A record was read, and the callback has seen it.
    Record,
    /// An offset that the partition does not have, or no longer.
    OutOfRange,
    /// Records came damaged, and the client has passed over them: the how-manieth time of the most.
    Damaged(u32, u32),
}

/// A record of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
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
    /// With nothing left to be read: the offset up to which it is read, marks of transactions
    /// included.
    pub end: Option<i64>,
}

/// Of the partitions of which it is known.
pub type Lags = BTreeMap<TopicPartition, Lag>;

/// A member of a group.
pub struct Member<D: Duties> {
    consumer: BaseConsumer<Hooks<D>>,
    config: Arc<KafkaConfig>,
    group: String,
    patience: Patience,
    mishaps: Option<Mishaps>,
    told: RateLimit<String>,
}

/// How often brokers gave what cannot be used, one time soon after the other.
#[derive(Clone, Copy)]
struct Mishaps {
    times: u32,
    last: Instant,
    /// Damaged records, if there were any: after those, the client (librdkafka 2.12) reads on at a wrong
    /// place in the brokers' answer, and may ask for offsets that there are not.
    code: Code,
}

/// What librdkafka calls back.
struct Hooks<D: Duties> {
    watch: Watch,
    duties: Arc<Mutex<D>>,
    lags: Mutex<Lags>,
    assigned: Mutex<Vec<TopicPartition>>,
    connected: AtomicBool,
    /// When partitions were last taken, in microseconds of the monotonic clock.
    placed_us: Mutex<i64>,
}

impl<D: Duties + 'static> Member<D> {
    /// Joins a group that reads topics. Its partitions come, and go, while `hear` is called.
    ///
    /// # Errors
    /// Properties that the client does not take.
    pub fn join(
        config: &Arc<KafkaConfig>,
        group: &str,
        topics: &[&str],
        board: &Arc<Board>,
        duties: Arc<Mutex<D>>,
    ) -> Result<Member<D>, KafkaSinkError> {
        let health = Arc::new(Health::new(&config.brokers));
        let patience = Patience::new(health.clone(), board.clone(), config.give_up_after);
        let refused = |error: KafkaError| KafkaSinkError::Property(error.to_string());
        let hooks = Hooks {
            watch: Watch(health),
            duties,
            lags: Mutex::default(),
            assigned: Mutex::default(),
            connected: AtomicBool::new(true),
            placed_us: Mutex::default(),
        };
        let consumer: BaseConsumer<Hooks<D>> =
            config.group_consumer(group).create_with_context(hooks).map_err(refused)?;
        consumer.subscribe(topics).map_err(refused)?;
        let (config, group) = (config.clone(), group.to_owned());
        Ok(Member { consumer, config, group, patience, mishaps: None, told: RateLimit::new(TOLD_EVERY) })
    }

    /// Waits for a record, and shows it to `each`.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn hear(
        &mut self,
        wait: Duration,
        each: impl FnOnce(Delivered<'_>),
    ) -> Result<Heard, KafkaSinkError> {
        match self.consumer.poll(wait) {
            None => {
                self.look()?;
                Ok(Heard::Nothing)
            }
            Some(Ok(message)) => {
                each(Delivered {
                    topic: message.topic(),
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key(),
                    value: message.payload().unwrap_or_default(),
                });
                self.patience.success();
                Ok(Heard::Record)
            }
            Some(Err(error)) => self.trouble(&error),
        }
    }

    /// Silence may be a topic's, or that of brokers that are away.
    fn look(&mut self) -> Result<(), KafkaSinkError> {
        if self.is_connected() {
            self.patience.success();
            return Ok(());
        }
        self.patience.failure(Instant::now(), "no broker is connected")
    }

    fn trouble(&mut self, error: &KafkaError) -> Result<Heard, KafkaSinkError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let (brokers, reason) = (self.config.brokers.clone(), error.to_string());
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => Ok(Heard::OutOfRange),
            Code::BadMessage | Code::NotImplemented | Code::BadCompression => {
                self.mishap(Code::BadMessage)
            }
            Code::TopicAuthorizationFailed => Err(KafkaSinkError::Unauthorized {
                brokers,
                action: READING.to_owned(),
                right: Right::on_topics("Read", self.config.record_topics().map(str::to_owned).to_vec()),
                reason,
            }),
            Code::GroupAuthorizationFailed => Err(KafkaSinkError::Unauthorized {
                brokers,
                action: format!("to join group {}", self.group),
                right: Right::on_group("Read", &self.group),
                reason,
            }),
            Code::InconsistentGroupProtocol | Code::GroupMaxSizeReached | Code::InvalidGroupId => {
                let action = format!("to join group {}", self.group);
                Err(KafkaSinkError::Rejected { brokers, action, code, reason })
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                let action = READING.to_owned();
                Err(KafkaSinkError::Rejected { brokers, action, code, reason })
            }
            _ => {
                if remedy(Failure::plain(code)) == Remedy::Retry {
                    debug!("while reading: {error}");
                } else if let Some(more) = self.told.pass(&reason) {
                    warn!("Reading goes on after an error: {error}{}", and_more(more));
                }
                self.look()?;
                Ok(Heard::Nothing)
            }
        }
    }

    /// Counts how often the brokers called an offset out of range that they have, and leaves them some
    /// time.
    ///
    /// # Errors
    /// Too often for a mishap.
    pub fn out_of_range(&mut self) -> Result<(), KafkaSinkError> {
        self.mishap(Code::OffsetOutOfRange).map(drop)
    }

    fn mishap(&mut self, code: Code) -> Result<Heard, KafkaSinkError> {
        let before = self.mishaps.filter(|mishaps| mishaps.last.elapsed() < DAMAGED_AGAIN);
        let times = before.map_or(0, |mishaps| mishaps.times) + 1;
        let code = match before {
            Some(Mishaps { code: Code::BadMessage, .. }) => Code::BadMessage,
            _ => code,
        };
        if times > DAMAGED_MAX {
            let (brokers, action) = (self.config.brokers.clone(), READING.to_owned());
            let reason = code.to_string();
            return Err(KafkaSinkError::Rejected { brokers, action, code, reason });
        }
        pause(DAMAGED_PAUSE * times);
        self.mishaps = Some(Mishaps { times, last: Instant::now(), code });
        Ok(Heard::Damaged(times, DAMAGED_MAX))
    }

    /// Whether a broker is connected; looked at twice a second.
    pub fn is_connected(&self) -> bool {
        self.consumer.context().connected.load(Ordering::Relaxed)
    }

    /// Leaves the group, as far as brokers answer.
    pub fn leave(self) {
        retire(self, LEAVE_PATIENCE);
    }

    /// The partitions that this member has.
    pub fn assigned(&self) -> Vec<TopicPartition> {
        lock(&self.consumer.context().assigned).clone()
    }

    /// How far behind this member is, in its partitions; brought up to date twice a second.
    pub fn lags(&self) -> Lags {
        lock(&self.consumer.context().lags).clone()
    }

    /// Goes on reading partitions at other places; `None` is the first that there is.
    ///
    /// They are given up and taken anew, since the client seeks only where it reads, and it reads no
    /// more where an offset was out of range.
    ///
    /// # Errors
    /// As `hear`.
    pub fn go_on_at(&mut self, places: &[Place]) -> Result<(), KafkaSinkError> {
        let assigned = self.assigned();
        let ours: Vec<Place> = places.iter().filter(|(at, _)| assigned.contains(at)).cloned().collect();
        if ours.is_empty() {
            return Ok(());
        }
        let (begun, list) = (Instant::now(), list(&ours));
        loop {
            // It fails where they are given up already.
            drop(self.consumer.incremental_unassign(&list));
            match self.consumer.incremental_assign(&list) {
                Ok(()) => break,
                Err(error) => self.patience.failure(begun, &error.to_string())?,
            }
            pause(Duration::from_millis(100));
        }
        self.consumer.context().placed();
        Ok(())
    }

    /// Tells the brokers how far the group has come, for people and tools that ask them. Nothing
    /// depends on it.
    pub fn note(&self, places: &[Place]) {
        if let Err(error) = self.consumer.commit(&list(places), CommitMode::Async) {
            debug!("offsets are not noted: {error}");
        }
    }

    /// The offset of the first record that a partition still has, and the one behind its last.
    ///
    /// # Errors
    /// As `hear`.
    pub fn range(&mut self, (topic, partition): &TopicPartition) -> Result<(i64, i64), KafkaSinkError> {
        let begun = Instant::now();
        loop {
            match self.consumer.fetch_watermarks(topic, *partition, CALL) {
                Ok(range) => return Ok(range),
                Err(error) => self.patience.failure(begun, &error.to_string())?,
            }
            pause(Duration::from_millis(100));
        }
    }
}

impl<D: Duties> Hooks<D> {
    /// What was known of the course before does not count any more.
    fn placed(&self) {
        *lock(&self.placed_us) = monotonic_us();
        lock(&self.lags).clear();
    }
}

/// The clock of librdkafka's statistics.
fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

impl<D: Duties> ClientContext for Hooks<D> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.ts <= *lock(&self.placed_us) {
            return;
        }
        let connected =
            statistics.brokers.values().any(|broker| matches!(&*broker.state, "UP" | "UPDATE"));
        self.connected.store(connected, Ordering::Relaxed);
        let assigned = lock(&self.assigned).clone();
        let lag_of = |(topic, partition): &TopicPartition| {
            let partitions = &statistics.topics.get(topic)?.partitions;
            lag(partitions.get(partition)?)
        };
        let lags = assigned.into_iter().filter_map(|one| lag_of(&one).map(|lag| (one, lag)));
        *lock(&self.lags) = lags.collect();
    }
}

/// What a reader of committed records has still to read; at the end there may be marks of
/// transactions, which are no records.
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

impl<D: Duties> ConsumerContext for Hooks<D> {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        response: Response,
        partitions: &mut TopicPartitionList,
    ) {
        let named: Vec<TopicPartition> =
            partitions.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
        let done = if response == Response::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let offsets = lock(&self.duties).assigned(&named);
            lock(&self.assigned).extend_from_slice(&named);
            // Nothing is added, mostly, when others come or go.
            if !named.is_empty() || lock(&self.assigned).is_empty() {
                info!("Reading {}", shown(&named));
            }
            let places: Vec<_> = named.into_iter().zip(offsets).collect();
            let done = consumer.incremental_assign(&list(&places));
            self.placed();
            done
        } else {
            lock(&self.duties).revoked(&named);
            lock(&self.assigned).retain(|one| !named.contains(one));
            lock(&self.lags).retain(|one, _| !named.contains(one));
            if !named.is_empty() {
                info!("No longer reading {}", shown(&named));
            }
            consumer.incremental_unassign(partitions)
        };
        if let Err(error) = done {
            warn!("Partitions are not taken over, or not given up: {error}");
        }
    }
}

fn list(places: &[Place]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        let offset = offset.map_or(Offset::Beginning, Offset::Offset);
        let mut added = list.add_partition(topic, *partition);
        // Only an offset that cannot be is refused; those that are stored were read before.
        added.set_offset(offset).unwrap_or_else(|error| debug!("offset {offset:?}: {error}"));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
