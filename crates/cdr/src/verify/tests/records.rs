//! One thing wrong at a time, and everything at once.

use cdr_model::{Scenario, Stream};
use proptest::prelude::*;

use super::super::second_pass::KEPT_MAX;
use super::super::{DESCRIBED_MAX, RecordsReport};
use super::topics::{Run, at};

fn check_right(report: &RecordsReport, records: u64) {
    assert!(report.is_right(), "{report:?}");
    assert_eq!((report.expected, report.found), (records, records));
    assert_eq!(report.findings, Vec::<String>::new());
}

/// Verifies, and gives the report of the data stream; that of the other one must be right.
fn verify_data(run: &mut Run) -> RecordsReport {
    verify_data_of(run, 40)
}

fn verify_data_of(run: &mut Run, records: u64) -> RecordsReport {
    let [data, voice] = run.verify();
    check_right(&voice, records);
    assert!(!data.is_right(), "{data:?}");
    data
}

#[test]
fn a_run_that_was_delivered_once_is_right() {
    for report in Run::finished().verify() {
        check_right(&report, 40);
    }
}

#[test]
fn a_missing_record_is_named() {
    let mut run = Run::finished();
    let taken = run.take(Stream::Data, 5);
    let report = verify_data(&mut run);
    assert_eq!((report.missing, report.found, report.parts_differing), (1, 39, 1));
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    let msisdn = String::from_utf8(taken.key).unwrap();
    assert!(finding.contains(&format!("(msisdn {msisdn}, 2024-01-01 ")), "{finding}");
    assert!(finding.ends_with(" is missing"), "{finding}");
}

#[test]
fn a_doubled_record_is_named_with_both_its_places() {
    let mut run = Run::finished();
    let (at, record) = run.record(Stream::Data, 5);
    let record = record.clone();
    let again = run.topic(Stream::Data).ends[at];
    run.put(Stream::Data, at, &record.key, &record.value);
    let report = verify_data(&mut run);
    assert_eq!((report.doubled, report.missing, report.found), (1, 0, 41));
    let places =
        format!("partition {at} offset {again}, first at partition {at} offset {}", record.offset);
    assert!(report.findings[0].ends_with(&format!(" is doubled: {places}")), "{report:?}");
}

#[test]
fn a_missing_record_does_not_hide_behind_a_doubled_one_of_its_part() {
    let mut run = Run::finished();
    let kept = run.topic(Stream::Data).partitions[0][0].clone();
    run.put(Stream::Data, 0, &kept.key, &kept.value);
    run.topic(Stream::Data).partitions[0].remove(1);
    let report = verify_data(&mut run);
    assert_eq!((report.missing, report.doubled, report.found), (1, 1, 40));
}

#[test]
fn an_altered_record_is_known_by_its_time() {
    let mut run = Run::finished();
    let (at, record) = run.record(Stream::Data, 7);
    let text = String::from_utf8(record.value.clone()).unwrap();
    record.value = text.replace("\"up_bytes\":", "\"up_bytes\":1").into_bytes();
    let offset = record.offset;
    let report = verify_data(&mut run);
    assert_eq!((report.altered, report.missing, report.foreign), (1, 0, 0));
    let finding = format!("is altered: partition {at} offset {offset}");
    assert!(report.findings[0].ends_with(&finding), "{report:?}");
}

#[test]
fn a_record_that_was_not_generated_is_foreign() {
    let mut run = Run::finished();
    let (at, record) = run.record(Stream::Data, 7);
    let (key, text) = (record.key.clone(), String::from_utf8(record.value.clone()).unwrap());
    let time = text.len() - "6\"}".len();
    let other =
        format!("{}{}", &text[..time], if text[time..].starts_with('0') { "1\"}" } else { "0\"}" });
    run.put(Stream::Data, at, &key, other.as_bytes());
    let report = verify_data(&mut run);
    assert_eq!((report.foreign, report.missing, report.doubled), (1, 0, 0));
}

#[test]
fn what_is_of_no_part_is_foreign() {
    for value in [
        "not a record",
        "",
        "{\"event_datetime\":\"2023-12-31T00:00:00.000000\"}",
        "{\"event_datetime\":\"2024-01-01T00:00:09.999999\"}",
        "{\"event_datetime\":\"2024-01-01T00:00:50.000000\"}",
    ] {
        let mut run = Run::finished();
        run.put(Stream::Data, 1, b"27711903591", value.as_bytes());
        let report = verify_data(&mut run);
        assert_eq!((report.foreign, report.missing, report.found), (1, 0, 40), "{value}");
        assert!(report.findings[0].starts_with("partition 1 offset "), "{report:?}");
    }
}

