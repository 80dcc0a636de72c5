//! Brokers that change their parts, come and go, or are all away for long, and topics that go.

use std::fs;
use std::time::{Duration, Instant};

use cdr_model::Stream;

use crate::support::check::has_all;
use crate::support::clients;
use crate::support::cluster::{Cluster, Partition};
use crate::support::course::{self, PARTS, disturbed, goes_on};
use crate::support::process::Process;
use crate::support::scene::Scene;
use crate::support::services::Services;
use crate::support::topics::Topic;

#[test]
fn leaders_that_move_to_other_brokers_are_followed() {
    let scene = Scene::new("leaders-moved", PARTS, 50);
    let cluster = Cluster::new(scene.services);
    let job = course::slow(&scene).with("KAFKA_REPLICATION", 2);
    let ended = disturbed(&scene, job, |process| {
        let before = scene.topics.each_ref().map(|topic| cluster.partitions(topic));
        reassign(&scene, &before);
        let moved = |topic: &String, before: &Vec<Partition>| {
            let mut both = cluster.partitions(topic).into_iter().zip(before);
            both.all(|(now, before)| now.leader != -1 && now.leader != before.leader)
        };
        let all_moved = || scene.topics.iter().zip(&before).all(|(topic, before)| moved(topic, before));
        process.wait_until("all leaders are others", all_moved);
    });
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

/// Has each partition held by its follower and the third broker, in place of its leader.
fn reassign(scene: &Scene, before: &[Vec<Partition>]) {
    let mut partitions = Vec::new();
    for (topic, held) in scene.topics.iter().zip(before) {
        for (partition, Partition { leader, replicas }) in held.iter().enumerate() {
            let third = (1..=3).find(|broker| !replicas.contains(broker)).expect("two of three hold it");
            let follower = replicas.iter().find(|broker| *broker != leader).expect("two hold it");
            partitions.push(serde_json::json!({
                "topic": topic, "partition": partition, "replicas": [third, follower],
            }));
        }
    }
    let plan = scene.folder.join("reassignment.json");
    let text = serde_json::json!({ "version": 1, "partitions": partitions }).to_string();
    fs::write(&plan, text).expect("the folder is ours");
    let class = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    let mut tool = clients::kafka_tool(scene.services, class);
    tool.args(["--execute", "--reassignment-json-file"]).arg(plan);
    clients::output(&scene.folder, tool);
}

#[test]
fn the_coordinator_of_the_transactions_may_be_killed_and_come_back() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "coordinator-killed", PARTS, 50);
    let cluster = Cluster::new(scene.services);
    let ended = disturbed(&scene, course::slow(&scene), |process| {
        let before = cluster.coordinator(scene.name);
        let killed = fragile.kill_broker(["1", "2", "3"][before as usize - 1]);
        let moved = || ![-1, before].contains(&cluster.coordinator(scene.name));
        process.wait_until("another broker coordinates", moved);
        goes_on(&scene, process);
        killed.end();
    });
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

/// Longer than a transaction may be open, and than the client waits for anything by itself.
const LONG: Duration = Duration::from_secs(61);

#[test]
fn brokers_that_are_down_for_a_minute_are_waited_for() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "down-for-a-minute", PARTS, 50);
    let ended = disturbed(&scene, course::slow(&scene), |process| {
        let killed = fragile.kill_brokers();
        let begun = Instant::now();
        process.wait_until("a minute has passed", || begun.elapsed() >= LONG);
        killed.end();
    });
    // Whether the brokers let the old producer end its transaction depends on who is back first.
    let goes_on = ended.count("are back") + ended.count("Going on behind the last commit");
    assert!(goes_on >= 1, "{}", ended.lines.join("\n"));
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

