//! When a record is due: simulated time against the clock on the wall.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdr_model::{Micros, Plan};

/// How fast the history is delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the destinations take it.
    Max,
    /// This many simulated seconds in one second on the wall.
    Factor(f64),
    /// This many records of each stream in one second on the wall.
    Rate(u32),
}

impl Pace {
    /// Simulated seconds in one second on the wall, if not as many as can be.
    fn factor(self, plan: &Plan) -> Option<f64> {
        match self {
            Pace::Max => None,
            Pace::Factor(factor) => Some(factor),
            // The interval is rounded, so what is simulated is not quite LINES_PER_SECOND.
            Pace::Rate(rate) => Some(f64::from(rate) / plan.rate()),
        }
    }
}

/// A moment at which simulated time and the wall's are known to meet.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: Instant,
    simulated: Micros,
}

impl Anchor {
    fn simulated_at(&self, wall: Instant, factor: f64) -> Micros {
        let seconds = wall.saturating_duration_since(self.wall).as_secs_f64() * factor;
        Micros(self.simulated.0.saturating_add((seconds * 1e6) as i64))
    }
}

/// The wall clock's time.
#[derive(Clone, Copy, Debug)]
struct Now {
    instant: Instant,
    time_of_day: Micros,
}

impl Now {
    fn read() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant::now(), time_of_day: Micros(since_epoch.as_micros() as i64) }
    }
}

/// Gives the simulated time, for all sinks of a run alike.
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

impl SimulatedClock {
    /// Begins to run now, at the simulated time `at`.
    pub fn new(pace: Pace, plan: &Plan, at: Micros) -> Self {
        Self::begun(pace.factor(plan), at, plan.history_end(), Instant::now())
    }

    fn begun(factor: Option<f64>, at: Micros, history_end: Micros, wall: Instant) -> Self {
        let anchor = Anchor { wall, simulated: at };
        let history = match factor {
            None => History::Unlimited,
            Some(factor) => History::Paced { anchor, factor },
        };
        let clock = SimulatedClock { history, history_end, live: OnceLock::new() };
        if at >= history_end {
            // A run that was stopped beyond its history goes on where it was, not at its beginning.
            clock.live.get_or_init(|| anchor);
        }
        clock
    }

    /// A clock that follows the time of day, UTC; what was missed during a stop is due at once.
    pub fn wall() -> Self {
        SimulatedClock { history: History::Wall, history_end: Micros(i64::MAX), live: OnceLock::new() }
    }

    /// Everything before this time is due, where the next thing to do lies at `next`.
    pub fn due_before(&self, next: Micros) -> Micros {
        self.due_before_at(next, Now::read())
    }

    fn due_before_at(&self, next: Micros, now: Now) -> Micros {
        match &self.history {
            History::Wall => now.time_of_day,
            _ if next >= self.history_end => {
                let begin = || Anchor { wall: now.instant, simulated: self.history_end };
                self.live.get_or_init(begin).simulated_at(now.instant, 1.0)
            }
            // The history's clock stops at its end: what follows has a pace of its own.
            History::Unlimited => self.history_end,
            History::Paced { anchor, factor } => {
                anchor.simulated_at(now.instant, *factor).min(self.history_end)
            }
        }
    }

    /// How long until this time is due; zero when it is.
    pub fn until(&self, time: Micros) -> Duration {
        self.until_at(time, Now::read())
    }

    fn until_at(&self, time: Micros, now: Now) -> Duration {
        let missing = time.0.saturating_sub(self.due_before_at(time, now).0);
        let factor = match &self.history {
            History::Paced { factor, .. } if time < self.history_end => *factor,
            _ => 1.0,
        };
        match missing {
            ..0 => Duration::ZERO,
            // One microsecond more, since `due_before` is exclusive.
            _ => Duration::from_secs_f64((missing.saturating_add(1)) as f64 / 1e6 / factor),
        }
    }
}

#[cfg(test)]
mod tests {
    use cdr_model::{Scenario, Shard};

    use super::*;

    const SECOND: i64 = 1_000_000;
    const END: Micros = Micros(1_000 * SECOND);

    /// A clock that began at 100 s of simulated time, and the wall `seconds` later.
    fn check(factor: Option<f64>) -> (SimulatedClock, impl Fn(f64) -> Now) {
        let wall = Instant::now();
        let clock = SimulatedClock::begun(factor, Micros(100 * SECOND), END, wall);
        let later = move |seconds: f64| Now {
            instant: wall + Duration::from_secs_f64(seconds),
            time_of_day: Micros((seconds * 1e6) as i64),
        };
        (clock, later)
    }

    #[test]
    fn a_rate_is_in_records_of_one_stream() {
        let scenario = Scenario { lines_per_second: 5, ..Scenario::default() };
        let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
        assert_eq!(Pace::Rate(5).factor(&plan), Some(1.0));
        assert_eq!(Pace::Rate(5_000).factor(&plan), Some(1_000.0));
    }

    #[test]
    fn at_full_speed_the_whole_history_is_due() {
        let (clock, later) = check(None);
        assert_eq!(clock.due_before_at(Micros(0), later(0.0)), END);
        assert_eq!(clock.until_at(Micros(END.0 - 1), later(0.0)), Duration::ZERO);
    }

    #[test]
    fn at_a_factor_time_runs_that_much_faster() {
        let (clock, later) = check(Some(60.0));
        assert_eq!(clock.due_before_at(Micros(0), later(2.0)), Micros(220 * SECOND));
        let wait = clock.until_at(Micros(160 * SECOND), later(0.0));
        assert!((1.0..1.000_001).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(clock.until_at(Micros(159 * SECOND), later(1.0)), Duration::ZERO);
    }

    #[test]
    fn what_was_waited_for_is_due_afterwards() {
        let (clock, later) = check(Some(7.0));
        let time = Micros(123_456_789);
        let wait = clock.until_at(time, later(0.0)).as_secs_f64();
        assert!(clock.due_before_at(time, later(wait + 1e-9)) > time);
    }

    #[test]
    fn behind_the_history_a_second_takes_a_second() {
        for factor in [None, Some(60.0)] {
            let (clock, later) = check(factor);
            // The live part begins when somebody gets there, here after 20 s.
            assert_eq!(clock.due_before_at(END, later(20.0)), END);
            assert_eq!(clock.due_before_at(END, later(25.0)), Micros(END.0 + 5 * SECOND));
            // Who is still in the history goes on at its pace.
            assert!(clock.due_before_at(Micros(0), later(25.0)) <= END);
        }
    }

    #[test]
    fn a_run_stopped_behind_its_history_goes_on_there() {
        let (wall, at) = (Instant::now(), Micros(END.0 + 50 * SECOND));
        let clock = SimulatedClock::begun(None, at, END, wall);
        let now = Now { instant: wall + Duration::from_secs(3), time_of_day: Micros(0) };
        assert_eq!(clock.due_before_at(at, now), Micros(END.0 + 53 * SECOND));
    }

    #[test]
    fn from_now_on_simulated_time_is_the_time_of_day() {
        let clock = SimulatedClock::wall();
        let now = Now { instant: Instant::now(), time_of_day: Micros(77 * SECOND) };
        assert_eq!(clock.due_before_at(Micros(0), now), Micros(77 * SECOND));
        assert_eq!(clock.until_at(Micros(70 * SECOND), now), Duration::ZERO);
        let wait = clock.until_at(Micros(80 * SECOND), now);
        assert!((3.0..3.000_01).contains(&wait.as_secs_f64()), "{wait:?}");
    }
}
