//! The stream processor: killed, halted, one of several, with messages that nobody can use; and its
//! sums, which are those of the model to the byte and the second all the same.

use std::sync::Arc;
use std::time::Duration;

use cdr::kafka::{Compression, DeadLetter, DeadLetters, KafkaConfig, RecordTimestamp};
use cdr::processing::store::{Store, StoreConfig};
use cdr_model::usage::{Usage, UsageKey};
use cdr_model::{Generator, PartIndex, Plan, Scenario, Shard};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::support::{Running, Sandbox};

/// Records of the sandbox's job.
pub const RECORDS: u64 = 16_000;

/// What a store must hold that has counted the job once.
fn truth() -> Usage {
    let scenario = Scenario { total_seconds: 8_000, line_count: 200, ..Scenario::default() };
    let plan = Plan::new(&scenario, Shard::WHOLE).expect("a plan");
    let generator = Generator::new(&scenario).expect("a generator");
    let mut usage = Usage::default();
    for part in 0..plan.files() {
        for stream in plan.streams() {
            generator.interactions(stream, &plan.part(PartIndex(part)), |one| usage.add(&one));
        }
    }
    usage
}

pub fn store(sandbox: &Sandbox) -> Store {
    Store::open(&StoreConfig::File(sandbox.path("usage.db"))).expect("the store opens")
}

/// Messages that the store has counted; none while there is no store.
pub fn counted(sandbox: &Sandbox) -> u64 {
    if !sandbox.path("usage.db").exists() {
        return 0;
    }
    // Another process may be making it.
    let committed = Store::open(&StoreConfig::File(sandbox.path("usage.db")))
        .and_then(|mut store| store.committed());
    committed.map_or(0, |committed| committed.values().map(|at| at.counted).sum())
}

/// Fails unless the store holds exactly the job.
pub fn check_usage(what: &str, sandbox: &Sandbox) {
    let mut found = Usage::default();
    let mut store = store(sandbox);
    let mut add = |msisdn, one: cdr::processing::store::HourUsage| {
        let key = UsageKey { hour: one.hour, msisdn, usage_type: one.usage_type.number() };
        found.sums.insert(key, one.sums);
    };
    store.all_usage(&mut add).expect("usage");
    let mut loads = std::collections::BTreeMap::new();
    let mut add = |tower, one: cdr::processing::store::QuarterLoad| {
        loads.insert((one.quarter, tower), one.load);
    };
    store.all_loads(&mut add).expect("loads");
    found.loads = loads;
    let truth = truth();
    assert_eq!(counted(sandbox), RECORDS, "{what}");
    assert!(found.sums == truth.sums, "{what}: sums differ");
    assert!(found.loads == truth.loads, "{what}: loads differ");
}

pub fn deliver(sandbox: &Sandbox) {
    sandbox.run().with("SINKS", "kafka").start("run.log").complete("the job");
}

pub fn to_the_end(sandbox: &Sandbox, batch: usize) -> Running {
    sandbox.process(batch).arguments(&["--until-end"]).start("process.log")
}

#[test]
fn everything_is_counted_once_and_no_more_the_next_time() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    to_the_end(&sandbox, 100_000).complete("the first time");
    check_usage("the first time", &sandbox);
    to_the_end(&sandbox, 100_000).complete("the second time");
    check_usage("the second time", &sandbox);
    sandbox
        .process(700)
        .arguments(&["--until-end", "--restart"])
        .start("process.log")
        .complete("from the beginning");
    check_usage("from the beginning", &sandbox);
}

#[test]
fn records_are_counted_as_they_come() {
    let sandbox = Sandbox::start();
    let mut processor = sandbox.process(100_000).start("process.log");
    deliver(&sandbox);
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    processor.terminate();
    check_usage("as they come", &sandbox);
}

