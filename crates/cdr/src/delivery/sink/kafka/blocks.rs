//! A part as blocks of encoded records per partition.
//!
//! The unit that the sink hands to the client. How blocks reach the broker can change without
//! touching generation or the commit protocol.

use std::ops::Range;

use cdr_model::progress::{ByPartition, RecordCursor};
use cdr_model::{Generator, Message, Micros, Part, Plan, Stream};

use super::placement::partition;

/// Records encoded at a time between two looks at the limits.
const CHUNK_RECORDS: u32 = 1_000;

/// Encoded records of one partition: keys and values back to back, and where each ends.
#[derive(Default)]
pub struct Block {
    bytes: Vec<u8>,
    ends: Vec<End>,
}

#[derive(Clone, Copy)]
struct End {
    key: u32,
    value: u32,
    time: Micros,
}

/// A record of a block.
pub struct Encoded<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub time: Micros,
}

impl Block {
    fn push(&mut self, message: &Message<'_>) {
        self.bytes.extend_from_slice(message.key.as_bytes());
        let key = self.bytes.len() as u32;
        self.bytes.extend_from_slice(message.value);
        self.ends.push(End { key, value: self.bytes.len() as u32, time: message.time });
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Encoded<'_>> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let (key, value) = (end.key as usize, end.value as usize);
            let record =
                Encoded { key: &self.bytes[begin..key], value: &self.bytes[key..value], time: end.time };
            begin = value;
            record
        })
    }
}

/// How much one filling may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records of both streams together.
    pub records: u32,
    /// Bytes of keys and values together; passed by at most one chunk.
    pub bytes: usize,
    /// Only records before this time.
    pub before: Micros,
}

/// The blocks of both streams; their memory is used again for each filling.
pub struct Blocks {
    streams: [Vec<Block>; 2],
    records: u32,
    bytes: usize,
}

impl Blocks {
    /// `partitions`: of the data topic and of the voice topic, at least one each.
    pub fn new(partitions: [usize; 2]) -> Self {
        let streams =
            partitions.map(|count| std::iter::repeat_with(Block::default).take(count).collect());
        Blocks { streams, records: 0, bytes: 0 }
    }

    pub fn clear(&mut self) {
        self.streams.iter_mut().flatten().for_each(Block::clear);
        (self.records, self.bytes) = (0, 0);
    }

    /// Records in all blocks.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of keys and values in all blocks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every block that holds records, with its stream and partition.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, i32, &Block)> {
        Stream::ALL.into_iter().zip(&self.streams).flat_map(|(stream, blocks)| {
            let numbered = blocks.iter().zip(0..).filter(|(block, _)| block.len() > 0);
            numbered.map(move |(block, partition)| (stream, partition, block))
        })
    }

    /// Records of one stream, by partition.
    pub fn counts(&self, stream: Stream) -> ByPartition {
        self.streams[stream as usize].iter().map(|block| block.len() as i64).collect()
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
            let due = Stream::ALL.map(|stream| due(generator, stream, &part, &at, limits.before));
            self.fill_part(generator, &part, due, &mut at, limits);
            if !at.is_past(&part) {
                break;
            }
            at = RecordCursor::at(plan.after(at.part));
        }
        at
    }

    /// Takes turns between the streams, so that neither runs far ahead of the other.
    fn fill_part(
        &mut self,
        generator: &Generator,
        part: &Part,
        due: [u32; 2],
        at: &mut RecordCursor,
        limits: Limits,
    ) {
        loop {
            let waiting = Stream::ALL.into_iter().filter(|&s| at.delivered(s) < due[s as usize]);
            let Some(stream) = waiting.min_by_key(|&stream| at.delivered(stream)) else { return };
            let room = limits.records.saturating_sub(self.records);
            if room == 0 || self.bytes >= limits.bytes {
                return;
            }
            let begin = at.delivered(stream);
            let end = due[stream as usize].min(begin + room.min(CHUNK_RECORDS));
            self.encode(generator, stream, part, begin..end);
            at.set_delivered(stream, end);
        }
    }

    fn encode(&mut self, generator: &Generator, stream: Stream, part: &Part, range: Range<u32>) {
        let blocks = &mut self.streams[stream as usize];
        let partitions = blocks.len() as u32;
        self.records += range.len() as u32;
        generator.messages(stream, part, range, |message| {
            let key = message.key.as_bytes();
            self.bytes += key.len() + message.value.len();
            blocks[partition(key, partitions) as usize].push(&message);
        });
    }
}