#[test]
fn a_network_that_carries_nothing_for_half_a_minute_is_waited_for() {
    let fragile = Services::fragile();
    let scene = Scene::at(fragile.services, "network-paused", PARTS, 50);
    let job = course::slow(&scene).with("SFTP_REQUEST_TIMEOUT_SECONDS", 5);
    let ended = disturbed(&scene, job.with("SFTP_CONNECT_TIMEOUT_SECONDS", 2), |process| {
        let (_sftp, _brokers) = (fragile.pause_sftp(), fragile.pause_brokers());
        let begun = Instant::now();
        process.wait_for_line("are away (");
        process.wait_for_line("is away (");
        process.wait_until("half a minute has passed", || begun.elapsed() >= LONG / 2);
    });
    assert!(ended.count("is back") >= 1 && ended.count("are back") >= 1, "{}", ended.lines.join("\n"));
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

#[test]
fn a_transaction_that_the_brokers_ended_for_its_age_is_sent_again() {
    let scene = Scene::new("timed-out", PARTS, 50);
    let topic = Topic::new(scene.services, scene.topic(Stream::Data));
    let job = scene.run_at(20).with("KAFKA_TRANSACTION_MS", 500);
    let ended = disturbed(&scene, job.with("KAFKA_TRANSACTION_TIMEOUT_MS", 2_000), |process| {
        halt_in_transaction(process, &topic);
        process.wait_until("the brokers have ended it", || !topic.has_open_transaction());
        process.signal("CONT");
        process.wait_for_line("The brokers ended the transaction for its age");
    });
    assert_eq!(ended.count("ERROR"), 0, "{}", ended.lines.join("\n"));
}

fn halt_in_transaction(process: &Process, topic: &Topic) {
    loop {
        process.wait_until("a transaction is open", || topic.has_open_transaction());
        process.signal("STOP");
        process.wait_until_halted();
        if topic.has_open_transaction() {
            return;
        }
        process.signal("CONT");
    }
}

#[test]
fn a_topic_that_is_deleted_under_a_run_ends_it_with_the_reason() {
    let scene = Scene::new("deleted-under-run", PARTS, 50);
    let process = with_much_delivered(&scene);
    // Meanwhile the brokers make another with one partition, for whoever names it.
    topic_tool(&scene, "--delete", &[]);
    ends_for_want_of_topic(&scene, process);
}

#[test]
fn a_topic_that_is_deleted_and_made_again_under_a_run_is_not_taken_for_the_first() {
    let scene = Scene::new("made-again-under-run", 400, 50);
    let process = with_much_delivered(&scene);
    process.signal("STOP");
    process.wait_until_halted();
    topic_tool(&scene, "--delete", &[]);
    topic_tool(&scene, "--create", &["--partitions", "3"]);
    process.signal("CONT");
    ends_for_want_of_topic(&scene, process);
}

/// A run of whose records more have been delivered than there will be marks of transactions, which
/// count as offsets, too.
fn with_much_delivered(scene: &Scene) -> Process {
    let process = course::slow(scene).with("KAFKA_TRANSACTION_TIMEOUT_MS", 10_000).start();
    process.wait_until("much is delivered", || scene.index() > Some(100));
    process
}

/// Does something to the topic of voice records by Kafka's own tool.
fn topic_tool(scene: &Scene, action: &str, options: &[&str]) {
    let mut tool = clients::kafka_tool(scene.services, "org.apache.kafka.tools.TopicCommand");
    tool.args([action, "--topic", scene.topic(Stream::Voice)]).args(options);
    clients::output(&scene.folder, tool);
}

/// The run ends with the reason; only restarted, it can be completed.
fn ends_for_want_of_topic(scene: &Scene, process: Process) {
    let topic = scene.topic(Stream::Voice);
    for ended in [process.end(), scene.run().end()] {
        let ended = ended.expect(3);
        has_all(ended.line("ERROR"), &[&format!("topic {topic}"), "Was it deleted?", "--restart"]);
    }
    scene.run().flag("--restart").end().expect(0);
    scene.verify().end().expect(0).line("All is right");
}
