//! The second pass, over parts that differ: what is missing, doubled, altered or foreign.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use cdr_model::{PartIndex, PerStream, Stream};

use super::expected::Expected;
use super::filter::{Belongs, RecordFilter};
use super::first_pass::{PartOfStream, Suspects, fingerprint};
use crate::kafka::ReadRecord;

/// Expected records of all parts that are examined together, so that memory has a bound.
const RECORDS_MAX: usize = 500_000;

/// Records that are not expected and are kept to be compared, of all parts together.
const UNEXPECTED_MAX: usize = 500_000;

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Missing,
    /// Stands where `first` stands, too.
    Doubled {
        at: At,
        first: At,
    },
    /// Another record has its time, and its place.
    Altered {
        at: At,
    },
    /// No record of the part looks like it.
    Foreign {
        at: At,
    },
}

/// A position in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub partition: i32,
    pub offset: i64,
}

/// A finding: which record of which part, by its number, where it is one of the part's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub part: u64,
    pub stream: Stream,
    pub record: Option<u32>,
    pub wrong: Wrong,
}

/// The second pass.
pub struct SecondPass<'a> {
    expected: Expected<'a>,
    filter: RecordFilter<'a>,
    parts: BTreeMap<PartOfStream, Examined>,
    /// Records that are kept to be compared.
    kept: usize,
    /// Foreign or altered records beyond those.
    pub not_kept: PerStream<u64>,
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
    pub fn new(expected: Expected<'a>, suspects: &PerStream<Suspects>) -> Self {
        let of_stream = |(stream, suspects): (Stream, &Suspects)| {
            suspects.parts.iter().map(move |&part| (part, stream)).collect::<Vec<_>>()
        };
        let mut suspects: Vec<PartOfStream> = suspects.iter().flat_map(of_stream).collect();
        suspects.sort_unstable();
        let (mut parts, mut records) = (BTreeMap::new(), 0);
        for of @ (part, stream) in suspects {
            records += expected.plan.count(stream, PartIndex(part)) as usize;
            if records > RECORDS_MAX && !parts.is_empty() {
                break;
            }
            parts.insert(of, Examined::new(&expected, of));
        }
        let filter = RecordFilter::of_run(expected.plan, expected.format, expected.committed);
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
        let at = At { partition: record.partition, offset: record.offset };
        match examined.expected.get_mut(&fingerprint(record.key, record.value)) {
            Some((_, first @ None)) => *first = Some(at),
            Some((number, Some(first))) => {
                let wrong = Wrong::Doubled { at, first: *first };
                examined.findings.push(Finding { part, stream, record: Some(*number), wrong });
            }
            None if self.kept < UNEXPECTED_MAX => {
                let time = self.expected.format.time_of(record.value).map(|time| time.0);
                examined.unexpected.push((at, time));
                self.kept += 1;
            }
            None => self.not_kept[stream] += 1,
        }
    }

    /// All findings, by part.
    pub fn findings(self) -> Vec<Finding> {
        let expected = self.expected;
        let findings = self.parts.into_iter().flat_map(|((part, stream), examined)| {
            let window = expected.plan.part(PartIndex(part));
            let time = |number| expected.generator.time(stream, &window, number).0;
            examined.findings(part, stream, time)
        });
        findings.collect()
    }
}

impl Examined {
    fn new(of: &Expected<'_>, (part, stream): PartOfStream) -> Examined {
        let all = 0..of.plan.count(stream, PartIndex(part));
        let (mut expected, mut number) = (HashMap::with_capacity(all.len()), 0);
        of.messages(stream, PartIndex(part), all, |message| {
            let fingerprint = fingerprint(message.key.as_bytes(), message.value);
            expected.insert(fingerprint, (number, None));
            number += 1;
        });
        let due = of.committed.delivered(stream, part);
        Examined { due, expected, findings: Vec::new(), unexpected: Vec::new() }
    }

    fn findings(self, part: u64, stream: Stream, time: impl Fn(u32) -> i64) -> Vec<Finding> {
        let (mut findings, due) = (self.findings, self.due);
        let unseen = self.expected.into_values().filter(|(_, first)| first.is_none());
        let mut missing: Vec<u32> =
            unseen.map(|(number, _)| number).filter(|number| due.contains(number)).collect();
        missing.sort_unstable_by(|a, b| b.cmp(a));
        // From the last on, so that the first of one time is taken first.
        let mut by_time: HashMap<i64, Vec<u32>> = HashMap::with_capacity(missing.len());
        for number in missing {
            by_time.entry(time(number)).or_default().push(number);
        }
        for (at, time) in self.unexpected {
            // A record that has the time of a missing one was that one before it was altered.
            let record = time.and_then(|time| by_time.get_mut(&time)?.pop());
            let wrong = match record {
                Some(_) => Wrong::Altered { at },
                None => Wrong::Foreign { at },
            };
            findings.push(Finding { part, stream, record, wrong });
        }
        findings.extend(by_time.into_values().flatten().map(|number| {
            let record = Some(number);
            Finding { part, stream, record, wrong: Wrong::Missing }
        }));
        findings.sort_by_key(|finding| finding.record);
        findings
    }
}