/// How many records of a part are before a time: their times rise with their index.
fn due(generator: &Generator, stream: Stream, part: &Part, at: &RecordCursor, before: Micros) -> u32 {
    if before >= part.end() {
        return part.line_count;
    }
    let (mut low, mut high) = (at.delivered(stream), part.line_count);
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

/// The time of the next record behind a cursor, in either stream; `None` behind the plan's end.
pub fn next_time(generator: &Generator, plan: &Plan, at: &RecordCursor) -> Option<Micros> {
    if plan.is_done(at.part) {
        return None;
    }
    let part = plan.part(at.part);
    let waiting = Stream::ALL.into_iter().filter(|&stream| at.delivered(stream) < part.line_count);
    waiting.map(|stream| generator.time(stream, &part, at.delivered(stream))).min()
}

#[cfg(test)]
mod tests {
    use cdr_model::{PartIndex, Scenario, Shard};

    use super::*;

    fn world() -> (Generator, Plan) {
        let scenario = Scenario { line_count: 100, ..Scenario::default() };
        (Generator::new(&scenario).unwrap(), Plan::new(&scenario, Shard::WHOLE).unwrap())
    }

    /// What a run of fillings gives, partition by partition.
    fn delivered(limits: Limits, plan: &Plan, generator: &Generator) -> (Vec<Vec<u8>>, usize) {
        let mut blocks = Blocks::new([3, 2]);
        let (mut at, mut all, mut fillings) = (RecordCursor::at(plan.first()), vec![Vec::new(); 5], 0);
        loop {
            blocks.clear();
            let next = blocks.fill(generator, plan, at, limits);
            if blocks.records() == 0 {
                assert_eq!(next, at);
                return (all, fillings);
            }
            assert!(blocks.records() <= limits.records);
            for (stream, partition, block) in blocks.iter() {
                let place = stream as usize * 3 + partition as usize;
                for record in block.iter() {
                    assert!(record.time < limits.before);
                    all[place].extend_from_slice(record.key);
                    all[place].extend_from_slice(record.value);
                }
            }
            (at, fillings) = (next, fillings + 1);
        }
    }

    #[test]
    fn any_limit_gives_the_same_records_in_the_same_order() {
        let (generator, plan) = world();
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
        let (generator, plan) = world();
        let part = plan.part(plan.first());
        let mut blocks = Blocks::new([1, 1]);
        for index in [0, 1, 50, 99] {
            for stream in Stream::ALL {
                blocks.clear();
                let before = generator.time(stream, &part, index);
                let limits = Limits { records: u32::MAX, bytes: usize::MAX, before };
                let at = blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
                assert_eq!(at.delivered(stream), index);
                assert_eq!(blocks.records(), at.data + at.voice);
            }
        }
    }

    #[test]
    fn the_next_time_is_that_of_the_stream_which_waits() {
        let (generator, plan) = world();
        let part = plan.part(plan.first());
        let at = RecordCursor { data: 100, voice: 42, ..RecordCursor::at(plan.first()) };
        assert_eq!(next_time(&generator, &plan, &at), Some(generator.time(Stream::Voice, &part, 42)));
        assert_eq!(next_time(&generator, &plan, &RecordCursor::at(plan.end())), None);
    }

    #[test]
    fn streams_take_turns() {
        let (generator, plan) = world();
        let mut blocks = Blocks::new([1, 1]);
        let limits = Limits { records: 60, bytes: usize::MAX, before: plan.history_end() };
        let first = blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
        blocks.clear();
        let second = blocks.fill(&generator, &plan, first, limits);
        assert_eq!((first.data, first.voice), (60, 0));
        assert_eq!((second.data, second.voice), (60, 60));
    }

    #[test]
    fn a_key_stays_in_the_partition_that_its_hash_names() {
        let (generator, plan) = world();
        let mut blocks = Blocks::new([3, 3]);
        let limits = Limits { records: 5_000, bytes: usize::MAX, before: plan.history_end() };
        blocks.fill(&generator, &plan, RecordCursor::at(plan.first()), limits);
        for (_, number, block) in blocks.iter() {
            assert!(block.iter().all(|record| partition(record.key, 3) as i32 == number));
        }
        let counted: i64 = Stream::ALL.into_iter().flat_map(|stream| blocks.counts(stream)).sum();
        assert_eq!(counted, 5_000);
    }
}
