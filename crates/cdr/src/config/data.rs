//! What is simulated, and how files hold it.

use cdr_model::{
    FileFormat, Habits, Holiday, LineEnd, NumberingPlan, Profile, RhythmKind, Scenario, ScenarioError,
    Stream, Streams, UtcOffset,
};
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use rust_decimal::Decimal;

use crate::settings::{
    ConfigError, Declared, Resolved, list, nested, parsed, seconds, settings, whole, word, words,
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
        habits: Habits = nested(|habits, _| Ok(habits)),
        subscribers: u32 = nested(subscribers),
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
    /// How many people there are.
    pub struct PeopleSettings in "data" {
        /// number of subscribers
        pub subscribers: Option<u32> = whole("SUBSCRIBERS", Scenario::PEOPLE).optional()
            .unset("50000; realistic: 20000 for each record per second if that is more"),
    }
}

/// Where nobody says how many subscribers there are: so many that each makes some four records a day, as
/// far as the profile knows of people.
fn subscribers(settings: PeopleSettings, values: &Resolved) -> Result<u32, ConfigError> {
    if let Some(subscribers) = settings.subscribers {
        return Ok(subscribers);
    }
    let usual = Scenario::default().subscribers;
    let profile = values.value("data.profile")?.text.as_deref().and_then(self::profile);
    if profile != Some(Profile::Realistic) {
        return Ok(usual);
    }
    let rate = values.value("data.lines_per_second")?;
    let number = rate.text.as_deref().and_then(|text| text.trim().parse::<u32>().ok());
    let number = number.ok_or_else(|| rate.refused())?;
    Ok(usual.max(number.saturating_mul(Habits::SUBSCRIBERS_FOR_RATE)))
}

settings! {
    impl Habits in "data" {
        /// how records are spread over the day
        rhythm: RhythmKind = word("RHYTHM", &RhythmKind::ALL.map(RhythmKind::name), rhythm).default("daily"),
        /// what local time is ahead of UTC, which people live by
        utc_offset: UtcOffset =
            parsed("UTC_OFFSET", "an offset from -12:00 to +14:00 in quarters of an hour, such as +02:00", |text| {
                text.parse().ok()
            }).value("OFFSET").default("+00:00"),
        /// days of the year that are like another kind of day
        holidays: Vec<Holiday> = list(
            "HOLIDAYS",
            "a comma list of MM-DD=KIND, none twice, with the kinds workday, friday, saturday, sunday, new-year",
            |text| text.parse().ok(),
        ).optional().unset("none").map(Option::unwrap_or_default),
        /// half of all calls are no longer, in seconds
        call_median: u32 = whole("CALL_MEDIAN", Habits::CALL_MEDIAN).default("85"),
        /// how unequally people call: standard deviation of the logarithm of their calls
        voice_sigma: u32 = thousandths("VOICE_SIGMA").default("1"),
        /// the same of their data sessions
        data_sigma: u32 = thousandths("DATA_SIGMA").key("data.data_sigma").default("1.5"),
        /// how many of a hundred calls follow an earlier one
        bursts: u32 = whole("BURSTS", Habits::BURSTS).default("50"),
    }
}

/// A number from 0 to 3, as thousandths.
fn thousandths(env: &'static str) -> Declared<u32> {
    parsed(env, "a number from 0 to 3 with up to three decimals", |text| {
        let number: Decimal = text.trim().parse().ok()?;
        let thousandths = u32::try_from(number.checked_mul(1_000.into())?).ok()?;
        let is_exact = Decimal::from(thousandths) == number * Decimal::from(1_000);
        (is_exact && Habits::SIGMA.contains(&thousandths)).then_some(thousandths)
    })
    .value("NUMBER")
}

fn rhythm(name: &str) -> Option<RhythmKind> {
    RhythmKind::ALL.into_iter().find(|rhythm| rhythm.name() == name)
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
