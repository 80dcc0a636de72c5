//! What the progress counts as delivered: the claim that a verification tests.

use std::ops::Range;

use cdr_model::progress::{ByPartition, Committed, Progress, RecordCursor};
use cdr_model::resume::Conflict;
use cdr_model::{PartIndex, Plan, Shard, Stream};

/// The committed state of a run, of all its shards, by part and partition.
#[derive(Clone, Debug)]
pub struct CommittedProgress {
    committed: Committed,
    plan: Plan,
}

impl CommittedProgress {
    /// # Errors
    /// Progress that does not fit the plan of its shard.
    pub fn new(committed: Committed, plan: Plan) -> Result<CommittedProgress, Conflict> {
        let fits = |progress: &Progress| {
            let shard: Option<Shard> = progress.shard.parse().ok();
            shard.is_some_and(|shard| progress.fits(&plan.clone().for_shard(shard)))
        };
        if !committed.begun().all(fits) {
            return Err(Conflict::ProgressInvalid);
        }
        Ok(CommittedProgress { committed, plan })
    }

    /// The progress of the shards that have begun.
    pub fn begun(&self) -> impl Iterator<Item = &Progress> {
        self.committed.begun()
    }

    /// Number of shards.
    pub fn split(&self) -> usize {
        self.committed.shards().len()
    }

    /// Whether nothing more is to come.
    pub fn is_finished(&self) -> bool {
        self.committed.is_finished()
    }

    /// The shard that a part belongs to, from 0.
    pub fn shard_of(&self, part: u64) -> usize {
        (part % self.split() as u64) as usize
    }

    /// The progress of the shard that a part belongs to.
    pub fn of_part(&self, part: u64) -> Option<&Progress> {
        self.of_shard(self.shard_of(part))
    }

    fn of_shard(&self, shard: usize) -> Option<&Progress> {
        self.committed.shards().get(shard)?.as_ref()
    }

    /// Which records of a part are delivered.
    pub fn delivered(&self, stream: Stream, part: u64) -> Range<u32> {
        let Some(progress) = self.of_part(part) else { return 0..0 };
        let reach = |cursor: &RecordCursor| cursor.reach(&self.plan, stream, PartIndex(part));
        let begin = reach(&progress.begin);
        begin..progress.cursors.records.as_ref().map_or(begin, reach).max(begin)
    }

    /// No part from this one on has records.
    pub fn parts_end(&self) -> u64 {
        let end = |progress: &Progress| progress.cursors.records.map_or(0, |at| at.part.0 + 1);
        self.begun().map(end).max().unwrap_or(0)
    }

    /// Records of one stream that a shard has delivered, by partition.
    pub fn counted(&self, stream: Stream, shard: usize) -> ByPartition {
        self.of_shard(shard).map_or_else(Vec::new, |progress| progress.delivered[stream].clone())
    }

    /// How many partitions the stream's topic had when the run began.
    pub fn partitions(&self, stream: Stream) -> u32 {
        let partitions = self.begun().map(|progress| progress.delivered[stream].len());
        partitions.max().unwrap_or(0).max(1) as u32
    }

    /// Where in a partition a shard's records begin.
    pub fn begin_offset(&self, stream: Stream, shard: usize, partition: usize) -> i64 {
        let begin = self.of_shard(shard).map(|progress| &progress.begin_offsets[stream]);
        begin.and_then(|begin| begin.get(partition)).copied().unwrap_or(0)
    }

    /// Where in each of a topic's partitions the run begins.
    pub fn begin_offsets(&self, stream: Stream, partitions: usize) -> ByPartition {
        let of_shards = |partition| {
            let begun = (0..self.split()).filter(|&shard| self.of_shard(shard).is_some());
            begun.map(move |shard| self.begin_offset(stream, shard, partition))
        };
        (0..partitions).map(|partition| of_shards(partition).min().unwrap_or(0)).collect()
    }

    /// Where in a partition the last shard to begin begins.
    pub fn last_begin_offset(&self, stream: Stream, partition: usize) -> i64 {
        let begin = |shard| self.begin_offset(stream, shard, partition);
        (0..self.split()).map(begin).max().unwrap_or(0)
    }
}
