//! An index file that is not as the killed run left it: Kafka's progress outranks it, or the start is
//! refused with what helps.

use std::fs;
use std::path::PathBuf;

use cdr_sandbox::fault::Fault;
use cdr_sandbox::kafka::ApiKey;

use crate::support::Sandbox;

/// A run that was killed in its middle, with an index file.
fn killed() -> Sandbox {
    let sandbox = Sandbox::start();
    sandbox.kafka.plan(ApiKey::EndTxn, 7, Fault::CloseBefore);
    let mut running = sandbox.start_run();
    let index = index(&sandbox);
    running.wait_until("it is in its middle", || sandbox.kafka.are_over() && index.exists());
    running.kill();
    sandbox
}

fn index(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("idx_data.dat")
}

/// Fails unless a killed run is completed whatever its index file holds.
fn is_outranked(content: &str) {
    let sandbox = killed();
    fs::write(index(&sandbox), content).expect("the folder is ours");
    sandbox.start_run().complete(content);
    sandbox.verify(content);
    assert!(!index(&sandbox).exists(), "{content:?}");
}

#[test]
fn one_that_is_empty_is_outranked() {
    is_outranked("");
}

#[test]
fn one_that_holds_no_number_is_outranked() {
    is_outranked("\u{0}\u{0}garbage");
}

#[test]
fn one_that_is_behind_is_outranked() {
    is_outranked("0\n");
}

#[test]
fn one_of_the_older_pipeline_is_outranked_when_it_is_behind() {
    let sandbox = killed();
    fs::write(index(&sandbox), "1").expect("the folder is ours");
    fs::remove_file(sandbox.path("idx_data.dat.run.json")).expect("the run wrote it");
    sandbox.start_run().complete("an index without an owner");
    sandbox.verify("an index without an owner");
}

#[test]
fn one_that_is_missing_is_not_missed() {
    let sandbox = killed();
    fs::remove_file(index(&sandbox)).expect("the run wrote it");
    sandbox.start_run().complete("without an index");
    sandbox.verify("without an index");
}

#[test]
fn one_that_is_ahead_is_refused_until_somebody_decides() {
    let sandbox = Sandbox::start();
    // So that no sink has come as far as the index.
    sandbox.sftp.accept(false);
    sandbox.kafka.plan(ApiKey::EndTxn, 7, Fault::CloseBefore);
    let mut running = sandbox.start_run();
    running.wait_until("it is in its middle", || sandbox.kafka.are_over());
    running.kill();
    sandbox.sftp.accept(true);
    fs::write(index(&sandbox), "38\n").expect("the folder is ours");
    let log = sandbox.run().start("refused.log").fails(3);
    for part in ["the index file has part 38 as complete", "--trust-index", "--restart"] {
        assert!(log.contains(part), "no {part:?} in: {log}");
    }
    fs::remove_file(index(&sandbox)).expect("the start left it");
    sandbox.start_run().complete("once the file is gone");
    sandbox.verify("once the file is gone");
}

#[test]
fn one_that_cannot_be_written_is_reported_at_the_start_and_holds_up_nobody_at_work() {
    let sandbox = killed();
    // Nobody can write a file in a folder's place, not even root.
    let in_its_place = sandbox.path("idx_data.dat.tmp");
    fs::create_dir(&in_its_place).expect("the folder is ours");
    let log = sandbox.run().start("refused.log").fails(1);
    for part in ["cannot write the index file idx_data.dat", "Check the folder's permissions"] {
        assert!(log.contains(part), "no {part:?} in: {log}");
    }
    fs::remove_dir(&in_its_place).expect("it is ours");

    sandbox.kafka.plan(ApiKey::EndTxn, 2, Fault::CloseBefore);
    let mut running = sandbox.run().with("KAFKA_TRANSACTION_RECORDS", "400").start("run.log");
    running.wait_until("it is at work", || sandbox.kafka.are_over());
    fs::create_dir(&in_its_place).expect("nothing stands there for long");
    running.complete("without an index file");
    sandbox.verify("without an index file");
}

/// Sessions with fewer and fewer sinks: what the last ones come to is what is counted.
#[test]
fn a_sink_that_is_no_longer_used_holds_no_count_back() {
    let sandbox = Sandbox::start();
    let part = |sandbox: &Sandbox| -> Option<u64> {
        fs::read_to_string(index(sandbox)).ok()?.trim().parse().ok()
    };
    let mut before = 0;
    for sinks in ["kafka,directory", "kafka"] {
        let run = sandbox.run().with("SINKS", sinks).with("PACE", "5000x");
        let mut running = run.start("run.log");
        running.wait_until("some more parts are complete", || part(&sandbox) > Some(before + 2));
        running.terminate();
        before = part(&sandbox).expect("an index");
        assert!(before < 35, "{before}");
    }
    let last = sandbox.run().with("SINKS", "kafka").start("last.log");
    let log = last.path().to_owned();
    last.complete("the last session");
    let log = fs::read_to_string(log).expect("a log");
    for line in [
        "Continuing run cdr: records ",
        "Completed data generation. cdr_data [8000], cdr_voice [8000], files [40]",
    ] {
        assert!(log.contains(line), "no {line:?} in:\n{log}");
    }
}
