//! The text of a request → values, or the parameter that is wrong.

use std::borrow::Cow;

use cdr_model::Micros;
use cdr_model::usage::{Hour, Quarter};
use chrono::{Days, NaiveDateTime, Timelike};

use crate::processing::message::{self, date, shown};
use crate::processing::problem::Problem;

const TIME: &str = "a time as YYYYMMDDHHMMSS";
const DATE: &str = "a date as YYYY-MM-DD";
const MSISDN: &str = "1 to 15 digits that do not begin with 0";
const TOWER: &str = "a whole number from 1 to 4294967295";

/// Most days that a request about a subscriber may be about.
pub(super) const SUBSCRIBER_DAYS_MAX: u32 = 366;

/// Most days that a request about a tower may be about.
pub(super) const TOWER_DAYS_MAX: u32 = 31;

/// The parameters behind the question mark.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Takes them apart; refuses one that is not among the known, or is there twice.
    pub fn new(text: Option<&'a str>, known: &[&str]) -> Result<Query<'a>, Problem> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let (name, known) = (shown(&name), known.join(", "));
                let detail = format!("{name:?} is not known here; there are {known}");
                return Err(Problem::parameter(&name, detail));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::parameter(&name, format!("{name} is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    fn get<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        match self.0.iter().find(|(other, _)| other == name) {
            Some((_, value)) => read_as(name, value, expected, read),
            None => Err(Problem::parameter(name, format!("{name} is missing; it is {expected}"))),
        }
    }

    pub fn msisdn(&self) -> Result<u64, Problem> {
        self.get("msisdn", MSISDN, message::msisdn)
    }

    /// The interval from `start_time` to before `end_time`.
    pub fn times(&self) -> Result<Interval, Problem> {
        let start = self.get("start_time", TIME, time)?;
        let end = self.get("end_time", TIME, time)?;
        Interval::new(["start_time", "end_time"], start, end, SUBSCRIBER_DAYS_MAX)
    }

    /// The days from `from` to before `to`.
    pub fn days(&self, days_max: u32) -> Result<Interval, Problem> {
        let from = self.get("from", DATE, date)?;
        let to = self.get("to", DATE, date)?;
        Interval::new(["from", "to"], from.into(), to.into(), days_max)
    }
}

/// The number in the path.
pub(super) fn msisdn(text: &str) -> Result<u64, Problem> {
    read_as("msisdn", text, MSISDN, message::msisdn)
}

/// The number in the path.
pub(super) fn tower(text: &str) -> Result<u32, Problem> {
    read_as("id", text, TOWER, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number| digits && number > 0)
    })
}

fn read_as<T>(
    name: &str,
    text: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Problem> {
    let wrong = || Problem::parameter(name, format!("{name} is {:?}, not {expected}", shown(text)));
    read(text).ok_or_else(wrong)
}

/// Reads `20240101010203`, without leap seconds.
fn time(text: &str) -> Option<NaiveDateTime> {
    const FORMAT: &str = "%Y%m%d%H%M%S";
    let time = NaiveDateTime::parse_from_str(text, FORMAT).ok()?;
    (time.nanosecond() == 0 && time.format(FORMAT).to_string() == text).then_some(time)
}

/// The times from `from` to before `to`; it is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub from: NaiveDateTime,
    pub to: NaiveDateTime,
}

impl Interval {
    fn new(
        [first, second]: [&str; 2],
        from: NaiveDateTime,
        to: NaiveDateTime,
        days_max: u32,
    ) -> Result<Interval, Problem> {
        if to <= from {
            return Err(Problem::parameter(second, format!("{second} is not later than {first}")));
        }
        if from.checked_add_days(Days::new(days_max.into())).is_some_and(|latest| to > latest) {
            let detail = format!("{second} is more than {days_max} days later than {first}");
            return Err(Problem::parameter(second, detail));
        }
        Ok(Interval { from, to })
    }

    /// Its last moment.
    fn last(&self) -> Micros {
        Micros(Micros::from_civil(self.to).0 - 1)
    }

