//! What librdkafka calls back to a member of a group: its partitions come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use rdkafka::bindings::rd_kafka_resp_err_t as Response;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::health::{HealthContext, lock};

/// A topic and the number of one of its partitions.
pub type TopicPartition = (String, i32);

/// Where to read a partition; `None` is the first record that there is.
pub type StartOffset = (TopicPartition, Option<i64>);

/// What the group has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// All partitions that the member has now.
    pub assigned: Vec<TopicPartition>,
    /// Those of them of which nothing is read until [`seek`](Member::seek) sets their offsets.
    pub new: Vec<TopicPartition>,
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

/// What librdkafka calls back.
pub(super) struct MemberContext {
    health: HealthContext,
    connected: AtomicBool,
    /// Whether partitions came or went since the caller learned which there are.
    rebalanced: AtomicBool,
    partitions: Mutex<Partitions>,
}

/// Those that the member has.
#[derive(Default)]
pub(super) struct Partitions {
    pub assigned: Vec<TopicPartition>,
    /// Those that have come since the caller learned of rebalances.
    new: Vec<TopicPartition>,
    /// Those that the client reads.
    pub read: BTreeSet<TopicPartition>,
    pub lags: Lags,
    /// When offsets were last set, in microseconds of the monotonic clock.
    positioned_us: i64,
}

impl Partitions {
    /// Those of these that the client reads; they count as no longer read.
    pub fn take_read(&mut self, named: &[TopicPartition]) -> TopicPartitionList {
        let read: Vec<StartOffset> =
            named.iter().filter_map(|of| self.read.take(of)).map(|of| (of, None)).collect();
        list(&read)
    }

    pub fn take_all_read(&mut self) -> TopicPartitionList {
        let all: Vec<TopicPartition> = self.read.iter().cloned().collect();
        self.take_read(&all)
    }
}

impl MemberContext {
    pub fn new(health: HealthContext) -> MemberContext {
        MemberContext {
            health,
            connected: AtomicBool::new(true),
            rebalanced: AtomicBool::new(false),
            partitions: Mutex::default(),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub fn partitions(&self) -> MutexGuard<'_, Partitions> {
        lock(&self.partitions)
    }

    /// What rebalances have brought since the last call, if there was any.
    pub fn rebalanced(&self) -> Option<Rebalance> {
        self.rebalanced.swap(false, Ordering::Relaxed).then(|| {
            let mut partitions = self.partitions();
            Rebalance { assigned: partitions.assigned.clone(), new: std::mem::take(&mut partitions.new) }
        })
    }

    pub fn is_rebalanced(&self) -> bool {
        self.rebalanced.load(Ordering::Relaxed)
    }

    /// Statistics of the time before do not count any more.
    pub fn positioned(&self) {
        // The clock of librdkafka's statistics.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mut partitions = self.partitions();
        partitions.positioned_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        partitions.lags.clear();
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
        let mut partitions = self.partitions();
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
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        named: &[TopicPartition],
    ) -> Result<(), ClientError> {
        self.rebalanced.store(true, Ordering::Relaxed);
        let mut partitions = self.partitions();
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
        let mut partitions = self.partitions();
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
}

pub(super) fn list(offsets: &[StartOffset]) -> TopicPartitionList {
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
