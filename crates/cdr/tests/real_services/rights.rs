//! Logins that may not do all that a run does: which right is missing is reported, at once.

use std::time::{Duration, Instant};

use cdr_model::{Shard, Stream};

use crate::support::check::{self, has_all};
use crate::support::scene::{Job, Scene};
use crate::support::services::Services;
use crate::support::topics::Topic;
use crate::support::{clients, logins};

/// Less than the time after which the client gives up records that it cannot send.
const AT_ONCE: Duration = Duration::from_secs(30);

fn scene(name: &'static str) -> Scene {
    Scene::new(name, 3, 100)
}

fn run(scene: &Scene) -> Job {
    logins::run(scene, "KAFKA_LOGIN_BROKERS", &logins::password(scene, "PLAIN"))
}

/// Makes the topics, as somebody who may.
fn with_topics(scene: Scene) -> Scene {
    scene.run().with("SINKS", "kafka").end().expect(0);
    scene
}

fn us(scene: &Scene) -> String {
    format!("User:{}", scene.services.variable("KAFKA_LOGIN_USER"))
}

/// The run ends at once, and names what is missing and where; `options` grant it.
fn check_refused(scene: &Scene, job: Job, right: &str, options: &str) {
    let begun = Instant::now();
    let ended = job.end().expect(1);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let grant = format!("rpk acl create --allow-principal User:NAME --operation {options}");
    let brokers = scene.services.variable("KAFKA_LOGIN_BROKERS");
    has_all(ended.line("ERROR"), &[&format!("lacks the right {right}"), &grant, brokers]);
    assert_eq!(ended.count("are away"), 0, "{}", ended.lines.join("\n"));
}

#[test]
fn a_topic_that_the_login_may_not_see_is_named() {
    let scene = scene("may-not-see");
    let topic = scene.topic(Stream::Data);
    clients::allow(&scene, "topic", topic, "User:somebody-else", "write");
    let (right, options) =
        (format!("Describe on topic {topic}"), format!("describe --topic {topic} (kafka-acls.sh"));
    check_refused(&scene, run(&scene), &right, &options);
    assert_eq!(Topic::new(scene.services, topic).partitions(), 0, "it was created");
}

#[test]
fn a_topic_that_the_login_may_not_create_is_named() {
    // Whoever may create topics in the whole cluster may create this one, so there is a rule for both.
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "may-not-create", 3, 100);
    clients::allow(&scene, "broker", "kafka-cluster", "User:somebody-else", "create");
    let topic = scene.topic(Stream::Data);
    clients::allow(&scene, "topic", topic, &us(&scene), "write");
    let (right, options) = (format!("Create on topic {topic}"), format!("create --topic {topic}"));
    check_refused(&scene, run(&scene), &right, &options);
}

#[test]
fn a_topic_that_the_login_may_not_write_to_is_named() {
    let scene = with_topics(scene("may-not-write"));
    let topic = scene.topic(Stream::Data);
    clients::allow(&scene, "topic", topic, &us(&scene), "read");
    let (right, options) =
        (format!("Write on topic {topic}"), format!("write --topic {topic} (kafka-acls.sh"));
    check_refused(&scene, run(&scene).flag("--restart"), &right, &options);
}

#[test]
fn a_right_that_is_missing_is_reported_in_the_middle_of_records_that_fill_the_client() {
    // More than the client takes at once, so that the sink waits for room when the brokers refuse.
    let scene = with_topics(Scene::new("may-not-write-much", 40, 10_000));
    let topic = scene.topic(Stream::Voice);
    clients::allow(&scene, "topic", topic, &us(&scene), "read");
    let (right, options) = (format!("Write on topic {topic}"), format!("write --topic {topic}"));
    check_refused(&scene, run(&scene).flag("--restart"), &right, &options);
}

#[test]
fn progress_that_the_login_may_not_read_is_named() {
    let scene = with_topics(scene("may-not-read"));
    let topic = scene.progress_topic();
    clients::allow(&scene, "topic", topic, &us(&scene), "write");
    let (right, options) = (format!("Read on topic {topic}"), format!("read --topic {topic}"));
    check_refused(&scene, run(&scene), &right, &options);
}

#[test]
fn a_transactional_id_that_the_login_may_not_use_is_named() {
    let scene = scene("may-not-transact");
    clients::allow(&scene, "transactional_id", scene.name, "User:somebody-else", "write");
    let (right, options) =
        ("Write on transactional id may-not-transact", "write --transactional-id may-not-transact");
    check_refused(&scene, run(&scene), right, options);
}

#[test]
fn no_right_to_a_group_is_needed() {
    let scene = scene("no-group");
    // The client's name for it; every run's, but no run needs it.
    clients::allow(&scene, "group", "cdr-progress", "User:somebody-else", "read");
    run(&scene).end().expect(0);
    run(&scene).end().expect(0).line("finished already");
    check::records(&scene, &[Shard::WHOLE], 0..3);
}
