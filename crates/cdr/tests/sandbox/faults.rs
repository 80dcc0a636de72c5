//! Servers that do something wrong, and a job that comes to its end all the same.

use std::time::Duration;

use cdr_sandbox::fault::Fault::{self, CloseAfter, CloseBefore, Delay, Fail};
use cdr_sandbox::kafka::ApiKey;
use cdr_sandbox::sftp::Operation;

use crate::support::Sandbox;

/// A while, for a delay.
const WHILE: Fault = Delay(Duration::from_millis(700));

/// Kafka's code for a broker that is not the one to query at the moment, and for one that is too slow.
pub const NOT_LEADER: Fault = Fail(6);
const TIMED_OUT: Fault = Fail(7);
pub const COORDINATOR_LOADS: Fault = Fail(14);
pub const NOT_COORDINATOR: Fault = Fail(16);
const CONCURRENT_TRANSACTIONS: Fault = Fail(51);
/// After an election of leaders.
const STORAGE_ERROR: Fault = Fail(56);
const UNKNOWN_LEADER_EPOCH: Fault = Fail(75);
const OFFSET_NOT_AVAILABLE: Fault = Fail(78);
/// SFTP's code for a failure of any kind.
const FAILURE: Fault = Fail(4);

/// Fails unless a job comes to its end after such faults, each at a request of its own.
fn check_kafka(kind: ApiKey, skip: u32, faults: &[Fault]) {
    let sandbox = Sandbox::start();
    for (count, fault) in faults.iter().enumerate() {
        sandbox.kafka.plan(kind, skip + 3 * count as u32, *fault);
    }
    check(&format!("{kind:?} {faults:?}"), &sandbox);
}

fn check_sftp(kind: Operation, faults: &[Fault]) {
    let sandbox = Sandbox::start();
    for (count, fault) in faults.iter().enumerate() {
        sandbox.sftp.plan(kind, 5 + 9 * count as u32, *fault);
    }
    check(&format!("{kind:?} {faults:?}"), &sandbox);
}

fn check(what: &str, sandbox: &Sandbox) {
    sandbox.start_run().complete(what);
    assert!(sandbox.kafka.are_over() && sandbox.sftp.are_over(), "{what}: not all faults struck");
    sandbox.verify(what);
}

#[test]
fn claiming_the_id_is_tried_again() {
    let all = [CloseBefore, CloseAfter, COORDINATOR_LOADS, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS];
    for fault in all {
        check_kafka(ApiKey::InitProducerId, 0, &[fault]);
    }
}

#[test]
fn the_coordinator_is_looked_up_again() {
    check_kafka(ApiKey::FindCoordinator, 0, &[CloseBefore]);
    check_kafka(ApiKey::FindCoordinator, 0, &[CloseAfter]);
}

#[test]
fn offsets_that_a_new_leader_does_not_know_yet_are_queried_again() {
    for fault in [NOT_LEADER, STORAGE_ERROR, UNKNOWN_LEADER_EPOCH, OFFSET_NOT_AVAILABLE] {
        check_kafka(ApiKey::ListOffsets, 0, &[fault]);
    }
}

#[test]
fn records_whose_answer_is_lost_are_not_doubled() {
    check_kafka(ApiKey::Produce, 5, &[CloseAfter, CloseBefore, WHILE, CloseAfter]);
}

#[test]
fn records_that_are_refused_for_a_moment_are_sent_again() {
    check_kafka(ApiKey::Produce, 5, &[NOT_LEADER, TIMED_OUT]);
}

#[test]
fn a_transaction_gets_its_partitions_at_the_second_try() {
    check_kafka(
        ApiKey::AddPartitionsToTxn,
        3,
        &[CloseBefore, CloseAfter, CONCURRENT_TRANSACTIONS, COORDINATOR_LOADS, WHILE],
    );
}

#[test]
fn a_commit_in_doubt_is_settled() {
    check_kafka(ApiKey::EndTxn, 1, &[CloseAfter, CloseBefore, WHILE]);
    check_kafka(ApiKey::EndTxn, 1, &[NOT_COORDINATOR, COORDINATOR_LOADS]);
}

#[test]
fn uploads_are_done_again_after_a_lost_connection() {
    for kind in [Operation::Open, Operation::Write, Operation::Close, Operation::PosixRename] {
        check_sftp(kind, &[CloseBefore, CloseAfter]);
    }
}

#[test]
fn uploads_are_done_again_after_a_failure() {
    for kind in [Operation::Open, Operation::Write, Operation::PosixRename] {
        check_sftp(kind, &[FAILURE, WHILE]);
    }
}

#[test]
fn servers_that_take_no_connections_are_waited_for() {
    let sandbox = Sandbox::start();
    sandbox.kafka.accept(false);
    sandbox.sftp.accept(false);
    let mut running = sandbox.start_run();
    running.wait_until("the job logs that it waits", || {
        std::fs::read_to_string(sandbox.path("run.log")).is_ok_and(|log| log.contains("are away"))
    });
    sandbox.kafka.accept(true);
    sandbox.sftp.accept(true);
    running.complete("servers that were away");
    sandbox.verify("servers that were away");
}
