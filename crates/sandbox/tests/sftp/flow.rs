//! Many requests at once, and clients that do not keep up.

use std::fs;
use std::time::Duration;

use russh_sftp::protocol::{OpenFlags, Packet, Read, RealPath};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::client::{Client, FAILURE, Trusting, log_in, logged_in, ssh_with};
use crate::server::{Running, TIMEOUT};

fn read(client: &mut Client, handle: &str) -> Vec<u8> {
    let read = Read { id: client.id(), handle: handle.to_owned(), offset: 0, len: 32_768 };
    bytes::Bytes::try_from(Packet::from(read)).unwrap().to_vec()
}

/// More answers are due than the channel's window lets through, while the messages that open the window
/// come behind more requests than fit into any queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_ask_for_far_more_than_its_window_before_it_takes_any() {
    let server = Running::start().await;
    fs::write(server.file("a"), vec![1; 32_768]).unwrap();
    let ssh = ssh_with(server.port, Trusting::default(), 100).await.unwrap();
    let mut client = Client::over(log_in(ssh).await).await;
    let handle = client.open("a", OpenFlags::READ).await.unwrap();
    let together: Vec<u8> = (0..400).flat_map(|_| read(&mut client, &handle)).collect();
    client.send_bytes(&together).await;
    for _ in 0..400 {
        let alone = read(&mut client, &handle);
        client.send_bytes(&alone).await;
    }
    for _ in 0..800 {
        match client.receive().await {
            Some(Packet::Data(data)) => assert_eq!(data.data.len(), 32_768),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_ever_requests_is_cut_off() {
    let server =
        Running::start_with(|config| config.limits.stall_time = Duration::from_millis(100)).await;
    let mut client = Client::connect(&server).await;
    let path = RealPath { id: 1, path: "a/".repeat(2000) };
    let request = bytes::Bytes::try_from(Packet::from(path)).unwrap();
    let requesting = async {
        loop {
            if client.stream.write_all(&request).await.is_err() {
                // The end of the connection shows it better.
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = async {
        tokio::select! {
            () = requesting => {}
            _ = &mut client.ssh => {}
        }
    };
    timeout(TIMEOUT, ended).await.expect("the server does not close the connection");
    Client::connect(&server).await.make_folder("a").await.unwrap();
}

/// Its answers are stuck behind a window that nobody will open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_had_open_is_closed_when_its_channel_is_although_answers_are_due() {
    let server = Running::start_with(|config| config.limits.handles = 1).await;
    fs::write(server.file("a"), vec![1; 32_768]).unwrap();
    let stingy = Trusting { stingy: true, ..Trusting::default() };
    let ssh = ssh_with(server.port, stingy, 10_000).await.unwrap();
    let mut client = Client::over(log_in(ssh).await).await;
    let handle = client.open("a", OpenFlags::READ).await.unwrap();
    // 6.5 MB, where 4 MB have room.
    let reads: Vec<u8> = (0..200).flat_map(|_| read(&mut client, &handle)).collect();
    client.send_bytes(&reads).await;
    let Client { ssh, stream, .. } = client;
    drop(stream);
    let mut other = Client::over(ssh).await;
    let opened = async { while other.open("a", OpenFlags::READ).await.is_err() {} };
    timeout(TIMEOUT, opened).await.expect("the file stays open");
}

#[tokio::test]
async fn handles_are_limited_for_each_connection_over_all_its_sessions() {
    let server = Running::start_with(|config| config.limits.handles = 3).await;
    let ssh = logged_in(server.port).await;
    let mut first = Client::over(ssh).await;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let handle = first.open("a", flags).await.unwrap();
    first.open("b", flags).await.unwrap();
    let mut second = {
        let channel = first.ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        channel.into_stream()
    };
    second.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.unwrap();
    first.open_folder("/").await.unwrap();
    let no = first.open("d", flags).await.unwrap_err();
    assert_eq!(no.code, FAILURE);
    assert!(no.message.contains("too many open files"), "{}", no.message);
    assert!(!server.file("d").exists());
    first.close(&handle).await.unwrap();
    first.open("d", flags).await.unwrap();
    let mut other = Client::connect(&server).await;
    other.open("e", flags).await.unwrap();
}

#[tokio::test]
async fn a_handle_means_nothing_in_another_session() {
    let server = Running::start().await;
    let mut first = Client::connect(&server).await;
    let mut second = Client::connect(&server).await;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let handle = first.open("a", flags).await.unwrap();
    second.open("b", flags).await.unwrap();
    assert_eq!(second.write(&handle, 0, b"x").await.unwrap_err().code, FAILURE);
    assert_eq!(second.close(&handle).await.unwrap_err().code, FAILURE);
    first.write(&handle, 0, b"x").await.unwrap();
    first.close(&handle).await.unwrap();
    assert_eq!(first.close(&handle).await.unwrap_err().code, FAILURE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_do_not_disturb_each_other() {
    let server = Running::start().await;
    let mut uploads = Vec::new();
    for index in 0..16_u8 {
        let mut client = Client::connect(&server).await;
        uploads.push(tokio::spawn(async move {
            for round in 0..5 {
                client.put(&format!("{index}-{round}"), &vec![index; 100_000]).await.unwrap();
            }
        }));
    }
    for upload in uploads {
        upload.await.unwrap();
    }
    for index in 0..16_u8 {
        for round in 0..5 {
            let content = fs::read(server.file(&format!("{index}-{round}"))).unwrap();
            assert!(content == vec![index; 100_000]);
        }
    }
}
