//! Scenario → parts: counts, intervals, file times and names, and shares of them.

use cdr_model::{
    FileFormat, Micros, Part, PartIndex, Plan, Scenario, ScenarioError, Shard, Stream, Streams,
};
use chrono::{NaiveDate, NaiveDateTime};
use proptest::prelude::*;

use crate::{Fixture, for_all, prod, run_of};

fn planned(total_seconds: u64, lines_per_second: u32, line_count: u32) -> Result<Plan, ScenarioError> {
    let scenario = Scenario { total_seconds, lines_per_second, line_count, ..Scenario::default() };
    Plan::new(&scenario, Shard::WHOLE)
}

fn civil(year: i32, month: u32, day: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).and_then(|date| date.and_hms_opt(0, 0, 0)).expect("a date")
}

#[test]
fn the_development_run_has_86_files_of_1005_seconds() {
    let plan = Fixture::new(Scenario::default()).plan;
    assert_eq!((plan.files(), plan.interval_s()), (86, 1_005));
    assert_eq!(
        [Stream::Data, Stream::Voice].map(|stream| plan.count(stream, PartIndex(85))),
        [1_000; 2]
    );
}

#[test]
fn the_production_run_has_864_files_of_200_seconds_and_864000_records_in_each_stream() {
    let plan = Fixture::new(prod()).plan;
    assert_eq!((plan.files(), plan.interval_s()), (864, 200));
    assert_eq!([Stream::Data, Stream::Voice].map(|stream| plan.records(stream)), [864_000; 2]);
}

/// Seconds, lines per second and lines per file, and the count and interval of the files.
type Rounded = ((u64, u32, u32), (u64, u64));

/// Computed by Python 3: `files = round(t * l / c); interval = round(t / files)`.
const ROUNDED_BY_PYTHON: [Rounded; 25] = [
    ((501, 1, 1_000), (1, 501)),
    ((1_500, 1, 1_000), (2, 750)),
    ((2_500, 1, 1_000), (2, 1_250)),
    ((3_500, 1, 1_000), (4, 875)),
    ((4_500, 1, 1_000), (4, 1_125)),
    ((3, 1, 2), (2, 2)),
    ((5, 1, 2), (2, 2)),
    ((7, 1, 2), (4, 2)),
    ((3, 2, 3), (2, 2)),
    ((5, 2, 5), (2, 2)),
    ((7, 2, 7), (2, 4)),
    ((9, 2, 9), (2, 4)),
    ((1_005, 2, 1_005), (2, 502)),
    ((1_007, 2, 1_007), (2, 504)),
    ((10, 3, 2), (15, 1)),
    ((10, 7, 4), (18, 1)),
    ((2, 3, 2), (3, 1)),
    ((86_400, 100, 1_000), (8_640, 10)),
    ((604_800, 3, 7_777), (233, 2_596)),
    ((31_536_000, 1, 1_000), (31_536, 1_000)),
    ((86_400, 1_000, 10_000_000), (9, 9_600)),
    ((1_000_000_000, 1, 1), (1_000_000_000, 1)),
    ((1_000_000_000, 1, 10_000_000), (100, 10_000_000)),
    ((1_000_000_000, 10_000_000, 10_000_000), (1_000_000_000, 1)),
    ((1, 10_000_000, 10_000_000), (1, 1)),
];

#[test]
fn counts_and_intervals_round_a_half_to_even_as_python_does() {
    for ((total_seconds, lines_per_second, line_count), expected) in ROUNDED_BY_PYTHON {
        let plan = planned(total_seconds, lines_per_second, line_count).expect("a plan");
        let of = format!("{total_seconds} * {lines_per_second} / {line_count}");
        assert_eq!((plan.files(), plan.interval_s()), expected, "{of}");
    }
}

#[test]
fn counts_and_intervals_equal_floating_point_division_rounded_half_to_even() {
    let values = (1..=10_000_000u64, 1..=100u32, 1..=100_000u32);
    for_all(2_000, values, |(total_seconds, lines_per_second, line_count)| {
        let lines = total_seconds * u64::from(lines_per_second);
        let files = (lines as f64 / f64::from(line_count)).round_ties_even();
        let interval = (total_seconds as f64 / files).round_ties_even();
        match planned(total_seconds, lines_per_second, line_count) {
            Ok(plan) => {
                assert_eq!((plan.files() as f64, plan.interval_s() as f64), (files, interval))
            }
            Err(ScenarioError::NoFiles { .. }) => assert_eq!(files, 0.0),
            Err(ScenarioError::NoInterval { .. }) => assert_eq!(interval, 0.0),
            Err(other) => panic!("{other}"),
        }
    });
}

