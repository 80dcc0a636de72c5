//! Records that were read, against records that were delivered: part by part, by count and sum.
//!
//! A part's records may come from several partitions, and so in any order. What is compared is how
//! many there are and the sum of their hashes, which needs no memory for each. Parts whose sums are
//! right are forgotten but for one bit; the others are examined afterwards, record by record.

use std::collections::{BTreeSet, HashMap};

use cdr_model::progress::ByPartition;
use cdr_model::{Generator, Micros, PartIndex, Plan, Stream};
use xxhash_rust::xxh3::xxh3_128;

use super::ledger::Ledger;
use crate::delivery::sink::kafka::{Seen, partition};

/// Parts that differ and are remembered; a run that has more is beyond repair anyway.
const SUSPECTS_MAX: usize = 10_000;

/// Records that belong to no part, and are described; all are counted.
const STRANGERS_MAX: usize = 20;

/// One stream of one part.
pub type Place = (u64, Stream);

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

/// The time at the end of a message: `…"2024-01-01T01:01:15.291148"}`.
pub fn time_of(value: &[u8]) -> Option<Micros> {
    let time = value.strip_suffix(b"\"}")?;
    Micros::parse(time.get(time.len().checked_sub(26)?..)?)
}

/// Tells records of the run that are counted by the progress from older and younger ones.
pub struct Sieve<'a> {
    plan: &'a Plan,
    ledger: &'a Ledger,
    /// By stream and shard: counted records that are still to come, by partition. `None` takes all.
    left: Option<[Vec<ByPartition>; 2]>,
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// To this part of the run.
    OfRun(u64),
    /// To an earlier run in the same topic.
    Older,
    /// To the time after the progress was read.
    Younger,
    /// To no part of the run.
    Stranger(&'static str),
}

impl<'a> Sieve<'a> {
    /// Lets every record of the run through, also those that are younger than the progress.
    pub fn of_run(plan: &'a Plan, ledger: &'a Ledger) -> Self {
        Sieve { plan, ledger, left: None }
    }

    /// Lets as many records through as the progress counts. Of a finished run, that is all.
    pub fn of_counted(plan: &'a Plan, ledger: &'a Ledger) -> Self {
        let shards = 0..ledger.shards().0;
        let left = |stream| shards.clone().map(|shard| ledger.counted(stream, shard)).collect();
        let left = (!ledger.is_finished()).then(|| Stream::ALL.map(left));
        Sieve { plan, ledger, left }
    }

    /// Each record of a partition must be asked for once, in order.
    pub fn find(&mut self, stream: Stream, seen: &Seen<'_>) -> Found {
        let Some(time) = time_of(seen.value) else {
            return self.unplaced(stream, seen, "it is not a record of this kind");
        };
        let Some(PartIndex(part)) = self.plan.part_at(time) else {
            return self.unplaced(stream, seen, "its time is in no part of the run");
        };
        let shard = self.ledger.shard_of(part);
        let partition = seen.partition as usize;
        if seen.offset < self.ledger.begin_offset(stream, shard, partition) {
            return Found::Older;
        }
        let Some(left) = &mut self.left else { return Found::OfRun(part) };
        match left[stream as usize][shard].get_mut(partition) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Found::OfRun(part)
            }
            // Behind all that is counted, a run that goes on may have added more.
            _ => Found::Younger,
        }
    }

    /// Before a run's first record there may be anything.
    fn unplaced(&self, stream: Stream, seen: &Seen<'_>, why: &'static str) -> Found {
        let partition = seen.partition as usize;
        let begin = |shard| self.ledger.begin_offset(stream, shard, partition);
        match (0..self.ledger.shards().0).map(begin).max() {
            Some(begin) if seen.offset < begin => Found::Older,
            _ => Found::Stranger(why),
        }
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
pub struct Stranger {
    pub stream: Stream,
    pub partition: i32,
    pub offset: i64,
    pub why: String,
}

/// The first reading: which parts are right.
pub struct Audit<'a> {
    generator: &'a Generator,
    plan: &'a Plan,
    ledger: &'a Ledger,
    sieve: Sieve<'a>,
    open: HashMap<Place, Sum>,
    right: [Bits; 2],
    suspects: BTreeSet<Place>,
    suspects_in_all: u64,
    /// Partitions of each topic when the run began.
    partitions: [usize; 2],
    /// Counted records by stream.
    pub counted: [u64; 2],
    pub younger: [u64; 2],
    pub strangers: [u64; 2],
    pub misplaced: [u64; 2],
    pub described: Vec<Stranger>,
}

