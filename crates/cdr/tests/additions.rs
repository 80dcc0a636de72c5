//! A stream, an encoding and a profile that only tests know, through the whole product: what they take is
//! all that it takes to add one.

#![allow(dead_code, reason = "the support is that of other tests, too")]

#[path = "sandbox/support.rs"]
mod support;

use std::fs;

use cdr::processing::store::{Store, StoreConfig};
use support::{Job, Sandbox};

const STREAMS: [(&str, &str); 1] = [("STREAMS", "data,voice,signal")];

fn with(job: Job, variables: &[(&str, &str)]) -> Job {
    variables.iter().fold(job, |job, (variable, value)| job.with(variable, value))
}

fn check_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[test]
fn a_third_stream_is_delivered_killed_continued_verified_and_left_alone_by_the_processor() {
    let sandbox = Sandbox::start();
    let run = || with(sandbox.run(), &STREAMS);
    let mut first = run().with("PACE", "20000x").start("run.log");
    first.wait_until("some parts are complete", || sandbox.path("idx_data.dat").exists());
    first.kill();
    let second = run().start("run.log");
    let log = second.path().to_owned();
    second.complete("three streams");
    let log = fs::read_to_string(log).unwrap();
    let completed =
        "Completed data generation. cdr_data [8000], cdr_voice [8000], cdr_signal [8000], files [40]";
    check_has(&log, &["Continuing run cdr", completed]);
    let text = sandbox.verified("three streams", &STREAMS);
    check_has(&text, &["topic cdr_signal: 8,000 of 8,000 records\n", ": 120 of 120 right\n"]);
    // Its messages report no usage, so nobody takes them for those of another stream.
    assert_eq!(processed(&sandbox, &STREAMS), [16_000, 0]);
}

/// Counts usage; gives how many messages were counted, and how many could not be.
fn processed(sandbox: &Sandbox, variables: &[(&str, &str)]) -> [u64; 2] {
    let job = with(sandbox.process(1_000), variables).arguments(&["--until-end"]);
    job.start("process.log").complete("usage");
    let mut store = Store::open(&StoreConfig::File(sandbox.path("usage.db"))).unwrap();
    let committed = store.committed().unwrap();
    [committed.values().map(|at| at.counted).sum(), committed.values().map(|at| at.dead).sum()]
}

/// Its parts have 200 and 100 records of each stream in turn.
#[test]
fn a_profile_with_uneven_parts_is_delivered_continued_split_and_verified() {
    let profile = [("PROFILE", "uneven")];
    let sandbox = Sandbox::start();
    let run = || with(sandbox.run(), &profile);
    let mut first = run().with("PACE", "20000x").start("run.log");
    first.wait_until("some parts are complete", || sandbox.path("idx_data.dat").exists());
    first.kill();
    let second = run().start("run.log");
    let log = second.path().to_owned();
    second.complete("uneven parts");
    let completed = "Completed data generation. cdr_data [6000], cdr_voice [6000], files [40]";
    check_has(&fs::read_to_string(log).unwrap(), &["Continuing run cdr", completed]);
    let text = sandbox.verified("uneven parts", &profile);
    check_has(&text, &["topic cdr_data: 6,000 of 6,000 records\n", ": 80 of 80 right\n"]);
    // Every second part is a shard that has more than the other.
    for (shard, records) in [("1/2", 4_000), ("2/2", 2_000)] {
        let folder = [("SINKS", "directory"), ("SHARD", shard), ("INDEX_FILE", "shard.dat")];
        let job = with(run(), &folder).arguments(&["--restart"]).start("run.log");
        let log = job.path().to_owned();
        job.complete(shard);
        let completed = format!("cdr_data [{records}], cdr_voice [{records}], files [20]");
        let average = "parts of 150 + 150 records on average";
        check_has(&fs::read_to_string(log).unwrap(), &[&completed, average]);
    }
}

#[test]
fn another_encoding_of_files_and_messages_is_delivered_verified_and_counted() {
    let sandbox = Sandbox::start();
    let encoding = [("FILE_FORMAT", "pairs"), ("MESSAGE_FORMAT", "pairs")];
    with(sandbox.run(), &encoding).start("run.log").complete("another encoding");
    let text = sandbox.verified("another encoding", &encoding);
    check_has(&text, &["topic cdr_voice: 8,000 of 8,000 records\n", ": 80 of 80 right\n"]);
    let sftp = sandbox.path("sftp");
    let names = fs::read_dir(sftp).unwrap().map(|entry| entry.unwrap().file_name());
    let encoded = names.filter(|name| name.to_string_lossy().ends_with(".pairs")).count();
    assert_eq!(encoded, 80);
    assert_eq!(processed(&sandbox, &encoding), [16_000, 0]);
    // Progress of one encoding is none of another.
    let log = sandbox.run().start("run.log").fails(3);
    check_has(&log, &["FILE_FORMAT was pairs, now -", "MESSAGE_FORMAT was pairs, now -"]);
}
