//! The validated description of what to simulate.

use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDate, NaiveDateTime};

use crate::habits::Habits;
use crate::numbering::{NumberingPlan, NumberingPlanError};
use crate::stream::Streams;

/// How subscribers behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Every value is drawn evenly from its range, and records are spread evenly over time.
    #[default]
    Uniform,
    /// People who live, move, call and use data as people do.
    Realistic,
    /// Known to tests alone: it shows what it takes to add a profile.
    #[cfg(feature = "test-additions")]
    Uneven,
}

impl Profile {
    /// All of them, in the order in which configuration lists them.
    pub const ALL: [Profile; 2 + cfg!(feature = "test-additions") as usize] = [
        Profile::Uniform,
        Profile::Realistic,
        #[cfg(feature = "test-additions")]
        Profile::Uneven,
    ];

    /// The name by which configuration selects the profile.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Uniform => "uniform",
            Profile::Realistic => "realistic",
            #[cfg(feature = "test-additions")]
            Profile::Uneven => "uneven",
        }
    }
}

/// What to simulate. Two equal scenarios give the same bytes, on any machine.
///
/// The default is the contract's development run: one day at one record per second and stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Selects one of 2^64 different worlds.
    pub seed: u64,
    /// Base time, UTC; the first file's time is one interval later.
    pub start: NaiveDateTime,
    /// Simulated time in seconds.
    pub total_seconds: u64,
    /// Records per file, and so per part and stream: 1 to 10,000,000.
    pub line_count: u32,
    /// Records per simulated second, each stream.
    pub lines_per_second: u32,
    pub profile: Profile,
    /// Of the realistic profile.
    pub habits: Habits,
    /// Which kinds of record there are, at least one.
    pub streams: Streams,
    /// Number of subscribers, each with its own MSISDN.
    pub subscribers: u32,
    /// Number of callable destinations, apart from the subscribers.
    pub destinations: u32,
    /// Towers are numbered from 1 to this.
    pub towers: u16,
    /// Number of different websites: 1 to 65,535.
    pub sites: u16,
    pub numbering: NumberingPlan,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            seed: 418_001,
            start: NaiveDate::default().and_time(Default::default()) + SINCE_EPOCH_2024,
            total_seconds: 86_400,
            line_count: 1_000,
            lines_per_second: 1,
            profile: Profile::Uniform,
            habits: Habits::default(),
            streams: Streams::default(),
            subscribers: 50_000,
            destinations: 50_000,
            towers: 2_000,
            sites: 2_000,
            numbering: NumberingPlan::default(),
        }
    }
}

/// 2024-01-01, the contract's base time, counted from 1970-01-01.
const SINCE_EPOCH_2024: chrono::TimeDelta = chrono::TimeDelta::seconds(1_704_067_200);

/// Why a scenario cannot be simulated. Each message names the parameter and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScenarioError {
    #[error("{name} is {value}, which is not between {min} and {max}")]
    OutOfRange { name: &'static str, value: u64, min: u64, max: u64 },
    #[error("STREAMS names no stream; name at least one")]
    NoStreams,
    #[error(
        "there would be no file: TOTAL_SECONDS ({total_seconds}) times LINES_PER_SECOND ({lines_per_second}) is \
         {records} records, and divided by LINE_COUNT ({line_count}) that rounds to 0 files; raise TOTAL_SECONDS or \
         LINES_PER_SECOND, or lower LINE_COUNT to {records} or less",
        records = u128::from(*total_seconds) * u128::from(*lines_per_second)
    )]
    NoFiles { total_seconds: u64, lines_per_second: u32, line_count: u32 },
    #[error(
        "the files would have no time between them: TOTAL_SECONDS ({total_seconds}) divided by {files} files rounds \
         to an interval of 0 seconds; raise LINE_COUNT to {lines_per_second} or more, or lower LINES_PER_SECOND"
    )]
    NoInterval { total_seconds: u64, files: u64, lines_per_second: u32 },
    #[error(
        "{subscribers} SUBSCRIBERS are too few for LINES_PER_SECOND ({lines_per_second}) in the realistic profile: each \
         would make more than {} records of a stream in a day; give {wanted} SUBSCRIBERS or more, or lower \
         LINES_PER_SECOND",
        Habits::PER_DAY_MAX
    )]
    TooBusy { subscribers: u32, lines_per_second: u32, wanted: u64 },
    #[error(
        "LINES_PER_SECOND {0} is more than the 5,000 of the realistic profile; lower it, or choose PROFILE=uniform"
    )]
    TooFast(u32),
    #[error("HOLIDAYS names {month:02}-{day:02} twice; keep one of the two")]
    HolidayTwice { month: u8, day: u8 },
    #[error("START {0} is before the year 1; choose a later one")]
    StartsTooEarly(NaiveDateTime),
    #[error("the run ends after the year 9999; choose an earlier START or fewer TOTAL_SECONDS")]
    EndsTooLate,
    #[error(
        "{subscribers} subscribers and {destinations} destinations need more numbers than the {capacity} \
         of the numbering plan; lower them, or add MOBILE_PREFIXES or SUBSCRIBER_DIGITS"
    )]
    TooFewNumbers { subscribers: u32, destinations: u32, capacity: u64 },
    #[error(transparent)]
    Numbering(#[from] NumberingPlanError),
}

