//! Where people are, and how they move.

use std::collections::HashMap;

use super::fit::{LogBins, slope, top_share};
use super::sample::{SMALL_TABLE, Sample, bytes};
use super::{Curve, Finding, HOUR, Known, Needs, TowerMap, TowerShare};
use crate::stream::{PerStream, Stream};
use crate::time::Micros;

const DAY: i64 = 24 * HOUR;

/// Days after which the number of places is looked at.
const AFTER: [i64; 5] = [2, 4, 8, 15, 28];

/// Towers that are told apart: no network has more, but what others call a tower may be anything.
const TOWERS_MAX: usize = 500_000;

/// Times of day, and the hours at which they end.
const TIMES: [(&str, i64); 4] =
    [("0 to 6 h", 6), ("6 to 12 h", 12), ("12 to 18 h", 18), ("18 to 24 h", 24)];

/// Shorter distances say nothing about speed: towers near each other share the load.
const FAR: f64 = 50.0;

#[derive(Clone, Debug)]
pub struct Places {
    people: HashMap<u64, Person>,
    /// Towers of all people.
    visits: usize,
    /// Records of each time of day.
    towers: HashMap<u32, [u64; TIMES.len()]>,
    jumps: LogBins,
    fastest: f64,
}

#[derive(Clone, Debug, Default)]
struct Person {
    /// In each stream.
    last: PerStream<Option<(u32, i64)>>,
    visits: HashMap<u32, u32>,
    /// At night, by tower.
    nights: HashMap<u32, u32>,
    /// Places known after some days.
    known: [u32; AFTER.len()],
}

impl Default for Places {
    fn default() -> Self {
        Places {
            people: HashMap::new(),
            visits: 0,
            towers: HashMap::new(),
            jumps: LogBins::new(1.0 + OFFSET, 50.0 + OFFSET, 2.0),
            fastest: 0.0,
        }
    }
}

/// What is added to a jump's kilometres, so that short ones follow the same power.
const OFFSET: f64 = 1.5;

impl Places {
    pub fn count(&mut self, tower: u32, time: Micros, known: &Known) {
        let hour = known.hour(time);
        let nth = TIMES.iter().filter(|(_, end)| hour >= *end).count();
        if self.towers.len() < TOWERS_MAX || self.towers.contains_key(&tower) {
            self.towers.entry(tower).or_default()[nth] += 1;
        }
    }

    /// What each tower carried, by time of day; none, where nobody knows where towers stand.
    pub fn maps(&self, known: &Known) -> Vec<TowerMap> {
        if known.towers.is_empty() {
            return Vec::new();
        }
        let all = |nth: usize| self.towers.values().map(|counts| counts[nth]).sum::<u64>() as f64;
        let (sums, whole) = ([0, 1, 2, 3].map(all), (0..TIMES.len()).map(all).sum::<f64>());
        let map = |(nth, (what, _)): (usize, &(&str, i64))| {
            let towers = self.towers.iter().filter_map(|(tower, counts)| {
                let share = counts[nth] as f64 / sums[nth];
                let of_day = counts.iter().sum::<u64>() as f64 / whole;
                Some(TowerShare { at: known.tower(*tower)?, share, against_day: share / of_day })
            });
            let mut towers: Vec<TowerShare> = towers.collect();
            // Tables have no order.
            towers.sort_by_key(|tower| tower.at);
            TowerMap { what: (*what).to_owned(), towers }
        };
        let maps = TIMES.iter().enumerate().map(map);
        maps.filter(|map| map.towers.iter().all(|tower| tower.share.is_finite())).collect()
    }

    pub fn curve(&self) -> Curve {
        Curve::power("jumps from tower to tower", "km + 1.5", &self.jumps.density(), -1.75)
    }

    /// Leaves out who is not of the sample.
    pub fn thin(&mut self, sample: Sample) {
        self.people.retain(|who, _| sample.has(*who));
        self.visits = self.people.values().map(|person| person.visits.len()).sum();
    }

    pub fn bytes(&self) -> usize {
        let people = self.people.len();
        // Of visits, and of nights.
        let towers = 2 * (people * SMALL_TABLE + bytes::<(u32, u32)>(self.visits));
        bytes::<(u64, Person)>(people) + towers
    }

