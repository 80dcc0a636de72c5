//! confluent-kafka, the Python client on librdkafka.

use crate::support::{Program, Running, python, run};

/// What the Python script does: each function in it, with a broker of its own.
async fn check(function: &str) {
    let broker = Running::start().await;
    call(function, &broker).await;
}

async fn call(function: &str, broker: &Running) {
    run(&mut python("confluent_client.py", function, &broker.address), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_aborts_transactions() {
    check("transactions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_aborts_large_transactions_in_every_compression() {
    check("large_transactions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumes_transforms_and_produces_exactly_once() {
    check("consume_transform_produce").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_the_older_of_two_producers() {
    check("fencing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_when_members_come_and_go() {
    check("eager_group").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_cooperatively() {
    check("cooperative_group").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lets_static_members_come_back() {
    check("static_members").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_committed_offsets_after_a_restart() {
    let broker = Running::start().await;
    call("commit_offsets", &broker).await;
    let broker = broker.restart().await;
    call("committed_offsets_are_there", &broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_offsets_by_time() {
    check("offsets_for_times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_and_consumes_large_records() {
    check("large_records").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribes_to_topics_by_pattern() {
    check("topics_by_pattern").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_a_transaction_that_is_open_for_too_long() {
    check("timed_out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_when_a_member_is_killed() {
    let broker = Running::start().await;
    let start = |function| Program::start(&mut python("confluent_client.py", function, &broker.address));
    let mut left = start("misses_a_member");
    left.until(|line| line == "alone").await;
    let mut killed = start("membership");
    killed.until(|line| line == "member").await;
    left.until(|line| line == "together").await;
    killed.kill().await;
    left.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administers_topics() {
    check("admin_of_topics").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administers_settings() {
    check("admin_of_configs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administers_groups() {
    check("admin_of_groups").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administers_records() {
    check("admin_of_records").await;
}
