//! Texts of columns → values.

use cdr_model::Micros;
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};
use xxhash_rust::xxh3::xxh3_64;

use crate::processing::message;

/// Who it is: the digits of a telephone number, or a hash of any other name.
pub fn person(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let hash = || (!text.is_empty()).then(|| xxh3_64(text.as_bytes()));
    message::msisdn(digits).or_else(hash)
}

/// Which tower it is: its number, or a hash of its name.
pub fn tower(text: &str) -> Option<u32> {
    let hash = || (!text.is_empty()).then(|| xxh3_64(text.as_bytes()) as u32);
    text.parse().ok().or_else(hash)
}

/// Whole bytes.
pub fn bytes(text: &str) -> Option<u64> {
    message::amount(text.parse().ok()?)
}

/// Seconds, with a fraction, or as `0:01:25`.
pub fn seconds(text: &str) -> Option<u32> {
    let parts = text.split(':').map(|part| part.parse::<f64>().ok().filter(|one| *one >= 0.0));
    let sum = parts.into_iter().try_fold(0.0, |sum, part| Some(sum * 60.0 + part?))?;
    (text.matches(':').count() <= 2 && sum <= f64::from(u32::MAX)).then(|| sum.round() as u32)
}

/// A time in `format` (that of strftime); without one, in any of the usual forms. Its year has four digits.
pub fn time(text: &str, format: Option<&str>) -> Option<Micros> {
    let time = match format {
        None => Micros::parse(text.as_bytes())
            .or_else(|| message::time(text))
            .or_else(|| with_zone(text))
            .or_else(|| since_1970(text)),
        Some(format) => formatted(text, format).map(Micros::from_civil),
    };
    time.filter(|time| time.to_civil().is_some_and(|civil| (0..10_000).contains(&civil.year())))
}

fn formatted(text: &str, format: &str) -> Option<NaiveDateTime> {
    let with_zone = || DateTime::parse_from_str(text, format).ok().map(|time| time.naive_utc());
    let date = || NaiveDate::parse_from_str(text, format).ok().map(|date| date.and_time(NaiveTime::MIN));
    with_zone().or_else(|| NaiveDateTime::parse_from_str(text, format).ok()).or_else(date)
}

/// `2024-01-01T01:01:15+02:00`.
fn with_zone(text: &str) -> Option<Micros> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Micros::from_civil(time.naive_utc()))
}

/// Seconds, milliseconds or microseconds since 1970, told apart by their digits. What is not of the years
/// 1990 to 2099 is something else, such as `20240101120000`.
fn since_1970(text: &str) -> Option<Micros> {
    let number: i64 = text.parse().ok()?;
    let unit = match text.len() {
        0..=11 => 1_000_000,
        12..=14 => 1_000,
        15..=17 => 1,
        _ => return None,
    };
    let time = Micros(number * unit);
    time.to_civil().is_some_and(|civil| (1990..2100).contains(&civil.year())).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_usual_forms() {
        let expected = Micros::parse(b"2024-01-01 01:01:15.000000");
        for text in [
            "2024-01-01 01:01:15.000000",
            "2024-01-01T01:01:15",
            "2024-01-01 01:01:15Z",
            "2024-01-01T03:01:15+02:00",
            "1704070875",
            "1704070875000",
            "1704070875000000",
        ] {
            assert_eq!(time(text, None), expected, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2024-02-30 00:00:00",
            "01/01/2024",
            "170407087500000000000",
            "-5",
            "20240101120000",
        ] {
            assert_eq!(time(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_given_format_is_kept_to() {
        let expected = Micros::parse(b"2024-01-31 01:01:15.000000");
        assert_eq!(time("31/01/2024 01:01:15", Some("%d/%m/%Y %H:%M:%S")), expected);
        assert_eq!(time("31.01.24 03:01:15 +0200", Some("%d.%m.%y %H:%M:%S %z")), expected);
        assert_eq!(time("31/01/2024", Some("%d/%m/%Y")), Micros::parse(b"2024-01-31 00:00:00.000000"));
        assert_eq!(time("2024-01-31 01:01:15", Some("%d/%m/%Y %H:%M:%S")), None);
    }

    #[test]
    fn amounts_are_numbers_or_clocks() {
        let found = ["85", "84.6", "1:25", "0:01:25", "", "-1", "1:2:3:4", "nan", "x"].map(seconds);
        let none = [None; 5];
        assert_eq!(found[..4], [Some(85); 4]);
        assert_eq!(found[4..], none);
        assert_eq!(["12", "-1", "1.5", ""].map(bytes), [Some(12), None, None, None]);
    }

    #[test]
    fn names_stand_for_people_and_towers() {
        assert_eq!(person("27821234567"), Some(27_821_234_567));
        assert_eq!(person("+27821234567"), person("27821234567"));
        assert!(person("alice") != person("bob") && person("alice").is_some());
        assert_eq!((person(""), tower(""), tower("12")), (None, None, Some(12)));
        assert!(tower("north-1").is_some());
    }
}
