//! What is simulated, and how files hold it.

use cdr_model::{FileFormat, LineEnd, NumberingPlan, Profile, Scenario, ScenarioError, Stream, Streams};
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use crate::settings::{
    ConfigError, Resolved, list, nested, parsed, seconds, settings, whole, word, words,
};

/// The simulated time at which a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTime {
    /// This time, UTC, whole seconds, year 1970 to 2199.
    At(NaiveDateTime),
    /// The time at which the run is first started. Whoever holds the clock turns it into a time,
    /// and a continued run keeps the one it began with.
    Now,
}

impl StartTime {
    /// The time, where it is given.
    pub fn given(self) -> Option<NaiveDateTime> {
        match self {
            StartTime::At(time) => Some(time),
            StartTime::Now => None,
        }
    }
}

settings! {
    /// What is simulated.
    pub struct DataConfig in "data" {
        /// simulated time at which the run begins, UTC
        pub start: StartTime = parsed(
            "START",
            "YYYY-MM-DD, \"YYYY-MM-DD HH:MM:SS\" (year 1970 to 2199), or now",
            start,
        ).value("TIME").default("2024-01-01 00:00:00"),
        /// All but the time at which it begins.
        pub scenario: Scenario = nested(|scenario, _| Ok(scenario)),
    }
}

settings! {
    impl Scenario in "data" {
        /// same seed, same records
        seed: u64 = whole("CDR_SEED", 0..=u64::MAX).key("data.seed").flag("seed").default("418001"),
        start: NaiveDateTime = nested(|(), _| Ok(Scenario::default().start)),
        /// simulated time, in seconds
        total_seconds: u64 =
            seconds("TOTAL_SECONDS", Scenario::TOTAL_SECONDS).map(|time| time.as_secs()).dev_prod("86400", "172800"),
        /// records per file
        line_count: u32 = whole("LINE_COUNT", Scenario::LINE_COUNT).default("1000"),
        /// records per simulated second and stream
        lines_per_second: u32 = whole("LINES_PER_SECOND", Scenario::LINES_PER_SECOND).dev_prod("1", "5"),
        /// how the simulated subscribers behave
        profile: Profile = word("PROFILE", &Profile::ALL.map(Profile::name), profile).default("uniform"),
        /// which kinds of record there are
        streams: Streams = words("STREAMS", &Stream::ALL.map(Stream::short_name), Stream::from_name)
            .map(|streams| Streams::of(&streams)).default("data,voice"),
        /// number of subscribers
        subscribers: u32 = whole("SUBSCRIBERS", Scenario::PEOPLE).default("50000"),
        /// number of numbers that are called
        destinations: u32 = whole("DESTINATIONS", Scenario::PEOPLE).default("50000"),
        /// number of towers; their ids count from 1
        towers: u16 = whole("TOWERS", Scenario::PLACES).default("2000"),
        /// number of web sites visited
        sites: u16 = whole("SITES", Scenario::PLACES).default("2000"),
        numbering: NumberingPlan = nested(numbering),
    }
}

settings! {
    /// What the subscribers' numbers are like.
    pub struct NumberingSettings in "data" {
        /// E.164 country code of the subscribers
        pub country: u16 = whole("COUNTRY_CODE", 1..=999).key("data.country").value("CODE").default("27"),
        /// digits after the country code with which mobile numbers begin
        pub mobile_prefixes: Option<Vec<String>> =
            list("MOBILE_PREFIXES", "a comma list of 1 to 6 digits each, none twice", prefix)
                .optional().unset("by country"),
        /// digits of a number after country code and prefix
        pub subscriber_digits: Option<u8> =
            whole("SUBSCRIBER_DIGITS", 1..=9).optional().unset("by country"),
    }
}

fn numbering(settings: NumberingSettings, _: &Resolved) -> Result<NumberingPlan, ConfigError> {
    let NumberingSettings { country, mobile_prefixes, subscriber_digits } = settings;
    let plan = NumberingPlan::new(country, mobile_prefixes, subscriber_digits);
    Ok(plan.map_err(ScenarioError::from)?)
}

settings! {
    /// How files hold records.
    pub struct FilesSettings in "files" {
        /// encoding of the files
        pub format: String = word("FILE_FORMAT", FileFormat::NAMES, |name| {
            FileFormat::NAMES.contains(&name).then(|| name.to_owned())
        }).key("files.format").default("csv"),
        /// line ends of CSV files
        pub line_end: LineEnd = word("LINE_END", &LineEnd::ALL.map(LineEnd::name), line_end).default("lf"),
    }
}

fn profile(name: &str) -> Option<Profile> {
    Profile::ALL.into_iter().find(|profile| profile.name() == name)
}

fn line_end(name: &str) -> Option<LineEnd> {
    LineEnd::ALL.into_iter().find(|line_end| line_end.name() == name)
}

/// `now`, a date, or a date and time of whole seconds with a space or `T` between them.
fn start(text: &str) -> Option<StartTime> {
    if text == "now" {
        return Some(StartTime::Now);
    }
    let time = match text.len() {
        10 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN),
        19 => NaiveDateTime::parse_from_str(&text.replace('T', " "), "%Y-%m-%d %H:%M:%S").ok()?,
        _ => return None,
    };
    // A second of 60 is read as a leap second, which no file name could hold.
    let allowed = (1970..=2199).contains(&time.year()) && time.nanosecond() == 0;
    allowed.then_some(StartTime::At(time))
}

/// 1 to 6 digits.
fn prefix(text: &str) -> Option<String> {
    let fine = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.to_owned())
}
