//! Times as text are those of the proleptic Gregorian calendar, in UTC.

use cdr_model::{FileFormat, Generator, Micros, Part, PartIndex, Scenario, Stream};
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use proptest::prelude::*;

use crate::for_all;

/// From the first microsecond of the year 1 to the last of the year 9999.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

fn by_chrono(time: Micros) -> String {
    time.to_civil().expect("a civil time").format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn check(micros: i64, expected: &str) {
    assert_eq!(Micros(micros).to_string(), expected);
    assert_eq!(by_chrono(Micros(micros)), expected);
}

#[test]
fn notable_times_have_their_texts() {
    check(0, "1970-01-01 00:00:00.000000");
    check(-1, "1969-12-31 23:59:59.999999");
    check(1_704_067_200_000_001, "2024-01-01 00:00:00.000001");
    check(1_709_251_199_999_999, "2024-02-29 23:59:59.999999");
    check(951_782_400_000_000, "2000-02-29 00:00:00.000000");
    check(-2_203_891_200_000_000, "1900-03-01 00:00:00.000000");
    check(-2_203_891_200_000_001, "1900-02-28 23:59:59.999999");
    check(*CALENDAR.start(), "0001-01-01 00:00:00.000000");
    check(*CALENDAR.end(), "9999-12-31 23:59:59.999999");
}

#[test]
fn any_time_has_the_text_that_chrono_gives_it() {
    let near_epoch = -100_000_000_000_000..100_000_000_000_000i64;
    for_all(5_000, prop_oneof![CALENDAR, near_epoch, -3_000_000..3_000_000i64], |micros| {
        assert_eq!(Micros(micros).to_string(), by_chrono(Micros(micros)));
    });
}

#[test]
fn every_day_around_leap_days_has_the_text_that_chrono_gives_it() {
    for year in [4, 100, 400, 1600, 1700, 1900, 1968, 1972, 2000, 2023, 2024, 2100, 9996] {
        let mut day = NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
        for _ in 0..366 {
            let time = Micros::from_civil(day.and_hms_micro_opt(23, 59, 59, 999_999).expect("a time"));
            check(time.0, &format!("{day} 23:59:59.999999"));
            day = day.succ_opt().expect("a next day");
        }
    }
}

/// The last field of each CSV line; one clock writes them, one after the other.
fn written(generator: &Generator, stream: Stream, part: &Part) -> Vec<String> {
    let mut text = Vec::new();
    FileFormat::default().body(generator, stream, part, 0..u32::MAX, &mut text);
    let last = |line: &str| line.rsplit(',').next().unwrap_or_default().to_owned();
    String::from_utf8(text).expect("UTF-8").lines().map(last).collect()
}

#[test]
fn any_run_of_times_in_a_file_has_the_texts_that_chrono_gives_them() {
    let latest = CALENDAR.end() - 2_000_000_000_000_000;
    let starts = prop_oneof![*CALENDAR.start()..=latest, -3_000_000_000..3_000_000i64, Just(latest)];
    // From several times in a second to several days between times.
    let seconds = (0..=29u32).prop_flat_map(|bits| (1u64 << bits)..(2 << bits));
    for_all(1_000, (starts, seconds, 1..60u32), |(start, interval_s, line_count)| {
        let scenario = Scenario { sites: 1, line_count, total_seconds: 100, ..Scenario::default() };
        let generator = Generator::new(&scenario).expect("a generator");
        let part = Part { index: PartIndex(0), start: Micros(start), interval_s };
        for stream in [Stream::Data, Stream::Voice] {
            let times = (0..line_count).map(|index| generator.time(stream, &part, index));
            let expected: Vec<String> = times.map(by_chrono).collect();
            assert_eq!(written(&generator, stream, &part), expected);
        }
    });
}

#[test]
fn civil_times_and_microseconds_convert_both_ways() {
    for_all(2_000, CALENDAR, |micros| {
        let civil = Micros(micros).to_civil().expect("a civil time");
        assert_eq!(Micros::from_civil(civil), Micros(micros));
        assert_eq!(civil, NaiveDateTime::default() + TimeDelta::microseconds(micros));
    });
    assert_eq!(Micros(i64::MAX).to_civil(), None);
}

#[test]
fn milliseconds_are_rounded_down_before_the_epoch_too() {
    for (micros, millis) in [(0, 0), (999, 0), (1_000, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
        assert_eq!(Micros(micros).as_millis(), millis);
    }
}
