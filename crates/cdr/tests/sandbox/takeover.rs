//! A process that is halted while another one takes its run over, and then goes on.

use std::time::{Duration, Instant};

use cdr_sandbox::fault::Fault;
use cdr_sandbox::kafka::ApiKey;
use cdr_sandbox::sftp::Operation;

use crate::support::{Sandbox, pause};

/// Longer than a halt that a process does not notice.
const HALT: Duration = Duration::from_secs(1);

/// What makes the second process's run: its settings besides the first one's.
fn check(second: &[(&str, &str)], arguments: &[&str]) {
    let sandbox = Sandbox::start();
    sandbox.sftp.plan(Operation::Write, 7, Fault::Delay(Duration::from_millis(200)));
    let mut first = sandbox.run().start("first.log");
    first.wait_until("an upload is in flight", || sandbox.sftp.are_over());
    first.signal("STOP");
    let halted = Instant::now();
    // What it has sent before is on its way for as long as the server delays it, and no more then.
    while halted.elapsed() < HALT {
        pause();
    }
    let mut job = sandbox.run().with("INDEX_FILE", "second.dat");
    for (variable, value) in second {
        job = job.with(variable, value);
    }
    job.arguments(arguments).start("second.log").complete("the second process");
    first.signal("CONT");
    let log = first.fails(5);
    assert!(log.contains("another run holds the transactional id"), "{log}");
    sandbox.verify_with("after the first process has gone on", second);
    let names = std::fs::read_dir(sandbox.path("sftp")).expect("a folder");
    let left: Vec<_> = names
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "it removes what it was writing");
}

#[test]
fn it_puts_nothing_in_place_of_what_the_other_delivered() {
    check(&[], &[]);
}

#[test]
fn it_puts_nothing_in_place_of_another_runs_files() {
    check(&[("CDR_SEED", "7")], &["--restart"]);
}

#[test]
fn it_leaves_files_whole_that_are_uploaded_under_their_final_names() {
    let direct = [("SFTP_UPLOAD_MODE", "direct")];
    let sandbox = Sandbox::start();
    sandbox.sftp.plan(Operation::Write, 7, Fault::Delay(Duration::from_millis(200)));
    let mut first = sandbox.run().with(direct[0].0, direct[0].1).start("first.log");
    first.wait_until("an upload is in flight", || sandbox.sftp.are_over());
    first.signal("STOP");
    let second = sandbox.run().with(direct[0].0, direct[0].1).with("INDEX_FILE", "second.dat");
    second.start("second.log").complete("the second process");
    first.signal("CONT");
    first.kill();
    sandbox.verify("after the first process was killed");
}

/// Kafka's code for a transaction in a state that does not allow what is requested: the client takes
/// it for fatal, and not for the sign that another producer has its id.
const INVALID_TXN_STATE: Fault = Fault::Fail(48);

#[test]
fn it_looks_before_it_opens_a_new_producer() {
    let sandbox = Sandbox::start();
    sandbox.sftp.plan(Operation::Write, 7, Fault::Delay(Duration::from_millis(200)));
    let mut first = sandbox.run().start("first.log");
    first.wait_until("an upload is in flight", || sandbox.sftp.are_over());
    first.halt();
    sandbox.sftp.plan(Operation::Write, 20, Fault::Delay(Duration::from_secs(2)));
    let mut second = sandbox.run().with("INDEX_FILE", "second.dat").start("second.log");
    second.wait_until("the second process has committed, and is not finished", || {
        sandbox.sftp.are_over() && sandbox.path("second.dat").exists()
    });
    second.halt();
    // Whatever it requests first, and behind that.
    for kind in [ApiKey::AddPartitionsToTxn, ApiKey::Produce, ApiKey::EndTxn].repeat(50) {
        sandbox.kafka.plan(kind, 0, INVALID_TXN_STATE);
    }
    first.signal("CONT");
    let log = first.fails(5);
    assert!(log.contains("The producer is opened again"), "it does not learn it from the client: {log}");
    sandbox.kafka.clear();
    second.signal("CONT");
    second.complete("the second process, which nobody has fenced");
    sandbox.verify("after both have ended");
}
