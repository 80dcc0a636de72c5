//! The ends of every range: nothing panics, nothing overflows, the texts are right.
//!
//! These tests rely on the overflow checks that test builds have.

use std::cell::Cell;

use cdr_model::{
    FileFormat, Generator, LineEnd, MessageFormat, NumberingPlan, Part, Plan, Scenario, Shard, Stream,
};
use chrono::{NaiveDate, NaiveDateTime};
use proptest::prelude::*;

use crate::{Fixture, destination, for_all};

fn civil(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).and_then(|date| date.and_hms_opt(0, 0, 0)).expect("a date")
}

fn numbering(code: u16, prefixes: &[&str], digits: u8) -> NumberingPlan {
    let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
    NumberingPlan::new(code, Some(prefixes), Some(digits)).expect("a numbering plan")
}

/// Generates both ends of the part in every format, and compares each time's text with chrono's.
fn check_part(fixture: &Fixture, part: &Part) {
    let count = fixture.plan.count_max();
    for range in [0..count.min(20), count.saturating_sub(20)..count] {
        for stream in fixture.plan.streams() {
            check_range(fixture, stream, part, range.clone());
        }
    }
}

fn check_range(fixture: &Fixture, stream: Stream, part: &Part, range: std::ops::Range<u32>) {
    let mut rows = Vec::new();
    FileFormat::Csv(LineEnd::CrLf).body(&fixture.generator, stream, part, range.clone(), &mut rows);
    let rows = String::from_utf8(rows).expect("UTF-8");
    let mut rows = rows.split_terminator("\r\n");
    let mut times = Vec::new();
    MessageFormat::Json.encode(&fixture.generator, stream, part, range.clone(), |message| {
        // The longest line that the encoder's buffer is meant for.
        assert!(message.value.len() <= 300, "{} bytes", message.value.len());
        let time =
            message.time.to_civil().expect("a civil time").format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        let value = std::str::from_utf8(message.value).expect("UTF-8");
        assert!(value.ends_with(&format!("\"{time}\"}}")), "{value}");
        let row = rows.next().expect("a row for each message");
        assert!(row.ends_with(&time.replace('T', " ")), "{row}");
        assert_eq!(row.split(',').count(), stream.fields().len());
        assert!(row.starts_with(&message.key.to_string()), "{row}");
        times.push(message.time);
    });
    assert_eq!(rows.next(), None);
    assert_eq!(times.len(), range.len());
    assert!(times.is_sorted());
    assert!(times.iter().all(|time| (part.start..part.end()).contains(time)));
}

/// Checks the first and the last part.
fn check(scenario: Scenario) -> Fixture {
    let fixture = Fixture::new(scenario);
    for index in [0, fixture.plan.files() - 1] {
        check_part(&fixture, &fixture.part(index));
    }
    fixture
}

#[test]
fn a_file_may_hold_one_record() {
    let fixture = check(Scenario { line_count: 1, ..Scenario::default() });
    assert_eq!((fixture.plan.files(), fixture.plan.interval_s()), (86_400, 1));
    let file = String::from_utf8(fixture.csv(Stream::Voice, 0, LineEnd::Lf)).expect("UTF-8");
    assert_eq!(file.lines().count(), 2);
}

#[test]
fn ten_million_records_may_share_one_second() {
    let (line_count, lines_per_second) = (10_000_000, 10_000_000);
    let fixture =
        check(Scenario { line_count, lines_per_second, total_seconds: 1, ..Scenario::default() });
    assert_eq!((fixture.plan.files(), fixture.plan.interval_s()), (1, 1));
    // Ten slots to a microsecond, so that each record's time is known exactly.
    let part = fixture.part(0);
    for index in [0, 9, 10, 11, 4_999_999, 5_000_000, 9_999_990, 9_999_999] {
        for stream in fixture.plan.streams() {
            let time = fixture.generator.time(stream, &part, index);
            assert_eq!(time.0 - part.start.0, i64::from(index / 10), "{index}");
        }
    }
}

#[test]
fn slots_of_no_width_and_of_a_microsecond_may_alternate() {
    // 3,000,000 records in 2,000,000 microseconds.
    let scenario = Scenario {
        line_count: 3_000_000,
        lines_per_second: 1_500_000,
        total_seconds: 2,
        ..Scenario::default()
    };
    let fixture = check(scenario);
    let part = fixture.part(0);
    for index in (0..3_000_000).step_by(99_991) {
        let time = fixture.generator.time(Stream::Data, &part, index);
        assert_eq!(time.0 - part.start.0, i64::from(index) * 2 / 3, "{index}");
    }
}

