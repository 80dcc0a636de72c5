//! How subscribers behave: one module for each way.

mod uniform;

use std::ops::Range;

use self::uniform::Uniform;
use crate::field::Records;
use crate::part::Part;
use crate::scenario::{Profile, Scenario};
use crate::stream::Stream;
use crate::timeline::Rhythm;

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
    pub fn each(
        &self,
        rhythm: &Rhythm,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        records: &mut impl Records,
    ) {
        let (Subscribers::Uniform(uniform), Rhythm::Even(even)) = (self, rhythm);
        uniform.each(even.draw(stream, part, range), stream, records);
    }
}
