//! What goes wrong on request.

use std::fs;
use std::time::{Duration, Instant};

use cdr_sandbox::fault::Fault;
use cdr_sandbox::sftp::Operation;
use russh_sftp::protocol::{Init, MkDir, OpenFlags, Packet};

use crate::client::{Client, FAILURE, No, logged_in, ssh};
use crate::server::Running;

fn make_folder(client: &mut Client, path: &str) -> Packet {
    MkDir { id: client.id(), path: path.into(), attrs: russh_sftp::protocol::FileAttributes::empty() }
        .into()
}

#[tokio::test]
async fn a_connection_closes_before_a_request_is_applied() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::Mkdir, 1, Fault::CloseBefore);
    client.make_folder("a").await.unwrap();
    let request = make_folder(&mut client, "b");
    client.send(request).await;
    assert!(client.receive().await.is_none());
    assert!(server.file("a").exists() && !server.file("b").exists());
    assert!(server.faults.are_over());
    Client::connect(&server).await.make_folder("b").await.unwrap();
}

#[tokio::test]
async fn a_connection_closes_after_a_request_was_applied() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::Mkdir, 0, Fault::CloseAfter);
    let request = make_folder(&mut client, "a");
    client.send(request).await;
    assert!(client.receive().await.is_none());
    assert!(server.file("a").exists());
}

#[tokio::test]
async fn an_answer_comes_late_and_those_after_it_too() {
    const DELAY: Duration = Duration::from_millis(200);
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::Mkdir, 1, Fault::Delay(DELAY));
    let begun = Instant::now();
    for name in ["a", "b", "c"] {
        let request = make_folder(&mut client, name);
        client.send(request).await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        match client.receive().await {
            Some(Packet::Status(status)) => ids.push(status.id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ids, [1, 2, 3]);
    assert!(begun.elapsed() >= DELAY);
    assert!(server.file("b").exists() && server.file("c").exists());
}

#[tokio::test]
async fn a_request_fails_without_being_applied() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::Write, 0, Fault::Fail(4));
    let handle = client.open("a", OpenFlags::WRITE | OpenFlags::CREATE).await.unwrap();
    let no = client.write(&handle, 0, b"x").await.unwrap_err();
    assert_eq!(no, No { code: FAILURE, message: "an injected fault".to_owned() });
    assert_eq!(fs::read(server.file("a")).unwrap(), b"");
    client.write(&handle, 0, b"y").await.unwrap();
    assert_eq!(fs::read(server.file("a")).unwrap(), b"y");
}

#[tokio::test]
async fn any_code_can_be_injected() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::Mkdir, 0, Fault::Fail(14));
    let request = make_folder(&mut client, "a");
    client.send(request).await;
    let answer = client.receive_bytes().await.unwrap();
    assert_eq!(answer[..9], [101, 0, 0, 0, 1, 0, 0, 0, 14]);
}

#[tokio::test]
async fn a_plain_rename_and_one_that_replaces_are_different_operations() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.plan(Operation::PosixRename, 0, Fault::Fail(3));
    client.put("a", b"").await.unwrap();
    client.rename("a", "b").await.unwrap();
    assert_eq!(client.posix_rename("b", "c").await.unwrap_err().code, 3);
}

#[tokio::test]
async fn a_session_can_fail_to_begin() {
    let server = Running::start().await;
    server.faults.plan(Operation::Init, 0, Fault::CloseBefore);
    let mut client = Client::without_greeting(logged_in(server.port).await).await;
    client.send(Init::new().into()).await;
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn a_server_that_accepts_nothing_keeps_what_it_has() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    server.faults.accept(false);
    assert!(ssh(server.port).await.is_err());
    client.make_folder("a").await.unwrap();
    server.faults.accept(true);
    Client::connect(&server).await.make_folder("b").await.unwrap();
}