#[test]
fn a_processor_that_is_killed_again_and_again_counts_everything_once() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    for until in [1, 900, 3_000, 3_001, 7_500, 12_000, 15_900] {
        let process = sandbox.process(150).arguments(&["--until-end"]).with("KAFKA_PROPERTIES", SESSION);
        let mut processor = process.start("process.log");
        processor.wait_until("so many are counted", || counted(&sandbox) >= until);
        processor.kill();
    }
    to_the_end(&sandbox, 150).complete("the last start");
    check_usage("killed", &sandbox);
}

/// A member that is gone is missed after this time, rather than after ten seconds.
const SESSION: &str = "session.timeout.ms=6000";

#[test]
fn one_becomes_three_and_one_again_by_a_kill_and_a_stop() {
    let sandbox = Sandbox::start();
    let start = |log: &str| sandbox.process(100).with("KAFKA_PROPERTIES", SESSION).start(log);
    let mut job = sandbox.run().with("SINKS", "kafka").with("PACE", "800x").start("run.log");
    let mut first = start("first.log");
    first.wait_until("the first one counts", || counted(&sandbox) > 0);
    let (mut second, mut third) = (start("second.log"), start("third.log"));
    for other in [&mut second, &mut third] {
        let log = other.path().to_owned();
        let reads = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("- Reading cdr_"));
        other.wait_until("another one gets partitions", reads);
    }
    second.kill();
    third.terminate();
    job.wait_until("the job ends", || counted(&sandbox) > 0);
    job.complete("the job");
    first.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    first.terminate();
    check_usage("scaled", &sandbox);
}

#[test]
fn one_that_was_halted_and_replaced_counts_nothing_when_it_goes_on() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    let start = |log: &str| sandbox.process(100).with("KAFKA_PROPERTIES", SESSION).start(log);
    let mut first = start("first.log");
    first.wait_until("the first one counts", || counted(&sandbox) > 500);
    halt(&first, &sandbox);
    let mut second = start("second.log");
    second.wait_until("the second one counts all", || counted(&sandbox) == RECORDS);
    first.signal("CONT");
    let log = first.path().to_owned();
    let knows = || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains("No longer reading") || log.contains("counted these messages already")
    };
    first.wait_until("the first one learns of it", knows);
    first.terminate();
    second.terminate();
    check_usage("halted", &sandbox);
}

/// Halts a processor between two batches: in the middle of one, nobody else could write to the file.
fn halt(processor: &Running, sandbox: &Sandbox) {
    let file = rusqlite::Connection::open(sandbox.path("usage.db")).expect("the store opens");
    file.busy_timeout(Duration::ZERO).expect("no waiting");
    loop {
        processor.signal("STOP");
        while !processor.is_halted() {
            crate::support::pause();
        }
        if file.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
            return;
        }
        processor.signal("CONT");
        crate::support::pause();
    }
}

/// Sends messages as anybody could.
pub fn send(sandbox: &Sandbox, topic: &str, values: &[&str]) {
    send_all(sandbox, topic, values.iter().map(|value| message("27", value)).collect());
}

pub fn message(key: &str, value: &str) -> DeadLetter {
    let (key, value) = (Some(key.as_bytes().to_vec()), value.as_bytes().to_vec());
    DeadLetter { key, value, headers: Vec::new() }
}

pub fn send_all(sandbox: &Sandbox, topic: &str, messages: Vec<DeadLetter>) {
    let config = KafkaConfig {
        brokers: sandbox.brokers(),
        partitions: 1,
        replication: None,
        compression: Compression::None,
        timestamp: RecordTimestamp::Send,
        transaction_timeout: Duration::from_secs(60),
        give_up_after: Duration::from_secs(60),
        start_hint: String::new(),
        properties: std::collections::BTreeMap::new(),
    };
    let (topic, config) = (topic.to_owned(), Arc::new(config));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sent = runtime.spawn_blocking(move || {
        DeadLetters::new(&config, &topic, &CancellationToken::new())?.send(messages)
    });
    runtime.block_on(sent).expect("it ends").expect("all are sent");
}

