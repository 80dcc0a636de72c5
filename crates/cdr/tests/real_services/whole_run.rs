//! A run from its beginning to its end, and what happens when it is started again.

use std::collections::BTreeMap;

use cdr_model::{PerStream, Shard, Stream};

use crate::support::check;
use crate::support::process::Ended;
use crate::support::scene::Scene;
use crate::support::topics::{Record, Topic, progress};
use crate::support::uploads::{self, Identity};

#[test]
fn the_development_run_delivers_every_file_and_every_record_once() {
    let scene = Scene::dev("development-run");
    let ended = scene.run().end().expect(0);
    check::delivered(&scene);
    assert!(!scene.index_file().exists(), "the index file of a finished run goes");
    check_log(&ended);
    a_second_start_finds_it_finished(&scene);
    other_parameters_are_refused(&scene);
}

/// The contract's lines, in the contract's form.
fn check_log(ended: &Ended) {
    let text = ended.lines.join("\n");
    for line in &ended.lines {
        assert!(is_log_line(line), "{line:?} is not a line of the log, in:\n{text}");
    }
    let completed = "Completed data generation. cdr_data [86000], cdr_voice [86000], files [86]";
    let completed = ended.lines.iter().position(|line| message(line) == completed);
    let completed = completed.unwrap_or_else(|| panic!("no completion line in:\n{text}"));
    assert_eq!(completed, ended.lines.len() - 2, "one line follows the completion line:\n{text}");
    assert!(
        message(&ended.lines[completed + 1]).starts_with("This session: 172,000 records, 172 files")
    );
    let generated = ended.lines.iter().filter_map(|line| {
        message(line).strip_prefix("Generated ")?.strip_suffix(" cdr files...")?.parse::<u64>().ok()
    });
    assert_eq!(generated.sum::<u64>(), 2 * 86, "each file is logged once:\n{text}");
}

/// `2024-12-07 10:00:00 - INFO - message`.
fn is_log_line(line: &str) -> bool {
    let digits_as = |text: &str, form: &str| {
        let same = |(c, f): (char, char)| if f == '0' { c.is_ascii_digit() } else { c == f };
        text.len() == form.len() && text.chars().zip(form.chars()).all(same)
    };
    let parts: Vec<&str> = line.splitn(3, " - ").collect();
    let [time, level, message] = parts[..] else { return false };
    digits_as(time, "0000-00-00 00:00:00")
        && ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&level)
        && !message.is_empty()
}

fn message(line: &str) -> &str {
    line.splitn(3, " - ").nth(2).unwrap_or_default()
}

/// Everything that a start could change.
fn state(scene: &Scene) -> (Vec<Vec<i64>>, BTreeMap<String, Identity>) {
    let ends = scene.topics.iter().map(|topic| Topic::new(scene.services, topic).ends());
    (ends.collect(), uploads::identities(&scene.uploads()))
}

fn a_second_start_finds_it_finished(scene: &Scene) {
    let before = state(scene);
    let ended = scene.run().end().expect(0);
    let finished = format!("Run {} is finished already; --restart begins a new one", scene.name);
    ended.line(&finished);
    assert_eq!(ended.count("Completed"), 0);
    assert_eq!(state(scene), before);
    assert!(!scene.index_file().exists());
}

fn other_parameters_are_refused(scene: &Scene) {
    let before = state(scene);
    let ended = scene.run().with("LINE_COUNT", 500).end().expect(3);
    let line = ended.line("ERROR");
    assert!(line.contains("LINE_COUNT was 1000, now 500"), "{line}");
    assert!(line.contains("--run-name") && line.contains("--restart"), "{line}");
    assert_eq!(state(scene), before);
}

#[test]
fn a_restart_delivers_a_second_time_behind_what_the_topics_hold() {
    let scene = Scene::new("restarted", 12, 250);
    scene.run().end().expect(0);
    check::delivered(&scene);
    let ends = PerStream::from_fn(|stream| topic(&scene, stream).ends());
    let first_run = progress(&scene).last().expect("a progress record").begun_ms;

    scene.run().flag("--restart").end().expect(0).line("Starting run restarted");
    let begin = progress(&scene).into_iter().find(|progress| progress.begun_ms != first_run);
    assert_eq!(begin.expect("progress of the second run").begin_offsets, ends);
    for stream in Stream::ALL {
        let (first, second) = split(topic(&scene, stream).records(), &ends[stream]);
        for found in [first, second] {
            check::same_records(&scene, stream, &[Shard::WHOLE], 0..12, found);
        }
    }
    check::files(&scene, &scene.uploads(), 0..12);
}

fn topic(scene: &Scene, stream: Stream) -> Topic {
    Topic::new(scene.services, scene.topic(stream))
}

/// The records before these offsets, and the others.
fn split(records: Vec<Vec<Record>>, offsets: &[i64]) -> (Vec<Vec<Record>>, Vec<Vec<Record>>) {
    let parts = records.into_iter().zip(offsets);
    parts.map(|(records, &at)| records.into_iter().partition(|record| record.offset < at)).unzip()
}

#[test]
fn an_interrupted_restart_is_continued_and_not_begun_again() {
    let scene = Scene::new("restart-interrupted", 60, 1_000);
    scene.run().with("SINKS", "kafka").end().expect(0);
    let ends = topic(&scene, Stream::Data).ends();
    let process = scene.run_at(20).flag("--restart").start();
    process.wait_until("a few parts are complete again", || scene.index() >= Some(5));
    process.kill();
    scene.run().end().expect(0).line("Continuing run restart-interrupted");
    check::files(&scene, &scene.uploads(), 0..60);
    let (first, second) = split(topic(&scene, Stream::Data).records(), &ends);
    for found in [first, second] {
        check::same_records(&scene, Stream::Data, &[Shard::WHOLE], 0..60, found);
    }
}
