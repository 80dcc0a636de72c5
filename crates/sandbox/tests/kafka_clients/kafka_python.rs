//! kafka-python, which speaks the protocol by itself.

use crate::support::{Running, python, run};

/// What the Python script does: each function in it, with a broker of its own.
async fn check(function: &str) {
    check_in("kafka_python_client.py", function).await;
}

async fn check_in(script: &str, function: &str) {
    let broker = Running::start().await;
    run(&mut python(script, function, &broker.address), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_and_consumes() {
    check("produces_and_consumes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_aborts_transactions() {
    check("transactions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_partitions_in_a_group() {
    check("consumes_in_a_group").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_offsets_by_time() {
    check("offsets_for_times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administers() {
    check("admin_of_all").await;
}

/// What is advertised is served. This client has all requests and answers in all versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn understands_every_version_of_every_answer() {
    check_in("versions_client.py", "every_request").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finds_the_same_in_every_version() {
    check_in("versions_client.py", "the_same").await;
}