/// Values and reasons in the dead letter topic.
pub fn dead_letters(sandbox: &Sandbox, count: usize) -> Vec<(String, Vec<String>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", sandbox.brokers())
        .set("group.id", "unused")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..3 {
        all.add_partition_offset("cdr_dead_letter", partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    let mut found = Vec::new();
    while found.len() < count {
        let message = consumer.poll(crate::support::LIMIT).expect("in time").expect("a message");
        let headers = message.headers().expect("headers");
        let values = headers
            .iter()
            .map(|header| String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned());
        found.push((
            String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
            values.collect(),
        ));
    }
    found.sort();
    found
}

#[test]
fn messages_that_cannot_be_used_go_to_their_topic_and_stop_nothing() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    // Larger than clients send by default, and than brokers take.
    let large = "x".repeat(1_040_000);
    send(&sandbox, "cdr_data", &["no object", r#"{"msisdn":"27"}"#, &large]);
    send(&sandbox, "cdr_voice", &["{'msisdn': '27821234567', 'tower_id': '7', 'call_type': 'sms'}"]);
    to_the_end(&sandbox, 1_000).complete("with dead letters");
    check_usage("with dead letters", &sandbox);
    let dead: u64 = store(&sandbox).committed().expect("offsets").values().map(|at| at.dead).sum();
    assert_eq!(dead, 4);
    let found = dead_letters(&sandbox, 4);
    let reasons: Vec<_> = found
        .iter()
        .map(|(value, headers)| (value.as_str(), headers[0].as_str(), headers[3].as_str()))
        .collect();
    assert_eq!(reasons[2], (r#"{"msisdn":"27"}"#, "cdr_data", "field data_type is missing"));
    assert!(reasons[0].2.contains("neither a JSON object nor a Python dictionary"), "{reasons:?}");
    assert!(reasons[3].2.starts_with("field call_type is \"sms\", not voice or video"), "{reasons:?}");
    to_the_end(&sandbox, 1_000).complete("again");
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", sandbox.brokers()).create().expect("a consumer");
    let end = |partition| consumer.fetch_watermarks("cdr_dead_letter", partition, crate::support::LIMIT);
    let sent: i64 = (0..3).map(|partition| end(partition).expect("its end").1).sum();
    assert_eq!(sent, 4, "none is sent again");
}

#[test]
fn a_store_of_another_cluster_is_refused_and_left_alone() {
    let (one, other) = (Sandbox::start(), Sandbox::start());
    deliver(&one);
    deliver(&other);
    to_the_end(&one, 100_000).complete("the first cluster");
    let path = one.path("usage.db");
    let path = path.to_str().expect("a path in UTF-8");
    let refused =
        other.process(100_000).with("STORE_PATH", path).arguments(&["--until-end"]).start("process.log");
    let log = refused.fails(3);
    assert!(log.contains("holds what was read from another Kafka cluster"), "{log}");
    check_usage("left alone", &one);
}

#[test]
fn a_topic_that_was_created_again_is_refused_and_counted_from_its_beginning_on_demand() {
    let sandbox = Sandbox::start();
    send(&sandbox, "cdr_data", &["x"; 500]);
    to_the_end(&sandbox, 100_000).complete("the topic as it was");
    delete_topic(&sandbox, "cdr_data");
    let log = to_the_end(&sandbox, 100_000).fails(3);
    assert!(
        log.contains(
            "it was deleted and created again, or emptied. Count again from the beginning with"
        ),
        "{log}"
    );
    deliver(&sandbox);
    sandbox
        .process(1_000)
        .arguments(&["--until-end", "--restart"])
        .start("process.log")
        .complete("from the beginning");
    check_usage("from the beginning", &sandbox);
}

#[test]
fn messages_that_were_lost_before_they_were_counted_are_reported_and_passed_over_on_demand() {
    let sandbox = Sandbox::start();
    send(&sandbox, "cdr_data", &["x"; 500]);
    to_the_end(&sandbox, 100_000).complete("those that were there");
    send(&sandbox, "cdr_data", &["y"; 500]);
    let mut before = TopicPartitionList::new();
    // A topic that comes into being by being written to has one partition.
    before.add_partition_offset("cdr_data", 0, Offset::Offset(900)).expect("an offset");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let deleted = runtime.block_on(admin(&sandbox).delete_records(&before, &AdminOptions::new()));
    deleted.expect("an answer");
    let log = to_the_end(&sandbox, 100_000).fails(3);
    let lost = "topic cdr_data, partition 0, has lost the messages from offset 500 to before 900";
    assert!(log.contains(lost), "{log}");
    let going_on = sandbox.process(1_000).arguments(&["--until-end", "--accept-loss"]);
    going_on.start("process.log").complete("what is left");
    let dead: u64 = store(&sandbox).committed().expect("offsets").values().map(|at| at.dead).sum();
    assert_eq!(dead, 600);
}

#[test]
fn a_processor_whose_brokers_are_gone_logs_so_and_stops_on_a_signal() {
    let mut sandbox = Sandbox::start();
    deliver(&sandbox);
    let mut processor = sandbox.process(1_000).start("process.log");
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    sandbox.stop_broker();
    let log = processor.path().to_owned();
    let logs = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("are away ("));
    processor.wait_until("it logs so", logs);
    processor.terminate();
    check_usage("brokers gone", &sandbox);
}

fn admin(sandbox: &Sandbox) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", sandbox.brokers());
    config.create().expect("an admin client")
}

pub fn delete_topic(sandbox: &Sandbox, topic: &str) {
    let admin = admin(sandbox);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new()));
    assert_eq!(deleted.expect("an answer"), [Ok(topic.to_owned())]);
}

#[test]
fn a_store_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::start();
    let path = sandbox.path("missing/usage.db");
    let path = path.to_str().expect("a path in UTF-8");
    let log = sandbox.process(1).with("STORE_PATH", path).start("process.log").fails(1);
    assert!(log.contains(&format!("cannot open the usage store {path}: ")), "{log}");
}

