//! A stream processor whose broker does wrong, or whose topics are not what they were.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cdr_sandbox::fault::Fault::{self, CloseAfter, CloseBefore, Fail};
use cdr_sandbox::kafka::ApiKey;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::faults::{COORDINATOR_LOADS, NOT_COORDINATOR, NOT_LEADER};
use crate::processing::{
    RECORDS, check_usage, counted, dead_letters, delete_topic, deliver, message, send, send_all,
    to_the_end,
};
use crate::support::{LIMIT, Running, Sandbox};

/// Kafka's codes for a member that has to join again.
const ILLEGAL_GENERATION: Fault = Fail(22);
const UNKNOWN_MEMBER: Fault = Fail(25);
const REBALANCE_IN_PROGRESS: Fault = Fail(27);
/// For a producer that is of no more use.
const OUT_OF_ORDER: Fault = Fail(45);

/// Fails unless everything is counted once although requests meet such faults.
fn check(kind: ApiKey, skip: u32, faults: &[Fault]) {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    for (count, fault) in faults.iter().enumerate() {
        sandbox.kafka.plan(kind, skip + count as u32, *fault);
    }
    let what = format!("{kind:?} {faults:?}");
    to_the_end(&sandbox, 500).complete(&what);
    assert!(sandbox.kafka.are_over(), "{what}: not all faults struck");
    check_usage(&what, &sandbox);
}

#[test]
fn a_group_that_is_not_joined_at_the_first_try_is_joined() {
    check(ApiKey::FindCoordinator, 0, &[COORDINATOR_LOADS, CloseBefore]);
    check(ApiKey::JoinGroup, 0, &[COORDINATOR_LOADS, NOT_COORDINATOR, UNKNOWN_MEMBER, CloseAfter]);
    check(ApiKey::SyncGroup, 0, &[REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION, CloseBefore]);
}

#[test]
fn records_that_are_not_given_at_the_first_try_are_requested_again() {
    check(ApiKey::Fetch, 1, &[CloseBefore, CloseAfter, NOT_LEADER]);
}

#[test]
fn offsets_that_the_brokers_do_not_take_matter_to_nobody() {
    check(ApiKey::OffsetCommit, 0, &[ILLEGAL_GENERATION, UNKNOWN_MEMBER, COORDINATOR_LOADS]);
}

/// Fails unless a processor ends with such an error.
fn check_refused(fault: Fault, exit: i32, words: &[&str]) {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    sandbox.kafka.plan(ApiKey::JoinGroup, 0, fault);
    let log = to_the_end(&sandbox, 500).fails(exit);
    words.iter().for_each(|word| assert!(log.contains(word), "no {word:?} in {log}"));
    to_the_end(&sandbox, 500).complete("the next start");
    check_usage("after a refusal", &sandbox);
}

#[test]
fn a_group_that_shares_out_in_another_way_is_named() {
    let words = ["to join group cdr-summary-unified", "another group with PROCESS_GROUP"];
    check_refused(Fail(23), 1, &words);
}

#[test]
fn a_group_with_no_room_is_named() {
    check_refused(Fail(81), 1, &["to join group cdr-summary-unified", "Raise group.max.size"]);
}

#[test]
fn a_group_that_the_login_may_not_join_is_named() {
    let words = ["lacks the right Read on group cdr-summary-unified", "--group cdr-summary-unified"];
    check_refused(Fail(30), 1, &words);
}

#[test]
fn a_producer_of_dead_letters_that_breaks_is_replaced() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    send(&sandbox, "cdr_data", &["one", "two", "three"]);
    sandbox.kafka.plan(ApiKey::Produce, 0, OUT_OF_ORDER);
    to_the_end(&sandbox, 500).complete("with dead letters");
    assert!(sandbox.kafka.are_over());
    check_usage("with dead letters", &sandbox);
    let values: Vec<_> = dead_letters(&sandbox, 3).into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, ["one", "three", "two"]);
}