impl Scenario {
    /// What the numbers may be; `PEOPLE` are subscribers or destinations, `PLACES` towers or sites.
    pub const TOTAL_SECONDS: RangeInclusive<u64> = 1..=1_000_000_000;
    pub const LINE_COUNT: RangeInclusive<u64> = 1..=10_000_000;
    pub const LINES_PER_SECOND: RangeInclusive<u64> = 1..=1_000_000_000;
    pub const PEOPLE: RangeInclusive<u64> = 1..=4_294_967_295;
    pub const PLACES: RangeInclusive<u64> = 1..=65_535;

    /// Records of a stream in a second that the realistic profile can spread over people.
    const REALISTIC_RATE_MAX: u32 = 5_000;

    /// Checks every range that generation relies on.
    ///
    /// # Errors
    /// The first parameter that is out of its range, or that does not fit the others.
    pub fn validate(&self) -> Result<(), ScenarioError> {
        let ranges = [
            ("TOTAL_SECONDS", self.total_seconds, Self::TOTAL_SECONDS),
            ("LINE_COUNT", self.line_count.into(), Self::LINE_COUNT),
            ("LINES_PER_SECOND", self.lines_per_second.into(), Self::LINES_PER_SECOND),
            ("SUBSCRIBERS", self.subscribers.into(), Self::PEOPLE),
            ("DESTINATIONS", self.destinations.into(), Self::PEOPLE),
            ("TOWERS", self.towers.into(), Self::PLACES),
            ("SITES", self.sites.into(), Self::PLACES),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (min, max) = range.into_inner();
                return Err(ScenarioError::OutOfRange { name, value, min, max });
            }
        }
        if self.profile == Profile::Realistic {
            self.validate_habits()?;
        }
        if self.streams.iter().next().is_none() {
            return Err(ScenarioError::NoStreams);
        }
        if self.start.year() < 1 {
            return Err(ScenarioError::StartsTooEarly(self.start));
        }
        let (subscribers, destinations) = (self.subscribers, self.destinations);
        let capacity = self.numbering.capacity();
        if u64::from(subscribers) + u64::from(destinations) > capacity {
            return Err(ScenarioError::TooFewNumbers { subscribers, destinations, capacity });
        }
        Ok(())
    }

    /// What the realistic profile needs besides.
    fn validate_habits(&self) -> Result<(), ScenarioError> {
        let &Scenario { subscribers, lines_per_second, .. } = self;
        if lines_per_second > Self::REALISTIC_RATE_MAX {
            return Err(ScenarioError::TooFast(lines_per_second));
        }
        let mut dates: Vec<_> = self.habits.holidays.iter().map(|one| (one.month, one.day)).collect();
        dates.sort_unstable();
        if let Some(&[(month, day), ..]) = dates.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ScenarioError::HolidayTwice { month, day });
        }
        let wanted = (u64::from(lines_per_second) * 86_400).div_ceil(Habits::PER_DAY_MAX);
        let wanted = wanted.max(Habits::SUBSCRIBERS_MIN.into());
        match u64::from(subscribers) < wanted {
            true => Err(ScenarioError::TooBusy { subscribers, lines_per_second, wanted }),
            false => Ok(()),
        }
    }
}
