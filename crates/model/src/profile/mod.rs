//! How subscribers behave: one module for each way.

mod uniform;

use self::uniform::Uniform;
use crate::field::Records;
use crate::scenario::{Profile, Scenario};
use crate::stream::Stream;
use crate::timeline::Draw;

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

    /// Hands over a record of each draw.
    #[inline]
    pub fn each(&self, draws: impl Iterator<Item = Draw>, stream: Stream, records: &mut impl Records) {
        match self {
            Subscribers::Uniform(uniform) => uniform.each(draws, stream, records),
        }
    }
}
