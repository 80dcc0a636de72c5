//! How much data is used, and by whom.

use std::collections::HashMap;

use super::fit::{farthest, top_share};
use super::sample::{Sample, bytes};
use super::{Curve, Finding, Histogram, Known, Needs};
use crate::profile::realistic::{normal, session_laws};
use crate::service::DataType;

/// Decimal logarithms of sizes are counted in hundredths.
const BINS: usize = 1_000;

/// With fewer sessions of a type, chance alone moves the distance by what it may be.
const SESSIONS_MIN: f64 = 30_000.0;

#[derive(Clone, Debug)]
pub struct Sessions {
    people: HashMap<u64, f64>,
    sizes: [Vec<u64>; DataType::ALL.len()],
    /// Of sessions whose type is not known.
    untyped: Vec<u64>,
    up: f64,
    all: f64,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            people: HashMap::new(),
            sizes: std::array::from_fn(|_| vec![0; BINS]),
            untyped: vec![0; BINS],
            up: 0.0,
            all: 0.0,
        }
    }
}

impl Sessions {
    pub fn take_person(&mut self, who: u64, bytes: u64) {
        *self.people.entry(who).or_default() += bytes as f64;
    }

    pub fn take(&mut self, data_type: Option<DataType>, up: u64, down: u64) {
        let bytes = (up + down) as f64;
        let bin = (bytes.max(1.0).log10() * 100.0) as usize;
        let sizes = data_type.map_or(&mut self.untyped, |kind| &mut self.sizes[kind as usize]);
        sizes[bin.min(BINS - 1)] += 1;
        self.up += up as f64;
        self.all += bytes;
    }

    /// Sessions by their bytes.
    pub fn histogram(&self) -> Histogram {
        let units =
            ["10 B", "100 B", "1 kB", "10 kB", "100 kB", "1 MB", "10 MB", "100 MB", "1 GB", "10 GB"];
        let decades = BINS / units.len();
        let count = |nth: usize| {
            let bins = nth * decades..(nth + 1) * decades;
            let all = self.sizes.iter().chain([&self.untyped]);
            all.flat_map(|sizes| &sizes[bins.clone()]).sum()
        };
        let bars = units.iter().enumerate().map(|(nth, unit)| (format!("to {unit}"), count(nth)));
        Histogram { what: "sessions by size", bars: bars.collect() }
    }

    /// Sessions of known types by the decimal logarithm of their bytes.
    pub fn curve(&self) -> Curve {
        let of = |kind: DataType| self.sizes[kind as usize].iter().sum::<u64>() as f64;
        let all: f64 = DataType::ALL.into_iter().map(of).sum();
        let step = 10;
        let bins = (0..BINS / step).map(|nth| nth * step..(nth + 1) * step);
        let mut curve = Curve {
            what: "size of sessions",
            axes: ["bytes", "% of sessions"],
            logarithmic: [true, false],
            found: Vec::new(),
            target: Vec::new(),
        };
        for bins in bins.skip(20) {
            let [from, to] = [bins.start, bins.end].map(|bin| bin as f64 / 100.0);
            let middle = 10f64.powf((from + to) / 2.0);
            let found: u64 = self.sizes.iter().flat_map(|sizes| &sizes[bins.clone()]).sum();
            let law = session_laws().map(|(kind, mean, deviation)| {
                of(kind) * (normal((to - mean) / deviation) - normal((from - mean) / deviation))
            });
            curve.found.push([middle, 100.0 * found as f64 / all]);
            curve.target.push([middle, 100.0 * law.iter().sum::<f64>() / all]);
        }
        curve
    }

    /// Leaves out who is not of the sample.
    pub fn thin(&mut self, sample: Sample) {
        self.people.retain(|who, _| sample.has(*who));
    }

    /// How many there are.
    pub fn all(&self) -> u64 {
        self.sizes.iter().chain([&self.untyped]).flatten().sum()
    }

    /// Who has any, among those that are looked at.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    pub fn bytes(&self) -> usize {
        bytes::<(u64, f64)>(self.people.len())
    }

    pub fn findings(&self, known: &Known, sample: Sample) -> Vec<Finding> {
        let subscribers = known.people(sample, self.people.len());
        let top = |share| top_share(self.people.values().copied().collect(), subscribers, share);
        let types = session_laws().into_iter();
        let (means, distances): (Vec<f64>, Vec<f64>) =
            types.filter_map(|(kind, mean, deviation)| self.against(kind, mean, deviation)).unzip();
        let worst = |off: Vec<f64>| if off.is_empty() { f64::NAN } else { farthest(off) };
        vec![
            Finding::new("bytes of the heaviest 10 %", top(0.10), [0.61, 0.69], "Ericsson 2025")
                .needing(Needs::MonthOfSessions),
            Finding::new("bytes of the heaviest 3 %", top(0.03), [0.31, 0.43], "Ericsson 2025")
                .needing(Needs::MonthOfSessions),
            Finding::new(
                "size by type: worst mean of log10 bytes, off by",
                worst(means),
                [-0.02, 0.02],
                "IMC 2023",
            ),
            Finding::new(
                "size by type: worst distance from its law (KS)",
                worst(distances),
                [0.0, 0.01],
                "IMC 2023",
            ),
            Finding::new("bytes that go up", self.up / self.all, [0.07, 0.09], "Ericsson 2025"),
        ]
    }

    /// By how much the mean of the logarithms differs from a normal law's, and the distance from that law;
    /// `None` where there are too few of them.
    fn against(&self, kind: DataType, mean: f64, deviation: f64) -> Option<(f64, f64)> {
        let bins = &self.sizes[kind as usize];
        let all = bins.iter().sum::<u64>() as f64;
        if all < SESSIONS_MIN {
            return None;
        }
        let (mut sum, mut logs, mut distance) = (0.0, 0.0, 0.0f64);
        for (bin, &count) in bins.iter().enumerate() {
            sum += count as f64;
            logs += count as f64 * (bin as f64 + 0.5) / 100.0;
            let wanted = normal(((bin + 1) as f64 / 100.0 - mean) / deviation);
            // Sizes are capped at 2 GB.
            if bin < 930 {
                distance = distance.max((sum / all - wanted).abs());
            }
        }
        Some((logs / all - mean, distance))
    }
}