#[test]
fn brokers_that_are_away_are_named_and_given_up_on() {
    let sandbox = Sandbox::start();
    let process =
        sandbox.process(1).with("KAFKA_BROKERS", "127.0.0.1:9").with("KAFKA_GIVE_UP_SECONDS", "1");
    let log = process.start("process.log").fails(4);
    assert!(log.contains("Kafka brokers 127.0.0.1:9 not reachable for 1 s"), "{log}");
}

/// The group does not wait for a member whose store is away.
#[test]
fn others_get_partitions_while_the_store_is_away() {
    let sandbox = Sandbox::start();
    let mut processor = sandbox.process(100).start("process.log");
    let logged = |text: &str| {
        std::fs::read_to_string(sandbox.path("process.log")).unwrap_or_default().contains(text)
    };
    processor.wait_until("it waits for topics", || logged("Topic cdr_voice does not exist"));
    let file = rusqlite::Connection::open(sandbox.path("usage.db")).expect("the store opens");
    file.busy_timeout(crate::support::LIMIT).expect("it waits");
    file.execute_batch("BEGIN IMMEDIATE").expect("the store is ours");
    deliver(&sandbox);
    processor.wait_until("its store is away", || logged("Trying again for up to"));
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", sandbox.brokers())
        .set("group.id", "cdr-summary-unified")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
        .expect("a consumer");
    other.subscribe(&["cdr_data", "cdr_voice"]).expect("it subscribes");
    processor.wait_until("the other has partitions", || {
        drop(other.poll(Duration::from_millis(50)));
        other.assignment().is_ok_and(|assigned| assigned.count() > 0)
    });
    drop(other);
    assert_eq!(counted(&sandbox), 0);
    file.execute_batch("ROLLBACK").expect("the store is back");
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    processor.terminate();
    check_usage("after the store was away", &sandbox);
}
