//! How subscribers behave, and when: one module for each way.

mod even;
mod uniform;

use std::ops::Range;

use self::even::Even;
pub(crate) use self::uniform::Uniform;
use crate::field::Records;
use crate::part::{Part, PartIndex};
use crate::scenario::{Profile, Scenario};
use crate::stream::Stream;
use crate::time::Micros;

/// How many records each part has, and where in its window they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rhythm {
    Even(Even),
    #[cfg(feature = "test-additions")]
    Uneven(crate::additions::Uneven),
}

impl Rhythm {
    pub fn new(scenario: &Scenario) -> Self {
        match scenario.profile {
            Profile::Uniform => Rhythm::Even(Uniform::new(scenario).rhythm().clone()),
            #[cfg(feature = "test-additions")]
            Profile::Uneven => Rhythm::Uneven(crate::additions::Uneven::new(scenario)),
        }
    }

    /// Records of a stream in a part.
    pub fn count(&self, _: Stream, part: PartIndex) -> u32 {
        match self {
            Rhythm::Even(even) => even.count(part),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.of(part).rhythm().count(part),
        }
    }

    /// Records of a stream in so many parts: `first`, and every `step`-th behind it.
    pub fn sum(&self, stream: Stream, first: PartIndex, step: u64, parts: u64) -> u64 {
        if self.is_even() {
            return parts.saturating_mul(self.count(stream, first).into());
        }
        let part = |nth| PartIndex(first.0.saturating_add(step.saturating_mul(nth)));
        (0..parts).map(|nth| u64::from(self.count(stream, part(nth)))).sum()
    }

    fn is_even(&self) -> bool {
        match self {
            Rhythm::Even(_) => true,
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(_) => false,
        }
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        match self {
            Rhythm::Even(even) => even.count(PartIndex(0)),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.count_max(),
        }
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        match self {
            Rhythm::Even(even) => even.time(stream, part, index),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.of(part.index).rhythm().time(stream, part, index),
        }
    }
}

/// What a profile needs to know to generate records.
#[derive(Clone, Debug)]
pub(crate) enum Subscribers {
    Uniform(Uniform),
    #[cfg(feature = "test-additions")]
    Uneven(crate::additions::Uneven),
}

impl Subscribers {
    pub fn new(scenario: &Scenario) -> Self {
        match scenario.profile {
            Profile::Uniform => Subscribers::Uniform(Uniform::new(scenario)),
            #[cfg(feature = "test-additions")]
            Profile::Uneven => Subscribers::Uneven(crate::additions::Uneven::new(scenario)),
        }
    }

    /// Hands over the records of a part whose indices are in `range`, in time order.
    #[inline]
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        match self {
            Subscribers::Uniform(uniform) => uniform.each(stream, part, range, records),
            #[cfg(feature = "test-additions")]
            Subscribers::Uneven(uneven) => uneven.of(part.index).each(stream, part, range, records),
        }
    }
}
