//! Parts whose sums differ, record by record: what is missing, doubled, altered or foreign.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use cdr_model::{Generator, PartIndex, Plan, Stream};

use super::audit::{Found, Place, Sieve, fingerprint, time_of};
use super::ledger::Ledger;
use crate::delivery::sink::kafka::Seen;

/// Expected records of all parts that are examined together, so that memory has a bound.
const RECORDS_MAX: usize = 500_000;

/// Foreign records of one part that are kept to be compared.
const KEPT_MAX: usize = 10_000;

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

/// The second reading, of some parts.
pub struct Examination<'a> {
    generator: &'a Generator,
    plan: &'a Plan,
    sieve: Sieve<'a>,
    places: BTreeMap<Place, Examined>,
}

/// One stream of one part.
struct Examined {
    /// Numbers of the records that the progress counts; the others may have come since.
    due: Range<u32>,
    /// By fingerprint: the record's number, and where it was seen first.
    expected: HashMap<u128, (u32, Option<At>)>,
    findings: Vec<Finding>,
    /// Records that are not expected, with their time.
    strange: Vec<(At, Option<i64>)>,
}

impl<'a> Examination<'a> {
    /// Examines as many of the parts as fit into memory, from the first on.
    pub fn new(
        generator: &'a Generator,
        plan: &'a Plan,
        ledger: &'a Ledger,
        suspects: &BTreeSet<Place>,
    ) -> Self {
        let (mut places, mut records) = (BTreeMap::new(), 0);
        for &(part, stream) in suspects {
            let (due, whole) = (ledger.delivered(stream, part), 0..plan.line_count());
            records += whole.len();
            if records > RECORDS_MAX && !places.is_empty() {
                break;
            }
            let (mut expected, mut number) = (HashMap::with_capacity(whole.len()), 0);
            generator.messages(stream, &plan.part(PartIndex(part)), whole, |message| {
                let fingerprint = fingerprint(message.key.as_bytes(), message.value);
                expected.insert(fingerprint, (number, None));
                number += 1;
            });
            let examined = Examined { due, expected, findings: Vec::new(), strange: Vec::new() };
            places.insert((part, stream), examined);
        }
        Examination { generator, plan, sieve: Sieve::of_run(plan, ledger), places }
    }

    /// How many parts are examined, each stream by itself.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Takes the next record of a partition.
    pub fn take(&mut self, stream: Stream, seen: &Seen<'_>) {
        let Found::OfRun(part) = self.sieve.find(stream, seen) else { return };
        let Some(examined) = self.places.get_mut(&(part, stream)) else { return };
        let at = At { partition: seen.partition, offset: seen.offset };
        match examined.expected.get_mut(&fingerprint(seen.key, seen.value)) {
            Some((_, first @ None)) => *first = Some(at),
            Some((number, Some(first))) => {
                let wrong = Wrong::Doubled { at, first: *first };
                examined.findings.push(Finding { part, stream, record: Some(*number), wrong });
            }
            None if examined.strange.len() < KEPT_MAX => {
                let time = time_of(seen.value).map(|time| time.0);
                examined.strange.push((at, time));
            }
            None => {}
        }
    }

    /// All findings, by part.
    pub fn findings(self) -> Vec<Finding> {
        let (generator, plan) = (self.generator, self.plan);
        let findings = self.places.into_iter().flat_map(|((part, stream), examined)| {
            let window = plan.part(PartIndex(part));
            let time = |number| generator.time(stream, &window, number).0;
            examined.findings(part, stream, time)
        });
        findings.collect()
    }
}

impl Examined {
    fn findings(self, part: u64, stream: Stream, time: impl Fn(u32) -> i64) -> Vec<Finding> {
        let mut findings = self.findings;
        let due = self.due;
        let unseen = self.expected.into_values().filter(|(_, first)| first.is_none());
        let missing = unseen.filter(|(number, _)| due.contains(number));
        let mut missing: BTreeMap<u32, i64> =
            missing.map(|(number, _)| (number, time(number))).collect();
        for (at, strange_time) in self.strange {
            // A record that has the time of a missing one was that one before it was altered.
            let same = missing.iter().find(|(_, time)| Some(**time) == strange_time);
            let record = same.map(|(number, _)| *number);
            let wrong = match record {
                Some(_) => Wrong::Altered { at },
                None => Wrong::Foreign { at },
            };
            record.and_then(|number| missing.remove(&number));
            findings.push(Finding { part, stream, record, wrong });
        }
        let gone = missing.into_keys();
        findings.extend(gone.map(|number| Finding {
            part,
            stream,
            record: Some(number),
            wrong: Wrong::Missing,
        }));
        findings.sort_by_key(|finding| finding.record);
        findings
    }
}
