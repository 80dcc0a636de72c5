//! What the progress says is delivered: the claim that a verification tests.

use std::ops::Range;

use cdr_model::progress::{ByPartition, Progress, RecordCursor};
use cdr_model::resume::Conflict;
use cdr_model::{Plan, Shard, Stream};

/// The progress of all shards of one run.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Of shard 1, 2, …; `None` where it has not begun.
    shards: Vec<Option<Progress>>,
    topics: [String; 2],
    line_count: u32,
}

impl Ledger {
    /// Takes the newest split of a run into shards, of all that there were. `None` where there is no
    /// progress.
    ///
    /// # Errors
    /// Progress that names no shard, or does not fit the plan of the one that it names.
    pub fn new(
        found: Vec<Progress>,
        plan: &Plan,
        topics: [String; 2],
    ) -> Result<Option<Ledger>, Conflict> {
        let Some(newest) = found.iter().max_by_key(|progress| progress.begun_ms) else {
            return Ok(None);
        };
        let split = shard(newest)?;
        let mut shards = vec![None; split.count() as usize];
        for progress in found {
            let shard = shard(&progress)?;
            if shard.count() == split.count() {
                if !progress.fits(&plan.clone().for_shard(shard)) {
                    return Err(Conflict::ProgressInvalid);
                }
                shards[shard.index()] = Some(progress);
            }
        }
        Ok(Some(Ledger { shards, topics, line_count: plan.line_count() }))
    }

    /// The progress of the shards that have begun.
    pub fn begun(&self) -> impl Iterator<Item = &Progress> {
        self.shards.iter().flatten()
    }

    /// Number of shards, and of those that have begun.
    pub fn shards(&self) -> (usize, usize) {
        (self.shards.len(), self.begun().count())
    }

    /// Whether nothing more is to come.
    pub fn is_finished(&self) -> bool {
        self.shards.iter().all(|shard| shard.as_ref().is_some_and(|progress| progress.finished))
    }

    /// The shard that a part belongs to.
    pub fn shard_of(&self, part: u64) -> usize {
        (part % self.shards.len() as u64) as usize
    }

    pub fn of_part(&self, part: u64) -> Option<&Progress> {
        self.shards[self.shard_of(part)].as_ref()
    }

    /// Which records of a part are delivered.
    pub fn delivered(&self, stream: Stream, part: u64) -> Range<u32> {
        let Some(progress) = self.of_part(part) else { return 0..0 };
        let end = up_to(&progress.cursors.kafka.unwrap_or_default(), stream, part, self.line_count);
        let begin = up_to(&progress.begin, stream, part, self.line_count);
        begin..end.max(begin)
    }

    /// No part from this one on has records.
    pub fn parts_end(&self) -> u64 {
        let end = |progress: &Progress| progress.cursors.kafka.map_or(0, |at| at.part.0 + 1);
        self.begun().map(end).max().unwrap_or(0)
    }

    /// Records of one stream that a shard has delivered, by partition.
    pub fn counted(&self, stream: Stream, shard: usize) -> ByPartition {
        let topic = &self.topics[stream as usize];
        let progress = self.shards[shard].as_ref();
        progress.and_then(|progress| progress.delivered.get(topic).cloned()).unwrap_or_default()
    }

    /// Where in a partition a shard's records begin.
    pub fn begin_offset(&self, stream: Stream, shard: usize, partition: usize) -> i64 {
        let topic = &self.topics[stream as usize];
        let progress = self.shards[shard].as_ref();
        let begin = progress.and_then(|progress| progress.begin_offsets.get(topic));
        begin.and_then(|begin| begin.get(partition)).copied().unwrap_or(0)
    }

    /// Where in each of a topic's partitions the run begins.
    pub fn begin_offsets(&self, stream: Stream, partitions: usize) -> ByPartition {
        let begun = || (0..self.shards.len()).filter(|&shard| self.shards[shard].is_some());
        let first = |partition| {
            begun().map(|shard| self.begin_offset(stream, shard, partition)).min().unwrap_or(0)
        };
        (0..partitions).map(first).collect()
    }
}

fn shard(progress: &Progress) -> Result<Shard, Conflict> {
    progress.shard.parse().map_err(|_| Conflict::ProgressInvalid)
}

fn up_to(cursor: &RecordCursor, stream: Stream, part: u64, line_count: u32) -> u32 {
    match part.cmp(&cursor.part.0) {
        std::cmp::Ordering::Less => line_count,
        std::cmp::Ordering::Equal => cursor.delivered(stream),
        std::cmp::Ordering::Greater => 0,
    }
}
