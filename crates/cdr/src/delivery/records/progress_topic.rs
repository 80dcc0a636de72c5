//! The topic `cdr_progress`: what was committed of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cdr_model::Shard;
use cdr_model::progress::{Committed, Parameters, Progress};
use cdr_model::resume::Conflict;

use crate::delivery::DeliveryError;
use crate::kafka::{Cluster, Isolation, KafkaError};

/// The topic has one partition, so that its records are in order.
const PARTITION: i32 = 0;

/// How long a brief wait for open transactions is.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Records that are read first; more only if the run's own is not among them.
const TAIL_RECORDS: i64 = 500;

/// Names a run and its shard, as its transactional id and as the key of its progress.
#[derive(Clone, Debug)]
pub struct RunId {
    pub name: String,
    pub shard: Shard,
}

impl RunId {
    /// Two processes with the same id fence each other: `cdr`, or `cdr-2-of-8` for a shard.
    pub fn transactional_id(&self) -> String {
        match self.shard.is_whole() {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, self.shard.to_string().replace('/', "-of-")),
        }
    }

    /// The key of the progress record: `cdr/1-of-1`.
    pub fn progress_key(&self) -> String {
        format!("{}/{}", self.name, self.shard.to_string().replace('/', "-of-"))
    }
}

/// The last record of each key, as offset and value.
type LastByKey = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

/// The run that a progress record's key names.
fn run_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.rsplit_once('/').map(|(name, _)| name)
}

/// What to do about transactions that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenTransactions {
    /// Wait for their ends, which may bring records of ours to light.
    Wait,
    /// Wait for them, but not long: one may be our own.
    WaitBriefly,
    /// Read what is committed before the first of them.
    Ignore,
}

/// What the topic has of a run and shard.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The shard's last committed progress, where the run was not begun again with another split.
    pub progress: Option<Progress>,
    /// Where and why a record cannot be read.
    pub unreadable: Option<String>,
    /// The number of shards with which the run was begun last, where it is another one.
    pub other_split: Option<u32>,
    /// What the run was begun with last.
    pub begun_with: Option<Parameters>,
    /// Whether no open transaction could hide a later record.
    pub settled: bool,
}

/// The progress topic of a cluster.
pub struct ProgressTopic<'a> {
    cluster: &'a mut Cluster,
    topic: &'a str,
}

impl<'a> ProgressTopic<'a> {
    pub fn new(cluster: &'a mut Cluster, topic: &'a str) -> Self {
        ProgressTopic { cluster, topic }
    }

    /// The last committed progress of a run and shard.
    pub(super) fn last(&mut self, id: &RunId, open: OpenTransactions) -> Result<Recorded, KafkaError> {
        if self.cluster.partitions(self.topic)?.is_none() {
            return Ok(Recorded { settled: true, ..Recorded::default() });
        }
        let (low, end, settled) = self.range(open)?;
        let found = self.read_back(low, end, id)?;
        let mut recorded = Recorded { settled, ..Recorded::default() };
        let own = id.progress_key();
        let mut readable = Vec::new();
        for (key, (offset, value)) in found {
            match self.parse(offset, &value) {
                Ok(progress) => readable.push(progress),
                Err(why) if key == own.as_bytes() => recorded.unreadable = Some(why),
                // Another shard's concern.
                Err(_) => {}
            }
        }
        let Some(committed) = Committed::newest(readable) else { return Ok(recorded) };
        recorded.begun_with = committed.begun().next().map(|progress| progress.parameters.clone());
        match committed.split() == id.shard.count() {
            true => recorded.progress = committed.shards()[id.shard.index()].clone(),
            false => recorded.other_split = Some(committed.split()),
        }
        Ok(recorded)
    }

    /// The committed state of a run; `None` where it has no progress.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse; and progress that cannot be read.
    pub fn committed(&mut self, run: &str) -> Result<Option<Committed>, DeliveryError> {
        let Some(ranges) = self.cluster.committed_range(self.topic)? else { return Ok(None) };
        let Some(&(low, end)) = ranges.first() else { return Ok(None) };
        let found = self.read(low, end, run)?;
        let read = |(offset, value): (i64, Vec<u8>)| {
            self.parse(offset, &value).map_err(Conflict::ProgressUnreadable)
        };
        let found: Vec<Progress> = found.into_values().map(read).collect::<Result<_, _>>()?;
        Ok(Committed::newest(found))
    }

    /// Where the topic begins and ends, and whether every transaction before that end has ended.
    ///
    /// Records of ours may lie behind another shard's open transaction, where a reader of committed
    /// records cannot see them yet. Such a transaction ends within its timeout.
    fn range(&mut self, open: OpenTransactions) -> Result<(i64, i64, bool), KafkaError> {
        let (low, end) = self.cluster.partition_range(self.topic, PARTITION, Isolation::Uncommitted)?;
        let begun = Instant::now();
        loop {
            let (_, stable) =
                self.cluster.partition_range(self.topic, PARTITION, Isolation::Committed)?;
            let is_over = match open {
                OpenTransactions::Wait => false,
                OpenTransactions::WaitBriefly => begun.elapsed() >= BRIEFLY,
                OpenTransactions::Ignore => true,
            };
            if stable >= end || is_over {
                return Ok((low, end, stable >= end));
            }
            let what = format!(
                "another process's transaction in topic {} to end; if that process is gone, the brokers abort the \
                 transaction when its timeout is over",
                self.topic
            );
            self.cluster.wait_for(begun, &what, Duration::from_millis(50))?;
        }
    }

    /// The last record of each key of a run, read from the end of the topic back until the shard's own
    /// is among them. Records of a later split lie behind it.
    fn read_back(&mut self, low: i64, end: i64, id: &RunId) -> Result<LastByKey, KafkaError> {
        let (own, mut tail) = (id.progress_key(), TAIL_RECORDS);
        loop {
            let begin = low.max(end - tail);
            let found = self.read(begin, end, &id.name)?;
            if found.contains_key(own.as_bytes()) || begin <= low {
                return Ok(found);
            }
            tail *= 8;
        }
    }

    /// The last record of each key of a run, as offset and value.
    fn read(&mut self, begin: i64, end: i64, run: &str) -> Result<LastByKey, KafkaError> {
        let mut found = BTreeMap::new();
        self.cluster.read(self.topic, PARTITION, begin, end, |record| {
            if run_of(record.key) == Some(run) {
                found.insert(record.key.to_vec(), (record.offset, record.value.to_vec()));
            }
        })?;
        Ok(found)
    }

    fn parse(&self, offset: i64, value: &[u8]) -> Result<Progress, String> {
        serde_json::from_slice(value)
            .map_err(|error| format!("topic {}, offset {offset}: {error}", self.topic))
    }
}
