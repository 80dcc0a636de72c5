//! The topics that a run creates, and the timestamps of its records.

use std::process::Command;
use std::time::{Duration, Instant};

use cdr_model::{MessageFormat, PartIndex, Shard, Stream};

use crate::support::check::has_all;
use crate::support::process::LIMIT;
use crate::support::scene::Scene;
use crate::support::topics::Topic;
use crate::support::{check, clients};

/// What Kafka's own tool shows of a topic, in one line.
fn described(scene: &Scene, topic: &str) -> String {
    let mut tool = clients::kafka_tool(scene.services, "org.apache.kafka.tools.TopicCommand");
    tool.args(["--describe", "--topic", topic]);
    let text = clients::output(&scene.folder, tool);
    String::from_utf8(text).expect("text").lines().next().expect("a line").replace('\t', " ")
}

#[test]
fn missing_topics_are_created_with_three_partitions_on_three_brokers() {
    let scene = Scene::new("topics-created", 2, 10);
    let ended = scene.run().end().expect(0);
    for topic in &scene.topics {
        ended.line(&format!("Created topic {topic} (replication 3)"));
    }
    for stream in Stream::ALL {
        let text = described(&scene, scene.topic(stream));
        has_all(&text, &["PartitionCount: 3", "ReplicationFactor: 3"]);
        assert!(!text.contains("retention.ms"), "{text}");
    }
    let text = described(&scene, scene.progress_topic());
    has_all(&text, &["PartitionCount: 1", "ReplicationFactor: 3", "cleanup.policy=compact"]);
    assert_eq!(scene.run().flag("--restart").end().expect(0).count("WARNING"), 0);
}

#[test]
fn a_progress_topic_that_would_lose_the_progress_is_warned_of() {
    let scene = Scene::new("progress-deleted", 2, 10);
    create(&scene, scene.progress_topic(), "cleanup.policy=delete");
    let ended = scene.run().end().expect(0);
    let remedy = "rpk topic alter-config progress-deleted-progress --set cleanup.policy=compact";
    has_all(ended.line("WARNING"), &["cleanup.policy=delete", remedy]);
}

/// Makes a topic by hand, with this setting.
fn create(scene: &Scene, topic: &str, setting: &str) {
    let mut tool = clients::kafka_tool(scene.services, "org.apache.kafka.tools.TopicCommand");
    tool.args(["--create", "--topic", topic, "--partitions", "1", "--config", setting]);
    clients::output(&scene.folder, tool);
}

#[test]
fn records_that_the_brokers_refuse_end_the_run_and_leave_no_transaction_open() {
    let scene = Scene::new("too-large", 2, 1_000);
    create(&scene, scene.topic(Stream::Data), "max.message.bytes=1000");
    let ended = scene.run().with("SINKS", "kafka").end().expect(1);
    has_all(ended.line("ERROR"), &["Kafka refused to store records", "Raise max.message.bytes"]);
    let begun = Instant::now();
    assert_eq!(Topic::new(scene.services, scene.topic(Stream::Voice)).counts().0, 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "the brokers had to abort it");
}

#[test]
fn more_replicas_than_brokers_are_refused_with_the_setting_that_requests_them() {
    let scene = Scene::new("replicas", 2, 10);
    let job = scene.run().with("SINKS", "kafka,directory").flag("--kafka-replication").flag("5");
    let ended = job.end().expect(1);
    has_all(ended.line("ERROR"), &["to create topic replicas-", "on brokers", "Set KAFKA_REPLICATION"]);
    assert!(!scene.folder.join("output").exists());
    scene.run().end().expect(0);
}

#[test]
fn partitions_and_replication_are_those_of_the_settings() {
    let scene = Scene::new("topics-as-set", 2, 10);
    let job = scene.run().with("KAFKA_PARTITIONS", 5).flag("--kafka-replication").flag("2");
    job.end().expect(0);
    let text = described(&scene, scene.topic(Stream::Data));
    has_all(&text, &["PartitionCount: 5", "ReplicationFactor: 2"]);
    let topic = Topic::new(scene.services, scene.topic(Stream::Voice));
    assert_eq!(topic.counts(), (20, 20));
    assert_eq!(topic.partitions(), 5);
}

#[test]
fn with_event_times_as_timestamps_the_topics_keep_their_records() {
    let scene = Scene::new("event-times", 10, 100);
    scene.run().with("KAFKA_TIMESTAMP", "event").end().expect(0);
    check::delivered(&scene);
    for stream in Stream::ALL {
        has_all(&described(&scene, scene.topic(stream)), &["retention.ms=-1"]);
        assert_eq!(timestamps(&scene, stream), event_times(&scene, stream));
    }
}

fn timestamps(scene: &Scene, stream: Stream) -> Vec<i64> {
    let records = Topic::new(scene.services, scene.topic(stream)).records();
    let mut times: Vec<i64> = records.iter().flatten().map(|record| record.time_ms).collect();
    times.sort_unstable();
    times
}

/// In milliseconds; records are generated in time order.
fn event_times(scene: &Scene, stream: Stream) -> Vec<i64> {
    let (generator, plan) = (scene.generator(), scene.plan(Shard::WHOLE));
    let mut times = Vec::new();
    for part in (0..plan.files()).map(|index| plan.part(PartIndex(index))) {
        let all = 0..plan.count(stream, part.index);
        MessageFormat::Json.encode(&generator, stream, &part, all, |message| {
            times.push(message.time.as_millis());
        });
    }
    times
}

#[test]
fn every_compression_can_be_read() {
    let names = ["compressed-not", "compressed-gzip", "compressed-snappy", "compressed-zstd"];
    for (name, compression) in names.into_iter().zip(["none", "gzip", "snappy", "zstd"]) {
        let scene = Scene::new(name, 4, 250);
        let job = scene.run().with("SINKS", "kafka").with("KAFKA_COMPRESSION", compression);
        job.end().expect(0);
        check::records(&scene, &[Shard::WHOLE], 0..4);
    }
}

#[test]
fn a_topic_that_was_deleted_is_noticed() {
    let scene = Scene::new("topic-deleted", 10, 100);
    scene.run().end().expect(0);
    delete(&scene, scene.topic(Stream::Voice));
    let ended = scene.run().end().expect(3);
    let line = ended.line("ERROR");
    has_all(line, &["in topic topic-deleted-voice", "does not exist", "Was it deleted?", "--restart"]);
    assert!(!exists(&scene, scene.topic(Stream::Voice)), "a refused start has created the topic");

    delete(&scene, scene.topic(Stream::Data));
    scene.run().flag("--restart").end().expect(0);
    check::delivered(&scene);
}

fn delete(scene: &Scene, topic: &str) {
    let mut tool = clients::kafka_tool(scene.services, "org.apache.kafka.tools.TopicCommand");
    tool.args(["--delete", "--topic", topic]);
    clients::output(&scene.folder, tool);
    let begun = Instant::now();
    while exists(scene, topic) {
        assert!(begun.elapsed() < LIMIT, "{topic} is not deleted");
    }
}

/// Whether any broker knows the topic: each learns of changes at its own time.
fn exists(scene: &Scene, topic: &str) -> bool {
    let known = |broker: &str| {
        let mut kcat = Command::new("kcat");
        kcat.args(["-L", "-J", "-b", broker]);
        let text = String::from_utf8(clients::output(&scene.folder, kcat)).expect("text");
        text.contains(&format!("\"{topic}\""))
    };
    scene.services.brokers().split(',').any(known)
}
