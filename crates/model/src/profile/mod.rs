//! How subscribers behave, and when: one module for each way.

mod even;
mod uniform;

use std::ops::Range;

use self::even::Even;
use self::uniform::Uniform;
use crate::field::Records;
use crate::part::{Part, PartIndex};
use crate::scenario::{Profile, Scenario};
use crate::stream::Stream;
use crate::time::Micros;

/// How many records each part has, and where in its window they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rhythm {
    Even(Even),
}

impl Rhythm {
    pub fn new(scenario: &Scenario) -> Self {
        match scenario.profile {
            Profile::Uniform => Rhythm::Even(Uniform::rhythm(scenario)),
        }
    }

    /// Records of a stream in a part.
    pub fn count(&self, _: Stream, _: PartIndex) -> u32 {
        self.count_max()
    }

    /// No part has more records of a stream.
    pub fn count_max(&self) -> u32 {
        match self {
            Rhythm::Even(even) => even.count(),
        }
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        match self {
            Rhythm::Even(even) => even.time(stream, part, index),
        }
    }
}

/// What a profile needs to know to generate records.
#[derive(Clone, Debug)]
pub(crate) enum Subscribers {
    Uniform(Uniform),
}

impl Subscribers {
    pub fn new(scenario: &Scenario) -> Self {
        match scenario.profile {
            Profile::Uniform => Subscribers::Uniform(Uniform::new(scenario)),
        }
    }

    /// Hands over the records of a part whose indices are in `range`, in time order.
    #[inline]
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        match self {
            Subscribers::Uniform(uniform) => uniform.each(stream, part, range, records),
        }
    }
}
