//! Two processes with the same run name: the later one goes on, the earlier one stops.

use std::time::{Duration, Instant};

use crate::support::check;
use crate::support::process::Process;
use crate::support::scene::{Job, Scene};
use crate::support::uploads;

#[test]
fn a_second_process_takes_a_run_over_while_the_first_one_sends_records() {
    // Its transactions are open nearly all the time.
    is_taken_over(&Scene::new("taken-over", 100, 500), 5_000);
}

#[test]
fn a_second_process_takes_a_run_over_while_the_first_one_commits() {
    is_taken_over(&Scene::new("taken-over-at-commit", 100, 500), 50);
}

fn is_taken_over(scene: &Scene, transaction_ms: u32) {
    let first = scene.run_at(10).with("KAFKA_TRANSACTION_MS", transaction_ms).start();
    first.wait_for_line("Generated");
    let second = scene.run().with("INDEX_FILE", "other.dat").start();
    let ended = first.end().expect(5);
    let (line, name) = (ended.line("ERROR"), scene.name);
    let why = format!("another run holds the transactional id \"{name}\" and has taken over");
    assert!(line.contains(&why) && line.contains("--run-name"), "{line}");
    second.end().expect(0).line(&format!("Continuing run {name}"));
    check::delivered(scene);
}

#[test]
fn a_start_that_is_refused_leaves_the_process_at_work_alone() {
    let scene = Scene::new("not-taken-over", 60, 500);
    let first = scene.run_at(10).start();
    first.wait_for_line("Generated");
    let second = || scene.run().with("INDEX_FILE", "other.dat");
    let ended = second().with("CDR_SEED", 1).end().expect(3);
    let line = ended.line("ERROR");
    assert!(line.contains("CDR_SEED was 418001, now 1") && line.contains("--run-name"), "{line}");
    let ended = second().flag("--trust-index").end().expect(3);
    ended.line("--trust-index needs an index file");
    first.end().expect(0);
    check::delivered(&scene);
}

#[test]
fn two_processes_never_use_one_index_file() {
    let scene = Scene::new("one-index", 100, 500);
    let first = scene.run_at(10).start();
    first.wait_for_line("Generated");
    let ended = scene.run().end().expect(1);
    let line = ended.line("ERROR");
    assert!(line.contains("another cdr is at work with the index file idx_data.dat"), "{line}");
    first.end().expect(0);
    check::delivered(&scene);
}

/// Longer than a halt that a process does not notice.
const HALT: Duration = Duration::from_secs(1);

/// More than a process has on its way of one file. A file that lacks this much cannot be completed
/// without it.
const ON_ITS_WAY_BYTES: u64 = 4 << 20;

#[test]
fn a_process_that_was_halted_in_mid_upload_leaves_what_the_next_one_delivered() {
    goes_on_after(Scene::new("halted", 3, 300_000), |_, job| job);
}

#[test]
fn a_process_that_was_halted_in_mid_upload_leaves_what_another_run_delivered() {
    goes_on_after(Scene::new("halted-restarted", 3, 300_000), |scene, job| {
        scene.scenario.seed = 7;
        job.with("CDR_SEED", 7).flag("--restart")
    });
}

/// Halts a process in mid-upload, has a second one deliver its run, or another in its place, and
/// lets the first go on. All that is left to it are files: it has no reason to call the brokers
/// anything before one of them has its name.
fn goes_on_after(mut scene: Scene, second: impl FnOnce(&mut Scene, Job) -> Job) {
    scene.run().with("SINKS", "kafka").end().expect(0);
    let first = scene.run().flag("-v").with("SFTP_IN_FLIGHT", 2).start();
    first.wait_for_line("committed");
    halt_in_mid_upload(&first, &scene);
    let halted = Instant::now();
    let job = scene.run().with("INDEX_FILE", "other.dat");
    second(&mut scene, job).end().expect(0);
    check::files(&scene, &scene.uploads(), 0..scene.parts());
    first.wait_until("the halt is one that it notices", || halted.elapsed() >= HALT);
    first.signal("CONT");
    first.end().expect(5).line("another run holds the transactional id");
    check::files(&scene, &scene.uploads(), 0..scene.parts());
}

/// Halts a process such that it has begun a file and must do more before that is complete.
fn halt_in_mid_upload(process: &Process, scene: &Scene) {
    let files = scene.files_of(&scene.generator(), 0);
    let smallest = files.iter().map(|(_, content)| content.len() as u64).min().expect("two files");
    let begun = || {
        let mut sizes = uploads::partial_sizes(&scene.uploads()).into_iter();
        sizes.any(|size| size > 0 && size + ON_ITS_WAY_BYTES < smallest)
    };
    loop {
        process.wait_until("a file has been begun", begun);
        process.signal("STOP");
        process.wait_until_halted();
        if begun() {
            return;
        }
        process.signal("CONT");
    }
}