#[test]
fn an_interval_may_be_as_long_as_the_largest_file_lasts() {
    let run = |total_seconds| Scenario { total_seconds, line_count: 10_000_000, ..Scenario::default() };
    assert_eq!(check(run(1_000_000_000)).plan.interval_s(), 10_000_000);
    // 1.4999 files round to 1.
    assert_eq!(check(run(14_999_999)).plan.interval_s(), 14_999_999);
}

#[test]
fn a_billion_files_have_names_and_records() {
    let fixture = check(Scenario { total_seconds: 1_000_000_000, line_count: 1, ..Scenario::default() });
    assert_eq!(
        fixture.part(999_999_999).file_name(Stream::Data, FileFormat::default()),
        "cdr_data_20550909_014640.csv"
    );
}

#[test]
fn there_may_be_one_of_everything() {
    let scenario =
        Scenario { towers: 1, sites: 1, subscribers: 1, destinations: 1, ..Scenario::default() };
    let fixture = check(scenario);
    let part = fixture.part(0);
    for record in fixture.data(&part, 0..1_000) {
        assert_eq!((record.tower, record.site, record.subscriber), (1, 0, 0));
    }
    for record in fixture.voice(&part, 0..1_000) {
        assert_eq!((record.tower, record.subscriber, destination(&record)), (1, 0, 0));
    }
    let people = fixture.generator.population();
    assert_ne!(people.subscriber(0), people.destination(0));
}

#[test]
fn everything_may_be_as_many_as_its_type_holds() {
    let scenario = Scenario {
        towers: u16::MAX,
        sites: u16::MAX,
        subscribers: u32::MAX,
        destinations: u32::MAX,
        numbering: numbering(999, &["100", "200", "300", "400", "500", "600", "700", "800", "900"], 9),
        ..Scenario::default()
    };
    let fixture = check(scenario);
    let part = fixture.part(0);
    let (mut subscribers, mut towers, mut sites) = (0, 0, 0);
    for record in fixture.data(&part, 0..1_000) {
        assert!(record.tower >= 1 && record.site < u16::MAX && record.subscriber < u32::MAX);
        subscribers = subscribers.max(record.subscriber);
        towers = towers.max(record.tower);
        sites = sites.max(record.site);
    }
    assert!(
        subscribers > u32::MAX / 100 * 98 && towers > u16::MAX / 100 * 98 && sites > u16::MAX / 100 * 98
    );
    assert_eq!(fixture.generator.population().subscriber(u32::MAX - 1).as_bytes().len(), 15);
    assert_eq!(fixture.generator.population().destination(u32::MAX - 1).as_bytes().len(), 15);
}

#[test]
fn a_rate_may_be_as_high_as_one_largest_file_a_second_allows() {
    let run = |total_seconds, lines_per_second| Scenario {
        total_seconds,
        lines_per_second,
        line_count: 10_000_000,
        ..Scenario::default()
    };
    // 1.4999 files round to 1.
    assert_eq!(check(run(1, 14_999_999)).plan.files(), 1);
    let error =
        Plan::new(&run(1_000_000_000, 1_000_000_000), Shard::WHOLE).expect_err("an interval of 0");
    assert_eq!(
        error.to_string(),
        "the files would have no time between them: TOTAL_SECONDS (1000000000) divided by 100000000000 files \
         rounds to an interval of 0 seconds; raise LINE_COUNT to 1000000000 or more, or lower LINES_PER_SECOND"
    );
}

#[test]
fn a_run_may_begin_before_the_epoch_or_in_the_year_1() {
    for start in [civil(1969, 12, 31), civil(1600, 2, 28), civil(1, 1, 1)] {
        let fixture = check(Scenario { start, ..Scenario::default() });
        let name = fixture.part(0).file_name(Stream::Data, FileFormat::default());
        assert_eq!(name, format!("cdr_data_{}_001645.csv", start.format("%Y%m%d")));
    }
}

#[test]
fn a_run_may_pass_the_epoch() {
    let start = civil(1970, 1, 1) - chrono::TimeDelta::microseconds(1_005_500_001);
    let fixture = check(Scenario { start, ..Scenario::default() });
    assert_eq!(fixture.part(0).start.to_string(), "1969-12-31 23:59:59.499999");
    assert_eq!(
        fixture.part(0).file_name(Stream::Voice, FileFormat::default()),
        "cdr_voice_19691231_235959.csv"
    );
}

