//! The end of the broker's process at any moment, under a load of confluent-kafka.

use crate::support::{Process, Program, python, run};

const SCRIPT: &str = "killed_client.py";

/// How often the broker is killed under the load.
const KILLS: usize = 40;

/// What the load reports as done when the broker is killed. It does not wait, so that how far it has come
/// when the signal arrives is different each time.
fn is_moment(kill: usize, line: &str) -> bool {
    let (done, number) = line.split_once(' ').unwrap();
    // The load makes ten transactions for each kill, of which every fifth is aborted.
    let due = 10 * kill + 3 + kill % 5;
    let wanted: &[&str] = match kill % 3 {
        0 => &["begun"],
        1 => &["sent"],
        _ => &["committed", "aborted"],
    };
    wanted.contains(&done) && number.parse::<usize>().unwrap() == due
}

/// Every committed record is there once for those who want what is committed, what was acknowledged is
/// not lost, offsets are committed with the transactions, and none stays open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_finds_its_records_after_kills() {
    let mut broker = Process::start().await;
    let mut python = python(SCRIPT, "load", &broker.address);
    let mut load = Program::start(python.arg((10 * KILLS).to_string()));
    for kill in 0..KILLS {
        load.until(|line| is_moment(kill, line)).await;
        broker.kill_and_restart().await;
    }
    load.finish().await;
}

/// Nobody ends the transaction: its producer is gone, and the broker that knew of it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_nobody_is_aborted_in_time() {
    let mut broker = Process::start().await;
    let mut holder = Program::start(&mut python(SCRIPT, "holds_briefly", &broker.address));
    holder.until(|line| line == "open").await;
    holder.kill().await;
    broker.kill_and_restart().await;
    run(&mut python(SCRIPT, "finds_it_aborted", &broker.address), "").await;
}

/// The same, and the producer comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_aborted_when_its_producer_comes_back() {
    let mut broker = Process::start().await;
    let mut holder = Program::start(&mut python(SCRIPT, "holds", &broker.address));
    holder.until(|line| line == "open").await;
    holder.kill().await;
    broker.kill_and_restart().await;
    run(&mut python(SCRIPT, "takes_over", &broker.address), "").await;
}

/// Members get the error for an unknown member, and go on where the group had committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_after_kills() {
    const RECORDS: usize = 300;
    let mut broker = Process::start().await;
    let mut group =
        Program::start(python(SCRIPT, "reads_in_a_group", &broker.address).arg(RECORDS.to_string()));
    for kill in 1..=5 {
        group.until(|line| line.starts_with(&format!("read {} ", kill * RECORDS / 6))).await;
        broker.kill_and_restart().await;
    }
    group.finish().await;
}
