//! Statistics of records, each against the law that it should obey.
//!
//! One pass over the records, in time order, fills a few tables; each law then gives a line with what
//! was found. Only a sample of the subscribers is looked at one by one, so that memory has a bound.

mod calls;
mod fit;
mod graph;
mod places;
mod rhythm;
mod sessions;

use std::fmt;

use self::calls::Calls;
use self::graph::Graph;
use self::places::Places;
use self::rhythm::Rhythms;
use self::sessions::Sessions;
use crate::fact::Fact;
use crate::time::Micros;

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

/// What is known of the world that the records come from.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// People who could make records; those that do where it is not known.
    pub subscribers: Option<u64>,
    /// Of each tower, from the first: where it stands, in metres.
    pub towers: Vec<[i32; 2]>,
    /// What local time is ahead of UTC, in microseconds.
    pub ahead: i64,
    /// Half of all calls are no longer, in seconds.
    pub call_median: u32,
    /// When the records begin, and end.
    pub window: [Micros; 2],
}

/// One law, and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub law: &'static str,
    pub found: f64,
    /// Where it should lie.
    pub target: [f64; 2],
    /// Where the target comes from.
    pub source: &'static str,
}

impl Finding {
    fn new(law: &'static str, found: f64, target: [f64; 2], source: &'static str) -> Finding {
        Finding { law, found, target, source }
    }

    /// Whether it is as it should be.
    pub fn is_met(&self) -> bool {
        (self.target[0]..=self.target[1]).contains(&self.found)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met() { "ok" } else { "OFF" };
        let [from, to] = self.target;
        write!(
            f,
            "{:<52} {:>10.3}  {from:>8.3} to {to:<8.3} {verdict:<4} {}",
            self.law, self.found, self.source
        )
    }
}

/// The pass.
pub struct Statistics {
    known: Known,
    rhythms: Rhythms,
    calls: Calls,
    graph: Graph,
    sessions: Sessions,
    places: Places,
}

impl Statistics {
    pub fn new(known: Known) -> Statistics {
        Statistics {
            rhythms: Rhythms::default(),
            calls: Calls::default(),
            graph: Graph::default(),
            sessions: Sessions::default(),
            places: Places::default(),
            known,
        }
    }

    /// Takes the next record.
    pub fn take(&mut self, fact: &Fact) {
        self.rhythms.take(fact, &self.known);
        match *fact {
            Fact::Call { caller, called, tower, time, seconds } => {
                self.calls.take(caller, called, time, seconds);
                self.graph.take(caller, called, time, &self.known);
                self.places.take(caller, tower, time, &self.known);
            }
            Fact::Session { who, tower, time, data_type, up, down } => {
                self.sessions.take(who, data_type, up, down);
                self.places.take(who, tower, time, &self.known);
            }
        }
    }

    /// What was found, law by law.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.rhythms.findings(&self.known);
        findings.extend(self.calls.findings(&self.known));
        findings.extend(self.graph.findings(&self.known, &self.places));
        findings.extend(self.sessions.findings(&self.known));
        findings.extend(self.places.findings(&self.known));
        findings
    }
}
