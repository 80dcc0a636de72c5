//! How many records each part has, and when they happen.

use cdr_model::{Habits, PartIndex, Plan, Profile, Scenario, Shard, Stream, UtcOffset};
use chrono::{NaiveDate, TimeDelta, Timelike};
use proptest::prelude::*;

use crate::{Fixture, STREAMS, flat, world};

#[test]
fn a_flat_rhythm_has_as_many_records_in_each_part() {
    let Fixture { plan, .. } = Fixture::new(&flat(world()));
    for index in 0..plan.files() {
        for stream in STREAMS {
            assert_eq!(plan.count(stream, PartIndex(index)), 1_000, "{stream} {index}");
        }
    }
}

/// Scenarios whose parts are cut in all kinds of ways.
fn scenarios() -> impl Strategy<Value = Scenario> {
    let numbers = (1u64..3_000_000, 1u32..40, 1u32..5_000, 0i64..4_000_000_000, -48i16..=56);
    numbers.prop_map(|(total_seconds, lines_per_second, line_count, start, quarters)| Scenario {
        total_seconds,
        lines_per_second,
        line_count,
        subscribers: 500_000,
        start: Scenario::default().start + TimeDelta::seconds(start),
        habits: Habits {
            utc_offset: UtcOffset(quarters * 15),
            holidays: vec!["12-25=sunday".parse().unwrap(), "01-01=new-year".parse().unwrap()],
            ..Habits::default()
        },
        profile: Profile::Realistic,
        ..Scenario::default()
    })
}

proptest! {
    /// The rhythm moves records from one part to another, and loses none.
    #[test]
    fn all_parts_together_have_what_they_should_have(scenario in scenarios(), shards in 1u32..5) {
        let Ok(plan) = Plan::new(&scenario, Shard::WHOLE) else { return Ok(()) };
        let wanted = plan.files() * u64::from(scenario.line_count);
        for stream in STREAMS {
            prop_assert_eq!(plan.records(stream), wanted);
            let each = (0..plan.files()).map(|index| plan.count(stream, PartIndex(index)));
            prop_assert!(each.clone().all(|count| count <= plan.count_max()));
            prop_assert_eq!(each.map(u64::from).sum::<u64>(), wanted);
            let of_shards = (1..=shards).map(|number| {
                plan.clone().for_shard(Shard::new(number, shards).unwrap()).records(stream)
            });
            prop_assert_eq!(of_shards.sum::<u64>(), wanted);
        }
    }
}

/// Records of a stream that begin in each hour, local time.
fn by_hour(scenario: &Scenario, stream: Stream) -> [u64; 24] {
    let Fixture { plan, generator } = Fixture::new(scenario);
    let ahead = TimeDelta::minutes(scenario.habits.utc_offset.0.into());
    let mut hours = [0; 24];
    for index in 0..plan.files() {
        let part = plan.part(PartIndex(index));
        for record in 0..plan.count(stream, part.index) {
            let time = generator.time(stream, &part, record).to_civil().unwrap() + ahead;
            hours[time.hour() as usize] += 1;
        }
    }
    hours
}

#[test]
fn the_day_is_that_of_local_time() {
    let offset = |minutes| Habits { utc_offset: UtcOffset(minutes), ..Habits::default() };
    let of = |minutes| by_hour(&Scenario { habits: offset(minutes), ..world() }, Stream::Voice);
    for minutes in [0, 120, -300, 345] {
        let hours = of(minutes);
        let (night, evening) = (hours[2..5].iter().sum::<u64>(), hours[17..20].iter().sum::<u64>());
        assert!(evening > 20 * night, "{minutes}: {hours:?}");
    }
}

#[test]
fn everybody_calls_when_the_year_begins() {
    let start = NaiveDate::from_ymd_opt(2024, 12, 31).unwrap().and_hms_opt(12, 0, 0).unwrap();
    let habits = Habits { holidays: vec!["01-01=new-year".parse().unwrap()], ..Habits::default() };
    let usual = by_hour(&Scenario { start, ..world() }, Stream::Voice);
    let new_year = by_hour(&Scenario { start, habits, ..world() }, Stream::Voice);
    assert!(new_year[0] > 5 * usual[0], "{usual:?} {new_year:?}");
}
