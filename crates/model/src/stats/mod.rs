//! Statistics of records, each against the law that it should obey.
//!
//! One pass over the records, each stream's in time order, fills a few tables; each law then gives a line
//! with what was found. Memory has a bound: where the tables would grow beyond it, half of the people are
//! left out, by a hash of their numbers, and so on.

mod calls;
mod fit;
mod graph;
mod places;
mod rhythm;
mod sample;
mod sessions;

use std::fmt;

use self::calls::Calls;
use self::graph::Graph;
use self::places::Places;
use self::rhythm::Rhythms;
use self::sample::Sample;
use self::sessions::Sessions;
use crate::fact::Fact;
use crate::generate::Generator;
use crate::habits::RhythmKind;
use crate::scenario::Scenario;
use crate::stream::Stream;
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
    pub rhythm: RhythmKind,
    /// When the records begin, and end.
    pub window: [Micros; 2],
}

impl Known {
    /// Of generated records, those of a window.
    pub fn of(scenario: &Scenario, generator: &Generator, window: [Micros; 2]) -> Known {
        Known {
            subscribers: Some(scenario.subscribers.into()),
            towers: generator.towers(),
            ..Known::elsewhere(scenario, window)
        }
    }

    /// Of records that others made, somewhere else, which are compared with a scenario's laws.
    pub fn elsewhere(scenario: &Scenario, window: [Micros; 2]) -> Known {
        Known {
            ahead: i64::from(scenario.habits.utc_offset.0) * 60_000_000,
            call_median: scenario.habits.call_median,
            rhythm: scenario.habits.rhythm,
            window,
            ..Known::default()
        }
    }

    /// The hour of the local day.
    fn hour(&self, time: Micros) -> i64 {
        (time.0 + self.ahead).div_euclid(HOUR).rem_euclid(24)
    }

    /// Where a tower stands.
    fn tower(&self, number: u32) -> Option<[i32; 2]> {
        self.towers.get((number as usize).checked_sub(1)?).copied()
    }

    /// People of a sample, in which some were found.
    fn people(&self, sample: Sample, found: usize) -> usize {
        self.subscribers.map_or(found, |all| (all / sample.one_of()) as usize)
    }
}

/// What there must be of records before a law shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Anything,
    /// Seven days.
    Week,
    /// Four weeks.
    Month,
    /// Four weeks, and 50 calls of each person.
    MonthOfCalls,
    /// Four weeks, and 50 sessions of each person.
    MonthOfSessions,
}

/// How many records there are.
#[derive(Clone, Copy, Debug)]
struct Amount {
    days: f64,
    /// Of each person.
    calls: f64,
    sessions: f64,
}

impl Amount {
    fn suffices(self, needs: Needs) -> bool {
        // A last part that is missing leaves the week.
        let lasts = |days: f64| self.days > days - 0.5;
        match needs {
            Needs::Anything => true,
            Needs::Week => lasts(7.0),
            Needs::Month => lasts(28.0),
            Needs::MonthOfCalls => lasts(28.0) && self.calls >= 50.0,
            Needs::MonthOfSessions => lasts(28.0) && self.sessions >= 50.0,
        }
    }
}

/// Whether a law is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    Broken,
    /// What was found says nothing yet.
    TooFew,
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
    needs: Needs,
    enough: bool,
}

impl Finding {
    fn new(law: &'static str, found: f64, target: [f64; 2], source: &'static str) -> Finding {
        Finding { law, found, target, source, needs: Needs::Anything, enough: true }
    }

    /// One that shows only in so many records.
    fn needing(self, needs: Needs) -> Finding {
        Finding { needs, ..self }
    }

    /// Whether it is as it should be.
    pub fn verdict(&self) -> Verdict {
        match (self.target[0]..=self.target[1]).contains(&self.found) {
            _ if !self.enough => Verdict::TooFew,
            true => Verdict::Kept,
            false => Verdict::Broken,
        }
    }

    /// Where it should lie, in words.
    pub fn range(&self) -> String {
        match self.target {
            [least, f64::INFINITY] => format!("at least {least}"),
            [least, most] => format!("{least} to {most}"),
        }
    }

    /// What was found, in digits.
    pub fn number(&self) -> String {
        let rounded = (self.found * 1_000.0).round() / 1_000.0;
        match self.found.fract() {
            0.0 => format!("{}", self.found),
            // Not minus nothing.
            _ => format!("{:.3}", if rounded == 0.0 { 0.0 } else { rounded }),
        }
    }

    /// What stands above lines of findings.
    pub fn heading() -> String {
        format!("{:<54} {:>9}   {:<18}     SOURCE", "LAW", "FOUND", "TARGET")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Kept => "ok",
            Verdict::Broken => "OFF",
            Verdict::TooFew => "few",
        };
        let Finding { law, source, .. } = self;
        write!(f, "{law:<54} {:>9}   {:<18} {verdict:<3} {source}", self.number(), self.range())
    }
}

/// What was found beside what should be, as lines of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub what: &'static str,
    /// What goes to the right, and what goes up.
    pub axes: [&'static str; 2],
    /// Whether the axes are logarithmic.
    pub logarithmic: [bool; 2],
    pub found: Vec<[f64; 2]>,
    pub target: Vec<[f64; 2]>,
}

