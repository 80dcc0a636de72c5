//! When everything happens: where parts begin, how many records each has, and each record's time.

use crate::part::{Part, PartIndex};
use crate::profile::Rhythm;
use crate::scenario::{Scenario, ScenarioError};
use crate::stream::Stream;
use crate::time::{Micros, YEAR_10000};

/// The windows of a scenario's parts, and how its records lie in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    start: Micros,
    interval_s: u64,
    files: u64,
    rhythm: Rhythm,
}

impl Timeline {
    /// # Errors
    /// A scenario that is not valid, whose file count or interval rounds to 0, or whose history ends
    /// after the year 9999.
    pub fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        scenario.validate()?;
        let &Scenario { total_seconds, line_count, lines_per_second, .. } = scenario;
        let files =
            round_half_even(u128::from(total_seconds) * u128::from(lines_per_second), line_count.into());
        if files == 0 {
            return Err(ScenarioError::NoFiles { total_seconds, lines_per_second, line_count });
        }
        let interval_s = round_half_even(total_seconds.into(), files.into());
        if interval_s == 0 {
            return Err(ScenarioError::NoInterval { total_seconds, files, lines_per_second });
        }
        let start = Micros::from_civil(scenario.start);
        // The last window ends behind one interval more than there are files.
        if (u128::from(files) + 1) * u128::from(interval_s) > seconds_left(start).into() {
            return Err(ScenarioError::EndsTooLate);
        }
        let first = start.plus_seconds(interval_s);
        let rhythm = Rhythm::new(scenario, first, interval_s, files);
        Ok(Timeline { start, interval_s, files, rhythm })
    }

    /// Seconds from one window to the next.
    pub fn interval_s(&self) -> u64 {
        self.interval_s
    }

    /// Parts of the history: the contract's `FILE_COUNT`.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// The last part whose window ends within the calendar's four digits for the year. Behind the
    /// history, only a plan without end has parts up to there.
    pub fn last(&self) -> PartIndex {
        // The history has at least one part, whose window ends two intervals after the start.
        PartIndex(seconds_left(self.start) / self.interval_s - 2)
    }

    /// The window of a part, in constant time. Every index up to [`Timeline::last`] has one of its
    /// own; those beyond have that part's, so that nothing overflows.
    pub fn part(&self, index: PartIndex) -> Part {
        let steps = index.min(self.last()).0 + 1;
        let start = self.start.plus_seconds(steps.saturating_mul(self.interval_s));
        Part { index, start, interval_s: self.interval_s }
    }

    /// The part in whose window a time lies, within the history or behind it.
    pub fn part_at(&self, time: Micros) -> Option<PartIndex> {
        let seconds = time.0.checked_sub(self.start.0)?.div_euclid(1_000_000);
        let index = u64::try_from(seconds).ok()?.checked_div(self.interval_s)?.checked_sub(1)?;
        Some(PartIndex(index)).filter(|&index| index <= self.last())
    }

    /// How many records each part has, and where in its window they lie.
    pub(crate) fn rhythm(&self) -> &Rhythm {
        &self.rhythm
    }

    /// Records of a stream in a part.
    pub fn count(&self, stream: Stream, part: PartIndex) -> u32 {
        self.rhythm.count(stream, part)
    }

    /// Records of a stream in so many parts: `first`, and every `step`-th behind it.
    pub fn sum(&self, stream: Stream, first: PartIndex, step: u64, parts: u64) -> u64 {
        self.rhythm.sum(stream, first, step, parts)
    }

    /// Records of a stream in a second of simulated time, on average.
    pub fn rate(&self, stream: Stream) -> f64 {
        let records = self.sum(stream, PartIndex(0), 1, self.files);
        records as f64 / (self.files * self.interval_s) as f64
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        self.rhythm.count_max()
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        self.rhythm.time(stream, part, index)
    }
}

/// Whole seconds from a time to the end of the calendar's four digits for the year.
fn seconds_left(from: Micros) -> u64 {
    u64::try_from(YEAR_10000.0.saturating_sub(from.0) / 1_000_000).unwrap_or(0)
}

/// Python's `round(numerator / denominator)`: a half goes to the even neighbour.
fn round_half_even(numerator: u128, denominator: u128) -> u64 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    (quotient + u128::from(up)) as u64
}