#[test]
fn a_file_count_that_rounds_to_0_is_refused() {
    for (total_seconds, lines_per_second, line_count) in [(500, 1, 1_000), (1, 1, 2), (1, 1, 10_000_000)]
    {
        let error = ScenarioError::NoFiles { total_seconds, lines_per_second, line_count };
        assert_eq!(planned(total_seconds, lines_per_second, line_count), Err(error));
    }
}

#[test]
fn an_interval_that_rounds_to_0_is_refused() {
    for (total_seconds, lines_per_second, line_count, files) in
        [(1, 2, 1, 2), (3, 4, 2, 6), (3, 7, 3, 7), (1_000_000_000, 1_000_000_000, 1, 10u64.pow(18))]
    {
        let error = ScenarioError::NoInterval { total_seconds, files, lines_per_second };
        assert_eq!(planned(total_seconds, lines_per_second, line_count), Err(error));
    }
}

#[test]
fn a_history_may_end_with_the_year_9999_and_no_later() {
    // One file of one day: its window begins a day after the start and ends two days after it.
    let one_day = Scenario { line_count: 86_400, ..Scenario::default() };
    let from = |start| Plan::new(&Scenario { start, ..one_day.clone() }, Shard::WHOLE);
    let plan = from(civil(9999, 12, 30)).expect("a history that ends in time");
    assert_eq!(
        plan.part(PartIndex(0)).file_name(Stream::Data, FileFormat::default()),
        "cdr_data_99991231_000000.csv"
    );
    let late = civil(9999, 12, 30) + chrono::TimeDelta::microseconds(1);
    assert_eq!(from(late), Err(ScenarioError::EndsTooLate));
    assert_eq!(from(NaiveDateTime::MAX), Err(ScenarioError::EndsTooLate));
}

#[test]
fn a_history_may_begin_with_the_year_1_and_no_earlier() {
    let from = |start| Plan::new(&Scenario { start, ..Scenario::default() }, Shard::WHOLE);
    let plan = from(civil(1, 1, 1)).expect("a history that starts late enough");
    assert_eq!(
        plan.part(PartIndex(0)).file_name(Stream::Voice, FileFormat::default()),
        "cdr_voice_00010101_001645.csv"
    );
    let early = civil(1, 1, 1) - chrono::TimeDelta::microseconds(1);
    assert_eq!(from(early), Err(ScenarioError::StartsTooEarly(early)));
    assert_eq!(from(NaiveDateTime::MIN), Err(ScenarioError::StartsTooEarly(NaiveDateTime::MIN)));
}

fn check_names(scenario: Scenario, part: u64, data: &str, voice: &str) {
    let part = Fixture::new(scenario).part(part);
    let name = |stream| part.file_name(stream, FileFormat::default());
    assert_eq!([name(Stream::Data), name(Stream::Voice)], [data, voice]);
}

#[test]
fn files_are_named_after_their_file_time() {
    let dev = Scenario::default;
    check_names(dev(), 0, "cdr_data_20240101_001645.csv", "cdr_voice_20240101_001645.csv");
    check_names(dev(), 1, "cdr_data_20240101_003330.csv", "cdr_voice_20240101_003330.csv");
    check_names(dev(), 85, "cdr_data_20240102_000030.csv", "cdr_voice_20240102_000030.csv");
    check_names(prod(), 0, "cdr_data_20240101_000320.csv", "cdr_voice_20240101_000320.csv");
    check_names(prod(), 863, "cdr_data_20240103_000000.csv", "cdr_voice_20240103_000000.csv");
}

#[test]
fn a_file_name_has_whole_seconds_even_where_the_start_has_a_fraction() {
    let start = civil(2024, 2, 28) + chrono::TimeDelta::microseconds(86_399_999_999);
    let scenario = Scenario { start, ..Scenario::default() };
    check_names(scenario, 0, "cdr_data_20240229_001644.csv", "cdr_voice_20240229_001644.csv");
}

