//! Part → records: every record a function of (scenario, stream, part, index).

use std::ops::Range;

use crate::fact::Fact;
use crate::field::{Record, Records};
use crate::part::{Part, PartIndex};
use crate::population::Population;
use crate::profile::{Bases, Subscribers};
use crate::scenario::{Scenario, ScenarioError};
use crate::stream::Stream;
use crate::time::Micros;
use crate::timeline::Timeline;
use crate::usage::Interaction;

/// Generates the records of any part, alone.
#[derive(Clone, Debug)]
pub struct Generator {
    timeline: Timeline,
    population: Population,
    subscribers: Subscribers,
}

impl Generator {
    /// Draws the population; takes some milliseconds, whatever the length of the run.
    ///
    /// # Errors
    /// A scenario that cannot be simulated.
    pub fn new(scenario: &Scenario) -> Result<Self, ScenarioError> {
        let timeline = Timeline::new(scenario)?;
        Ok(Generator {
            subscribers: Subscribers::new(scenario, timeline.rhythm()),
            population: Population::new(scenario),
            timeline,
        })
    }

    /// Who and what the records' indices stand for.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// How many records of a stream a part has.
    pub fn count(&self, stream: Stream, part: PartIndex) -> u32 {
        self.timeline.count(stream, part)
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        self.timeline.time(stream, part, index)
    }

    /// Hands over the records of a part whose indices are in `range`, in time order.
    #[inline]
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        self.subscribers.each(stream, part, range, records);
    }

    /// Hands over what the records of a part say, in time order.
    pub fn facts(&self, stream: Stream, part: &Part, each: impl FnMut(Fact)) {
        let all = 0..self.count(stream, part.index);
        self.each(stream, part, all, &mut Facts { population: &self.population, each });
    }

    /// Where towers stand, in metres, from the first; none where they stand nowhere.
    pub fn towers(&self) -> Vec<[i32; 2]> {
        self.subscribers.towers()
    }

    /// Where a subscriber lives and works, where the profile knows of such.
    pub fn bases(&self, subscriber: u32) -> Option<Bases> {
        self.subscribers.bases(subscriber)
    }

    /// Hands over the usage that the records of a part report, in time order.
    pub fn interactions(&self, stream: Stream, part: &Part, each: impl FnMut(Interaction)) {
        let all = 0..self.count(stream, part.index);
        self.each(stream, part, all, &mut Interactions { population: &self.population, each });
    }
}

struct Interactions<'a, F> {
    population: &'a Population,
    each: F,
}

impl<F: FnMut(Interaction)> Records for Interactions<'_, F> {
    fn take<R: Record>(&mut self, record: &R) {
        if let Some((tower, used)) = record.usage() {
            let msisdn = self.population.subscriber(record.subscriber()).number();
            (self.each)(Interaction { msisdn, tower: tower.into(), time: record.time(), used });
        }
    }
}

struct Facts<'a, F> {
    population: &'a Population,
    each: F,
}

impl<F: FnMut(Fact)> Records for Facts<'_, F> {
    fn take<R: Record>(&mut self, record: &R) {
        if let Some(fact) = record.fact(self.population) {
            (self.each)(fact);
        }
    }
}
