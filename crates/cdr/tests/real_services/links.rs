//! Networks that are slow, lose connections, or do not know names any more.

use std::time::{Duration, Instant};

use crate::support::check::{self, has_all};
use crate::support::course::{self, PARTS, goes_on};
use crate::support::links::Links;
use crate::support::names::Names;
use crate::support::scene::{Job, Scene};
use crate::support::uploads;

/// How the SFTP server is called where names are known.
const SFTP_NAME: &str = "sftp.cdr.test";

/// A run whose connections go over links.
struct Linked {
    scene: Scene,
    links: Links,
    names: Names,
}

impl Linked {
    fn new(scene: Scene) -> Linked {
        let (links, names) = (Links::new(), Names::new(&scene.folder));
        let brokers = scene.services.variable("KAFKA_NAMED_BROKERS");
        brokers.split(',').for_each(|broker| links.lead_to(broker));
        links.lead_to(&format!("127.0.0.1:{}", scene.services.variable("SFTP_PORT")));
        let linked = Linked { scene, links, names };
        linked.learn();
        linked
    }

    /// Has both names lead to the links.
    fn learn(&self) {
        let kafka = self.scene.services.variable("KAFKA_NAME");
        self.names.set(&[kafka, SFTP_NAME].join(" "), self.links.address());
    }

    fn over(&self, job: Job) -> Job {
        let ports = self.scene.services.variable("KAFKA_NAMED_BROKERS");
        let name = self.scene.services.variable("KAFKA_NAME");
        let brokers = ports.replace("127.0.0.1", name);
        job.with("KAFKA_BROKERS", brokers).with("SFTP_HOST", SFTP_NAME).knowing(&self.names)
    }

    /// Fails unless everything was delivered.
    fn check(&self) {
        check::delivered(&self.scene);
        self.over(self.scene.verify()).end().expect(0).line("All is right");
    }
}

#[test]
fn an_upload_that_is_cut_off_in_mid_file_is_done_again() {
    let linked = Linked::new(Scene::new("link-cut", 2, 100_000));
    linked.links.slow_down(4_000_000);
    let process = linked.over(linked.scene.run().with("SINKS", "sftp")).flag("-v").start();
    for _ in 0..2 {
        let begun = || uploads::partial_sizes(&linked.scene.uploads()).iter().any(|size| *size > 0);
        process.wait_until("a file is being uploaded", begun);
        linked.links.cut();
    }
    linked.links.slow_down(u64::MAX);
    process.end().expect(0);
    check::files(&linked.scene, &linked.scene.uploads(), 0..2);
}

#[test]
fn slow_links_to_both_destinations_take_longer_and_lose_nothing() {
    let linked = Linked::new(Scene::new("link-slow", 60, 1_000));
    linked.links.slow_down(500_000);
    let job = linked.scene.run().with("KAFKA_TRANSACTION_TIMEOUT_MS", 3_000);
    let begun = Instant::now();
    let ended = linked.over(job).end().expect(0);
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
    assert!(begun.elapsed() > Duration::from_secs(3), "it was not slow: {:?}", begun.elapsed());
    linked.links.slow_down(u64::MAX);
    linked.check();
}

#[test]
fn names_that_are_not_known_any_more_are_waited_for() {
    let linked = Linked::new(Scene::new("names-lost", PARTS, 50));
    let process = linked.over(course::slow(&linked.scene)).start();
    process.wait_for_line("Generated");
    linked.names.forget();
    linked.links.cut();
    let sftp = process.wait_for_line("is away (host name not resolved)");
    has_all(&sftp, &[SFTP_NAME, "trying again for up to"]);
    let kafka = process.wait_for_line("Failed to resolve");
    has_all(&kafka, &["Kafka brokers kafka.cdr.test", "are away", "trying again for up to"]);
    linked.learn();
    goes_on(&linked.scene, &process);
    process.signal("TERM");
    process.end().expect(143);
    linked.over(linked.scene.run()).end().expect(0).line("Continuing run names-lost");
    linked.check();
}

#[test]
fn a_name_that_nobody_knows_ends_the_run_and_is_reported() {
    let linked = Linked::new(Scene::new("names-unknown", 3, 10));
    linked.names.forget();
    let unknown = |sinks: &str, variable: &str, words: &[&str]| {
        let job = linked.scene.run().with("SINKS", sinks).with(variable, 2);
        has_all(linked.over(job).end().expect(4).line("ERROR"), words);
    };
    unknown("kafka", "KAFKA_GIVE_UP_SECONDS", &["kafka.cdr.test", "Failed to resolve"]);
    unknown("sftp", "SFTP_GIVE_UP_SECONDS", &[SFTP_NAME, "could not be resolved", "Check SFTP_HOST"]);
    linked.learn();
    linked.over(linked.scene.run()).end().expect(0);
    linked.check();
}
