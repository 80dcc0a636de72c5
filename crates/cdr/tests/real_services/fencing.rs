//! Two processes with the same run name: the later one goes on, the earlier one stops.

use crate::support::check;
use crate::support::scene::Scene;

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
