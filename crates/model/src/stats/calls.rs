//! How long calls last, and how they follow one another.

use std::collections::HashMap;

use super::fit::{LogBins, slope, top_share};
use super::sample::{Sample, bytes};
use super::{Curve, Finding, Histogram, Known, Needs};
use crate::habits::Habits;
use crate::profile::realistic::Durations;
use crate::time::Micros;

/// Calls that follow within this many seconds are of one burst.
const BURST: f64 = 600.0;

/// Sizes of bursts that are told apart.
const SIZES: usize = 32;

/// Callers with fewer calls have no burstiness to speak of.
const CALLS_MIN: u32 = 20;

#[derive(Clone, Debug)]
pub struct Calls {
    seconds: Vec<u64>,
    /// Calls that are longer than the law has any, and their seconds.
    longer: [u64; 2],
    callers: HashMap<u64, Caller>,
    gaps: LogBins,
    bursts: [u64; SIZES],
    /// Until when somebody is in a call, on either side.
    busy: HashMap<u64, i64>,
    overlaps: HashMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    last: Option<i64>,
    calls: u32,
    burst: usize,
    /// Sums of the gaps and of their squares, in seconds.
    gaps: [f64; 2],
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            seconds: vec![0; Durations::MAX as usize + 1],
            longer: [0; 2],
            callers: HashMap::new(),
            gaps: LogBins::new(60.0, 86_400.0, 1.0),
            bursts: [0; SIZES],
            busy: HashMap::new(),
            overlaps: HashMap::new(),
        }
    }
}

impl Calls {
    /// Those of the sample are looked at one by one.
    pub fn take(
        &mut self,
        caller: u64,
        called: Option<u64>,
        time: Micros,
        seconds: u32,
        sample: Sample,
    ) {
        match self.seconds.get_mut(seconds as usize) {
            Some(count) => *count += 1,
            None => self.longer = [self.longer[0] + 1, self.longer[1] + u64::from(seconds)],
        }
        let end = time.0 + i64::from(seconds) * 1_000_000;
        // A busy line has not been in the call.
        let parties = [Some(caller), called].into_iter().flatten().filter(|_| seconds > 0);
        for party in parties.filter(|party| sample.has(*party)) {
            let until = self.busy.entry(party).or_insert(end);
            if *until > time.0 && *until != end {
                *self.overlaps.entry(party).or_default() += 1;
            }
            *until = end;
        }
        if sample.has(caller) {
            self.take_caller(caller, time);
        }
    }

    fn take_caller(&mut self, caller: u64, time: Micros) {
        let of = self.callers.entry(caller).or_default();
        of.calls += 1;
        if let Some(last) = of.last.replace(time.0) {
            let gap = (time.0 - last) as f64 / 1e6;
            self.gaps.add(gap);
            of.gaps[0] += gap;
            of.gaps[1] += gap * gap;
            if gap > BURST {
                self.bursts[of.burst.min(SIZES - 1)] += 1;
                of.burst = 0;
            }
        }
        of.burst += 1;
    }

    /// Calls by their length.
    pub fn histogram(&self) -> Histogram {
        let bounds = [0, 1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 900, 1_800];
        let busy = ("busy".to_owned(), self.seconds.first().copied().unwrap_or(0));
        let bars = bounds.windows(2).map(|bound| {
            let (least, most) = (bound[0] + 1, bound[1]);
            let counts = self.seconds.get(least..=most).unwrap_or_default();
            (format!("to {most} s"), counts.iter().sum())
        });
        let [longer, _] = self.longer;
        let longer = (longer > 0).then(|| (format!("over {} s", Durations::MAX), longer));
        Histogram {
            what: "calls by length",
            bars: [busy].into_iter().chain(bars).chain(longer).collect(),
        }
    }

    pub fn curves(&self, known: &Known) -> [Curve; 2] {
        let law = Durations::log_logistic(known.call_median.into(), 1.5);
        let all = self.all();
        // So many steps for each doubling.
        let steps = (0..=44).map(|step| (f64::from(step) / 4.0).exp2().round() as u32);
        let lengths: Vec<u32> = steps.filter(|seconds| *seconds <= Durations::MAX).collect();
        let upto = |seconds: u32| self.seconds[..=seconds as usize].iter().sum::<u64>();
        let points = |share: &dyn Fn(u32) -> f64| {
            lengths.iter().map(|&seconds| [f64::from(seconds), 100.0 * share(seconds)]).collect()
        };
        [
            Curve {
                what: "length of calls",
                axes: ["seconds", "% of calls up to it"],
                logarithmic: [true, false],
                found: points(&|seconds| upto(seconds) as f64 / all as f64),
                target: points(&|seconds| law.share(seconds)),
            },
            Curve::power("time between calls", "seconds", &self.gaps.density(), -0.87),
        ]
    }

