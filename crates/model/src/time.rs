//! Times as microseconds, and their text.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

use crate::text::DIGIT_PAIRS;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A point in simulated time: microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// Texts of times have four digits for the year. A window may end here, since its end is not in it.
pub(crate) const YEAR_10000: Micros = Micros(253_402_300_800_000_000);

impl Micros {
    /// The point that a civil time without zone names, taken as UTC.
    pub fn from_civil(civil: NaiveDateTime) -> Self {
        Micros(civil.and_utc().timestamp_micros())
    }

    /// The civil time in UTC; `None` beyond the calendar's range (some 262,000 years).
    pub fn to_civil(self) -> Option<NaiveDateTime> {
        DateTime::from_timestamp_micros(self.0).map(|time| time.naive_utc())
    }

    /// Reads `2024-01-01T01:01:15.291148` or the same with a space; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; TIME_TEXT_LEN] = text.try_into().ok()?;
        let number = |from: usize, to: usize| {
            text[from..to].iter().try_fold(0, |number: u32, &byte| {
                byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
            })
        };
        let signs = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':'), (19, b'.')];
        if signs.iter().any(|&(at, sign)| text[at] != sign) || !matches!(text[10], b' ' | b'T') {
            return None;
        }
        let date = NaiveDate::from_ymd_opt(number(0, 4)? as i32, number(5, 7)?, number(8, 10)?)?;
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = i64::from(date.to_epoch_days()) * SECONDS_PER_DAY
            + i64::from(hour * 3_600 + minute * 60 + second);
        Some(Micros(seconds * MICROS_PER_SECOND + i64::from(number(20, 26)?)))
    }

    /// Milliseconds since the epoch, rounded down: the unit of Kafka's record timestamps.
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The time so much later; the latest that there is, where that would be later still.
    pub(crate) fn plus_seconds(self, seconds: u64) -> Self {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_SECOND);
        Micros(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Micros {
    /// Writes `2024-01-01 01:01:15.291148`, always with six digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clock = Clock::new(b' ');
        let text = clock.text(*self);
        f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
    }
}

/// Length of `2024-01-01 01:01:15.291148`.
pub(crate) const TIME_TEXT_LEN: usize = 26;

/// Writes times that come in order, and therefore rarely change their date, as text.
pub(crate) struct Clock {
    text: [u8; TIME_TEXT_LEN],
    day: i64,
    second: i64,
}

impl Clock {
    /// `separator` stands between date and time: a space in CSV, a `T` in JSON.
    pub fn new(separator: u8) -> Self {
        let mut text = *b"0000-00-00 00:00:00.000000";
        text[10] = separator;
        Clock { text, day: i64::MIN, second: i64::MIN }
    }

    #[inline]
    pub fn text(&mut self, time: Micros) -> &[u8; TIME_TEXT_LEN] {
        let second = time.0.div_euclid(MICROS_PER_SECOND);
        if second != self.second {
            self.set_second(second);
        }
        let micros = time.0.rem_euclid(MICROS_PER_SECOND) as usize;
        self.put_pair(20, micros / 10_000);
        self.put_pair(22, micros / 100 % 100);
        self.put_pair(24, micros % 100);
        &self.text
    }

    #[inline]
    fn put_pair(&mut self, at: usize, value: usize) {
        self.text[at..at + 2].copy_from_slice(&DIGIT_PAIRS[value % 100]);
    }

    #[inline]
    fn set_second(&mut self, second: i64) {
        let day = second.div_euclid(SECONDS_PER_DAY);
        if day != self.day {
            self.set_day(day);
        }
        let of_day = second.rem_euclid(SECONDS_PER_DAY) as usize;
        self.put_pair(11, of_day / 3_600);
        self.put_pair(14, of_day / 60 % 60);
        self.put_pair(17, of_day % 60);
        self.second = second;
    }

    #[cold]
    fn set_day(&mut self, day: i64) {
        let date = NaiveDate::from_epoch_days(day as i32).unwrap_or(NaiveDate::MAX);
        // Four digits hold every year that a scenario may reach; its validation sees to that.
        let year = date.year().clamp(0, 9_999) as usize;
        self.put_pair(0, year / 100);
        self.put_pair(2, year % 100);
        self.put_pair(5, date.month() as usize);
        self.put_pair(8, date.day() as usize);
        self.day = day;
    }
}
