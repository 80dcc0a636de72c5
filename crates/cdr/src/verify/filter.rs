//! Which records of a topic are the run's, and which of these its progress counts.

use cdr_model::progress::ByPartition;
use cdr_model::{MessageFormat, PartIndex, PerStream, Plan, Stream};

use super::committed::CommittedProgress;
use crate::kafka::ReadRecord;

/// What a record is to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It is one of this part.
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
    plan: &'a Plan,
    format: MessageFormat,
    committed: &'a CommittedProgress,
    /// By stream, shard and partition: counted records that are still to come. `None` takes all.
    left: Option<PerStream<Vec<ByPartition>>>,
}

impl<'a> RecordFilter<'a> {
    /// Passes every record of the run, also those that are younger than the progress.
    pub fn of_run(plan: &'a Plan, format: MessageFormat, committed: &'a CommittedProgress) -> Self {
        RecordFilter { plan, format, committed, left: None }
    }

    /// Passes as many records as the progress counts. Of a finished run, that is all.
    pub fn of_counted(plan: &'a Plan, format: MessageFormat, committed: &'a CommittedProgress) -> Self {
        let shards = 0..committed.split();
        let counted = |stream| shards.clone().map(|shard| committed.counted(stream, shard)).collect();
        let left = (!committed.is_finished()).then(|| PerStream::from_fn(counted));
        RecordFilter { plan, format, committed, left }
    }

    /// Each record of a partition must be queried once, in order.
    pub fn sort(&mut self, stream: Stream, record: &ReadRecord<'_>) -> Belongs {
        let Some(time) = self.format.time_of(record.value) else {
            return self.of_no_part(stream, record, "it is not a record of this kind");
        };
        let Some(PartIndex(part)) = self.plan.part_at(time) else {
            return self.of_no_part(stream, record, "its time is in no part of the run");
        };
        let shard = self.committed.shard_of(part);
        let partition = record.partition as usize;
        if record.offset < self.committed.begin_offset(stream, shard, partition) {
            return Belongs::Older;
        }
        let Some(left) = &mut self.left else { return Belongs::ToPart(part) };
        match left[stream][shard].get_mut(partition) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Belongs::ToPart(part)
            }
            // Behind all that is counted, a run that goes on may have added more.
            _ => Belongs::Younger,
        }
    }

    /// Before a run's first record there may be anything.
    fn of_no_part(&self, stream: Stream, record: &ReadRecord<'_>, why: &'static str) -> Belongs {
        match record.offset < self.committed.last_begin_offset(stream, record.partition as usize) {
            true => Belongs::Older,
            false => Belongs::Unexpected(why),
        }
    }
}
