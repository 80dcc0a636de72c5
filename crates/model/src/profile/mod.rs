//! How subscribers behave, and when: one module for each way.

mod daily;
mod even;
pub(crate) mod hours;
pub(crate) mod realistic;
mod uniform;

use std::ops::Range;

use self::daily::Daily;
use self::even::Even;
use self::realistic::Realistic;
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
    Daily(Daily),
    #[cfg(feature = "test-additions")]
    Uneven(crate::additions::Uneven),
}

impl Rhythm {
    /// `start`: of the first part; `interval`: from one to the next, in seconds.
    pub fn new(scenario: &Scenario, start: Micros, interval: u64, files: u64) -> Self {
        match scenario.profile {
            Profile::Realistic => Rhythm::Daily(Daily::new(scenario, start, interval, files)),
            Profile::Uniform => Rhythm::Even(Uniform::new(scenario).rhythm().clone()),
            #[cfg(feature = "test-additions")]
            Profile::Uneven => Rhythm::Uneven(crate::additions::Uneven::new(scenario)),
        }
    }

    /// Records of a stream in a part.
    pub fn count(&self, stream: Stream, part: PartIndex) -> u32 {
        match self {
            Rhythm::Even(even) => even.count(part),
            Rhythm::Daily(daily) => daily.count(stream, part),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.of(part).rhythm().count(part),
        }
    }

    /// Records of a stream in so many parts: `first`, and every `step`-th behind it.
    pub fn sum(&self, stream: Stream, first: PartIndex, step: u64, parts: u64) -> u64 {
        match self {
            Rhythm::Even(even) => return parts.saturating_mul(even.count(first).into()),
            Rhythm::Daily(daily) if step == 1 => {
                let behind = PartIndex(first.0.saturating_add(parts));
                return (daily.first(stream, behind) - daily.first(stream, first)) as u64;
            }
            _ => {}
        }
        let part = |nth| PartIndex(first.0.saturating_add(step.saturating_mul(nth)));
        (0..parts).map(|nth| u64::from(self.count(stream, part(nth)))).sum()
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        match self {
            Rhythm::Even(even) => even.count(PartIndex(0)),
            Rhythm::Daily(daily) => daily.count_max(),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.count_max(),
        }
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        match self {
            Rhythm::Even(even) => even.time(stream, part, index),
            Rhythm::Daily(daily) => daily.time(stream, part, index),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(uneven) => uneven.of(part.index).rhythm().time(stream, part, index),
        }
    }
}

/// The towers of the places to which a subscriber comes back, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bases {
    pub home: u32,
    /// Of those who work.
    pub work: Option<u32>,
}

/// What a profile needs to know to generate records.
#[derive(Clone, Debug)]
pub(crate) enum Subscribers {
    Uniform(Uniform),
    Realistic(Realistic),
    #[cfg(feature = "test-additions")]
    Uneven(crate::additions::Uneven),
}

impl Subscribers {
    pub fn new(scenario: &Scenario, rhythm: &Rhythm) -> Self {
        match rhythm {
            Rhythm::Even(_) => Subscribers::Uniform(Uniform::new(scenario)),
            Rhythm::Daily(daily) => Subscribers::Realistic(Realistic::new(scenario, daily)),
            #[cfg(feature = "test-additions")]
            Rhythm::Uneven(_) => Subscribers::Uneven(crate::additions::Uneven::new(scenario)),
        }
    }

    /// Where towers stand, in metres, from the first; none where they stand nowhere.
    pub fn towers(&self) -> Vec<[i32; 2]> {
        match self {
            Subscribers::Realistic(realistic) => realistic.towers(),
            _ => Vec::new(),
        }
    }

    /// Where a subscriber lives and works, where the profile knows of such.
    pub fn bases(&self, subscriber: u32) -> Option<Bases> {
        match self {
            Subscribers::Realistic(realistic) => realistic.bases(subscriber),
            _ => None,
        }
    }

    /// Hands over the records of a part whose indices are in `range`, in time order.
    #[inline]
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        match self {
            Subscribers::Uniform(uniform) => uniform.each(stream, part, range, records),
            Subscribers::Realistic(realistic) => realistic.each(stream, part, range, records),
            #[cfg(feature = "test-additions")]
            Subscribers::Uneven(uneven) => uneven.of(part.index).each(stream, part, range, records),
        }
    }
}
