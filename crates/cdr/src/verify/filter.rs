//! Which records of a topic are the run's, and which of these its progress counts.

use std::fmt;

use cdr_model::progress::{ByPartition, Progress};
use cdr_model::{PartIndex, PerStream, Stream};

use super::expected::{Expected, begin_offset};
use crate::kafka::ReadRecord;

/// A position in a topic.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub partition: i32,
    pub offset: i64,
}

impl From<&ReadRecord<'_>> for At {
    fn from(record: &ReadRecord<'_>) -> At {
        At { partition: record.partition, offset: record.offset }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} offset {}", self.partition, self.offset)
    }
}

/// What a record is to the run.
pub enum Belongs {
    ToPart(u64),
    /// It is of an earlier run in the same topic.
    Older,
    /// It was delivered after the progress was read.
    Younger,
    /// It is of no part of the run.
    Unexpected(&'static str),
}

/// Sorts the records of topics by what they are to a run.
pub struct RecordFilter<'a> {
    expected: &'a Expected,
    /// By stream, shard and partition: counted records that are still to come. `None` takes all.
    left: Option<PerStream<Vec<ByPartition>>>,
}

impl<'a> RecordFilter<'a> {
    /// Passes every record of the run, also those that are younger than the progress.
    pub fn of_run(expected: &'a Expected) -> Self {
        RecordFilter { expected, left: None }
    }

    /// Passes as many records as the progress counts. Of a finished run, that is all.
    pub fn of_counted(expected: &'a Expected) -> Self {
        let committed = &expected.committed;
        let counted = |stream| {
            let of_shard = |progress: &Progress| progress.delivered[stream].clone();
            let shards = committed.shards().iter();
            shards.map(|progress| progress.as_ref().map(of_shard).unwrap_or_default()).collect()
        };
        let left = (!committed.is_finished()).then(|| PerStream::from_fn(counted));
        RecordFilter { expected, left }
    }

    /// Each record of a partition must be queried once, in order.
    pub fn sort(&mut self, stream: Stream, record: &ReadRecord<'_>) -> Belongs {
        let (expected, partition) = (self.expected, record.partition as usize);
        let time = expected.format.time_of(record.value).ok_or("it is not a record of this kind");
        let in_part = |time| expected.plan.part_at(time).ok_or("its time is in no part of the run");
        let part = match time.and_then(in_part) {
            Ok(PartIndex(part)) => part,
            // Before a run's first record there may be anything.
            Err(why) => match expected.begin_offsets(stream, partition).max() {
                Some(last_begin) if record.offset < last_begin => return Belongs::Older,
                _ => return Belongs::Unexpected(why),
            },
        };
        let progress = expected.progress_of(part);
        if progress.is_some_and(|of| record.offset < begin_offset(of, stream, partition)) {
            return Belongs::Older;
        }
        let Some(left) = &mut self.left else { return Belongs::ToPart(part) };
        match left[stream][expected.shard_of(part)].get_mut(partition) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Belongs::ToPart(part)
            }
            // Behind all that is counted, a run that goes on may have added more.
            _ => Belongs::Younger,
        }
    }
}
