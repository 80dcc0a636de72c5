//! Scenario → parts: how many files there are, what each is called, which times it covers.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

use crate::record::Stream;
use crate::scenario::{Scenario, ScenarioError};
use crate::time::Micros;

/// Number of a part within a run, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartIndex(pub u64);

impl fmt::Display for PartIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every `of`-th part, beginning with part `number - 1`: the share of one of several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

/// Why a shard cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a shard; write NUMBER/OF with 1 <= NUMBER <= OF <= 1024, such as 2/8")]
pub struct ShardError(String);

impl Shard {
    /// The whole run, in one process.
    pub const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// # Errors
    /// Unless `1 <= number <= of <= 1024`.
    pub fn new(number: u32, of: u32) -> Result<Self, ShardError> {
        if (1..=1024).contains(&of) && (1..=of).contains(&number) {
            Ok(Shard { number, of })
        } else {
            Err(ShardError(format!("{number}/{of}")))
        }
    }

    pub fn is_whole(self) -> bool {
        self == Shard::WHOLE
    }

    /// Into how many shards the run is split.
    pub fn count(self) -> u32 {
        self.of
    }

    /// The shard's place among all, from 0.
    pub fn index(self) -> usize {
        self.number as usize - 1
    }

    fn first(self) -> u64 {
        u64::from(self.number) - 1
    }

    fn step(self) -> u64 {
        self.of.into()
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError(text.to_owned());
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let (number, of) = (number.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        Shard::new(number, of).map_err(|_| wrong())
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// One interval of the run: the same number of records in each stream, and one file for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub index: PartIndex,
    /// File time, and the beginning of the window in which the records' times lie.
    pub start: Micros,
    /// Length of the window in seconds; its end is not part of it.
    pub interval_s: u64,
    /// Records in each stream.
    pub line_count: u32,
}

impl Part {
    /// The end of the window.
    pub fn end(&self) -> Micros {
        self.start.plus_seconds(self.interval_s)
    }

    /// Name of a stream's file: `cdr_data_20240101_001645.csv`.
    pub fn file_name(&self, stream: Stream) -> String {
        let name: String =
            self.start.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let (date, time) = name.split_at(8);
        format!("{stream}_{date}_{time}.csv")
    }
}

/// The parts of a run, or of one shard of it, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    start: Micros,
    interval_s: u64,
    line_count: u32,
    lines_per_second: u32,
    files: u64,
    shard: Shard,
    endless: bool,
}

impl Plan {
    /// # Errors
    /// A scenario that is not valid, whose file count or interval rounds to 0, or whose history ends
    /// after the year 9999.
    pub fn new(scenario: &Scenario, shard: Shard) -> Result<Self, ScenarioError> {
        scenario.validate()?;
        let &Scenario { total_seconds, line_count, lines_per_second, .. } = scenario;
        let files =
            round_half_even(u128::from(total_seconds) * u128::from(lines_per_second), line_count.into());
        if files == 0 {
            return Err(ScenarioError::NoFiles { total_seconds, lines_per_second, line_count });
        }
        let interval_s = round_half_even(total_seconds.into(), files.into());
        if interval_s == 0 {
            return Err(ScenarioError::NoInterval { total_seconds, files });
        }
        let start = Micros::from_civil(scenario.start);
        let plan =
            Plan { start, interval_s, line_count, lines_per_second, files, shard, endless: false };
        match plan.part(PartIndex(files - 1)).end() {
            end if end <= YEAR_10000 => Ok(plan),
            _ => Err(ScenarioError::EndsTooLate),
        }
    }

    /// The same plan without an end: after the history, interval follows interval, until the
    /// calendar's four digits for the year are used up.
    pub fn without_end(self) -> Self {
        Plan { endless: true, ..self }
    }

    /// The same plan for another shard.
    pub fn for_shard(self, shard: Shard) -> Self {
        Plan { shard, ..self }
    }

    /// The first part, of any shard, whose window would reach beyond the year 9999.
    fn last_possible(&self) -> u64 {
        let micros = (YEAR_10000.0 - self.start.0) as u64;
        micros / 1_000_000 / self.interval_s - 1
    }

