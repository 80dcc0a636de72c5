//! What `cdr verify` finds: nothing where all is right, and each thing that is wrong.

use std::fs;
use std::time::Duration;

use cdr_model::Stream;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::process::LIMIT;
use crate::support::scene::Scene;
use crate::support::topics::Topic;

const RIGHT: &str = "All is right: nothing is missing, nothing is doubled";

#[test]
fn a_run_that_is_finished_is_right() {
    let scene = Scene::new("verified", 20, 1_000);
    scene.run().end().expect(0);
    let ended = scene.verify().end().expect(0);
    ended.line("Run verified, 20 parts: finished");
    ended.line("topic verified-data: 20,000 of 20,000 records");
    ended.line("topic verified-voice: 20,000 of 20,000 records");
    ended.line(": 40 of 40 right");
    ended.line(RIGHT);

    let json = scene.verify().flag("--format").flag("json").flag("-q").end().expect(0);
    let report: serde_json::Value = serde_json::from_str(&json.lines.join("\n")).expect("JSON alone");
    assert_eq!(report["right"], true);
    assert_eq!(report["finished"], true);
    assert_eq!(report["records"][1]["found"], 20_000);
    assert_eq!(report["files"][0]["right"], 40);
}

#[test]
fn everything_that_is_wrong_is_named_in_its_place() {
    let scene = Scene::new("spoilt", 10, 500);
    scene.run().end().expect(0);
    let topic = Topic::new(scene.services, scene.topic(Stream::Data));
    let records = topic.records();
    let (doubled, at) = (&records[1][7], &records[1]);
    let behind = at.last().expect("records").offset;
    let altered = String::from_utf8(records[2][0].value.clone()).expect("text").replace('}', " }");
    send(
        &scene,
        &[
            (1, &doubled.key, &doubled.value),
            (0, b"27711903591", b"from somebody else"),
            (2, &records[2][0].key, altered.as_bytes()),
        ],
    );
    let [(gone, _), (short, content)] = scene.files_of(&scene.generator(), 3);
    fs::remove_file(scene.uploads().join(&gone)).expect("it is there");
    fs::write(scene.uploads().join(&short), &content[..content.len() - 1]).expect("it can be written");
    fs::write(scene.uploads().join("cdr_voice_20200101_000000.csv"), "").expect("it can be written");

    let ended = scene.verify().end().expect(6);
    ended.line("topic spoilt-data: 5,001 of 5,000 records, 1 doubled, 2 foreign");
    ended.line("topic spoilt-voice: 5,000 of 5,000 records");
    let again = ended.line("is doubled: partition 1 offset ");
    assert!(again.ends_with(&format!(", first at partition 1 offset {}", doubled.offset)), "{again}");
    assert!(!again.contains(&format!("partition 1 offset {behind},")), "{again}");
    ended.line("18 of 20 right, 1 missing, 1 altered, 1 of other runs");
    ended.line(&format!("{gone} is missing"));
    ended.line(&format!("{short} ends after {} of {} bytes", content.len() - 1, content.len()));
    ended.line("NOT all is right");
    assert_eq!(ended.count(RIGHT), 0);
}

/// Appends records to the data topic, each to a partition.
fn send(scene: &Scene, records: &[(i32, &[u8], &[u8])]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.services.brokers())
        .set("acks", "all")
        .create()
        .expect("a producer");
    for (partition, key, value) in records {
        let record = BaseRecord::to(scene.topic(Stream::Data)).partition(*partition);
        producer.send(record.key(*key).payload(*value)).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(LIMIT.min(Duration::from_secs(60))).expect("the brokers take them");
}

#[test]
fn a_run_that_goes_on_is_right_as_far_as_it_has_come() {
    let scene = Scene::new("verified-early", 400, 500);
    let process = scene.run_at(40).start();
    process.wait_until("some parts are complete", || scene.index() >= Some(10));
    let ended = scene.verify().end().expect(0);
    ended.line("400 parts: not finished, verified as far as it has come");
    ended.line(RIGHT);
    process.kill();
    scene.verify().end().expect(0).line("not finished");
    scene.run().end().expect(0);
    scene.verify().end().expect(0).line("400 parts: finished");
}

#[test]
fn a_restarted_run_is_read_from_where_it_began() {
    let scene = Scene::new("verified-again", 5, 500);
    scene.run().end().expect(0);
    scene.run().flag("--restart").end().expect(0);
    let ended = scene.verify().end().expect(0);
    ended.line("topic verified-again-data: 2,500 of 2,500 records");
    ended.line(RIGHT);
}

/// The progress of the first session is not that of the run any more.
#[test]
fn a_run_restarted_with_another_seed_and_in_shards_is_right() {
    let scene = Scene::new("verified-resharded", 10, 500);
    scene.run().with("CDR_SEED", 1).end().expect(0);
    let (uploads, verify) = (scene.uploads(), || scene.verify().with("CDR_SEED", 2));
    let shard = |shard: &str| {
        let job = scene.run().flag("--restart").with("CDR_SEED", 2).with("SHARD", shard);
        job.with("INDEX_FILE", shard.replace('/', "-")).end().expect(0);
    };
    shard("1/2");
    let half = verify().end().expect(0);
    half.line("1 of 2 shards have begun");
    half.line("topic verified-resharded-data: 2,500 of 2,500 records");
    shard("2/2");
    for of_shard in ["1/1", "1/2", "2/2"] {
        let whole = verify().with("SHARD", of_shard).end().expect(0);
        whole.line("topic verified-resharded-data: 5,000 of 5,000 records");
        whole.line(": 20 of 20 right");
    }
    scene.verify().with("CDR_SEED", 1).end().expect(3).line("CDR_SEED");

    let [(gone, _), _] = scene.files_of(&scene.generator(), 3);
    fs::remove_file(uploads.join(&gone)).expect("it is there");
    verify().end().expect(6).line(&format!("{gone} is missing"));
}

#[test]
fn shards_are_verified_as_one_run() {
    let scene = Scene::new("verified-shards", 10, 500);
    let shard =
        |shard: &str| scene.run().with("SHARD", shard).with("INDEX_FILE", shard.replace('/', "-"));
    shard("1/2").end().expect(0);
    let half = scene.verify().end().expect(0);
    half.line("1 of 2 shards have begun");
    half.line("topic verified-shards-data: 2,500 of 2,500 records");
    shard("2/2").end().expect(0);
    let whole = scene.verify().end().expect(0);
    whole.line("topic verified-shards-data: 5,000 of 5,000 records");
    whole.line(": 20 of 20 right");
}

#[test]
fn other_settings_than_the_runs_are_refused() {
    let scene = Scene::new("verified-otherwise", 2, 100);
    scene.run().end().expect(0);
    scene.verify().with("CDR_SEED", 7).end().expect(3).line("CDR_SEED");
    let ended = scene.verify().with("RUN_NAME", "another").end().expect(1);
    ended.line("has no progress of a run named another, so there is nothing to verify");
}

#[test]
fn a_run_to_files_alone_is_verified_without_kafka() {
    let scene = Scene::new("verified-files", 4, 100);
    scene.run().with("SINKS", "sftp").end().expect(0);
    scene.verify().with("SINKS", "sftp").end().expect(0).line(": 8 of 8 right");
    let [(gone, _), _] = scene.files_of(&scene.generator(), 0);
    fs::remove_file(scene.uploads().join(&gone)).expect("it is there");
    scene.verify().with("SINKS", "sftp").end().expect(6).line(&format!("{gone} is missing"));
}