    pub fn take(&mut self, stream: Stream, who: u64, tower: u32, time: Micros, known: &Known) {
        let person = self.people.entry(who).or_default();
        let is_new = !person.visits.contains_key(&tower);
        *person.visits.entry(tower).or_default() += 1;
        if is_new {
            self.visits += 1;
            let day = (time.0 - known.window[0].0) / DAY;
            for (after, count) in AFTER.iter().zip(&mut person.known) {
                *count += u32::from(day < *after);
            }
        }
        if !(7..21).contains(&known.hour(time)) {
            *person.nights.entry(tower).or_default() += 1;
        }
        let last = person.last[stream].replace((tower, time.0));
        if let Some((from, before)) = last
            && from != tower
            && !known.towers.is_empty()
        {
            let distance = kilometres(from, tower, known);
            self.jumps.add(distance + OFFSET);
            if distance > FAR {
                let hours = (time.0 - before) as f64 / 3.6e9;
                self.fastest = self.fastest.max(distance / hours);
            }
        }
    }

    /// The tower at which somebody is most at night.
    pub fn home(&self, who: u64) -> Option<u32> {
        let person = self.people.get(&who)?;
        let visits = if person.nights.is_empty() { &person.visits } else { &person.nights };
        visits.iter().max_by_key(|(tower, count)| (**count, **tower)).map(|(tower, _)| *tower)
    }

    pub fn findings(&self, known: &Known) -> Vec<Finding> {
        let loads: Vec<f64> =
            self.towers.values().map(|counts| counts.iter().sum::<u64>() as f64).collect();
        let [first, second] = self.ranks();
        let mut findings = vec![
            Finding::new(
                "load of towers: deviation of its logarithm",
                deviation(&loads),
                [1.05, 1.35],
                "IMC 2023",
            ),
            Finding::new(
                "load of the busiest 10 % of towers",
                top_share(loads.clone(), loads.len(), 0.1),
                [0.37, 0.50],
                "IMC 2023",
            ),
            Finding::new(
                "places known: exponent over time, 2 to 28 days",
                self.exploration(known),
                [0.5, 0.7],
                "default, after Song 2010",
            )
            .needing(Needs::Month),
            Finding::new("time at the most frequent place", first, [0.45, 0.65], "default")
                .needing(Needs::Week),
            Finding::new("time at the second place", second, [0.15, 0.25], "default")
                .needing(Needs::Week),
        ];
        if !known.towers.is_empty() {
            findings.push(Finding::new(
                "jumps of 1 to 50 km: exponent",
                self.jumps.exponent(),
                [-2.05, -1.45],
                "Gonzalez 2008",
            ));
            findings.push(Finding::new(
                "fastest way of 50 km and more, in km/h",
                self.fastest,
                [0.0, 1_000.0],
                "by definition",
            ));
        }
        findings
    }

    /// The shares of the first and the second place, over people with some records.
    fn ranks(&self) -> [f64; 2] {
        let (mut sums, mut people) = ([0.0; 2], 0.0);
        for person in self.people.values() {
            let mut counts: Vec<u32> = person.visits.values().copied().collect();
            let all: u32 = counts.iter().sum();
            if all >= 50 {
                counts.sort_unstable_by(|a, b| b.cmp(a));
                people += 1.0;
                for (sum, nth) in sums.iter_mut().zip(0..) {
                    *sum += f64::from(counts.get(nth).copied().unwrap_or(0)) / f64::from(all);
                }
            }
        }
        sums.map(|sum| sum / people)
    }

    fn exploration(&self, known: &Known) -> f64 {
        // A last part that is missing leaves the day.
        let days = (known.window[1].0 - known.window[0].0 + DAY / 2) / DAY;
        let people = self.people.values().filter(|person| person.visits.values().sum::<u32>() >= 100);
        let mut sums = [0.0; AFTER.len()];
        for person in people {
            for (sum, count) in sums.iter_mut().zip(person.known) {
                *sum += f64::from(count);
            }
        }
        let points: Vec<_> = AFTER
            .iter()
            .zip(sums)
            .filter(|(day, _)| **day <= days)
            .map(|(day, sum)| ((*day as f64).ln(), sum.ln()))
            .collect();
        slope(&points)
    }
}

/// Between two towers.
pub fn kilometres(from: u32, to: u32, known: &Known) -> f64 {
    let point = |tower| known.tower(tower).unwrap_or_default();
    let ([a, b], [c, d]) = (point(from), point(to));
    f64::from(a - c).hypot(f64::from(b - d)) / 1_000.0
}

/// The standard deviation of the values' logarithms.
fn deviation(values: &[f64]) -> f64 {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    (logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>() / logs.len() as f64).sqrt()
}