#[test]
fn a_corrupt_batch_is_not_passed_over() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    let file = File::options().read(true).write(true).open(log_file(&sandbox.path("kafka")));
    let file = file.expect("the broker's file");
    // Its checksum covers what stands behind the header.
    let (mut byte, at) = ([0], batch_in_the_middle(&file) + BATCH_HEADER_BYTES + 10);
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[!byte[0]], at).expect("another byte");
    let log = to_the_end(&sandbox, 500).fails(1);
    assert!(log.contains("A batch of records was corrupt; reading it again (1 of 10)"), "{log}");
    assert!(log.contains("A stored batch is corrupt, or the network corrupts it"), "{log}");
    let before = counted(&sandbox);
    assert!(before < RECORDS, "{before}");
    file.write_all_at(&byte, at).expect("the byte as it was");
    to_the_end(&sandbox, 500).complete("after the repair");
    check_usage("after the repair", &sandbox);
}

/// Of a batch, before its records.
const BATCH_HEADER_BYTES: u64 = 61;

/// Where a batch of records begins in the second half of a partition's file. In front of each batch
/// stand its first offset, in 8 bytes, and its length behind the length, in 4.
fn batch_in_the_middle(file: &File) -> u64 {
    let half = file.metadata().expect("its size").len() / 2;
    let mut at = 0;
    loop {
        let mut length = [0; 4];
        file.read_exact_at(&mut length, at + 8).expect("a length");
        let length = u64::from(u32::from_be_bytes(length)) + 12;
        // Marks of transactions are short.
        if at >= half && length > 200 {
            return at;
        }
        at += length;
    }
}

/// The largest file of a partition of `cdr_data`.
fn log_file(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.retain(|path| {
        path.extension().is_some_and(|end| end == "log") && path.to_string_lossy().contains("cdr_data")
    });
    files.sort_by_key(|path| path.metadata().expect("its size").len());
    files.pop().expect("a file")
}

#[test]
fn records_of_a_transaction_that_was_aborted_are_not_counted() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", sandbox.brokers())
        .set("transactional.id", "somebody")
        .create()
        .expect("a producer");
    producer.init_transactions(LIMIT).expect("an id");
    producer.begin_transaction().expect("a transaction");
    let record = r#"{"msisdn":"27711903591","tower_id":1882,"up_bytes":1,"down_bytes":1,"data_type":"text","event_datetime":"2024-01-01T00:00:01.000000"}"#;
    for _ in 0..1_000 {
        producer.send(BaseRecord::<(), _>::to("cdr_data").payload(record)).expect("room");
    }
    producer.flush(LIMIT).expect("all are sent");
    producer.abort_transaction(LIMIT).expect("it is aborted");
    to_the_end(&sandbox, 500).complete("with aborted records");
    check_usage("with aborted records", &sandbox);
}

#[test]
fn unusable_messages_of_any_size_stop_nothing() {
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    // As much as brokers take of one message, and many that are too much for one batch together.
    let large = "k".repeat(1_048_400);
    let some: Vec<_> = (0..40).map(|number| format!("{number:02}{}", "x".repeat(60_000))).collect();
    let mut all = vec![message(&large, "in the key")];
    all.extend(some.iter().map(|value| message("27", value)));
    send_all(&sandbox, "cdr_data", all);
    let process = sandbox.process(500).with("KAFKA_COMPRESSION", "none");
    process.arguments(&["--until-end"]).start("process.log").complete("with large dead letters");
    check_usage("with large dead letters", &sandbox);
    let found = dead_letters(&sandbox, 41);
    assert_eq!(found[40].0, "in the key");
    assert_eq!(found[40].1.last().map(|header| &**header), Some("1048400"), "the key's length");
    let whole: Vec<_> = found[..40].iter().map(|(value, _)| value.clone()).collect();
    assert_eq!(whole, some);
}

