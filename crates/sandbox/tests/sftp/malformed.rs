//! What is not the protocol ends the connection, and nothing else.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use russh_sftp::protocol::Init;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::client::{Client, logged_in};
use crate::server::{Running, TIMEOUT};

/// Sends bytes in a session that has begun, and expects the connection to end.
async fn check(bytes: &[u8]) {
    let server = Running::start().await;
    let mut client = Client::connect(&server).await;
    client.send_bytes(bytes).await;
    assert!(client.receive().await.is_none(), "{bytes:?}");
    assert!(timeout(TIMEOUT, client.ssh).await.is_ok(), "still connected after {bytes:?}");
    Client::connect(&server).await.make_folder("it goes on").await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_empty_or_too_large_ends_the_connection() {
    check(&[0, 0, 0, 0]).await;
    check(&[0, 4, 0, 1]).await;
    check(&[255; 4]).await;
}

#[tokio::test]
async fn a_message_that_is_cut_short_ends_the_connection() {
    // An open request without flags; a write of more data than there is; no number.
    check(&[0, 0, 0, 10, 3, 0, 0, 0, 1, 0, 0, 0, 1, b'a']).await;
    check(&[0, 0, 0, 22, 6, 0, 0, 0, 1, 0, 0, 0, 1, b'h', 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0]).await;
    check(&[0, 0, 0, 1, 4]).await;
    check(&[0, 0, 0, 1, 99]).await;
}

/// Collects the warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut keep = |_: &Field, value: &dyn Debug| self.0.lock().unwrap().push(format!("{value:?}"));
        event.record(&mut keep as &mut dyn Visit);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The runtime has this thread only, whose subscriber therefore gets it all.
#[tokio::test]
async fn a_malformed_message_is_worth_one_line() {
    let warnings = Warnings::default();
    let _here = tracing::subscriber::set_default(warnings.clone());
    check(&[0, 0, 0, 0]).await;
    let lines = warnings.0.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("Closed the connection of 127.0.0.1:"), "{lines:?}");
    assert!(lines[0].contains("a message of 0 bytes"), "{lines:?}");
}

#[tokio::test]
async fn a_session_begins_with_init_and_has_only_one() {
    check(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await;
    let server = Running::start().await;
    let mut client = Client::without_greeting(logged_in(server.port).await).await;
    client.send_bytes(&[0, 0, 0, 9, 16, 0, 0, 0, 1, 0, 0, 0, 0]).await;
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn what_is_not_ssh_is_sent_away() {
    let server = Running::start().await;
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(hello).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await.expect("still connected");
    }
    Client::connect(&server).await.make_folder("a").await.unwrap();
}

/// Sends messages, in a new session if there is none, and waits for the answer to each; gives the
/// session if it has not ended.
async fn exchange(
    server: &Running,
    session: Option<Client>,
    messages: Vec<(u8, Vec<u8>)>,
) -> Option<Client> {
    let mut session = match session {
        Some(session) => session,
        None => Client::connect(server).await,
    };
    for (kind, body) in messages {
        let length = (1 + body.len() as u32).to_be_bytes();
        let message = [&length[..], &[kind], &body].concat();
        session.stream.write_all(&message).await.ok()?;
        session.receive_bytes().await?;
    }
    Some(session)
}

/// Any bytes as messages of any kind: each is answered, or the connection ends; and others go on.
#[test]
fn random_messages_do_no_harm() {
    let kinds = prop_oneof![3u8..=20, Just(200u8), any::<u8>()];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        // What is read as lengths is mostly small here, so that more of it is understood.
        proptest::collection::vec(prop_oneof![Just(0u8), 0u8..8, Just(b'a')], 0..60),
    ];
    let messages = proptest::collection::vec((kinds, body), 1..8);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Sessions are dropped out here, too, which takes a runtime.
    let _inside = runtime.enter();
    let server = runtime.block_on(Running::start());
    let kept: Mutex<Option<Client>> = Mutex::default();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let exchanged = runner.run(&messages, |messages| {
        let session = kept.lock().unwrap().take();
        *kept.lock().unwrap() = runtime.block_on(exchange(&server, session, messages));
        Ok(())
    });
    exchanged.unwrap();
    runtime.block_on(async {
        let mut session = Client::without_greeting(logged_in(server.port).await).await;
        session.send(Init::new().into()).await;
        assert!(session.receive().await.is_some());
        server.stop().await;
    });
}
