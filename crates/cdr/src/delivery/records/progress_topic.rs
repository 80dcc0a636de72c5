//! The topic `cdr_progress`: what was committed of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cdr_model::Shard;
use cdr_model::progress::{Committed, Progress};
use cdr_model::resume::{Conflict, KafkaState};

use crate::delivery::DeliveryError;
use crate::kafka::{Cluster, Isolation, KafkaError, TopicRange};

/// The topic has one partition, so that its records are in order.
const PARTITION: i32 = 0;

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

/// The progress topic of a cluster.
pub struct ProgressTopic<'a> {
    pub cluster: &'a mut Cluster,
    pub topic: &'a str,
}

impl ProgressTopic<'_> {
    /// What was committed last of a run and shard, without the ends of the record topics. Open
    /// transactions, which may hide it, are waited for, but no longer than `wait_max`.
    pub(super) fn last(&mut self, id: &RunId, wait_max: Duration) -> Result<KafkaState, KafkaError> {
        if self.cluster.partitions(self.topic)?.is_none() {
            return Ok(KafkaState { no_open_transactions: true, ..KafkaState::default() });
        }
        let (low, end, no_open_transactions) = self.range(wait_max)?;
        let (own, mut tail) = (id.progress_key(), TAIL_RECORDS);
        // Records of a later split lie behind the shard's own.
        let found = loop {
            let begin = low.max(end - tail);
            let range = TopicRange { topic: self.topic.to_owned(), from: vec![begin], to: vec![end] };
            let found = self.read(range, &id.name)?;
            if found.contains_key(own.as_bytes()) || begin <= low {
                break found;
            }
            tail *= 8;
        };
        let mut state = KafkaState { no_open_transactions, ..KafkaState::default() };
        let mut readable = Vec::new();
        for (key, (offset, value)) in found {
            match self.parse(offset, &value) {
                Ok(progress) => readable.push(progress),
                Err(why) if key == own.as_bytes() => state.unreadable = Some(why),
                // Another shard's concern.
                Err(_) => {}
            }
        }
        let Some(committed) = Committed::newest(readable) else { return Ok(state) };
        state.begun_with = committed.begun().next().map(|progress| progress.parameters.clone());
        state.begun_ms = committed.begun().map(|progress| progress.begun_ms).max();
        match committed.split() == id.shard.count() {
            true => state.progress = committed.shards()[id.shard.index()].clone(),
            false => state.other_split = Some(committed.split()),
        }
        Ok(state)
    }

    /// The committed state of a run; `None` where it has no progress. Fails where that cannot be read.
    pub fn committed(&mut self, run: &str) -> Result<Option<Committed>, DeliveryError> {
        let Some(range) = self.cluster.committed_range(self.topic)? else { return Ok(None) };
        let found = self.read(range, run)?;
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
    fn range(&mut self, wait_max: Duration) -> Result<(i64, i64, bool), KafkaError> {
        let (low, end) = self.cluster.partition_range(self.topic, PARTITION, Isolation::Uncommitted)?;
        let begun = Instant::now();
        loop {
            let (_, stable) =
                self.cluster.partition_range(self.topic, PARTITION, Isolation::Committed)?;
            if stable >= end || begun.elapsed() >= wait_max {
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

    /// The last record of each key of a run, as offset and value.
    fn read(&mut self, range: TopicRange, run: &str) -> Result<LastByKey, KafkaError> {
        let mut found = BTreeMap::new();
        // Also when the run ends: then there may be a commit in doubt.
        self.cluster.read_unless(
            || false,
            &[range],
            |_, record| {
                if run_of(record.key) == Some(run) {
                    found.insert(record.key.to_vec(), (record.offset, record.value.to_vec()));
                }
            },
        )?;
        Ok(found)
    }

    fn parse(&self, offset: i64, value: &[u8]) -> Result<Progress, String> {
        serde_json::from_slice(value)
            .map_err(|error| format!("topic {}, offset {offset}: {error}", self.topic))
    }
}
