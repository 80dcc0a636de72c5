//! A run that is killed without warning, and started again, as often as it takes.

use cdr_model::Stream;

use crate::support::check;
use crate::support::process::Process;
use crate::support::scene::{Job, Scene};
use crate::support::topics::Topic;
use crate::support::uploads;

/// What is seen of a run at the moment it is killed; all but the first two count from its start.
#[derive(Clone, Copy, Debug)]
enum Sight {
    /// It has not connected yet.
    Connecting,
    /// It knows where to begin, and has committed nothing of that yet.
    Announced,
    /// It logged complete parts so many times.
    Generated(usize),
    /// A file is being uploaded.
    Upload,
    /// The index file passed so many parts.
    Index(u64),
    /// The data topic grew by so many records, committed or not.
    Records(i64),
}

/// Each sight twice, in an order that looks random and is always the same.
fn sights() -> Vec<Sight> {
    let mut random = Random(2024);
    let mut sights = Vec::new();
    for _ in 0..2 {
        let mut round = vec![
            Sight::Connecting,
            Sight::Announced,
            Sight::Generated(1 + random.below(2) as usize),
            Sight::Upload,
            Sight::Index(1 + random.below(9)),
            Sight::Records(1 + random.below(9_000) as i64),
        ];
        while !round.is_empty() {
            sights.push(round.swap_remove(random.below(round.len() as u64) as usize));
        }
    }
    sights
}

/// A linear congruential generator, with Knuth's factors for MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn a_run_killed_again_and_again_delivers_everything_once() {
    let scene = Scene::new("killed", 300, 1_000);
    kill_at(&sights(), &scene, || scene.run_at(40));
}

#[test]
fn a_run_killed_in_large_transactions_delivers_everything_once() {
    let scene = Scene::new("killed-large", 300, 1_000);
    let sights = [Sight::Records(1), Sight::Upload, Sight::Index(1), Sight::Generated(1)];
    kill_at(&sights, &scene, || scene.run_at(60).with("KAFKA_TRANSACTION_MS", 1_000));
}

/// Kills one start after the other, each at its sight, and lets the last come to its end.
fn kill_at(sights: &[Sight], scene: &Scene, job: impl Fn() -> Job) {
    for &sight in sights {
        let before = Before::of(scene);
        let process = job().start();
        before.wait_for(sight, &process, scene);
        let ended = process.kill();
        assert_eq!(ended.status.code(), None, "killed at {sight:?}:\n{}", ended.lines.join("\n"));
        check::complete_files(scene);
    }
    assert!(scene.index() > Some(0) && scene.index() < Some(299), "it was killed in its middle");
    scene.run().end().expect(0).line("files [300]");
    check::delivered(scene);
}

/// Where things stood when a start began.
struct Before {
    parts: u64,
    data: Topic,
    end: i64,
}

impl Before {
    fn of(scene: &Scene) -> Before {
        let data = Topic::new(scene.services, scene.topic(Stream::Data));
        Before { parts: parts(scene), end: data.ends().iter().sum(), data }
    }

    fn wait_for(&self, sight: Sight, process: &Process, scene: &Scene) {
        let what = format!("{sight:?}");
        let grown = || self.data.ends().iter().sum::<i64>() - self.end;
        match sight {
            Sight::Connecting => drop(process.wait_for_line("Connecting to Kafka")),
            Sight::Announced => drop(process.wait_for_line(&format!("ing run {}", scene.name))),
            Sight::Generated(lines) => drop(process.wait_for_lines("Generated", lines)),
            Sight::Upload => process.wait_until(&what, || uploads::has_partial(&scene.uploads())),
            Sight::Index(more) => process.wait_until(&what, || parts(scene) >= self.parts + more),
            Sight::Records(more) => process.wait_until(&what, || grown() >= more),
        }
    }
}

/// Parts that the index file counts.
fn parts(scene: &Scene) -> u64 {
    scene.index().map_or(0, |index| index + 1)
}
