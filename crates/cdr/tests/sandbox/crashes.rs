//! A job that is killed at each step of the commit protocol, and continued.
//!
//! A step is a request that a server has just got. Whether it was applied is the server's doing: the
//! request was lost, or its answer was; either may be what a crash leaves.

use cdr_sandbox::fault::Fault;
use cdr_sandbox::kafka::ApiKey;
use cdr_sandbox::sftp::Operation;

use crate::support::Sandbox;

/// Fails unless a job that is killed when the servers have met their faults is completed by another
/// start.
fn check(what: &str, sandbox: &Sandbox) {
    let mut running = sandbox.start_run();
    running.wait_until(what, || sandbox.kafka.are_over() && sandbox.sftp.are_over());
    running.kill();
    sandbox.start_run().complete(what);
    sandbox.verify(what);
}

/// Kills before and after a request of a kind is applied, which follows `skip` others of the kind.
fn check_kafka(kind: ApiKey, skip: u32) {
    for fault in [Fault::CloseBefore, Fault::CloseAfter] {
        let sandbox = Sandbox::start();
        sandbox.kafka.plan(kind, skip, fault);
        check(&format!("{fault:?} {kind:?} {skip}"), &sandbox);
    }
}

fn check_sftp(kind: Operation, skip: u32) {
    for fault in [Fault::CloseBefore, Fault::CloseAfter] {
        let sandbox = Sandbox::start();
        sandbox.sftp.plan(kind, skip, fault);
        check(&format!("{fault:?} {kind:?} {skip}"), &sandbox);
    }
}

#[test]
fn killed_when_it_claims_its_id() {
    check_kafka(ApiKey::InitProducerId, 0);
}

#[test]
fn killed_when_its_topics_are_made() {
    check_kafka(ApiKey::CreateTopics, 0);
}

#[test]
fn killed_when_a_transaction_gets_its_partitions() {
    check_kafka(ApiKey::AddPartitionsToTxn, 0);
    check_kafka(ApiKey::AddPartitionsToTxn, 9);
}

#[test]
fn killed_when_records_are_sent() {
    check_kafka(ApiKey::Produce, 0);
    check_kafka(ApiKey::Produce, 23);
}

#[test]
fn killed_when_the_first_transaction_is_committed() {
    check_kafka(ApiKey::EndTxn, 0);
}

#[test]
fn killed_when_a_later_transaction_is_committed() {
    check_kafka(ApiKey::EndTxn, 7);
}

#[test]
fn killed_when_a_file_is_created() {
    check_sftp(Operation::Open, 20);
}

#[test]
fn killed_when_a_file_is_written() {
    check_sftp(Operation::Write, 20);
}

#[test]
fn killed_when_a_file_is_closed() {
    check_sftp(Operation::Close, 20);
}

#[test]
fn killed_when_a_file_gets_its_name() {
    check_sftp(Operation::PosixRename, 0);
    check_sftp(Operation::PosixRename, 41);
}

#[test]
fn killed_at_one_step_after_the_other() {
    let sandbox = Sandbox::start();
    for (step, fault) in [Fault::CloseBefore, Fault::CloseAfter].into_iter().cycle().take(6).enumerate()
    {
        let what = format!("step {step}, {fault:?}");
        match step % 3 {
            0 => sandbox.kafka.plan(ApiKey::EndTxn, 1, fault),
            1 => sandbox.kafka.plan(ApiKey::Produce, 4, fault),
            _ => sandbox.sftp.plan(Operation::PosixRename, 3, fault),
        }
        let mut running = sandbox.start_run();
        running.wait_until(&what, || sandbox.kafka.are_over() && sandbox.sftp.are_over());
        running.kill();
    }
    sandbox.start_run().complete("the last start");
    sandbox.verify("the last start");
}

/// Where there are few records, some parts have none, and their files only a header.
#[test]
fn killed_among_parts_without_records() {
    let sandbox = Sandbox::start();
    let settings = [("PROFILE", "realistic"), ("LINE_COUNT", "1"), ("TOTAL_SECONDS", "800")];
    let run = || settings.iter().fold(sandbox.run(), |job, (name, value)| job.with(name, value));
    let mut running = run().with("PACE", "2000x").start("run.log");
    running.wait_until("some parts are complete", || sandbox.path("idx_data.dat").exists());
    running.kill();
    run().start("run.log").complete("the rest");
    let text = sandbox.verified("parts without records", &settings);
    for line in
        ["cdr_data: 800 of 800 records\n", "cdr_voice: 800 of 800 records\n", ": 1,600 of 1,600 right\n"]
    {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    let entries = std::fs::read_dir(sandbox.path("sftp")).expect("the server's folder");
    let sizes = entries.map(|entry| entry.expect("a file").metadata().expect("its size").len());
    let header = "msisdn,tower_id,call_type,dest_nr,call_duration_sec,start_time\n".len() as u64;
    assert!(sizes.filter(|size| *size == header).count() > 5);
}