#[test]
fn a_record_in_another_partition_than_its_key_names_is_misplaced() {
    let mut run = Run::finished();
    let (at, _) = run.record(Stream::Data, 3);
    let record = run.take(Stream::Data, 3);
    run.put(Stream::Data, (at + 1) % 3, &record.key, &record.value);
    let report = verify_data(&mut run);
    assert_eq!((report.misplaced, report.missing, report.doubled), (1, 0, 0));
    assert!(report.findings[0].contains(&format!("it belongs in partition {at}")), "{report:?}");
}

#[test]
fn of_a_topic_that_does_not_exist_all_is_missing() {
    let mut run = Run::finished();
    run.topics[Stream::Data] = None;
    let report = verify_data(&mut run);
    assert_eq!((report.missing, report.found, report.parts_differing), (40, 0, 4));
}

#[test]
fn records_may_stand_in_any_order() {
    let mut run = Run::finished();
    for records in &mut run.topic(Stream::Data).partitions {
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        records.reverse();
        records.iter_mut().zip(offsets).for_each(|(record, offset)| record.offset = offset);
    }
    check_right(&run.verify()[0], 40);
}

#[test]
fn parts_beyond_those_that_are_examined_count_for_their_stream() {
    let mut run = Run::finished_of(10_050);
    for records in &mut run.topic(Stream::Voice).partitions {
        records.iter_mut().for_each(|record| record.value[2] ^= 1);
    }
    let [data, voice] = run.verify();
    assert!(data.is_right(), "{data:?}");
    assert_eq!((data.parts_differing, data.parts_examined), (0, 0));
    assert_eq!((voice.parts_differing, voice.parts_examined), (10_050, 10_000));
    assert_eq!((voice.altered, voice.missing), (100_000, 0));
}

/// Against each other, as all times are compared, this would take hours.
#[test]
fn a_part_in_which_nothing_is_right_is_examined_in_time() {
    let scenario = Scenario { line_count: 200_000, total_seconds: 200_000, ..Run::new().scenario };
    let mut run = Run::with(scenario);
    run.begin("1/1");
    run.deliver(0, at(1, 0, 0));
    run.progress[0].finished = true;
    for records in &mut run.topic(Stream::Data).partitions {
        records.iter_mut().for_each(|record| record.value[2] ^= 1);
    }
    let data = verify_data_of(&mut run, 200_000);
    assert_eq!((data.altered, data.missing, data.foreign), (200_000, 0, 0));
}

#[test]
fn records_beyond_those_that_are_kept_are_counted() {
    let mut run = Run::finished();
    let (at, record) = run.record(Stream::Data, 5);
    let (key, value) = (record.key.clone(), record.value.clone());
    for _ in 0..KEPT_MAX + 10 {
        run.put(Stream::Data, at, &key, &value);
    }
    let mut foreign = value.clone();
    foreign[2] ^= 1;
    run.put(Stream::Data, at, &key, &foreign);
    let report = verify_data(&mut run);
    assert_eq!((report.doubled, report.foreign, report.missing), (KEPT_MAX as u64 + 10, 1, 0));
    assert_eq!(report.findings.len(), DESCRIBED_MAX);
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Lose,
    Double,
    Alter,
}

proptest! {
    /// Whatever happens to whichever records: each harm is counted, and no other.
    #[test]
    fn every_harm_is_counted(
        harms in prop::collection::btree_map(
            0_usize..40,
            prop::sample::select(vec![Harm::Lose, Harm::Double, Harm::Alter]),
            0..12,
        ),
    ) {
        let mut run = Run::finished();
        let count = |of: fn(&Harm) -> bool| harms.values().filter(|harm| of(harm)).count() as u64;
        // From the last one on, so that the numbers of the others stay.
        for (&number, harm) in harms.iter().rev() {
            match harm {
                Harm::Lose => drop(run.take(Stream::Data, number)),
                Harm::Alter => run.record(Stream::Data, number).1.value[2] ^= 1,
                Harm::Double => {}
            }
        }
        let whole = Run::finished();
        let doubled = harms.iter().filter(|(_, harm)| matches!(harm, Harm::Double));
        let mut whole = whole;
        for (&number, _) in doubled {
            let (at, record) = whole.record(Stream::Data, number);
            let record = record.clone();
            run.put(Stream::Data, at, &record.key, &record.value);
        }
        let [data, voice] = run.verify();
        prop_assert!(voice.is_right());
        prop_assert_eq!(data.is_right(), harms.is_empty());
        prop_assert_eq!(data.missing, count(|harm| matches!(harm, Harm::Lose)));
        prop_assert_eq!(data.doubled, count(|harm| matches!(harm, Harm::Double)));
        prop_assert_eq!(data.altered, count(|harm| matches!(harm, Harm::Alter)));
        prop_assert_eq!((data.foreign, data.misplaced), (0, 0));
    }
}
