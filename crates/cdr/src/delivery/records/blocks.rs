//! A part as batches of encoded records per partition.
//!
//! The unit that is handed to the producer. How batches reach the broker can change without touching
//! generation or the commit protocol.

use std::ops::Range;

use cdr_model::progress::{ByPartition, RecordCursor};
use cdr_model::{Generator, MessageFormat, Micros, Part, PerStream, Plan, Stream};

use crate::kafka::{Encoded, RecordBatch, partition};

/// Records encoded at a time between two checks of the limits.
const CHUNK_RECORDS: u32 = 1_000;

/// How much one filling may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records of all streams together.
    pub records: u32,
    /// Bytes of keys and values together; passed by at most one chunk.
    pub bytes: usize,
    /// Only records before this time.
    pub before: Micros,
}

/// The batches of all streams; their memory is used again for each filling.
pub struct Blocks {
    format: MessageFormat,
    batches: PerStream<Vec<RecordBatch>>,
    records: u32,
    bytes: usize,
}

impl Blocks {
    /// `partitions`: of each stream's topic, at least one where the stream is of the run.
    pub fn new(format: MessageFormat, partitions: &PerStream<usize>) -> Self {
        let batches = PerStream::from_fn(|stream| {
            std::iter::repeat_with(RecordBatch::default).take(partitions[stream]).collect()
        });
        Blocks { format, batches, records: 0, bytes: 0 }
    }

    pub fn clear(&mut self) {
        self.batches.iter_mut().flat_map(|(_, batches)| batches).for_each(RecordBatch::clear);
        (self.records, self.bytes) = (0, 0);
    }

    /// Records in all batches.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of keys and values in all batches.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every batch that holds records, with its stream and partition.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, i32, &RecordBatch)> {
        self.batches.iter().flat_map(|(stream, batches)| {
            let numbered = batches.iter().zip(0..).filter(|(batch, _)| !batch.is_empty());
            numbered.map(move |(batch, partition)| (stream, partition, batch))
        })
    }

    /// Records of one stream, by partition.
    pub fn counts(&self, stream: Stream) -> ByPartition {
        self.batches[stream].iter().map(|batch| batch.len() as i64).collect()
    }

    /// Adds records from the cursor on, in time order within each stream, until a limit is
    /// reached or the plan ends; returns the cursor behind them.
    pub fn fill(
        &mut self,
        generator: &Generator,
        plan: &Plan,
        from: RecordCursor,
        limits: Limits,
    ) -> RecordCursor {
        let mut at = from;
        while !plan.is_done(at.part) {
            let part = plan.part(at.part);
            let due = plan.streams().map(|stream| {
                let from = at.delivered[stream];
                (stream, from, due_before(generator, stream, &part, from, limits.before))
            });
            // Streams take turns, so that none runs far ahead of the others.
            let next = due.filter(|(_, from, end)| from < end).min_by_key(|&(_, from, _)| from);
            let Some((stream, from, end)) = next else {
                if !at.is_past_part(plan) {
                    break;
                }
                at = RecordCursor::at(plan.after(at.part));
                continue;
            };
            let room = limits.records.saturating_sub(self.records);
            if room == 0 || self.bytes >= limits.bytes {
                break;
            }
            let end = end.min(from + room.min(CHUNK_RECORDS));
            self.encode(generator, stream, &part, from..end);
            at.delivered[stream] = end;
        }
        at
    }

    fn encode(&mut self, generator: &Generator, stream: Stream, part: &Part, range: Range<u32>) {
        let batches = &mut self.batches[stream];
        let partitions = batches.len() as u32;
        self.records += range.len() as u32;
        self.format.encode(generator, stream, part, range, |message| {
            let (key, value) = (message.key.as_bytes(), message.value);
            self.bytes += key.len() + value.len();
            let timestamp_ms = message.time.as_millis();
            let record = Encoded { key, value, timestamp_ms };
            batches[partition(key, partitions) as usize].push(record);
        });
    }
}

