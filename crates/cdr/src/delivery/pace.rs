//! When a record is due: simulated time against the clock on the wall.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdr_model::Micros;

/// How fast the history is delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the destinations take it.
    Max,
    /// This many simulated seconds in one second on the wall.
    Factor(f64),
}

/// A moment at which simulated time and the wall's are known to meet.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: Instant,
    simulated: Micros,
}

impl Anchor {
    fn now(simulated: Micros) -> Self {
        Anchor { wall: Instant::now(), simulated }
    }

    fn simulated_at(&self, wall: Instant, factor: f64) -> Micros {
        let seconds = wall.saturating_duration_since(self.wall).as_secs_f64() * factor;
        Micros(self.simulated.0.saturating_add((seconds * 1e6) as i64))
    }
}

/// Tells which simulated time it is, for all sinks of a run alike.
#[derive(Debug)]
pub struct SimulatedClock {
    history: History,
    /// Where the history ends; behind it a run without end goes at the wall's pace.
    history_end: Micros,
    live: OnceLock<Anchor>,
}

#[derive(Debug)]
enum History {
    Unlimited,
    Paced {
        anchor: Anchor,
        factor: f64,
    },
    /// Simulated time is the time of day: `--start now`.
    Wall,
}

/// A time that is far behind every record: everything is due.
const ALWAYS: Micros = Micros(i64::MAX);

impl SimulatedClock {
    /// Begins to run now, at the simulated time `at`.
    pub fn new(pace: Pace, at: Micros, history_end: Micros) -> Self {
        let history = match pace {
            Pace::Max => History::Unlimited,
            Pace::Factor(factor) => History::Paced { anchor: Anchor::now(at), factor },
        };
        let clock = SimulatedClock { history, history_end, live: OnceLock::new() };
        if at >= history_end {
            // A run that was stopped beyond its history goes on where it was, not at its beginning.
            clock.live.get_or_init(|| Anchor::now(at));
        }
        clock
    }

    /// A clock that follows the time of day, UTC; what was missed during a stop is due at once.
    pub fn wall() -> Self {
        SimulatedClock { history: History::Wall, history_end: ALWAYS, live: OnceLock::new() }
    }

    /// Everything before this time is due, where the next thing to do lies at `next`.
    pub fn due_before(&self, next: Micros) -> Micros {
        match &self.history {
            History::Wall => time_of_day(),
            _ if next >= self.history_end => {
                let anchor = self.live.get_or_init(|| Anchor::now(self.history_end));
                anchor.simulated_at(Instant::now(), 1.0)
            }
            // The history's clock stops at its end: what follows has a pace of its own.
            History::Unlimited => self.history_end,
            History::Paced { anchor, factor } => {
                anchor.simulated_at(Instant::now(), *factor).min(self.history_end)
            }
        }
    }

    /// How long until this time is due; zero when it is.
    pub fn until(&self, time: Micros) -> Duration {
        let missing = time.0.saturating_sub(self.due_before(time).0);
        let factor = match &self.history {
            History::Paced { factor, .. } if time < self.history_end => *factor,
            _ => 1.0,
        };
        match missing {
            ..0 => Duration::ZERO,
            // One microsecond more, since `due_before` is exclusive.
            _ => Duration::from_secs_f64((missing + 1) as f64 / 1e6 / factor),
        }
    }
}

fn time_of_day() -> Micros {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(since_epoch.as_micros() as i64)
}
