//! The first pass over the topics: which parts are right, by count and sum.
//!
//! A part's records may come from several partitions, and so in any order. What is compared is how
//! many there are and the sum of their hashes, which needs no memory for each. Parts whose sums are
//! right are forgotten but for one bit; the others are read again afterwards, record by record.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use cdr_model::{PerStream, Stream};
use xxhash_rust::xxh3::xxh3_128;

use super::expected::Expected;
use super::filter::{At, Belongs, RecordFilter};
use super::part_set::PartSet;
use super::report::RecordsReport;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u32,
    fingerprints: u128,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count += 1;
        self.fingerprints = self.fingerprints.wrapping_add(fingerprint(key, value));
    }
}

/// The parts of a stream that differ: the first of them, and how many there are in all.
#[derive(Default)]
pub struct Suspects {
    pub parts: Vec<u64>,
    pub count: u64,
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
    expected: &'a Expected,
    filter: RecordFilter<'a>,
    open: HashMap<PartOfStream, Sum>,
    partitions: PerStream<u32>,
    parts: PerStream<StreamParts>,
    described: usize,
    reports: PerStream<RecordsReport>,
}

impl<'a> FirstPass<'a> {
    pub fn new(expected: &'a Expected) -> Self {
        FirstPass {
            expected,
            filter: RecordFilter::of_counted(expected),
            open: HashMap::new(),
            partitions: PerStream::from_fn(|stream| expected.partitions(stream)),
            parts: PerStream::default(),
            described: 0,
            reports: PerStream::default(),
        }
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, stream: Stream, record: &ReadRecord<'_>) {
        match self.filter.sort(stream, record) {
            Belongs::ToPart(part) => self.count((part, stream), record),
            Belongs::Older => {}
            Belongs::Younger => self.reports[stream].younger += 1,
            Belongs::Unexpected(why) => {
                self.reports[stream].foreign += 1;
                self.describe(stream, record, why);
            }
        }
    }

    fn count(&mut self, of: PartOfStream, record: &ReadRecord<'_>) {
        let (part, stream) = of;
        self.reports[stream].found += 1;
        let due = partition(record.key, self.partitions[stream]) as i32;
        if due != record.partition {
            self.reports[stream].misplaced += 1;
            self.describe(stream, record, &format!("it belongs in partition {due}, by its key"));
        }
        if self.parts[stream].right.contains(part) {
            // All of the part has been here already.
            self.parts[stream].right.remove(part);
            return self.suspect(of);
        }
        let range = self.expected.delivered(stream, part);
        let sum = self.open.entry(of).or_default();
        sum.add(record.key, record.value);
        if (sum.count as usize) < range.len() {
            return;
        }
        match self.open.remove(&of) == Some(self.sum(of, range)) {
            true => self.parts[stream].right.insert(part),
            false => self.suspect(of),
        }
    }

    fn sum(&self, (part, stream): PartOfStream, range: Range<u32>) -> Sum {
        let mut sum = Sum::default();
        let add = |message: cdr_model::Message<'_>| sum.add(message.key.as_bytes(), message.value);
        self.expected.messages(stream, part, range, add);
        sum
    }

    fn suspect(&mut self, (part, stream): PartOfStream) {
        let parts = &mut self.parts[stream];
        // A forged time can name any part, so only those of the run get a bit.
        if part < self.expected.parts_end() {
            parts.wrong.insert(part);
        } else if parts.beyond.len() < SUSPECTS_MAX {
            parts.beyond.insert(part);
        }
    }

    /// What was found, but for what is of parts that differ, and which these are.
    pub fn end(self) -> (PerStream<RecordsReport>, PerStream<Suspects>) {
        let suspects = PerStream::from_fn(|stream| {
            let (parts, expected) = (&self.parts[stream], self.expected);
            let is_suspect = |&part: &u64| {
                let is_due = !expected.delivered(stream, part).is_empty();
                parts.wrong.contains(part) || is_due && !parts.right.contains(part)
            };
            let within = (0..expected.parts_end()).filter(is_suspect);
            let all = within.chain(parts.beyond.iter().copied());
            Suspects { count: all.clone().count() as u64, parts: all.take(SUSPECTS_MAX).collect() }
        });
        (self.reports, suspects)
    }

    fn describe(&mut self, stream: Stream, record: &ReadRecord<'_>, why: &str) {
        if self.described < UNEXPECTED_MAX {
            self.described += 1;
            self.reports[stream].findings.push(format!("{}: {why}", At::from(record)));
        }
    }
}