impl Curve {
    /// Points of a density, and the power by which it should fall, through their middle.
    fn power(what: &'static str, axis: &'static str, found: &[(f64, f64)], exponent: f64) -> Curve {
        let logs = found.iter().map(|(x, y)| y.ln() - exponent * x.ln());
        let level = logs.sum::<f64>() / found.len().max(1) as f64;
        Curve {
            what,
            axes: [axis, "density"],
            logarithmic: [true, true],
            found: found.iter().map(|(x, y)| [*x, *y]).collect(),
            target: found.iter().map(|(x, _)| [*x, (level + exponent * x.ln()).exp()]).collect(),
        }
    }
}

/// What each tower carried at a time of day.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerMap {
    pub what: String,
    pub towers: Vec<TowerShare>,
}

/// What a tower carried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TowerShare {
    /// Metres to the east, and to the north.
    pub at: [i32; 2],
    /// Of the records of that time.
    pub share: f64,
    /// That share against the tower's share of the whole day.
    pub against_day: f64,
}

/// How many records there are of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    pub what: &'static str,
    /// In order.
    pub bars: Vec<(String, u64)>,
}

/// Bytes of the tables of people, at most.
const BYTES_MAX: usize = 200_000_000;

/// The pass.
#[derive(Clone, Debug)]
pub struct Statistics {
    known: Known,
    bytes_max: usize,
    sample: Sample,
    records: u64,
    rhythms: Rhythms,
    calls: Calls,
    graph: Graph,
    sessions: Sessions,
    places: Places,
}

impl Statistics {
    pub fn new(known: Known) -> Statistics {
        Statistics::within(known, BYTES_MAX)
    }

    /// Keeps the tables of people within so many bytes, by and large.
    pub fn within(known: Known, bytes_max: usize) -> Statistics {
        Statistics {
            bytes_max,
            sample: Sample::default(),
            records: 0,
            rhythms: Rhythms::default(),
            calls: Calls::default(),
            graph: Graph::default(),
            sessions: Sessions::default(),
            places: Places::default(),
            known,
        }
    }

    /// Takes the next record of a stream.
    pub fn take(&mut self, fact: &Fact) {
        self.records += 1;
        self.rhythms.take(fact, &self.known);
        match *fact {
            Fact::Call { caller, called, tower, time, seconds } => {
                self.calls.take(caller, called, time, seconds, self.sample);
                self.take_place(Stream::Voice, caller, tower, time);
                if let Some(called) = called
                    && self.sample.has(caller)
                {
                    self.graph.take(caller, called, time, &self.known);
                }
            }
            Fact::Session { who, tower, time, data_type, up, down } => {
                self.sessions.take(data_type, up, down);
                self.take_place(Stream::Data, who, tower, time);
                if self.sample.has(who) {
                    self.sessions.take_person(who, up + down);
                }
            }
        }
        while self.bytes() > self.bytes_max {
            self.sample = self.sample.half();
            self.calls.thin(self.sample);
            self.graph.thin(self.sample);
            self.sessions.thin(self.sample);
            self.places.thin(self.sample);
        }
    }

    fn take_place(&mut self, stream: Stream, who: u64, tower: Option<u32>, time: Micros) {
        let Some(tower) = tower else { return };
        self.places.count(tower, time, &self.known);
        if self.sample.has(who) {
            self.places.take(stream, who, tower, time, &self.known);
        }
    }

    /// How many records were taken.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// One of how many people was looked at one by one; all others count in sums only.
    pub fn one_of(&self) -> u64 {
        self.sample.one_of()
    }

    fn amount(&self) -> Amount {
        let [begin, end] = self.known.window;
        let each = |records: u64, people: usize| {
            let all = self.known.subscribers.unwrap_or(people as u64 * self.sample.one_of());
            records as f64 / all.max(1) as f64
        };
        Amount {
            days: (end.0 - begin.0) as f64 / (24 * HOUR) as f64,
            calls: each(self.calls.all(), self.calls.people()),
            sessions: each(self.sessions.all(), self.sessions.people()),
        }
    }

    fn bytes(&self) -> usize {
        self.calls.bytes() + self.graph.bytes() + self.sessions.bytes() + self.places.bytes()
    }

    /// How records spread over hours, lengths and sizes.
    pub fn histograms(&self) -> Vec<Histogram> {
        let mut histograms = self.rhythms.histograms().to_vec();
        histograms.extend([self.calls.histogram(), self.sessions.histogram()]);
        histograms
    }

    /// What was found beside what should be; those without points are left out.
    pub fn curves(&self) -> Vec<Curve> {
        let mut curves = self.rhythms.curves(&self.known).to_vec();
        curves.extend(self.calls.curves(&self.known));
        curves.extend([self.sessions.curve(), self.places.curve()]);
        let is_known =
            |points: &[[f64; 2]]| points.len() > 1 && points.iter().flatten().all(|x| x.is_finite());
        curves.retain(|curve| is_known(&curve.found) && is_known(&curve.target));
        curves
    }

    /// Towers by time of day; none where nobody knows where they stand, or nothing happened.
    pub fn maps(&self) -> Vec<TowerMap> {
        self.places.maps(&self.known)
    }

    /// What was found, law by law.
    pub fn findings(&self) -> Vec<Finding> {
        let (known, sample) = (&self.known, self.sample);
        let mut findings = self.rhythms.findings(known);
        findings.extend(self.calls.findings(known, sample));
        findings.extend(self.graph.findings(known, &self.places, sample));
        findings.extend(self.sessions.findings(known, sample));
        findings.extend(self.places.findings(known));
        // Of what there is nothing of, nothing can be said.
        findings.retain(|finding| !finding.found.is_nan());
        let amount = self.amount();
        for finding in &mut findings {
            finding.enough = amount.suffices(finding.needs);
        }
        findings
    }
}