    /// Leaves out who is not of the sample.
    pub fn thin(&mut self, sample: Sample) {
        self.callers.retain(|who, _| sample.has(*who));
        self.busy.retain(|who, _| sample.has(*who));
        self.overlaps.retain(|who, _| sample.has(*who));
    }

    pub fn bytes(&self) -> usize {
        bytes::<(u64, Caller)>(self.callers.len())
            + bytes::<(u64, i64)>(self.busy.len())
            + bytes::<(u64, u64)>(self.overlaps.len())
    }

    pub fn findings(&self, known: &Known, sample: Sample) -> Vec<Finding> {
        let law = Durations::log_logistic(known.call_median.into(), 1.5);
        let subscribers = known.people(sample, self.callers.len());
        let calls: Vec<f64> = self.callers.values().map(|of| of.calls.into()).collect();
        // Of another median, nobody knows the mean.
        let is_usual = known.call_median == Habits::default().call_median;
        let mean = if is_usual { self.mean() } else { f64::NAN };
        vec![
            Finding::new(
                "callers in two calls at once",
                self.overlapping(),
                [0.0, 0.0],
                "by definition",
            ),
            Finding::new(
                "call duration: distance from its law (KS)",
                self.distance(&law),
                [0.0, 0.01],
                "Vaz de Melo 2010",
            ),
            Finding::new("call duration: mean, in seconds", mean, [150.0, 160.0], "ANACOM 2013-2016"),
            Finding::new(
                "time between calls: exponent of its density",
                self.gaps.exponent(),
                [-0.97, -0.77],
                "default, after Jiang 2013",
            )
            .needing(Needs::Week),
            Finding::new(
                "sizes of bursts (600 s): exponent, 1 to 6",
                self.burst_exponent(),
                [-4.5, -3.1],
                "default, after Karsai 2012",
            )
            .needing(Needs::Week),
            Finding::new(
                "burstiness of callers with 20 calls",
                self.burstiness(),
                [0.05, 0.28],
                "default",
            )
            .needing(Needs::Week),
            Finding::new(
                "calls of the most active 10 %",
                top_share(calls, subscribers, 0.1),
                [0.34, 0.43],
                "default",
            )
            .needing(Needs::MonthOfCalls),
        ]
    }

    /// How many there are.
    pub fn all(&self) -> u64 {
        self.seconds.iter().sum::<u64>() + self.longer[0]
    }

    /// How many people call, among those that are looked at.
    pub fn people(&self) -> usize {
        self.callers.len()
    }

    /// Numbers that never call may be service lines, which many people answer.
    fn overlapping(&self) -> f64 {
        if self.callers.is_empty() {
            return f64::NAN;
        }
        let callers = self.overlaps.iter().filter(|(who, _)| self.callers.contains_key(who));
        callers.map(|(_, times)| *times).sum::<u64>() as f64
    }

    fn distance(&self, law: &Durations) -> f64 {
        let all = self.all();
        let mut sum = 0;
        let off = self.seconds.iter().zip(0..).map(|(count, seconds)| {
            sum += count;
            (sum as f64 / all as f64 - law.share(seconds)).abs()
        });
        off.fold(0.0, f64::max)
    }

    fn mean(&self) -> f64 {
        let within: u64 = self.seconds.iter().zip(0..).map(|(count, seconds)| count * seconds).sum();
        (within + self.longer[1]) as f64 / self.all() as f64
    }

    fn burst_exponent(&self) -> f64 {
        let sizes = (1..=6).filter(|&size| self.bursts[size] > 0);
        let points: Vec<_> =
            sizes.map(|size| ((size as f64).ln(), (self.bursts[size] as f64).ln())).collect();
        slope(&points)
    }

    fn burstiness(&self) -> f64 {
        let callers = self.callers.values().filter(|of| of.calls >= CALLS_MIN);
        let each: Vec<f64> = callers
            .map(|of| {
                let gaps = f64::from(of.calls - 1);
                let mean = of.gaps[0] / gaps;
                let deviation = (of.gaps[1] / gaps - mean * mean).max(0.0).sqrt();
                (deviation - mean) / (deviation + mean)
            })
            .collect();
        each.iter().sum::<f64>() / each.len() as f64
    }
}