    /// The hours that overlap it: the first, and the one behind the last.
    pub fn hours(&self) -> (Hour, Hour) {
        (Hour::of(Micros::from_civil(self.from)), Hour(Hour::of(self.last()).0 + 1))
    }

    /// The hours of the days that overlap it.
    pub fn hours_of_days(&self) -> (Hour, Hour) {
        let (first, behind) = self.hours();
        (day_begin(first), Hour(day_begin(Hour(behind.0 - 1)).0 + HOURS_PER_DAY))
    }

    /// The quarters of hours that overlap it.
    pub fn quarters(&self) -> (Quarter, Quarter) {
        (Quarter::of(Micros::from_civil(self.from)), Quarter(Quarter::of(self.last()).0 + 1))
    }
}

const HOURS_PER_DAY: i32 = 24;

/// The first hour of the day in which an hour lies.
pub(super) fn day_begin(hour: Hour) -> Hour {
    Hour(hour.day() * HOURS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(start: &str, end: &str) -> Result<Interval, Problem> {
        let text = format!("start_time={start}&end_time={end}");
        Query::new(Some(&text), &["start_time", "end_time"])?.times()
    }

    #[test]
    fn times_are_fourteen_digits_of_a_time_that_there_is() {
        let read = |text: &str| time(text).map(|time| time.to_string());
        assert_eq!(read("20240229235959").as_deref(), Some("2024-02-29 23:59:59"));
        assert_eq!(read("00010101000000").as_deref(), Some("0001-01-01 00:00:00"));
        for wrong in [
            "",
            "2024022923595",
            "202402292359590",
            "20230229000000",
            "20241301000000",
            "20240101240000",
            "20240101006000",
            "20240101000060",
            "2024-01-01 000",
            "+0240101000000",
            "२०२४",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date("2024-02-29").map(|date| date.to_string()).as_deref(), Some("2024-02-29"));
        for wrong in [
            "",
            "--",
            "2023-02-29",
            "2024-1-01",
            "20240101",
            "2024-01-01T00",
            "+024-01-01",
            "+12024-01-01",
            "-0001-01-01",
            "2024-00-10",
        ] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_interval_overlaps_the_hours_and_days_that_it_touches() {
        let check = |from: &str, to: &str, hours: [&str; 2], days: [&str; 2]| {
            let interval = times(from, to).unwrap();
            let text = |(first, behind): (Hour, Hour)| {
                [first, behind].map(|hour| hour.begin().to_string()[5..13].to_owned())
            };
            assert_eq!(text(interval.hours()), hours, "{from} {to}");
            assert_eq!(text(interval.hours_of_days()), days, "{from} {to}");
        };
        check("20240101010203", "20240102000000", ["01-01 01", "01-02 00"], ["01-01 00", "01-02 00"]);
        check("20240101010000", "20240101010001", ["01-01 01", "01-01 02"], ["01-01 00", "01-02 00"]);
        check("20240101235959", "20240102000001", ["01-01 23", "01-02 01"], ["01-01 00", "01-03 00"]);
        check("19691231230000", "19700101000000", ["12-31 23", "01-01 00"], ["12-31 00", "01-01 00"]);
    }

    #[test]
    fn an_interval_is_neither_empty_nor_too_long() {
        assert!(times("20240101000000", "20250101000000").is_ok());
        assert!(times("99990101000000", "99991231235959").is_ok());
        let detail = |start, end| match times(start, end) {
            Err(Problem::Parameter { name, detail }) => (name, detail),
            other => panic!("{other:?}"),
        };
        for end in ["20240101000000", "20231231235959"] {
            let (name, detail) = detail("20240101000000", end);
            assert_eq!((&*name, &*detail), ("end_time", "end_time is not later than start_time"));
        }
        let (name, detail) = detail("20240101000000", "20250101000001");
        assert_eq!(name, "end_time");
        assert_eq!(detail, "end_time is more than 366 days later than start_time");
    }

    #[test]
    fn towers_are_whole_numbers_from_1() {
        assert_eq!(tower("4294967295"), Ok(u32::MAX));
        for wrong in ["", "0", "+1", "-1", "1.0", "4294967296", "one"] {
            assert!(tower(wrong).is_err(), "{wrong}");
        }
    }
}