/// How many records of a part are before a time, at least `from`: their times rise with their index.
fn due_before(generator: &Generator, stream: Stream, part: &Part, from: u32, before: Micros) -> u32 {
    let count = generator.count(stream, part.index);
    if before >= part.end() {
        return count;
    }
    let (mut low, mut high) = (from, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if generator.time(stream, part, middle) < before {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The time of the next record behind a cursor, in any stream; `None` behind the plan's end.
///
/// A part whose records are all delivered has none: then it is the end of its window, so that the
/// cursor goes on to the next part in time.
pub fn next_time(generator: &Generator, plan: &Plan, at: &RecordCursor) -> Option<Micros> {
    if plan.is_done(at.part) {
        return None;
    }
    let part = plan.part(at.part);
    let waiting = plan.streams().filter(|&stream| at.delivered[stream] < plan.count(stream, at.part));
    let next = waiting.map(|stream| generator.time(stream, &part, at.delivered[stream])).min();
    Some(next.unwrap_or(Micros(part.end().0 - 1)))
}

#[cfg(test)]
mod tests {
    use cdr_model::{PartIndex, Scenario, Shard};

    use super::*;

    const STREAMS: [Stream; 2] = [Stream::Data, Stream::Voice];

    fn blocks(data: usize, voice: usize) -> Blocks {
        let mut partitions = PerStream::default();
        (partitions[Stream::Data], partitions[Stream::Voice]) = (data, voice);
        Blocks::new(MessageFormat::Json, &partitions)
    }

    fn cursor(part: PartIndex, data: u32, voice: u32) -> RecordCursor {
        let mut at = RecordCursor::at(part);
        (at.delivered[Stream::Data], at.delivered[Stream::Voice]) = (data, voice);
        at
    }

    fn fixture() -> (Generator, Plan) {
        let scenario = Scenario { line_count: 100, ..Scenario::default() };
        (Generator::new(&scenario).unwrap(), Plan::new(&scenario, Shard::WHOLE).unwrap())
    }

    /// What a run of fillings gives, partition by partition.
    fn delivered(limits: Limits, plan: &Plan, generator: &Generator) -> (Vec<Vec<u8>>, usize) {
        let mut blocks = blocks(3, 2);
        let (mut at, mut all, mut fillings) = (RecordCursor::at(plan.first()), vec![Vec::new(); 5], 0);
        loop {
            blocks.clear();
            let next = blocks.fill(generator, plan, at, limits);
            if blocks.records() == 0 {
                assert_eq!(next, at);
                return (all, fillings);
            }
            assert!(blocks.records() <= limits.records);
            for (stream, partition, batch) in blocks.iter() {
                let place = stream as usize * 3 + partition as usize;
                for record in batch.iter() {
                    assert!(record.timestamp_ms < limits.before.as_millis());
                    all[place].extend_from_slice(record.key);
                    all[place].extend_from_slice(record.value);
                }
            }
            (at, fillings) = (next, fillings + 1);
        }
    }

    #[test]
    fn any_limit_gives_the_same_records_in_the_same_order() {
        let (generator, plan) = fixture();
        let before = plan.part(PartIndex(20)).start;
        let all = Limits { records: u32::MAX, bytes: usize::MAX, before };
        let (expected, fillings) = delivered(all, &plan, &generator);
        assert_eq!(fillings, 1);
        assert!(expected.iter().all(|partition| !partition.is_empty()));
        for (records, bytes) in [(1, usize::MAX), (7, usize::MAX), (4_000, 1), (999, 30_000)] {
            let (found, fillings) = delivered(Limits { records, bytes, before }, &plan, &generator);
            assert_eq!(found, expected, "{records} records, {bytes} bytes");
            assert!(fillings > 1);
        }
    }

    #[test]
    fn only_what_is_due_is_filled() {
        let (generator, plan) = fixture();
        let part = plan.part(plan.first());
        let mut blocks = blocks(1, 1);
        for index in [0, 1, 50, 99] {
            for stream in STREAMS {
                blocks.clear();
                let before = generator.time(stream, &part, index);
                let limits = Limits { records: u32::MAX, bytes: usize::MAX, before };
                let at = blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
                assert_eq!(at.delivered[stream], index);
                assert_eq!(blocks.records(), at.delivered.values().sum::<u32>());
            }
        }
    }

    #[test]
    fn the_next_time_is_that_of_the_stream_which_waits() {
        let (generator, plan) = fixture();
        let part = plan.part(plan.first());
        let at = cursor(plan.first(), 100, 42);
        assert_eq!(next_time(&generator, &plan, &at), Some(generator.time(Stream::Voice, &part, 42)));
        assert_eq!(next_time(&generator, &plan, &RecordCursor::at(plan.end())), None);
    }

    #[test]
    fn streams_take_turns() {
        let (generator, plan) = fixture();
        let mut blocks = blocks(1, 1);
        let limits = Limits { records: 60, bytes: usize::MAX, before: plan.history_end() };
        let first = blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
        blocks.clear();
        let second = blocks.fill(&generator, &plan, first, limits);
        assert_eq!(first, cursor(plan.first(), 60, 0));
        assert_eq!(second, cursor(plan.first(), 60, 60));
    }

    #[test]
    fn a_key_stays_in_the_partition_that_its_hash_names() {
        let (generator, plan) = fixture();
        let mut blocks = blocks(3, 3);
        let limits = Limits { records: 5_000, bytes: usize::MAX, before: plan.history_end() };
        blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
        for (_, number, batch) in blocks.iter() {
            assert!(batch.iter().all(|record| partition(record.key, 3) as i32 == number));
        }
        let counted: i64 = STREAMS.into_iter().flat_map(|stream| blocks.counts(stream)).sum();
        assert_eq!(counted, 5_000);
    }
}