impl<'a> Audit<'a> {
    pub fn new(generator: &'a Generator, plan: &'a Plan, ledger: &'a Ledger) -> Self {
        let partitions = |stream| {
            let shards = 0..ledger.shards().0;
            shards.map(|shard| ledger.counted(stream, shard).len()).max().unwrap_or(0).max(1)
        };
        Audit {
            generator,
            plan,
            ledger,
            sieve: Sieve::of_counted(plan, ledger),
            open: HashMap::new(),
            right: [Bits::default(), Bits::default()],
            suspects: BTreeSet::new(),
            suspects_in_all: 0,
            partitions: Stream::ALL.map(partitions),
            counted: [0; 2],
            younger: [0; 2],
            strangers: [0; 2],
            misplaced: [0; 2],
            described: Vec::new(),
        }
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, stream: Stream, seen: &Seen<'_>) {
        match self.sieve.find(stream, seen) {
            Found::OfRun(part) => self.count((part, stream), seen),
            Found::Older => {}
            Found::Younger => self.younger[stream as usize] += 1,
            Found::Stranger(why) => {
                self.strangers[stream as usize] += 1;
                self.describe(stream, seen, why.to_owned());
            }
        }
    }

    fn count(&mut self, place: Place, seen: &Seen<'_>) {
        let (part, stream) = place;
        self.counted[stream as usize] += 1;
        let due = partition(seen.key, self.partitions[stream as usize] as u32) as i32;
        if due != seen.partition {
            self.misplaced[stream as usize] += 1;
            self.describe(stream, seen, format!("it belongs in partition {due}, by its key"));
        }
        if self.right[stream as usize].has(part) {
            // All of the part has been here already.
            self.right[stream as usize].clear(part);
            return self.suspect(place);
        }
        let range = self.ledger.delivered(stream, part);
        let sum = self.open.entry(place).or_default();
        sum.add(fingerprint(seen.key, seen.value));
        if sum.count as usize >= range.len() {
            let found = *sum;
            self.open.remove(&place);
            match found.fingerprints == self.expected(place).fingerprints {
                true if found.count as usize == range.len() => {
                    self.right[stream as usize].set(part);
                }
                _ => self.suspect(place),
            }
        }
    }

    fn expected(&self, (part, stream): Place) -> Sum {
        let (mut sum, range) = (Sum::default(), self.ledger.delivered(stream, part));
        self.generator.messages(stream, &self.plan.part(PartIndex(part)), range, |message| {
            sum.add(fingerprint(message.key.as_bytes(), message.value));
        });
        sum
    }

    /// Ends the reading: gives the parts that differ, as many as are remembered, and their number.
    pub fn suspects(&mut self) -> (BTreeSet<Place>, u64) {
        self.open.clear();
        for stream in Stream::ALL {
            for part in 0..self.ledger.parts_end() {
                let due = !self.ledger.delivered(stream, part).is_empty();
                if due && !self.right[stream as usize].has(part) {
                    self.suspect((part, stream));
                }
            }
        }
        (std::mem::take(&mut self.suspects), self.suspects_in_all)
    }

    fn suspect(&mut self, place: Place) {
        if self.suspects.contains(&place) {
            return;
        }
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.insert(place);
        }
        self.suspects_in_all += 1;
    }

    fn describe(&mut self, stream: Stream, seen: &Seen<'_>, why: String) {
        if self.described.len() < STRANGERS_MAX {
            let (partition, offset) = (seen.partition, seen.offset);
            self.described.push(Stranger { stream, partition, offset, why });
        }
    }
}

/// A set of small numbers.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, at: u64) -> bool {
        self.0.get((at / 64) as usize).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    fn set(&mut self, at: u64) {
        let word = (at / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (at % 64);
    }

    fn clear(&mut self, at: u64) {
        if let Some(word) = self.0.get_mut((at / 64) as usize) {
            *word &= !(1 << (at % 64));
        }
    }
}
