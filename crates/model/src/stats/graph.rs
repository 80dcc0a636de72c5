//! Who calls whom.

use std::collections::{HashMap, HashSet};

use super::places::{Places, kilometres};
use super::sample::{SMALL_TABLE, Sample, bytes};
use super::{Finding, Known, Needs};
use crate::time::Micros;

/// Callers with fewer calls have no contacts to rank.
const CALLS_MIN: u32 = 20;

/// Calls from one person to another, in the first and the second half of the time.
type Contacts = HashMap<u64, [u32; 2]>;

#[derive(Clone, Debug, Default)]
pub struct Graph {
    callers: HashMap<u64, Contacts>,
    /// Contacts of all callers.
    links: usize,
}

impl Graph {
    pub fn take(&mut self, caller: u64, called: u64, time: Micros, known: &Known) {
        let [begin, end] = known.window;
        let half = usize::from(time.0 - begin.0 > (end.0 - begin.0) / 2);
        let halves = self.callers.entry(caller).or_default().entry(called).or_insert_with(|| {
            self.links += 1;
            [0; 2]
        });
        halves[half] += 1;
    }

    /// Leaves out who is not of the sample.
    pub fn thin(&mut self, sample: Sample) {
        self.callers.retain(|who, _| sample.has(*who));
        self.links = self.callers.values().map(HashMap::len).sum();
    }

    pub fn bytes(&self) -> usize {
        let callers = self.callers.len();
        bytes::<(u64, Contacts)>(callers) + callers * SMALL_TABLE + bytes::<(u64, [u32; 2])>(self.links)
    }

    pub fn findings(&self, known: &Known, places: &Places, sample: Sample) -> Vec<Finding> {
        let [top, three] = [1, 3].map(|ranks| self.top(ranks));
        let mut findings = vec![
            Finding::new(
                "calls to the first contact",
                top,
                [0.18, 0.30],
                "default, after Saramaki 2014",
            )
            .needing(Needs::Month),
            Finding::new(
                "calls to the first three contacts",
                three,
                [0.40, 0.58],
                "default, after Saramaki 2014",
            )
            .needing(Needs::Month),
            Finding::new(
                "first five contacts of both halves: overlap (Jaccard)",
                self.persistence(),
                [0.5, 1.0],
                "default, after Saramaki 2014",
            )
            .needing(Needs::MonthOfCalls),
        ];
        // Both ends of a link, and who else they know, are seen only where nobody is left out.
        if sample.is_all() {
            findings.extend(self.of_all(known, places));
        }
        findings
    }

    fn of_all(&self, known: &Known, places: &Places) -> Vec<Finding> {
        let ties = self.ties();
        let mut findings = vec![
            Finding::new(
                "links that are used both ways",
                self.reciprocated(),
                [0.45, 0.85],
                "default, after Kovanen 2010",
            )
            .needing(Needs::MonthOfCalls),
            Finding::new("clustering of mutual ties", clustering(&ties), [0.20, 0.45], "default")
                .needing(Needs::MonthOfCalls),
            Finding::new(
                "largest component of those with ties",
                component(&ties),
                [0.8, 1.0],
                "Onnela 2007",
            )
            .needing(Needs::MonthOfCalls),
        ];
        if !known.towers.is_empty() {
            let found = tie_length(&ties, places, known);
            findings.push(Finding::new(
                "length of ties: 90 % quantile, in km",
                found,
                [30.0, f64::INFINITY],
                "default",
            ));
        }
        findings
    }

    /// Of links between two callers, those with calls in both directions.
    fn reciprocated(&self) -> f64 {
        let (mut both, mut all) = (0.0, 0.0);
        for (caller, contacts) in &self.callers {
            for called in contacts.keys() {
                let Some(back) = self.callers.get(called) else { continue };
                match back.contains_key(caller) {
                    // Seen from each side.
                    true => (both, all) = (both + 0.5, all + 0.5),
                    false => all += 1.0,
                }
            }
        }
        both / all
    }

