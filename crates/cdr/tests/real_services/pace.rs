//! Runs that are spread over time: at a multiple of real time, at a rate, at the clock's pace.

use std::time::{SystemTime, UNIX_EPOCH};

use cdr_model::{FileFormat, PartIndex, Plan, Scenario, Shard, Stream};
use chrono::NaiveDateTime;

use crate::support::check;
use crate::support::scene::Scene;
use crate::support::topics::{Record, Topic, progress};
use crate::support::uploads;

/// How late half of the records may be at most, and nine tenths, on a machine that has other work
/// to do. Records in one burst, in place of a run of six seconds, would be late by 3,000 and 5,400.
const HALF_LATE_MS: f64 = 1_250.0;
const MOST_LATE_MS: f64 = 4_000.0;

/// How early a file or record may be: as far as clocks are read at slightly different moments.
const EARLY_MS: f64 = -50.0;

fn check_late(late_ms: impl Iterator<Item = f64>) {
    let mut late: Vec<f64> = late_ms.collect();
    late.sort_by(f64::total_cmp);
    let quantile = |share: f64| late[(share * (late.len() - 1) as f64) as usize];
    let quantiles = [0.0, 0.1, 0.5, 0.9, 1.0].map(quantile);
    let [first, _, half, most, _] = quantiles;
    assert!(first >= EARLY_MS, "late by (ms): {quantiles:?}");
    assert!(half < HALF_LATE_MS && most < MOST_LATE_MS, "late by (ms): {quantiles:?}");
}

/// When each record was sent, and the time of its event: both in milliseconds, in the order of the
/// events.
fn sent(scene: &Scene) -> Vec<(f64, f64)> {
    let topics = Stream::ALL.map(|stream| Topic::new(scene.services, scene.topic(stream)));
    let records = topics.iter().flat_map(|topic| topic.records().into_iter().flatten());
    let mut sent: Vec<_> = records.map(|record| (record.time_ms as f64, event_ms(&record))).collect();
    sent.sort_by(|a, b| a.1.total_cmp(&b.1));
    sent
}

fn event_ms(record: &Record) -> f64 {
    let value: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
    let text = value.get("event_datetime").or(value.get("start_time")).and_then(|time| time.as_str());
    let format = "%Y-%m-%dT%H:%M:%S%.6f";
    let time = NaiveDateTime::parse_from_str(text.expect("a time"), format).expect("a time");
    time.and_utc().timestamp_micros() as f64 / 1_000.0
}

/// Fails unless records were sent when they were due, where `factor` simulated seconds pass in one.
/// Gives the moment at which simulated time was 0: that of the record which was least late.
fn check_pace(sent: &[(f64, f64)], factor: f64) -> f64 {
    let begun = |&(sent, event): &(f64, f64)| sent - event / factor;
    let zero = sent.iter().map(begun).min_by(f64::total_cmp).expect("records");
    check_late(sent.iter().map(|record| begun(record) - zero));
    zero
}

#[test]
fn at_a_multiple_of_real_time_records_go_out_when_they_are_due() {
    let scene = Scene::new("paced", 12, 250);
    scene.run().flag("--pace").flag("500x").end().expect(0);
    check::delivered(&scene);
    let zero = check_pace(&sent(&scene), 500.0);
    files_follow_their_interval(&scene, zero, 500.0);
}

/// A file is there when all that its interval could hold is due, and not before.
fn files_follow_their_interval(scene: &Scene, zero: f64, factor: f64) {
    let (plan, files) = (scene.plan(Shard::WHOLE), uploads::identities(&scene.uploads()));
    for part in (0..plan.files()).map(|index| plan.part(PartIndex(index))) {
        let due = zero + part.end().0 as f64 / 1_000.0 / factor;
        for stream in Stream::ALL {
            let name = part.file_name(stream, FileFormat::default());
            let late = unix_ms(files[&name].modified) - due;
            assert!((EARLY_MS..MOST_LATE_MS).contains(&late), "{name}: {late} ms late");
        }
    }
}

fn unix_ms(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1_000.0
}

#[test]
fn a_rate_is_in_records_per_second_and_stream() {
    let scene = Scene::new("rated", 10, 300);
    scene.run().flag("--rate").flag("600").end().expect(0);
    check::delivered(&scene);
    // One record per simulated second.
    check_pace(&sent(&scene), 600.0);
}

#[test]
fn a_run_that_follows_the_clock_goes_on_beyond_its_history_and_after_a_stop() {
    let scene = Scene::new("following", 3, 2);
    let job = || scene.run().flag("--start").flag("now").flag("--follow");
    let process = job().start();
    process.wait_for_line("Following without end");
    process.wait_until("parts beyond the history are complete", || scene.index() >= Some(4));
    process.signal("INT");
    process.end().expect(130).line("Stopped; progress is saved");
    check_late(sent(&scene).into_iter().map(|(sent, event)| sent - event));
    let stopped_at = scene.index().expect("an index file");
    check_so_far(&scene);

    let process = job().start();
    process.wait_for_line("Continuing run following");
    process.wait_until("more parts are complete", || scene.index() >= Some(stopped_at + 3));
    process.signal("TERM");
    process.end().expect(143);
    check_so_far(&scene);
}

/// Fails unless everything up to the saved cursors was delivered once, for a run that began "now".
fn check_so_far(scene: &Scene) {
    let last = progress(scene).pop().expect("a progress record");
    let start = last.parameters.get("START").expect("a start");
    let start = NaiveDateTime::parse_from_str(start, "%Y-%m-%d %H:%M:%S").expect("a time");
    let scenario = Scenario { start, ..scene.scenario.clone() };
    let plan = Plan::new(&scenario, Shard::WHOLE).expect("a valid scenario").without_end();
    assert!(last.cursors.files["sftp"].0 >= plan.files());
    let scene = Scene { scenario, folder: scene.folder.clone(), topics: scene.topics.clone(), ..*scene };
    check::files(&scene, &scene.uploads(), 0..last.cursors.files["sftp"].0);
    let records = last.cursors.records.expect("a cursor");
    for stream in Stream::ALL {
        let found = Topic::new(scene.services, scene.topic(stream)).records();
        let expected = check::expected(&scene, stream, Shard::WHOLE, 0..records.part.0 + 1);
        let wanted = records.part.0 * 2 + u64::from(records.delivered[stream]);
        assert_eq!(found.iter().map(Vec::len).sum::<usize>() as u64, wanted);
        for (found, expected) in found.iter().zip(&expected) {
            let same = found.iter().zip(expected).all(|(f, e)| (&f.key, &f.value) == (&e.0, &e.1));
            assert!(same && found.len() <= expected.len(), "{stream} is not as the model makes it");
        }
    }
}

#[test]
fn a_paced_run_that_is_continued_does_not_hurry_to_catch_up() {
    let scene = Scene::new("paced-again", 12, 250);
    let job = || scene.run().with("PACE", "500x");
    let process = job().start();
    process.wait_until("some parts are complete", || scene.index() >= Some(3));
    process.signal("TERM");
    process.end().expect(143);
    let before = sent(&scene).len();
    job().end().expect(0);
    check::delivered(&scene);
    let sent = sent(&scene);
    check_pace(&sent[..before], 500.0);
    check_pace(&sent[before..], 500.0);
}