#[test]
fn a_topic_that_does_not_exist_is_reported_and_counted_when_it_does() {
    let sandbox = Sandbox::start();
    let mut processor = sandbox.process(500).start("process.log");
    let log = processor.path().to_owned();
    let logs = |text: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    processor.wait_until("it logs one", || logs("Topic cdr_data does not exist; it is counted as"));
    processor.wait_until("it logs the other", || logs("Topic cdr_voice does not exist"));
    deliver(&sandbox);
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    processor.terminate();
    check_usage("made later", &sandbox);
}

const CREATED_AGAIN: &str = "topic cdr_data was deleted and created again since the usage store";

#[test]
fn a_topic_that_was_made_again_is_noticed_though_it_is_as_long() {
    let sandbox = Sandbox::start();
    send(&sandbox, "cdr_data", &["x"; 500]);
    to_the_end(&sandbox, 100).complete("the topic as it was");
    delete_topic(&sandbox, "cdr_data");
    send(&sandbox, "cdr_data", &["y"; 500]);
    let log = to_the_end(&sandbox, 100).fails(3);
    assert!(log.contains(CREATED_AGAIN), "{log}");
    assert!(log.contains("Count again from the beginning with cdr process --restart"), "{log}");
    let restart = sandbox.process(100).arguments(&["--until-end", "--restart"]);
    restart.start("process.log").complete("from the beginning");
    to_the_end(&sandbox, 100).complete("and again");
}

#[test]
fn a_topic_that_is_made_again_under_a_processor_is_noticed() {
    let sandbox = Sandbox::start();
    send(&sandbox, "cdr_data", &["x"; 500]);
    let mut processor = sandbox.process(100).start("process.log");
    let log = processor.path().to_owned();
    let logs = |text: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    processor.wait_until("it reads", || logs("Reading cdr_data"));
    delete_topic(&sandbox, "cdr_data");
    processor.wait_until("it loses its partitions", || logs("No longer reading cdr_data"));
    send(&sandbox, "cdr_data", &["y"; 500]);
    assert!(processor.fails(3).contains(CREATED_AGAIN));
}

#[test]
fn readiness_is_that_of_the_brokers_too() {
    let mut sandbox = Sandbox::start();
    deliver(&sandbox);
    let mut processor = sandbox.process(1_000).start("process.log");
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    let address = api_address(&processor);
    processor.wait_until("it is ready", || get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    sandbox.stop_broker();
    let unready = || {
        let answer = get(&address, "/readyz");
        answer.starts_with("HTTP/1.1 503") && answer.contains("no Kafka broker is connected")
    };
    processor.wait_until("it is not ready any more", unready);
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"), "it is alive all the same");
    processor.terminate();
}

/// More slow clients than either port takes: they begin a request, and never end it.
#[test]
fn probes_are_answered_on_the_metrics_port_however_many_clients_are_slow() {
    const SLOW: usize = 150;
    let sandbox = Sandbox::start();
    deliver(&sandbox);
    let mut processor = sandbox.process(1_000).start("slow-clients.log");
    processor.wait_until("all is counted", || counted(&sandbox) == RECORDS);
    let (api, metrics) = (api_address(&processor), metrics_address(&processor));
    processor.wait_until("it is ready", || get(&metrics, "/readyz").starts_with("HTTP/1.1 200"));
    let slow = |address: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HT").expect("it is sent");
        stream
    };
    let held: Vec<TcpStream> =
        [&api, &metrics].into_iter().flat_map(|address| (0..SLOW).map(move |_| slow(address))).collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(&metrics, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    drop(held);
    processor.terminate();
}

/// Where the processor's API is, by its log.
fn api_address(processor: &Running) -> String {
    let log = processor.log();
    let (_, rest) = log.split_once("Usage API on http://").expect("it is logged");
    rest.split_once(',').expect("a comma").0.to_owned()
}

/// Where its metrics are.
fn metrics_address(processor: &Running) -> String {
    let log = processor.log();
    let (_, rest) = log.split_once("metrics on http://").expect("it is logged");
    rest.split_once('/').expect("a path").0.to_owned()
}

/// The answer of an HTTP server, with its status line.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