    /// Seconds from one part's window to the next.
    pub fn interval_s(&self) -> u64 {
        self.interval_s
    }

    /// Parts of the whole run, over all shards: the contract's `FILE_COUNT`.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Records per simulated second and stream, as configured.
    pub fn lines_per_second(&self) -> u32 {
        self.lines_per_second
    }

    /// Records of one stream in each part.
    pub fn line_count(&self) -> u32 {
        self.line_count
    }

    /// Whether the plan goes on after the history.
    pub fn is_endless(&self) -> bool {
        self.endless
    }

    /// Any part, whether or not this shard delivers it, in constant time.
    pub fn part(&self, index: PartIndex) -> Part {
        let start = self.start.plus_seconds((index.0 + 1) * self.interval_s);
        Part { index, start, interval_s: self.interval_s, line_count: self.line_count }
    }

    /// The part, of any shard, in whose window a time lies; a plan without end has one for every
    /// time behind its beginning.
    pub fn part_at(&self, time: Micros) -> Option<PartIndex> {
        let seconds = time.0.checked_sub(self.start.0)?.div_euclid(1_000_000);
        let index = u64::try_from(seconds).ok()?.checked_div(self.interval_s)?.checked_sub(1)?;
        (self.endless || index < self.files).then_some(PartIndex(index))
    }

    /// The part, of any shard, that has a file of this name.
    pub fn part_of_file(&self, name: &str) -> Option<PartIndex> {
        let stream = Stream::ALL.into_iter().find(|stream| name.starts_with(stream.name()))?;
        let time = name.strip_prefix(stream.name())?.strip_prefix('_')?.strip_suffix(".csv")?;
        let time = NaiveDateTime::parse_from_str(time, "%Y%m%d_%H%M%S").ok()?;
        let index = self.part_at(Micros::from_civil(time))?;
        (self.part(index).file_name(stream) == name).then_some(index)
    }

    /// The first part of this shard.
    pub fn first(&self) -> PartIndex {
        PartIndex(self.shard.first())
    }

    /// The part of this shard that follows one of its parts.
    pub fn after(&self, index: PartIndex) -> PartIndex {
        PartIndex(index.0 + self.shard.step())
    }

    /// This shard's last part before a cursor, if there is one.
    pub fn before(&self, cursor: PartIndex) -> Option<PartIndex> {
        let steps = self.parts_before(cursor).checked_sub(1)?;
        Some(PartIndex(self.shard.first() + steps * self.shard.step()))
    }

    /// Whether a cursor stands behind this shard's last part; never, for a plan without end.
    pub fn is_done(&self, cursor: PartIndex) -> bool {
        cursor.0 >= if self.endless { self.last_possible() } else { self.files }
    }

    /// Whether the part lies beyond the history, where only a plan without end has parts.
    pub fn is_beyond_history(&self, index: PartIndex) -> bool {
        index.0 >= self.files
    }

    /// The cursor behind the last part of this shard's history.
    pub fn end(&self) -> PartIndex {
        PartIndex(self.shard.first() + self.parts() * self.shard.step())
    }

    /// The end of the last window of the whole run's history.
    pub fn history_end(&self) -> Micros {
        self.part(PartIndex(self.files - 1)).end()
    }

    /// Parts of this shard's history.
    pub fn parts(&self) -> u64 {
        self.parts_before(PartIndex(self.files))
    }

    /// How many of this shard's parts come before a cursor.
    pub fn parts_before(&self, cursor: PartIndex) -> u64 {
        cursor.0.saturating_sub(self.shard.first()).div_ceil(self.shard.step())
    }

    /// Whether a cursor stands on one of this shard's parts, or behind its last.
    pub fn owns(&self, cursor: PartIndex) -> bool {
        cursor.0 <= self.last_possible() + self.shard.step()
            && cursor.0 >= self.shard.first()
            && (cursor.0 - self.shard.first()).is_multiple_of(self.shard.step())
    }
}

/// Texts of times have four digits for the year. A window may end here, since its end is not in it.
const YEAR_10000: Micros = Micros(253_402_300_800_000_000);

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
