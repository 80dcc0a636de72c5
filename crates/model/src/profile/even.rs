//! The same number of records in every part, evenly spread.

use std::ops::Range;

use crate::part::{Part, PartIndex};
use crate::random::{Words, below_wide};
use crate::scenario::Scenario;
use crate::stream::{PerStream, Stream};
use crate::time::Micros;

/// A part's window is divided into as many slots as it has records, and each record's time is drawn
/// within its own. So records are in time order, and each one's time is known without those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Even {
    seed: u64,
    line_count: u32,
    /// Random words that one record takes, of which the last gives its time.
    words: PerStream<u64>,
}

/// What one record is drawn from: its random words and its slot.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    words: Words,
    at: u64,
    /// The word that gives the time; its low half may serve for something else.
    pub time_word: u64,
    slot_begin: Micros,
    /// In microseconds; 0 for a slot that is narrower than one: several records share a time.
    slot_width: u64,
}

impl Draw {
    /// One of the record's words.
    #[inline(always)]
    pub fn word(self, nth: u64) -> u64 {
        self.words.at(self.at + nth)
    }

    /// When the record happens.
    #[inline(always)]
    pub fn time(self) -> Micros {
        Micros(self.slot_begin.0 + below_wide(self.time_word, self.slot_width) as i64)
    }
}

impl Even {
    pub fn new(scenario: &Scenario, words: PerStream<u64>) -> Self {
        Even { seed: scenario.seed, line_count: scenario.line_count, words }
    }

    /// Records of each stream in a part.
    pub fn count(&self, _: PartIndex) -> u32 {
        self.line_count
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
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
        let per_record = self.words[stream];
        let (micros, count) = (part.interval_s * 1_000_000, u64::from(self.line_count));
        let (whole, rest) = (micros / count, micros % count);
        // Where a slot begins: `index * micros / count` without overflow.
        let bound = move |index: u64| whole * index + rest * index / count;
        let (start, mut from) = (part.start.0, bound(range.start.into()));
        (range.start..range.end.min(self.line_count)).map(move |index| {
            let (index, begin) = (u64::from(index), from);
            from = bound(index + 1);
            let at = index * per_record;
            Draw {
                words,
                at,
                time_word: words.at(at + per_record - 1),
                slot_begin: Micros(start + begin as i64),
                slot_width: from - begin,
            }
        })
    }
}