#[test]
fn each_window_begins_where_the_one_before_ends() {
    for_all(200, (1..=1_000_000u64, 0..=1_000_000_000u64), |(total_seconds, index)| {
        let plan = planned(total_seconds, 1, 1).expect("a plan");
        let start = Micros::from_civil(Scenario::default().start);
        let expected = start.0 + (index as i64 + 1) * plan.interval_s() as i64 * 1_000_000;
        let part = plan.part(PartIndex(index));
        assert_eq!(part.start, Micros(expected));
        assert_eq!(part.end(), plan.part(PartIndex(index + 1)).start);
        assert_eq!((part.index, part.interval_s), (PartIndex(index), plan.interval_s()));
    });
}

/// A shard, as (number, of).
fn shards() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![4 => 1..=9u32, 1 => 1..=1_024u32].prop_flat_map(|of| (1..=of, Just(of)))
}

fn shard((number, of): (u32, u32)) -> Shard {
    Shard::new(number, of).expect("a shard")
}

#[test]
fn the_shards_of_a_run_have_every_part_once() {
    for_all(100, (1..3_000u64, 1..=40u32), |(files, of)| {
        let mut owners = vec![0; files as usize];
        let mut parts = 0;
        for number in 1..=of {
            let plan = Plan::new(&run_of(files), shard((number, of))).expect("a plan");
            parts += plan.parts();
            for index in walk(&plan) {
                owners[index.0 as usize] += 1;
            }
        }
        assert_eq!(parts, files);
        assert!(owners.iter().all(|&count| count == 1), "{owners:?}");
    });
}

/// The shard's parts, by the cursor's own steps.
fn walk(plan: &Plan) -> Vec<PartIndex> {
    std::iter::successors(Some(plan.first()), |&cursor| Some(plan.after(cursor)))
        .take_while(|&cursor| !plan.is_done(cursor))
        .collect()
}

#[test]
fn the_steps_counts_and_bounds_of_a_shard_agree() {
    for_all(300, (1..3_000u64, shards()), |(files, numbers)| {
        let plan = Plan::new(&run_of(files), shard(numbers)).expect("a plan");
        let parts = walk(&plan);
        let owned: Vec<PartIndex> = (0..files).map(PartIndex).filter(|&part| plan.owns(part)).collect();
        assert_eq!(parts, owned);
        assert_eq!(plan.parts(), parts.len() as u64);
        assert_eq!(plan.end(), parts.last().map_or(plan.first(), |&last| plan.after(last)));
        assert!(plan.is_done(plan.end()));
        assert_eq!(plan.before(plan.first()), None);
        for (nth, &part) in parts.iter().enumerate() {
            assert_eq!(plan.parts_before(part), nth as u64);
            assert_eq!(plan.before(plan.after(part)), Some(part));
        }
    });
}

#[test]
fn any_cursor_has_before_it_what_the_shard_owns_below_it() {
    for_all(300, (shards(), 0..5_000u64), |(numbers, cursor)| {
        let plan = Plan::new(&run_of(10), shard(numbers)).expect("a plan");
        let below: Vec<PartIndex> = (0..cursor).map(PartIndex).filter(|&part| plan.owns(part)).collect();
        assert_eq!(plan.parts_before(PartIndex(cursor)), below.len() as u64);
        assert_eq!(plan.before(PartIndex(cursor)), below.last().copied());
    });
}

#[test]
fn a_shard_beyond_the_last_part_has_nothing_to_do() {
    let plan = Plan::new(&run_of(3), shard((8, 8))).expect("a plan");
    assert!(plan.is_done(plan.first()));
    assert_eq!((plan.parts(), plan.end()), (0, plan.first()));
}

#[test]
fn a_plan_without_end_differs_only_in_never_being_done() {
    let finite = Fixture::new(prod()).plan;
    let endless = finite.clone().without_end();
    let parts = |plan: &Plan| -> Vec<Part> { (0..900).map(|i| plan.part(PartIndex(i))).collect() };
    assert_eq!(parts(&finite), parts(&endless));
    assert_eq!((finite.parts(), finite.end()), (endless.parts(), endless.end()));
    assert!(finite.is_done(finite.end()) && !endless.is_done(endless.end()));
    assert!(endless.is_endless() && !finite.is_endless());
    assert!(!finite.is_done(PartIndex(863)) && finite.is_done(PartIndex(864)));
}

#[test]
fn a_shard_is_read_as_it_is_written() {
    for_all(200, shards(), |numbers| {
        let written = shard(numbers).to_string();
        assert_eq!(written, format!("{}/{}", numbers.0, numbers.1));
        assert_eq!(written.parse(), Ok(shard(numbers)));
    });
    assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
    assert!(Shard::WHOLE.is_whole() && !shard((1, 2)).is_whole());
}

