//! Servers and connections that go away, and come back or do not.

use std::sync::atomic::Ordering::SeqCst;

use super::proxy::Proxy;
use super::*;

#[tokio::test]
async fn a_connection_cut_in_mid_file_is_made_again_and_the_file_sent_again() {
    let (log, _guard) = capture_log();
    let (server, home) = (Server::start().await, home());
    let proxy = Proxy::start(server.port).await;
    let mut config = config(proxy.port, &home);
    config.connections = 1;
    let store = SftpSink::new(&config).unwrap();
    in_time(store.connect()).await.unwrap();
    proxy.cut_after(700_000);
    in_time(store.put("0.csv", &content(0, 2_000_000), &Unconditional)).await.unwrap();
    assert!(proxy.has_cut());
    check_files(&server, 0..1, 2_000_000);
    assert_eq!(log.lines_with("is away (connection lost").len(), 1);
    assert_eq!(log.lines_with("is back after").len(), 1);
}

#[tokio::test]
async fn uploads_in_flight_survive_cut_after_cut() {
    let (server, home) = (Server::start().await, home());
    let proxy = Proxy::start(server.port).await;
    let store = SftpSink::new(&config(proxy.port, &home)).unwrap();
    in_time(store.connect()).await.unwrap();
    for round in 0..8 {
        proxy.cut_after(200_000 + 37_000 * round);
        for outcome in in_time(put_all(&store, 0..16, 100_000)).await {
            outcome.unwrap();
        }
        assert!(proxy.has_cut());
        check_files(&server, 0..16, 100_000);
    }
}

#[tokio::test]
async fn a_server_that_is_away_at_first_is_waited_for() {
    let (log, _guard) = capture_log();
    let (server, home) = (Server::start().await, home());
    // A port on which nobody listens any more.
    let port = Proxy::start(server.port).await.stop().await;
    let store = SftpSink::new(&config(port, &home)).unwrap();
    let uploads = tokio::spawn(async move { put_all(&store, 0..20, 1000).await });
    while log.lines_with("is away").is_empty() {
        tokio::task::yield_now().await;
    }
    let expected = format!(
        "SFTP server 127.0.0.1:{port} is away (connection refused); trying again for up to 30 s. \
         Start it."
    );
    assert_eq!(log.lines_with(&expected).len(), 1);
    let _proxy = Proxy::start_at(port, server.port).await;
    for outcome in in_time(uploads).await.unwrap() {
        outcome.unwrap();
    }
    check_files(&server, 0..20, 1000);
    assert_eq!(log.lines_with("is away").len(), 1, "one line for all uploads");
    assert_eq!(log.lines_with("is back after").len(), 1);
}

#[tokio::test]
async fn an_absent_server_is_given_up_on_with_the_cause() {
    let (server, home) = (Server::start().await, home());
    let port = Proxy::start(server.port).await.stop().await;
    let mut config = config(port, &home);
    config.give_up_after = Duration::from_millis(500);
    let store = SftpSink::new(&config).unwrap();
    let begun = std::time::Instant::now();
    let mut outcomes = in_time(put_all(&store, 0..16, 1000)).await;
    outcomes.push(in_time(store.connect()).await.map(|()| 0));
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.is_permanent());
        let text = error.to_string();
        assert!(text.starts_with("SFTP: gave up after"), "{text}");
        let cause = format!(
            "last: SFTP connection to 127.0.0.1:{port} refused: is the server running? \
             Start it."
        );
        assert!(text.ends_with(&cause), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let home = home();
    let mut config = config(22, &home);
    config.host = "no-such-host.invalid".to_owned();
    config.give_up_after = Duration::from_millis(100);
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await;
    let Err(SftpError::GaveUp { cause, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*cause, SftpError::UnresolvedHost { .. }), "{cause}");
    assert!(cause.to_string().contains("no-such-host.invalid"), "{cause}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let (server, home) = (Server::start().await, home());
    let proxy = Proxy::start(server.port).await;
    let mut config = config(proxy.port, &home);
    config.connections = 1;
    config.request_timeout = Duration::from_secs(1);
    let store = SftpSink::new(&config).unwrap();
    in_time(store.connect()).await.unwrap();
    proxy.silence();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
    assert!(server.switches.connections.load(SeqCst) >= 2);
}

#[tokio::test]
async fn keepalives_find_a_dead_connection_before_a_request_does() {
    let (server, home) = (Server::start().await, home());
    let proxy = Proxy::start(server.port).await;
    let mut config = config(proxy.port, &home);
    config.connections = 1;
    config.keepalive = Duration::from_millis(50);
    config.request_timeout = Duration::from_secs(3600);
    let store = SftpSink::new(&config).unwrap();
    in_time(store.connect()).await.unwrap();
    proxy.silence();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    check_files(&server, 0..1, 1000);
}

#[tokio::test]
async fn an_idle_connection_is_kept() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.keepalive = Duration::ZERO;
    config.request_timeout = Duration::from_secs(1);
    let store = SftpSink::new(&config).unwrap();
    in_time(store.put("0.csv", &content(0, 1000), &Unconditional)).await.unwrap();
    // Silence is in order as long as nothing is waited for.
    tokio::time::pause();
    for _ in 0..10 {
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    tokio::time::resume();
    in_time(store.put("1.csv", &content(1, 1000), &Unconditional)).await.unwrap();
    assert_eq!(server.switches.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_accepts_and_sends_nothing_times_out() {
    let home = home();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = config(port, &home);
    config.connect_timeout = Duration::from_millis(200);
    config.give_up_after = Duration::from_millis(200);
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap_err();
    let text = error.to_string();
    let expected =
        format!("SFTP server 127.0.0.1:{port} did not answer within 0.2 s while exchanging keys");
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn something_else_on_the_port_is_reported() {
    let home = home();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let page = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, page).await;
            // It goes on reading until the client has gone.
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
        }
    });
    let mut config = config(port, &home);
    config.connect_timeout = Duration::from_secs(2);
    config.give_up_after = Duration::from_millis(200);
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap_err();
    let text = error.to_string();
    let expected = format!(
        "SFTP server 127.0.0.1:{port} did not answer within 2 s while exchanging keys: \
         check that it is an SSH server"
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn a_server_that_wants_one_connection_only_gets_all_files_over_it() {
    let (server, home) = (Server::start().await, home());
    server.switches.connections_left.store(1, SeqCst);
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    for outcome in in_time(put_all(&store, 0..32, 10_000)).await {
        outcome.unwrap();
    }
    check_files(&server, 0..32, 10_000);
    assert_eq!(server.switches.connections.load(SeqCst), 1);
}
