//! How busy each hour is, by kind of day.

use crate::habits::{DayKind, RhythmKind};
use crate::stream::Stream;

/// Seconds of a bin.
pub(super) const BIN: i64 = 600;

/// Bins of a day.
pub(super) const BINS: usize = 144;

const BINS_OF_HOUR: usize = 6;

/// Shares of the hours of a day, in any unit.
type Hours = [u32; 24];

/// Data on working days: ten-thousandths of the day's traffic. From the Milan data set of Telecom
/// Italia (Barlacchi and others, "A multi-source dataset of urban life", Scientific Data 2, 2015).
const DATA: Hours = [
    307, 254, 220, 199, 189, 191, 227, 345, 463, 499, 521, 528, 543, 567, 559, 541, 542, 544, 540, 501,
    466, 450, 426, 379,
];

/// Data at weekends, from the same source.
const DATA_WEEKEND: Hours = [
    388, 323, 274, 239, 218, 212, 219, 246, 300, 382, 446, 486, 495, 491, 512, 527, 540, 553, 558, 546,
    534, 532, 515, 468,
];

/// Calls on working days, in ten-thousandths: those that began or ended in Milan from Tuesday to Thursday,
/// from the same source.
const VOICE: Hours = [
    40, 19, 12, 9, 12, 17, 40, 161, 451, 713, 791, 808, 744, 668, 725, 746, 810, 852, 805, 638, 437,
    269, 146, 87,
];

/// What a day has against Monday to Thursday, in per cent.
const DATA_DAYS: [u32; DayKind::COUNT] = [100, 98, 74, 76, 76];
const VOICE_DAYS: [u32; DayKind::COUNT] = [100, 105, 86, 70, 70];

/// Calls in the first hour of a new year against that hour of a Sunday, which is 15 times a working day's.
/// Operators report 14 to 20 times an ordinary day's.
const NEW_YEAR: u32 = 7;

/// What the shares of a day are scaled to, so that bins have whole numbers.
const UNIT: u32 = 1_000_000;

/// Records of a second, in a unit of its own, by kind of day and bin of ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rates([[u32; BINS]; DayKind::COUNT]);

impl Rates {
    pub fn of(stream: Stream, rhythm: RhythmKind) -> Rates {
        match rhythm {
            RhythmKind::Flat => Rates([[1; BINS]; DayKind::COUNT]),
            RhythmKind::Daily => Rates(DayKind::ALL.map(|kind| bins(&hours(stream, kind)))),
        }
    }

    #[inline]
    pub fn of_bin(&self, kind: DayKind, bin: usize) -> u32 {
        self.0[kind as usize][bin]
    }

    /// The sum of an hour.
    pub fn of_hour(&self, kind: DayKind, hour: usize) -> f64 {
        let bins = &self.0[kind as usize][hour * BINS_OF_HOUR..(hour + 1) * BINS_OF_HOUR];
        bins.iter().copied().map(f64::from).sum()
    }

    pub fn max(&self) -> u32 {
        self.0.iter().flatten().copied().max().unwrap_or(0)
    }
}

/// The hours' shares of a day, which are a day's whole on a working day.
fn hours(stream: Stream, kind: DayKind) -> Hours {
    let calls = stream == Stream::Voice;
    let is_weekend = !kind.is_for_work();
    let (table, days) = match (calls, is_weekend) {
        (true, _) => (VOICE, VOICE_DAYS),
        (false, false) => (DATA, DATA_DAYS),
        (false, true) => (DATA_WEEKEND, DATA_DAYS),
    };
    let sum: u32 = table.iter().sum();
    let share = |hour: usize| {
        // People call an hour later when they need not get up.
        let hour = if calls && is_weekend { (hour + 23) % 24 } else { hour };
        let share = u64::from(table[hour]) * u64::from(UNIT) * u64::from(days[kind as usize]);
        (share / (u64::from(sum) * 100)) as u32
    };
    let mut hours: Hours = std::array::from_fn(share);
    if calls && kind == DayKind::NewYear {
        hours[0] *= NEW_YEAR;
    }
    hours
}

/// Interpolates between the middles of hours, and keeps each hour's sum.
fn bins(hours: &Hours) -> [u32; BINS] {
    let mut bins = [0; BINS];
    for (hour, of_hour) in bins.chunks_exact_mut(BINS_OF_HOUR).enumerate() {
        let [before, this, after] = [23, 0, 1].map(|step| hours[(hour + step) % 24]);
        // The middle of a bin is 5/12, 3/12 or 1/12 of an hour away from that of its hour.
        let weights = [5, 3, 1, 1, 3, 5];
        for (bin, weight) in of_hour.iter_mut().zip(weights).take(3) {
            *bin = before * weight + this * (12 - weight);
        }
        for (bin, weight) in of_hour.iter_mut().zip(weights).skip(3) {
            *bin = after * weight + this * (12 - weight);
        }
        scale_to(of_hour, this);
    }
    bins
}

/// Scales values to a sum; what division leaves goes to the first ones.
fn scale_to(values: &mut [u32], wanted: u32) {
    let sum: u64 = values.iter().map(|&value| u64::from(value)).sum();
    for value in values.iter_mut() {
        *value = (u64::from(*value) * u64::from(wanted) / sum.max(1)) as u32;
    }
    let left = wanted - values.iter().sum::<u32>();
    values.iter_mut().take(left as usize).for_each(|value| *value += 1);
}