#[test]
fn what_is_no_shard_is_refused_and_named() {
    for text in
        ["", "1", "0/1", "2/1", "1/0", "0/0", "1/1025", "1/2/3", "-1/2", "a/b", "1/4294967297", " 1/2"]
    {
        let error = text.parse::<Shard>().expect_err(text);
        assert!(error.to_string().starts_with(&format!("\"{text}\" is not a shard")), "{error}");
    }
}

#[test]
fn each_parameter_out_of_its_range_is_named_with_the_range() {
    let dev = Scenario::default;
    let cases = [
        (
            Scenario { total_seconds: 0, ..dev() },
            "TOTAL_SECONDS is 0, which is not between 1 and 1000000000",
        ),
        (
            Scenario { total_seconds: u64::MAX, ..dev() },
            "TOTAL_SECONDS is 18446744073709551615, which is not between 1 and 1000000000",
        ),
        (Scenario { line_count: 0, ..dev() }, "LINE_COUNT is 0, which is not between 1 and 10000000"),
        (
            Scenario { line_count: 10_000_001, ..dev() },
            "LINE_COUNT is 10000001, which is not between 1 and 10000000",
        ),
        (
            Scenario { lines_per_second: 0, ..dev() },
            "LINES_PER_SECOND is 0, which is not between 1 and 1000000000",
        ),
        (
            Scenario { subscribers: 0, ..dev() },
            "SUBSCRIBERS is 0, which is not between 1 and 4294967295",
        ),
        (
            Scenario { destinations: 0, ..dev() },
            "DESTINATIONS is 0, which is not between 1 and 4294967295",
        ),
        (Scenario { streams: Streams::of(&[]), ..dev() }, "STREAMS names no stream; name at least one"),
        (Scenario { towers: 0, ..dev() }, "TOWERS is 0, which is not between 1 and 65535"),
        (Scenario { sites: 0, ..dev() }, "SITES is 0, which is not between 1 and 65535"),
    ];
    for (scenario, message) in cases {
        assert_eq!(scenario.validate().map_err(|error| error.to_string()), Err(message.to_owned()));
        let planned = Plan::new(&scenario, Shard::WHOLE).map_err(|error| error.to_string());
        assert_eq!(planned, Err(message.to_owned()));
    }
}

#[test]
fn the_last_part_ends_with_the_calendar_and_nothing_lies_behind_it() {
    for start in [civil(1, 1, 1), Scenario::default().start, civil(9999, 12, 30)] {
        let scenario = Scenario { start, line_count: 86_400, ..Scenario::default() };
        let plan = Plan::new(&scenario, Shard::WHOLE).expect("a plan").without_end();
        let last = plan.part(plan.last());
        let year_10000 = Micros::from_civil(civil(9999, 12, 31)).0 + 86_400_000_000;
        assert_eq!(last.end().0, year_10000, "{start}");
        assert_eq!(plan.part_at(Micros(year_10000 - 1)), Some(plan.last()));
        assert_eq!(plan.part_at(Micros(year_10000)), None);
        assert!(!plan.is_done(plan.last()) && plan.is_done(plan.after(plan.last())));
        for beyond in [plan.last().0 + 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(plan.part(PartIndex(beyond)).start, last.start, "{beyond}");
        }
    }
}

#[test]
fn a_run_may_have_one_stream_alone() {
    let scenario = Scenario { streams: Streams::of(&[Stream::Voice]), ..Scenario::default() };
    let plan = Fixture::new(scenario).plan;
    assert_eq!(plan.streams().collect::<Vec<_>>(), [Stream::Voice]);
    assert_eq!(
        (plan.count(Stream::Data, PartIndex(0)), plan.count(Stream::Voice, PartIndex(0))),
        (0, 1_000)
    );
    assert_eq!((plan.records(Stream::Data), plan.records(Stream::Voice)), (0, 86_000));
    let name = |stream| plan.part(PartIndex(7)).file_name(stream, FileFormat::default());
    let part_of = |stream| plan.part_of_file(&name(stream), FileFormat::default());
    assert_eq!(part_of(Stream::Voice), Some((Stream::Voice, PartIndex(7))));
    assert_eq!(part_of(Stream::Data), None);
}
