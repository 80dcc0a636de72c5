//! The second pass, over parts that differ: what is missing, doubled, altered or foreign.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

use cdr_model::{PartIndex, PerStream, Stream};

use super::expected::Expected;
use super::filter::{At, Belongs, RecordFilter};
use super::first_pass::{PartOfStream, Suspects, fingerprint};
use crate::kafka::ReadRecord;

/// Expected records of all parts that are examined together, so that memory has a bound.
const RECORDS_MAX: usize = 500_000;

/// Records that are there twice, or that are not expected, and are kept, of all parts together.
pub const KEPT_MAX: usize = 500_000;

/// What is wrong with one record.
pub enum Wrong {
    Missing,
    /// Stands where `first` stands, too.
    Doubled {
        at: At,
        first: At,
    },
    /// Another record has its time, and its place.
    Altered(At),
    /// No record of the part looks like it.
    Foreign(At),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Missing => f.write_str("is missing"),
            Wrong::Doubled { at, first } => write!(f, "is doubled: {at}, first at {first}"),
            Wrong::Altered(at) => write!(f, "is altered: {at}"),
            Wrong::Foreign(at) => write!(f, "is foreign: {at}"),
        }
    }
}

/// A finding: which record of which part, by its number, where it is one of the part's own.
pub struct Finding {
    pub part: u64,
    pub stream: Stream,
    pub record: Option<u32>,
    pub wrong: Wrong,
}

/// Records beyond those that are kept, which are only counted.
#[derive(Default)]
pub struct NotKept {
    pub doubled: u64,
    /// Foreign or altered: only a comparison of their times can tell.
    pub foreign: u64,
}

/// The second pass.
pub struct SecondPass<'a> {
    expected: &'a Expected,
    filter: RecordFilter<'a>,
    parts: BTreeMap<PartOfStream, Examined>,
    kept: usize,
    pub not_kept: PerStream<NotKept>,
}

/// One stream of one part.
struct Examined {
    /// Numbers of the records that the progress counts; the others may have come since.
    due: Range<u32>,
    /// By fingerprint: the record's number, and where it was seen first.
    expected: HashMap<u128, (u32, Option<At>)>,
    findings: Vec<Finding>,
    /// Records that are not expected, with their time.
    unexpected: Vec<(At, Option<i64>)>,
}

impl<'a> SecondPass<'a> {
    /// Examines as many of the parts as fit into memory, from the first on.
    pub fn new(expected: &'a Expected, suspects: &PerStream<Suspects>) -> Self {
        let mut all: Vec<PartOfStream> = Vec::new();
        for (stream, suspects) in suspects.iter() {
            all.extend(suspects.parts.iter().map(|&part| (part, stream)));
        }
        all.sort_unstable();
        let (mut parts, mut records) = (BTreeMap::new(), 0);
        for of @ (part, stream) in all {
            records += expected.plan.count(stream, PartIndex(part)) as usize;
            if records > RECORDS_MAX && !parts.is_empty() {
                break;
            }
            parts.insert(of, Examined::new(expected, of));
        }
        let filter = RecordFilter::of_run(expected);
        SecondPass { expected, filter, parts, kept: 0, not_kept: PerStream::default() }
    }

    /// How many parts of a stream are examined.
    pub fn examined(&self, stream: Stream) -> u64 {
        self.parts.keys().filter(|(_, of)| *of == stream).count() as u64
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, stream: Stream, record: &ReadRecord<'_>) {
        let Belongs::ToPart(part) = self.filter.sort(stream, record) else { return };
        let Some(examined) = self.parts.get_mut(&(part, stream)) else { return };
        let at = At::from(record);
        let is_full = self.kept >= KEPT_MAX;
        match examined.expected.get_mut(&fingerprint(record.key, record.value)) {
            Some((_, first @ None)) => {
                *first = Some(at);
                return;
            }
            Some(_) if is_full => self.not_kept[stream].doubled += 1,
            None if is_full => self.not_kept[stream].foreign += 1,
            Some((number, Some(first))) => {
                let wrong = Wrong::Doubled { at, first: *first };
                examined.findings.push(Finding { part, stream, record: Some(*number), wrong });
            }
            None => {
                let time = self.expected.format.time_of(record.value).map(|time| time.0);
                examined.unexpected.push((at, time));
            }
        }
        self.kept += usize::from(!is_full);
    }

    /// All findings, by part.
    pub fn findings(self) -> impl Iterator<Item = Finding> {
        let expected = self.expected;
        self.parts.into_iter().flat_map(move |(of, examined)| examined.findings(of, expected))
    }
}

impl Examined {
    fn new(of: &Expected, (part, stream): PartOfStream) -> Examined {
        let all = 0..of.plan.count(stream, PartIndex(part));
        let (mut expected, mut number) = (HashMap::with_capacity(all.len()), 0);
        of.messages(stream, part, all, |message| {
            expected.insert(fingerprint(message.key.as_bytes(), message.value), (number, None));
            number += 1;
        });
        let due = of.delivered(stream, part);
        Examined { due, expected, findings: Vec::new(), unexpected: Vec::new() }
    }

    fn findings(self, (part, stream): PartOfStream, expected: &Expected) -> Vec<Finding> {
        let (mut findings, window) = (self.findings, expected.plan.part(PartIndex(part)));
        let unseen = self.expected.into_values().filter(|(_, first)| first.is_none());
        let numbers = unseen.map(|(number, _)| number);
        let mut missing: Vec<u32> = numbers.filter(|number| self.due.contains(number)).collect();
        missing.sort_unstable_by(|a, b| b.cmp(a));
        // From the last on, so that the first of one time is taken first.
        let mut by_time: HashMap<i64, Vec<u32>> = HashMap::with_capacity(missing.len());
        for number in missing {
            by_time.entry(expected.generator.time(stream, &window, number).0).or_default().push(number);
        }
        for (at, time) in self.unexpected {
            // A record that has the time of a missing one was that one before it was altered.
            let record = time.and_then(|time| by_time.get_mut(&time)?.pop());
            let wrong = if record.is_some() { Wrong::Altered(at) } else { Wrong::Foreign(at) };
            findings.push(Finding { part, stream, record, wrong });
        }
        let missing = by_time.into_values().flatten().map(Some);
        findings.extend(missing.map(|record| Finding { part, stream, record, wrong: Wrong::Missing }));
        findings.sort_by_key(|finding| finding.record);
        findings
    }
}