#[test]
fn a_run_may_end_with_the_year_9999() {
    let start = civil(9999, 12, 30);
    let fixture = check(Scenario { start, line_count: 86_400, ..Scenario::default() });
    let part = fixture.part(0);
    let last = fixture.generator.time(Stream::Data, &part, 86_399);
    assert!(last.to_string().starts_with("9999-12-31 23:59:59."), "{last}");
}

#[test]
fn seeds_may_be_any_number() {
    for seed in [0, 1, u64::MAX, 0x9E37_79B9_7F4A_7C15, 0u64.wrapping_sub(0x9E37_79B9_7F4A_7C15)] {
        check(Scenario { seed, ..Scenario::default() });
    }
}

/// A number of up to `max`, its magnitude evenly drawn, or an end of the range.
fn magnitudes(max: u64) -> impl Strategy<Value = u64> {
    let any_size = (0..=max.ilog2()).prop_flat_map(move |bits| (1 << bits)..=max.min((2 << bits) - 1));
    prop_oneof![8 => any_size, 1 => Just(1), 1 => Just(max)]
}

fn numberings() -> impl Strategy<Value = NumberingPlan> {
    let prefixes =
        proptest::sample::subsequence(vec!["0", "1", "20", "21", "300", "4", "555555"], 1..=7);
    let plans =
        (1..=999u16, prefixes, 1..=9u8).prop_filter_map("too long", |(code, prefixes, digits)| {
            let prefixes = prefixes.into_iter().map(str::to_owned).collect();
            NumberingPlan::new(code, Some(prefixes), Some(digits)).ok()
        });
    prop_oneof![plans, Just(NumberingPlan::default())]
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let starts = prop_oneof![
        -62_135_596_800i64..=253_402_300_799,
        Just(-62_135_596_800),
        Just(0),
        (0..3_000_000_000i64).prop_map(|before| 253_402_300_799 - before),
    ];
    let volumes = (magnitudes(1_000_000_000), magnitudes(10_000_000), magnitudes(1_000_000_000));
    let population =
        (magnitudes(u32::MAX.into()), magnitudes(u32::MAX.into()), magnitudes(65_535), magnitudes(999));
    let fixture = (any::<u64>(), starts, 0..1_000_000i64, numberings());
    (fixture, volumes, population).prop_map(|((seed, start, micros, numbering), volumes, population)| {
        let (total_seconds, line_count, lines_per_second) = volumes;
        let (subscribers, destinations, towers, sites) = population;
        let capacity = numbering.capacity();
        let subscribers = subscribers.min(capacity - 1);
        Scenario {
            seed,
            start: NaiveDateTime::default()
                + chrono::TimeDelta::seconds(start)
                + chrono::TimeDelta::microseconds(micros),
            total_seconds,
            line_count: line_count as u32,
            lines_per_second: lines_per_second as u32,
            subscribers: subscribers as u32,
            destinations: destinations.min(capacity - subscribers) as u32,
            towers: towers as u16,
            sites: sites as u16,
            numbering,
            ..Scenario::default()
        }
    })
}

#[test]
fn every_scenario_that_is_accepted_can_be_generated() {
    let accepted = Cell::new(0);
    for_all(2_000, scenarios(), |scenario| {
        if Plan::new(&scenario, Shard::WHOLE).is_ok() {
            accepted.set(accepted.get() + 1);
            check(scenario);
        }
    });
    assert!(accepted.get() > 400, "only {} scenarios were accepted", accepted.get());
}

#[test]
fn every_scenario_is_accepted_or_refused_without_a_panic() {
    let starts = prop_oneof![
        Just(NaiveDateTime::MIN),
        Just(NaiveDateTime::MAX),
        (-200_000i32..=200_000).prop_map(|year| civil(year, 6, 15)),
    ];
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    let ends = prop_oneof![numbers, Just((1_000_000_000, 10_000_000, 1_000_000_000, 5, 5))];
    for_all(
        2_000,
        (starts, ends),
        |(start, (total_seconds, line_count, rate, subscribers, destinations))| {
            let scenario = Scenario {
                start,
                total_seconds,
                line_count,
                lines_per_second: rate,
                subscribers,
                destinations,
                sites: 1,
                ..Scenario::default()
            };
            let refusal = scenario.validate().err();
            let plan = Plan::new(&scenario, Shard::WHOLE).err();
            assert_eq!(Generator::new(&scenario).err(), plan);
            assert!(refusal.is_none() || plan == refusal);
        },
    );
}
