//! Runs that go on, that come after others, and that are split.

use cdr_model::Stream;
use cdr_model::resume::Conflict;

use super::super::RecordsReport;
use super::topics::{Run, at};

fn check_right(reports: [RecordsReport; 2], records: [u64; 2]) {
    for (report, records) in reports.iter().zip(records) {
        assert!(report.is_right(), "{report:?}");
        assert_eq!((report.expected, report.found), (records, records));
    }
}

#[test]
fn of_a_run_that_goes_on_what_is_counted_must_be_there() {
    let mut run = Run::new();
    run.begin("1/1");
    run.deliver(0, at(1, 7, 2));
    check_right(run.verify(), [17, 12]);
    run.take(Stream::Voice, 11);
    let [data, voice] = run.verify();
    assert!(data.is_right() && !voice.is_right(), "{voice:?}");
    assert_eq!(voice.missing, 1);
}

#[test]
fn of_a_run_that_goes_on_what_has_come_since_is_not_wrong() {
    let mut run = Run::new();
    run.begin("1/1");
    run.deliver(0, at(1, 7, 2));
    run.send_uncounted(0, at(3, 1, 0));
    let reports = run.verify();
    assert_eq!(reports.each_ref().map(|report| report.younger), [14, 18]);
    check_right(reports, [17, 12]);
}

#[test]
fn of_a_run_that_goes_on_a_record_that_came_twice_is_found() {
    let mut run = Run::new();
    run.begin("1/1");
    run.deliver(0, at(1, 0, 0));
    let (partition, record) = run.record(Stream::Data, 0);
    let record = record.clone();
    run.put(Stream::Data, partition, &record.key, &record.value);
    run.deliver(0, at(2, 0, 0));
    let [data, voice] = run.verify();
    assert_eq!((data.doubled, data.missing), (1, 0), "{data:?}");
    assert!(voice.is_right());
}

#[test]
fn an_earlier_run_in_the_same_topics_is_passed_over() {
    let mut run = Run::finished();
    run.progress.clear();
    run.put(Stream::Data, 0, b"27711903591", b"something else");
    run.begin("1/1");
    run.deliver(0, at(4, 0, 0));
    run.progress[0].finished = true;
    check_right(run.verify(), [40, 40]);
    // Were the beginning not noted, all would be there twice.
    for (_, offsets) in run.progress[0].begin_offsets.iter_mut() {
        offsets.fill(0);
    }
    let [data, voice] = run.verify();
    assert_eq!((data.doubled, data.foreign, voice.doubled), (40, 1, 40));
}

#[test]
fn shards_are_verified_together() {
    let mut run = Run::new();
    run.begin("1/2");
    run.deliver(0, at(2, 3, 0));
    run.begin("2/2");
    run.deliver(1, at(3, 0, 4));
    check_right(run.verify(), [23, 24]);
    run.take(Stream::Data, 0);
    assert_eq!(run.verify()[0].missing, 1);
}

#[test]
fn of_a_shard_that_has_not_begun_nothing_is_missed() {
    let mut run = Run::new();
    run.begin("2/2");
    run.deliver(0, at(5, 0, 0));
    run.progress[0].finished = true;
    check_right(run.verify(), [20, 20]);
}

#[test]
fn a_run_that_began_behind_its_first_part_owes_nothing_before() {
    let mut run = Run::new();
    run.begin("1/1");
    run.progress[0].begin = at(2, 0, 0);
    run.progress[0].cursors.records = Some(at(2, 0, 0));
    run.deliver(0, at(4, 0, 0));
    run.progress[0].finished = true;
    check_right(run.verify(), [20, 20]);
}

#[test]
fn the_newest_of_two_splits_counts() {
    let mut run = Run::new();
    run.begin("1/1");
    run.deliver(0, at(1, 0, 0));
    run.begin("1/2");
    run.deliver(1, at(2, 0, 0));
    // What the other split left is in the topic before this one's beginning.
    let reports = run.verify();
    check_right(reports, [10, 10]);
}

/// As after `cdr run`, and then `--restart` in two shards with another seed.
#[test]
fn of_a_run_that_was_begun_again_otherwise_the_last_beginning_counts() {
    let mut run = Run::finished();
    run.progress[0].parameters = run.progress[0].parameters.clone().with("CDR_SEED", "1");
    for (shard, number) in [("1/2", 1), ("2/2", 2)] {
        run.begin(shard);
        run.deliver(number, at(3 + number as u64, 0, 0));
        run.progress[number].finished = true;
    }
    check_right(run.verify(), [40, 40]);
    run.take(Stream::Data, 79);
    assert_eq!(run.verify()[0].missing, 1);
}

#[test]
fn progress_that_is_of_no_part_of_the_plan_is_refused() {
    let check_refused = |run: &Run| {
        assert_eq!(run.expected().err(), Some(Conflict::ProgressInvalid));
    };
    let mut run = Run::new();
    run.begin("1/2");
    run.progress[0].cursors.records = Some(at(u64::MAX, 0, 0));
    check_refused(&run);
    run.progress[0].cursors.records = Some(at(3, 0, 0));
    check_refused(&run);
}
