//! A stream and an encoding that only tests know, through the whole product: what they take is all that
//! it takes to add one.

#![allow(dead_code, reason = "the support is that of other tests, too")]

#[path = "sandbox/support.rs"]
mod support;

use std::fs;

use cdr::processing::store::{Store, StoreConfig};
use support::{Job, Sandbox};

const STREAMS: [(&str, &str); 1] = [("STREAMS", "data,voice,probe")];

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
        "Completed data generation. cdr_data [8000], cdr_voice [8000], cdr_probe [8000], files [40]";
    check_has(&log, &["Continuing run cdr", completed]);
    let text = sandbox.verified("three streams", &STREAMS);
    check_has(&text, &["topic cdr_probe: 8,000 of 8,000 records\n", ": 120 of 120 right\n"]);
    // Its messages report no usage, so nobody takes them for those of another stream.
    with(sandbox.process(1_000), &STREAMS)
        .arguments(&["--until-end"])
        .start("process.log")
        .complete("usage");
    let mut store = Store::open(&StoreConfig::File(sandbox.path("usage.db"))).unwrap();
    let counted: u64 = store.committed().unwrap().values().map(|at| at.counted + at.dead).sum();
    assert_eq!(counted, 16_000);
}

#[test]
fn another_encoding_of_files_and_messages_is_delivered_and_verified() {
    let sandbox = Sandbox::start();
    let encoding = [("FILE_FORMAT", "probe"), ("MESSAGE_FORMAT", "probe")];
    with(sandbox.run(), &encoding).start("run.log").complete("another encoding");
    let text = sandbox.verified("another encoding", &encoding);
    check_has(&text, &["topic cdr_voice: 8,000 of 8,000 records\n", ": 80 of 80 right\n"]);
    let sftp = sandbox.path("sftp");
    let names = fs::read_dir(sftp).unwrap().map(|entry| entry.unwrap().file_name());
    let encoded = names.filter(|name| name.to_string_lossy().ends_with(".probe")).count();
    assert_eq!(encoded, 80);
    // Progress of one encoding is none of another.
    let log = sandbox.run().start("run.log").fails(3);
    check_has(&log, &["FILE_FORMAT was probe, now -", "MESSAGE_FORMAT was probe, now -"]);
}
