//! paramiko.

use std::path::PathBuf;

use crate::support::{Setup, run, succeed};

/// What the Python script does: each function in it, with a server of its own.
async fn check(function: &str) {
    let setup = Setup::new().await;
    // The same folder as in scripts/lib/common.sh.
    let services = std::env::var_os("CDR_TEST_SERVICES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-services")),
        PathBuf::from,
    );
    let mut python = setup.program(services.join("venv/bin/python"));
    python
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sftp_real_clients/paramiko_client.py"))
        .arg(function)
        .arg(setup.server.port.to_string())
        .arg(setup.server.file(""));
    succeed(run(&mut python, "").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_in_with_password_and_key() {
    check("logins").await;
}

/// It requests all of a file before it takes the first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_large_files() {
    check("large_files").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_files_in_all_modes() {
    check("modes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_changes_files() {
    check("files").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_the_errors_that_python_has_for_it() {
    check("errors").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn has_several_sessions_on_one_connection() {
    check("sessions").await;
}
