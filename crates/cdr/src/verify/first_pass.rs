//! The first pass over the topics: which parts are right, by count and sum.
//!
//! A part's records may come from several partitions, and so in any order. What is compared is how
//! many there are and the sum of their hashes, which needs no memory for each. Parts whose sums are
//! right are forgotten but for one bit; the others are read again afterwards, record by record.

use std::collections::{BTreeSet, HashMap};

use cdr_model::{PartIndex, PerStream, Stream};
use xxhash_rust::xxh3::xxh3_128;

use super::expected::Expected;
use super::filter::{Belongs, RecordFilter};
use super::part_set::PartSet;
use crate::kafka::{ReadRecord, partition};

/// Parts of a stream that differ and are remembered; a run that has more is beyond repair anyway.
const SUSPECTS_MAX: usize = 10_000;

/// Records that belong to no part, and are described; all are counted.
const UNEXPECTED_MAX: usize = 20;

/// One stream of one part.
pub type PartOfStream = (u64, Stream);

/// A record's identity: key and value, wherever it stands.
pub fn fingerprint(key: &[u8], value: &[u8]) -> u128 {
    // No key has a digit and then a brace, so the two cannot run into each other.
    let mut bytes = [0; 512];
    match bytes.get_mut(..key.len() + value.len()) {
        Some(whole) => {
            whole[..key.len()].copy_from_slice(key);
            whole[key.len()..].copy_from_slice(value);
            xxh3_128(whole)
        }
        None => xxh3_128(&[key, value].concat()),
    }
}

/// What is known of a part so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    fingerprints: u128,
}

impl Sum {
    fn add(&mut self, fingerprint: u128) {
        self.count += 1;
        self.fingerprints = self.fingerprints.wrapping_add(fingerprint);
    }
}

/// A record that belongs to no part of the run, or to another partition.
#[derive(Clone, Debug)]
pub struct UnexpectedRecord {
    pub stream: Stream,
    pub partition: i32,
    pub offset: i64,
    pub why: String,
}

/// The parts of a stream that differ.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    /// The first of them.
    pub parts: Vec<u64>,
    /// How many there are in all.
    pub count: u64,
}

/// What was found of one stream.
#[derive(Clone, Debug, Default)]
pub struct StreamCounts {
    /// Records that the progress counts.
    pub counted: u64,
    pub younger: u64,
    pub unexpected: u64,
    pub misplaced: u64,
}

#[derive(Default)]
struct StreamParts {
    right: PartSet,
    /// Parts that were wrong once, among those that have delivered records.
    wrong: PartSet,
    /// Parts behind these for which there are records.
    beyond: BTreeSet<u64>,
}

/// The first pass.
pub struct FirstPass<'a> {
    expected: Expected<'a>,
    filter: RecordFilter<'a>,
    open: HashMap<PartOfStream, Sum>,
    partitions: PerStream<u32>,
    parts: PerStream<StreamParts>,
    pub counts: PerStream<StreamCounts>,
    pub described: Vec<UnexpectedRecord>,
}

impl<'a> FirstPass<'a> {
    pub fn new(expected: Expected<'a>) -> Self {
        FirstPass {
            expected,
            filter: RecordFilter::of_counted(expected.plan, expected.format, expected.committed),
            open: HashMap::new(),
            partitions: PerStream::from_fn(|stream| expected.committed.partitions(stream)),
            parts: PerStream::default(),
            counts: PerStream::default(),
            described: Vec::new(),
        }
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, stream: Stream, record: &ReadRecord<'_>) {
        match self.filter.sort(stream, record) {
            Belongs::ToPart(part) => self.count((part, stream), record),
            Belongs::Older => {}
            Belongs::Younger => self.counts[stream].younger += 1,
            Belongs::Unexpected(why) => {
                self.counts[stream].unexpected += 1;
                self.describe(stream, record, why.to_owned());
            }
        }
    }

    fn count(&mut self, of: PartOfStream, record: &ReadRecord<'_>) {
        let (part, stream) = of;
        self.counts[stream].counted += 1;
        let due = partition(record.key, self.partitions[stream]) as i32;
        if due != record.partition {
            self.counts[stream].misplaced += 1;
            self.describe(stream, record, format!("it belongs in partition {due}, by its key"));
        }
        if self.parts[stream].right.contains(part) {
            // All of the part has been here already.
            self.parts[stream].right.remove(part);
            return self.suspect(of);
        }
        let range = self.expected.committed.delivered(stream, part);
        let sum = self.open.entry(of).or_default();
        sum.add(fingerprint(record.key, record.value));
        if (sum.count as usize) < range.len() {
            return;
        }
        let found = *sum;
        self.open.remove(&of);
        let is_right =
            found.count as usize == range.len() && found.fingerprints == self.sum(of).fingerprints;
        match is_right {
            true => self.parts[stream].right.insert(part),
            false => self.suspect(of),
        }
    }

    fn sum(&self, (part, stream): PartOfStream) -> Sum {
        let range = self.expected.committed.delivered(stream, part);
        let mut sum = Sum::default();
        self.expected.messages(stream, PartIndex(part), range, |message| {
            sum.add(fingerprint(message.key.as_bytes(), message.value));
        });
        sum
    }

    fn suspect(&mut self, (part, stream): PartOfStream) {
        let parts = &mut self.parts[stream];
        // A forged time can name any part, so only those of the run get a bit.
        if part < self.expected.committed.parts_end() {
            parts.wrong.insert(part);
        } else if parts.beyond.len() < SUSPECTS_MAX {
            parts.beyond.insert(part);
        }
    }

    /// Ends the pass: the parts of each stream that differ.
    pub fn suspects(&self) -> PerStream<Suspects> {
        PerStream::from_fn(|stream| {
            let (parts, committed) = (&self.parts[stream], self.expected.committed);
            let is_suspect = |&part: &u64| {
                let is_missed =
                    !parts.right.contains(part) && !committed.delivered(stream, part).is_empty();
                is_missed || parts.wrong.contains(part)
            };
            let within = (0..committed.parts_end()).filter(is_suspect);
            let mut suspects = Suspects::default();
            for part in within.chain(parts.beyond.iter().copied()) {
                if suspects.parts.len() < SUSPECTS_MAX {
                    suspects.parts.push(part);
                }
                suspects.count += 1;
            }
            suspects
        })
    }

    fn describe(&mut self, stream: Stream, record: &ReadRecord<'_>, why: String) {
        if self.described.len() < UNEXPECTED_MAX {
            let (partition, offset) = (record.partition, record.offset);
            self.described.push(UnexpectedRecord { stream, partition, offset, why });
        }
    }
}
