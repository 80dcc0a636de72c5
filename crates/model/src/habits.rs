//! What can be set of the realistic profile.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How records are spread over the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RhythmKind {
    /// By the hour of the day and the day of the week.
    #[default]
    Daily,
    /// The same number at every time.
    Flat,
}

impl RhythmKind {
    /// All of them, in the order in which configuration lists them.
    pub const ALL: [RhythmKind; 2] = [RhythmKind::Daily, RhythmKind::Flat];

    /// The name by which configuration selects it.
    pub const fn name(self) -> &'static str {
        match self {
            RhythmKind::Daily => "daily",
            RhythmKind::Flat => "flat",
        }
    }
}

/// Kinds of day that differ in their rhythm, and in where people are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayKind {
    /// Monday to Thursday.
    Workday,
    Friday,
    Saturday,
    Sunday,
    /// A Sunday on which everybody calls at midnight.
    NewYear,
}

impl DayKind {
    pub(crate) const COUNT: usize = 5;

    /// All of them, in the order in which configuration lists them.
    pub const ALL: [DayKind; DayKind::COUNT] =
        [DayKind::Workday, DayKind::Friday, DayKind::Saturday, DayKind::Sunday, DayKind::NewYear];

    /// The name by which configuration selects it.
    pub const fn name(self) -> &'static str {
        match self {
            DayKind::Workday => "workday",
            DayKind::Friday => "friday",
            DayKind::Saturday => "saturday",
            DayKind::Sunday => "sunday",
            DayKind::NewYear => "new-year",
        }
    }

    /// The kind of a weekday, by the days since Monday.
    pub(crate) const fn of_weekday(since_monday: u32) -> DayKind {
        match since_monday {
            0..=3 => DayKind::Workday,
            4 => DayKind::Friday,
            5 => DayKind::Saturday,
            _ => DayKind::Sunday,
        }
    }

    pub(crate) const fn is_for_work(self) -> bool {
        matches!(self, DayKind::Workday | DayKind::Friday)
    }
}

/// A day of every year that is like another kind of day than its weekday says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holiday {
    pub month: u8,
    pub day: u8,
    pub kind: DayKind,
}

/// Days of the months, in a leap year.
const MONTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl FromStr for Holiday {
    type Err = ();

    /// Reads `12-25=sunday`.
    fn from_str(text: &str) -> Result<Holiday, ()> {
        let (date, kind) = text.split_once('=').ok_or(())?;
        let (month, day) = date.split_once('-').ok_or(())?;
        let [month, day] = [month, day].map(|text| match text.len() {
            2 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u8>().unwrap_or(0),
            _ => 0,
        });
        let days = MONTHS.get(usize::from(month).wrapping_sub(1)).ok_or(())?;
        let kind = DayKind::ALL.into_iter().find(|known| known.name() == kind).ok_or(())?;
        if (1..=*days).contains(&day) { Ok(Holiday { month, day, kind }) } else { Err(()) }
    }
}

impl fmt::Display for Holiday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}={}", self.month, self.day, self.kind.name())
    }
}

/// How far local time is ahead of UTC, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset(pub i16);

impl FromStr for UtcOffset {
    type Err = ();

    /// Reads `+02:00`, from -12:00 to +14:00 in quarters of an hour.
    fn from_str(text: &str) -> Result<UtcOffset, ()> {
        let (sign, clock) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(()),
        };
        let (hours, minutes) = clock.split_once(':').ok_or(())?;
        if [hours, minutes]
            .iter()
            .any(|text| text.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(());
        }
        let (hours, minutes): (i16, i16) =
            (hours.parse().map_err(drop)?, minutes.parse().map_err(drop)?);
        let offset = sign * (hours * 60 + minutes);
        match minutes < 60 && minutes % 15 == 0 && (-12 * 60..=14 * 60).contains(&offset) {
            true => Ok(UtcOffset(offset)),
            false => Err(()),
        }
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// What can be set of how people behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    pub rhythm: RhythmKind,
    pub utc_offset: UtcOffset,
    pub holidays: Vec<Holiday>,
    /// Half of all calls are no longer, in seconds: 10 to 600.
    pub call_median: u32,
    /// How unequally people call: the standard deviation of the logarithm of their activity, in
    /// thousandths, up to 3,000.
    pub voice_sigma: u32,
    /// The same of their data sessions.
    pub data_sigma: u32,
    /// How many of a hundred calls follow an earlier one, up to 80.
    pub bursts: u32,
}

impl Habits {
    /// What the numbers may be.
    pub const CALL_MEDIAN: RangeInclusive<u64> = 10..=600;
    pub const SIGMA: RangeInclusive<u32> = 0..=3_000;
    pub const BURSTS: RangeInclusive<u64> = 0..=80;

    /// Subscribers for each record of a stream in a second: as many as in the tests of the laws, so that each
    /// makes some four of them in a day.
    pub const SUBSCRIBERS_FOR_RATE: u32 = 20_000;

    /// Records that one subscriber makes of a stream in a day, at most: with more of them, calls could not
    /// last as long as they should.
    pub(crate) const PER_DAY_MAX: u64 = 15;

    /// There must be wards, and people in them.
    pub(crate) const SUBSCRIBERS_MIN: u32 = 1_024;

    /// The settings that are not the usual ones, as names and values for people.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let usual = Habits::default();
        let holidays: Vec<_> = self.holidays.iter().map(Holiday::to_string).collect();
        let all = [
            ("RHYTHM", self.rhythm != usual.rhythm, self.rhythm.name().to_owned()),
            ("UTC_OFFSET", self.utc_offset != usual.utc_offset, self.utc_offset.to_string()),
            ("HOLIDAYS", self.holidays != usual.holidays, holidays.join(",")),
            ("CALL_MEDIAN", self.call_median != usual.call_median, self.call_median.to_string()),
            ("VOICE_SIGMA", self.voice_sigma != usual.voice_sigma, self.voice_sigma.to_string()),
            ("DATA_SIGMA", self.data_sigma != usual.data_sigma, self.data_sigma.to_string()),
            ("BURSTS", self.bursts != usual.bursts, self.bursts.to_string()),
        ];
        all.into_iter().filter(|one| one.1).map(|(name, _, value)| (name, value)).collect()
    }
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            rhythm: RhythmKind::Daily,
            utc_offset: UtcOffset::default(),
            holidays: Vec::new(),
            call_median: 85,
            voice_sigma: 1_000,
            data_sigma: 1_500,
            bursts: 50,
        }
    }
}
