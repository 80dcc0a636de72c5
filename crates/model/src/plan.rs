//! Scenario → parts: how many there are, which times each covers, and which are a shard's.

use std::fmt;
use std::str::FromStr;

use crate::part::{Part, PartIndex};
use crate::scenario::{Scenario, ScenarioError};
use crate::stream::{Stream, Streams};
use crate::time::Micros;
use crate::timeline::Timeline;

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
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let numbers = text.split_once('/');
        let shard =
            numbers.and_then(|(number, of)| Shard::new(number.parse().ok()?, of.parse().ok()?).ok());
        shard.ok_or_else(|| ShardError(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// The parts of a run, or of one shard of it, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    timeline: Timeline,
    streams: Streams,
    shard: Shard,
    endless: bool,
}

impl Plan {
    /// # Errors
    /// A scenario that cannot be simulated.
    pub fn new(scenario: &Scenario, shard: Shard) -> Result<Self, ScenarioError> {
        let timeline = Timeline::new(scenario)?;
        Ok(Plan { timeline, streams: scenario.streams, shard, endless: false })
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

    /// The streams of the run, in order.
    pub fn streams(&self) -> impl Iterator<Item = Stream> + Clone + use<> {
        self.streams.iter()
    }

    /// Seconds from one part's window to the next.
    pub fn interval_s(&self) -> u64 {
        self.timeline.interval_s()
    }

    /// Parts of the whole run, over all shards: the contract's `FILE_COUNT`.
    pub fn files(&self) -> u64 {
        self.timeline.files()
    }

    /// Records of a stream in a part; none of a stream that is not of the run.
    pub fn count(&self, stream: Stream, index: PartIndex) -> u32 {
        if self.streams.contains(stream) { self.timeline.count(stream, index) } else { 0 }
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        self.timeline.count_max()
    }

    /// Records in a second of simulated time, on average: of the stream that has most.
    pub fn rate(&self) -> f64 {
        self.streams().map(|stream| self.timeline.rate(stream)).fold(0.0, f64::max)
    }

    /// Records of a stream in this shard's parts before a cursor.
    pub fn records_before(&self, stream: Stream, cursor: PartIndex) -> u64 {
        match self.streams.contains(stream) {
            true => self.timeline.sum(stream, self.first(), self.step(), self.parts_before(cursor)),
            false => 0,
        }
    }

    /// Records of a stream in this shard's history.
    pub fn records(&self, stream: Stream) -> u64 {
        self.records_before(stream, PartIndex(self.files()))
    }

    /// Whether the plan goes on after the history.
    pub fn is_endless(&self) -> bool {
        self.endless
    }

    /// A part of any shard, in constant time. Every index up to [`Plan::last`] has a window of its own;
    /// those beyond have that part's, so that nothing overflows.
    pub fn part(&self, index: PartIndex) -> Part {
        self.timeline.part(index)
    }

    /// The last part, of any shard, that a plan without end can have: its window ends within the
    /// calendar's four digits for the year.
    pub fn last(&self) -> PartIndex {
        self.timeline.last()
    }

    /// The part, of any shard, in whose window a time lies; a plan without end has one for every
    /// time behind its beginning.
    pub fn part_at(&self, time: Micros) -> Option<PartIndex> {
        let index = self.timeline.part_at(time)?;
        (self.endless || index.0 < self.files()).then_some(index)
    }

    /// The first part of this shard.
    pub fn first(&self) -> PartIndex {
        PartIndex(self.shard.index() as u64)
    }

    /// From one part of this shard to the next.
    fn step(&self) -> u64 {
        self.shard.of.into()
    }

    /// The part of this shard that follows one of its parts.
    pub fn after(&self, index: PartIndex) -> PartIndex {
        PartIndex(index.0.saturating_add(self.step()))
    }

    /// The cursor behind this shard's first `parts` parts.
    pub fn nth(&self, parts: u64) -> PartIndex {
        PartIndex(self.first().0.saturating_add(parts.saturating_mul(self.step())))
    }

    /// This shard's last part before a cursor, if there is one.
    pub fn before(&self, cursor: PartIndex) -> Option<PartIndex> {
        Some(self.nth(self.parts_before(cursor).checked_sub(1)?))
    }

    /// Whether a cursor stands behind this shard's last part; never, for a plan without end.
    pub fn is_done(&self, cursor: PartIndex) -> bool {
        if self.endless { cursor > self.last() } else { cursor.0 >= self.files() }
    }

    /// The cursor behind the last part of this shard's history.
    pub fn end(&self) -> PartIndex {
        self.nth(self.parts())
    }

    /// The end of the last window of the whole run's history.
    pub fn history_end(&self) -> Micros {
        self.part(PartIndex(self.files() - 1)).end()
    }

    /// Parts of this shard's history.
    pub fn parts(&self) -> u64 {
        self.parts_before(PartIndex(self.files()))
    }

    /// How many of this shard's parts come before a cursor.
    pub fn parts_before(&self, cursor: PartIndex) -> u64 {
        cursor.0.saturating_sub(self.first().0).div_ceil(self.step())
    }

    /// Whether a cursor stands on one of this shard's parts, or behind its last.
    pub fn owns(&self, cursor: PartIndex) -> bool {
        let steps = cursor.0.checked_sub(self.first().0);
        cursor.0 <= self.last().0.saturating_add(1 + self.step())
            && steps.is_some_and(|steps| steps.is_multiple_of(self.step()))
    }
}
