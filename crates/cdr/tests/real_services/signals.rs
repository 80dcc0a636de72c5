//! A run that is stopped by signals.

use std::time::{Duration, Instant};

use cdr_model::{Shard, Stream};

use crate::support::scene::Scene;
use crate::support::services::Services;
use crate::support::topics::{Topic, progress};
use crate::support::{check, uploads};

#[test]
fn sigterm_saves_progress_and_the_next_start_goes_on_from_there() {
    a_signal_stops_well(Scene::new("terminated", 200, 1_000), "TERM", 143);
}

#[test]
fn sigint_saves_progress_and_the_next_start_goes_on_from_there() {
    a_signal_stops_well(Scene::new("interrupted", 200, 1_000), "INT", 130);
}

fn a_signal_stops_well(scene: Scene, signal: &str, code: i32) {
    let process = scene.run_at(40).start();
    process.wait_for_line("Generated");
    process.signal(signal);
    let ended = process.end().expect(code);
    ended.line("Stopping: finishing what is in flight (a second signal stops at once)");
    let name = scene.name;
    ended.line(&format!("Start run {name} again with the same settings to continue it"));
    assert_eq!(ended.count("Completed"), 0);

    let (records, files) = saved_progress(&scene);
    let before = uploads::identities(&scene.uploads());
    let again = scene.run().end().expect(0);
    again.line(&format!(
        "Continuing run {name}: records of {records}, files of {files} of 200 parts are delivered"
    ));
    again.line("Completed data generation. cdr_data [200000], cdr_voice [200000], files [200]");
    check::delivered(&scene);
    let after = uploads::identities(&scene.uploads());
    let untouched = before.iter().all(|(name, identity)| after.get(name) == Some(identity));
    assert!(untouched, "a file that was delivered is not uploaded again");
    for stream in Stream::ALL {
        let (committed, all) = Topic::new(scene.services, scene.topic(stream)).counts();
        assert_eq!(committed, all, "no record of {stream} was sent again");
    }
}

/// Parts behind the records' and the files' cursor, which are exactly what was delivered.
fn saved_progress(scene: &Scene) -> (u64, u64) {
    let cursors = progress(scene).pop().expect("a progress record").cursors;
    let (records, files) = (cursors.records.expect("its cursor"), cursors.files["sftp"]);
    check::files(scene, &scene.uploads(), 0..files.0);
    assert_eq!(scene.index(), records.part.min(files).0.checked_sub(1));
    let plan = scene.plan(Shard::WHOLE);
    for stream in plan.streams() {
        let found = Topic::new(scene.services, scene.topic(stream)).records();
        let rest = records.delivered[stream];
        let expected = plan.records_before(stream, records.part) + u64::from(rest);
        assert_eq!(found.iter().map(Vec::len).sum::<usize>() as u64, expected, "{stream}");
    }
    (records.part.0, files.0)
}

#[test]
fn a_signal_before_the_brokers_answer_stops_at_once() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "stopped-early", 2, 10);
    let paused = fragile.pause_brokers();
    let process = scene.run().start();
    process.wait_for_line("Connecting to Kafka");
    process.signal("TERM");
    process.end().expect(143).line("Stopped");
    paused.end();
    scene.run().end().expect(0);
    check::delivered(&scene);
}

#[test]
fn a_second_signal_stops_at_once() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "stopped-twice", 200, 1_000);
    let process = scene.run_at(40).start();
    process.wait_for_line("Generated");
    // Without brokers it cannot finish what is in flight.
    let paused = fragile.pause_brokers();
    process.wait_for_line("are away");
    process.signal("TERM");
    process.wait_for_line("Stopping: finishing what is in flight");
    // Signals that come together count as one, so some seconds pass first.
    process.wait_for_lines("are away", 2);
    process.signal("TERM");
    let ended = process.end().expect(143);
    ended.line("Stopping at once; nothing that was committed is lost");
    assert_eq!(ended.count("progress is saved"), 0);
    paused.end();
    scene.run().end().expect(0).line("Continuing run stopped-twice");
    check::delivered(&scene);
}

#[test]
fn a_run_that_stops_while_the_brokers_are_away_ends_within_seconds() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "stopped-away", 200, 1_000);
    let process = scene.run_at(40).start();
    process.wait_for_line("Generated");
    let paused = fragile.pause_brokers();
    process.signal("INT");
    let begun = Instant::now();
    process.end().expect(130);
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    paused.end();
    scene.run().end().expect(0);
    check::delivered(&scene);
}
