//! Beginnings and ends of servers and connections.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use cdr_sandbox::sftp::{Config, Error, Server};
use russh_sftp::protocol::OpenFlags;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::{Client, Trusting, ssh};
use crate::server::{Running, TIMEOUT};

/// How many files of this process are open below a folder.
#[cfg(target_os = "linux")]
fn open_below(folder: &std::path::Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(folder)).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_a_server_has_ended_nothing_is_open() {
    let server = Running::start().await;
    let mut clients = Vec::new();
    for index in 0..3 {
        let mut client = Client::connect(&server).await;
        client.open(&format!("{index}"), OpenFlags::WRITE | OpenFlags::CREATE).await.unwrap();
        client.open_folder("/").await.unwrap();
        clients.push(client);
    }
    // Of someone who has not even begun to speak.
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let port = server.port;
    let root = server.file("");
    assert!(open_below(&root) >= 6);
    let folder = server.stop().await;
    assert_eq!(open_below(folder.path()), 0);
    for client in &mut clients {
        assert!(client.receive().await.is_none());
    }
    let mut rest = Vec::new();
    let _ = timeout(TIMEOUT, silent.read_to_end(&mut rest)).await.expect("still connected");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

/// Data on a channel without a session is not waited for by anyone.
#[tokio::test]
async fn a_server_ends_while_a_client_talks_to_nobody() {
    let server = Running::start().await;
    let client = Client::connect(&server).await;
    let idle = client.ssh.channel_open_session().await.unwrap();
    for _ in 0..300 {
        idle.data_bytes(&b"anybody?"[..]).await.unwrap();
    }
    let mut client = Client::over(client.ssh).await;
    client.make_folder("the connection goes on").await.unwrap();
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_client_had_open_is_closed_when_it_goes() {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.open("a", OpenFlags::WRITE | OpenFlags::CREATE).await.unwrap();
    let mut watch = Client::connect(&server).await;
    client.disconnect().await;
    let closed = async {
        while open_below(&server.file("a")) > 0 {
            // Each answer is a moment in which the server can see that the other client is gone.
            watch.stat("/").await.unwrap();
        }
    };
    timeout(TIMEOUT, closed).await.expect("the file stays open");
}

#[tokio::test]
async fn a_session_that_the_client_ends_is_ended_by_the_server_too() {
    use tokio::io::AsyncWriteExt;

    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.stream.shutdown().await.unwrap();
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_connections() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("root"), folder.path().join("key"));
    let server = Server::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));
    let mut client = Client::over(crate::client::logged_in(port).await).await;
    serving.abort();
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn clients_see_the_same_key_after_a_restart() {
    let server = Running::start().await;
    let (fingerprint, host_key) = (server.fingerprint.clone(), server.host_key.clone());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let trusting = Trusting { fingerprint: Some(sender), ..Trusting::default() };
    russh::client::connect(std::sync::Arc::default(), ("127.0.0.1", server.port), trusting)
        .await
        .unwrap();
    assert_eq!(receiver.await.unwrap(), fingerprint);
    let key = server.outside("host_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    let folder = server.stop().await;
    let config = || Config::new(folder.path().join("root"), folder.path().join("host_key"));
    let again = Server::open(config()).unwrap();
    assert_eq!(again.host_key_fingerprint(), fingerprint);
    assert_eq!(again.host_key().to_openssh().unwrap(), host_key);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Server::open(config()), Err(Error::HostKeyExposed { .. })));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "something else").unwrap();
    assert!(matches!(Server::open(config()), Err(Error::HostKeyInvalid { .. })));
}

#[tokio::test]
async fn a_server_that_cannot_work_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let open = |root: &str, change: fn(&mut Config)| {
        let mut config = Config::new(folder.path().join(root), folder.path().join("key"));
        change(&mut config);
        Server::open(config).map(drop)
    };
    assert!(matches!(open("file", |_| {}), Err(Error::Root { .. })));
    assert!(matches!(open("root", |config| config.password = None), Err(Error::NoLogin)));
    open("deep/er/root", |_| {}).unwrap();
}

#[tokio::test]
async fn connections_are_limited() {
    let server = Running::start_with(|config| config.limits.connections = 2).await;
    let first = Client::connect(&server).await;
    let _second = Client::connect(&server).await;
    assert!(ssh(server.port).await.is_err());
    drop(first);
    let free_again = async { while ssh(server.port).await.is_err() {} };
    timeout(TIMEOUT, free_again).await.expect("the place of the client that left stays taken");
}

#[tokio::test]
async fn who_does_not_log_in_has_to_go() {
    let server =
        Running::start_with(|config| config.limits.login_time = Duration::from_millis(200)).await;
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(TIMEOUT, silent.read_to_end(&mut rest)).await.expect("still connected");
    assert!(rest.starts_with(b"SSH-2.0-cdr_sandbox_"));
    let idle = ssh(server.port).await.unwrap();
    timeout(TIMEOUT, idle).await.expect("still connected").unwrap_err();
}