    fn ranked(&self) -> impl Iterator<Item = (&Contacts, u32)> {
        let all = self.callers.values().map(|of| (of, of.values().flatten().sum()));
        all.filter(|(_, calls)| *calls >= CALLS_MIN)
    }

    /// The share of calls that go to the first contacts, over people.
    fn top(&self, ranks: usize) -> f64 {
        let each: Vec<f64> = self
            .ranked()
            .map(|(contacts, calls)| {
                let mut counts: Vec<u32> = contacts.values().map(|halves| halves.iter().sum()).collect();
                counts.sort_unstable_by(|a, b| b.cmp(a));
                f64::from(counts.iter().take(ranks).sum::<u32>()) / f64::from(calls)
            })
            .collect();
        each.iter().sum::<f64>() / each.len() as f64
    }

    fn persistence(&self) -> f64 {
        let five = |contacts: &Contacts, half: usize| -> HashSet<u64> {
            let mut counts: Vec<(u32, u64)> =
                contacts.iter().map(|(who, halves)| (halves[half], *who)).collect();
            counts.retain(|(calls, _)| *calls > 0);
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.into_iter().take(5).map(|(_, who)| who).collect()
        };
        let each: Vec<f64> = self
            .ranked()
            .map(|(contacts, _)| {
                let [first, second] = [0, 1].map(|half| five(contacts, half));
                first.intersection(&second).count() as f64 / first.union(&second).count() as f64
            })
            .collect();
        each.iter().sum::<f64>() / each.len() as f64
    }

    /// Pairs that called each other, by person.
    fn ties(&self) -> HashMap<u64, Vec<u64>> {
        let mutual = |caller: &u64, called: &&u64| {
            self.callers.get(*called).is_some_and(|back| back.contains_key(caller))
        };
        let ties = self.callers.iter().map(|(caller, contacts)| {
            (
                *caller,
                contacts.keys().filter(|called| mutual(caller, called)).copied().collect::<Vec<_>>(),
            )
        });
        ties.filter(|(_, contacts)| !contacts.is_empty()).collect()
    }
}

/// How many of a person's contacts know each other, over people with two and more.
fn clustering(ties: &HashMap<u64, Vec<u64>>) -> f64 {
    let sets: HashMap<u64, HashSet<u64>> =
        ties.iter().map(|(who, contacts)| (*who, contacts.iter().copied().collect())).collect();
    let each: Vec<f64> = ties
        .values()
        .filter(|contacts| contacts.len() > 1)
        .map(|contacts| {
            let pairs = contacts
                .iter()
                .enumerate()
                .flat_map(|(nth, one)| contacts[nth + 1..].iter().map(move |other| (one, other)));
            let (mut closed, mut all) = (0.0, 0.0);
            for (one, other) in pairs {
                all += 1.0;
                closed += f64::from(u8::from(sets[one].contains(other)));
            }
            closed / all
        })
        .collect();
    each.iter().sum::<f64>() / each.len() as f64
}

/// The share of people with ties that are in the largest component.
fn component(ties: &HashMap<u64, Vec<u64>>) -> f64 {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut largest = 0;
    for who in ties.keys() {
        let (mut open, before) = (vec![*who], seen.len());
        while let Some(one) = open.pop() {
            if seen.insert(one) {
                open.extend(&ties[&one]);
            }
        }
        largest = largest.max(seen.len() - before);
    }
    largest as f64 / ties.len() as f64
}

/// Kilometres between the homes of people who call each other.
fn tie_length(ties: &HashMap<u64, Vec<u64>>, places: &Places, known: &Known) -> f64 {
    let homes: HashMap<u64, u32> =
        ties.keys().filter_map(|who| Some((*who, places.home(*who)?))).collect();
    let mut lengths = Vec::new();
    for (who, contacts) in ties {
        for other in contacts.iter().filter(|other| *other > who) {
            if let (Some(&from), Some(&to)) = (homes.get(who), homes.get(other)) {
                lengths.push(kilometres(from, to, known));
            }
        }
    }
    lengths.sort_by(f64::total_cmp);
    lengths.get(lengths.len() * 9 / 10).copied().unwrap_or(f64::NAN)
}
