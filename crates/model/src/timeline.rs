//! When everything happens: where parts begin, how many records each has, and each record's time.

use std::ops::Range;

use crate::part::{Part, PartIndex};
use crate::random::{Words, below_wide};
use crate::scenario::{Scenario, ScenarioError};
use crate::stream::Stream;
use crate::time::Micros;

/// The windows of a scenario's parts, and how its records lie in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    start: Micros,
    interval_s: u64,
    files: u64,
    rhythm: Rhythm,
}

/// How many records each window has, and where in it they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rhythm {
    Even(Even),
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
        let rhythm = Rhythm::Even(Even { seed: scenario.seed, line_count });
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

    /// Records of a stream in a part.
    pub fn count(&self, _: Stream, _: PartIndex) -> u32 {
        match &self.rhythm {
            Rhythm::Even(even) => even.line_count,
        }
    }

    /// Records of a stream in so many parts.
    pub fn total(&self, _: Stream, parts: u64) -> u64 {
        match &self.rhythm {
            Rhythm::Even(even) => parts.saturating_mul(even.line_count.into()),
        }
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        match &self.rhythm {
            Rhythm::Even(even) => even.line_count,
        }
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        match &self.rhythm {
            Rhythm::Even(even) => even.time(stream, part, index),
        }
    }

    pub(crate) fn rhythm(&self) -> &Rhythm {
        &self.rhythm
    }
}

/// Texts of times have four digits for the year. A window may end here, since its end is not in it.
const YEAR_10000: Micros = Micros(253_402_300_800_000_000);

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

/// The same number of records in every window, evenly spread.
///
/// A window is divided into as many slots as it has records, and each record's time is drawn within
/// its own. So records are in time order, and each one's time is known without those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Even {
    seed: u64,
    line_count: u32,
}

/// Random words that one record takes, of which the last gives its time.
const fn words_per_record(stream: Stream) -> u64 {
    match stream {
        Stream::Data => 4,
        Stream::Voice => 3,
        #[cfg(feature = "test-additions")]
        Stream::Probe => 2,
    }
}

/// What one record is drawn from: its random words and its slot.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    words: Words,
    at: u64,
    slot: Slot,
    time_word: u64,
}

impl Draw {
    /// One of the record's words.
    #[inline(always)]
    pub fn word(self, nth: u64) -> u64 {
        self.words.at(self.at + nth)
    }

    /// The word that gives the time; its low half may serve for something else.
    #[inline(always)]
    pub fn time_word(self) -> u64 {
        self.time_word
    }

    /// When the record happens.
    #[inline(always)]
    pub fn time(self) -> Micros {
        self.slot.time(self.time_word)
    }
}

impl Even {
    fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        self.draw(stream, part, index..index.saturating_add(1)).next().map_or(part.start, Draw::time)
    }

    /// What the records of a part whose indices are in `range` are drawn from, in time order.
    #[inline(always)]
    pub fn draw(
        &self,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
    ) -> impl Iterator<Item = Draw> + use<> {
        let words = Words::new(self.seed, stream, part.index.0);
        let per_record = words_per_record(stream);
        let mut slots = Slots::new(part, self.line_count, range.start);
        (range.start..range.end.min(self.line_count)).map(move |index| {
            let (at, slot) = (u64::from(index) * per_record, slots.next_slot());
            Draw { words, at, slot, time_word: words.at(at + per_record - 1) }
        })
    }
}

/// The share of a window in which one record's time is drawn.
#[derive(Clone, Copy)]
struct Slot {
    start: Micros,
    width: u64,
}

impl Slot {
    /// Slots narrower than a microsecond have a width of 0: several records share a time.
    #[inline(always)]
    fn time(self, word: u64) -> Micros {
        self.start + below_wide(word, self.width)
    }
}

/// The slots of a part, one after the other.
struct Slots {
    start: Micros,
    whole: u64,
    rest: u64,
    count: u64,
    index: u64,
    from: u64,
}

impl Slots {
    fn new(part: &Part, count: u32, index: u32) -> Self {
        let (micros, count) = (part.interval_s * 1_000_000, u64::from(count));
        let mut slots = Slots {
            start: part.start,
            whole: micros / count,
            rest: micros % count,
            count,
            index: index.into(),
            from: 0,
        };
        slots.from = slots.bound();
        slots
    }

    /// Where the slot at `self.index` begins: `index * micros / count` without overflow.
    #[inline]
    fn bound(&self) -> u64 {
        self.whole * self.index + self.rest * self.index / self.count
    }

    #[inline(always)]
    fn next_slot(&mut self) -> Slot {
        self.index += 1;
        let (from, to) = (self.from, self.bound());
        self.from = to;
        Slot { start: self.start + from, width: to - from }
    }
}
