//! What should be in the topics: the records that the progress counts, which a verification tests.

use std::ops::Range;
use std::sync::Arc;

use cdr_model::progress::{Committed, Progress, RecordCursor};
use cdr_model::resume::Conflict;
use cdr_model::{Generator, Message, MessageFormat, PartIndex, Plan, Shard, Stream};

/// The records of a run, of all its shards, as far as their progress counts them.
pub struct Expected {
    pub generator: Arc<Generator>,
    pub format: MessageFormat,
    /// Of all shards.
    pub plan: Plan,
    pub committed: Committed,
}

impl Expected {
    /// # Errors
    /// Progress that does not fit the plan of its shard.
    pub fn check(self) -> Result<Expected, Conflict> {
        let fits = |progress: &Progress| {
            let shard: Option<Shard> = progress.shard.parse().ok();
            shard.is_some_and(|shard| progress.fits(&self.plan.clone().for_shard(shard)))
        };
        let all_fit = self.committed.begun().all(fits);
        if all_fit { Ok(self) } else { Err(Conflict::ProgressInvalid) }
    }

    /// Hands over the messages of some records of a part.
    pub fn messages(&self, stream: Stream, part: u64, range: Range<u32>, each: impl FnMut(Message<'_>)) {
        let part = self.plan.part(PartIndex(part));
        self.format.encode(&self.generator, stream, &part, range, each);
    }

    /// The shard that a part belongs to, from 0.
    pub fn shard_of(&self, part: u64) -> usize {
        (part % self.committed.shards().len() as u64) as usize
    }

    /// The progress of the shard that a part belongs to.
    pub fn progress_of(&self, part: u64) -> Option<&Progress> {
        self.committed.shards()[self.shard_of(part)].as_ref()
    }

    /// Which records of a part are delivered.
    pub fn delivered(&self, stream: Stream, part: u64) -> Range<u32> {
        let Some(progress) = self.progress_of(part) else { return 0..0 };
        let reach = |cursor: &RecordCursor| cursor.reach(&self.plan, stream, PartIndex(part));
        let begin = reach(&progress.begin);
        begin..progress.cursors.records.as_ref().map_or(begin, reach).max(begin)
    }

    /// No part from this one on has records.
    pub fn parts_end(&self) -> u64 {
        let end = |progress: &Progress| progress.cursors.records.map_or(0, |at| at.part.0 + 1);
        self.committed.begun().map(end).max().unwrap_or(0)
    }

    /// How many partitions the stream's topic had when the run began.
    pub fn partitions(&self, stream: Stream) -> u32 {
        let partitions = self.committed.begun().map(|progress| progress.delivered[stream].len());
        partitions.max().unwrap_or(0).max(1) as u32
    }

    /// Where in a partition the shards that have begun begin.
    pub fn begin_offsets(&self, stream: Stream, partition: usize) -> impl Iterator<Item = i64> {
        self.committed.begun().map(move |progress| begin_offset(progress, stream, partition))
    }
}

/// Where in a partition the records of a shard begin.
pub fn begin_offset(progress: &Progress, stream: Stream, partition: usize) -> i64 {
    progress.begin_offsets[stream].get(partition).copied().unwrap_or(0)
}
