//! An HTTP server that stays within bounds, whatever its clients do.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Whether the oldest is ended for a further one, so that slow clients keep nobody out. Otherwise that
    /// one waits.
    pub ends_oldest: bool,
    /// How long a request's head may take, also while a kept connection waits for the next one.
    pub head: Duration,
    /// How long a connection may last, and so how slowly an answer may be read.
    pub connection: Duration,
    /// How long connections may go on when the server is to stop.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 128,
            ends_oldest: false,
            head: Duration::from_secs(15),
            connection: Duration::from_secs(300),
            stop: Duration::from_secs(5),
        }
    }
}

/// Of a request's head; what is longer gets the status 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Between tries to accept a connection, when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until shutdown, and then until the requests that have begun are answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut open = OpenConnections { ends_oldest: limits.ends_oldest, free, ended: VecDeque::new() };
    loop {
        let accepted = async { (accept(&listener).await, open.permit().await) };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        let (router, stop, ended) = (router.clone(), shutdown.clone(), open.add());
        connections.spawn(async move {
            let (_permit, _ended) = (permit, ended.clone().drop_guard());
            let served = connection(stream, router, limits, stop);
            match ended.run_until_cancelled(served).await {
                Some(Ok(())) => {}
                Some(Err(error)) => debug!("a connection of an HTTP client ended: {error}"),
                None => debug!("a connection of an HTTP client was ended for another one"),
            }
        });
    }
    drop(listener);
    connections.close();
    // What goes on after this ends with the runtime.
    let _ = tokio::time::timeout(limits.stop, connections.wait()).await;
}

/// The connections that are open, in the order in which they came.
struct OpenConnections {
    ends_oldest: bool,
    free: Arc<Semaphore>,
    /// Each is cancelled when its connection has ended, or to end it.
    ended: VecDeque<CancellationToken>,
}

impl OpenConnections {
    /// Waits until another connection may be open.
    async fn permit(&mut self) -> OwnedSemaphorePermit {
        if self.ends_oldest && self.free.available_permits() == 0 {
            self.ended.retain(|ended| !ended.is_cancelled());
            self.ended.pop_front().iter().for_each(CancellationToken::cancel);
        }
        match self.free.clone().acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed; if it were, nobody could be served.
            Err(_) => std::future::pending().await,
        }
    }

    fn add(&mut self) -> CancellationToken {
        let ended = CancellationToken::new();
        self.ended.retain(|ended| !ended.is_cancelled());
        self.ended.push_back(ended.clone());
        ended
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!("no HTTP connection can be accepted: {error}. Trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(limits.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A client that does not read its answer is left.
    tokio::time::timeout(limits.stop, connection).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const SOON: Duration = Duration::from_millis(50);
    /// Longer than any test waits.
    const NEVER: Duration = Duration::from_secs(600);

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Server {
        async fn start(limits: Limits) -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let router = Router::new().route("/", get(async || "here"));
            let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
            Server { address, stop, task }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn stop(self) {
            self.stop.cancel();
            self.task.await.unwrap();
        }
    }

    fn unlimited() -> Limits {
        Limits { connections: 8, ends_oldest: false, head: NEVER, connection: NEVER, stop: NEVER }
    }

    /// All that comes until the server closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    /// An answer, after which the connection is kept.
    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "{text:?}");
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn whoever_does_not_finish_the_head_is_left() {
        let server = Server::start(Limits { head: SOON, ..unlimited() }).await;
        for begun in [&b""[..], b"GET / HTTP/1.1\r\nHost: "] {
            let mut slow = server.connect().await;
            slow.write_all(begun).await.unwrap();
            assert!(!rest(&mut slow).await.contains("200 OK"));
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let server = Server::start(unlimited()).await;
        let mut long = server.connect().await;
        long.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        // The server may close while this is written.
        let _ = long.write_all(&vec![b'x'; 2 * HEAD_BYTES_MAX]).await;
        let mut text = [0; 12];
        long.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"HTTP/1.1 431");
    }

    #[tokio::test]
    async fn a_connection_waits_until_one_of_those_before_it_has_ended() {
        let server = Server::start(Limits { connections: 1, ..unlimited() }).await;
        let (mut first, mut second) = (server.connect().await, server.connect().await);
        first.write_all(GET).await.unwrap();
        answer(&mut first).await;
        second.write_all(GET).await.unwrap();
        let waits = tokio::time::timeout(SOON, second.readable()).await;
        assert!(waits.is_err(), "it was answered beside the first");
        drop(first);
        answer(&mut second).await;
    }

    #[tokio::test]
    async fn where_slow_clients_keep_nobody_out_the_oldest_is_ended() {
        let limits = Limits { connections: 2, ends_oldest: true, ..unlimited() };
        let server = Server::start(limits).await;
        let mut slow = Vec::new();
        for _ in 0..5 {
            let mut client = server.connect().await;
            client.write_all(&GET[..20]).await.unwrap();
            slow.push(client);
        }
        let mut probe = server.connect().await;
        probe.write_all(GET).await.unwrap();
        answer(&mut probe).await;
        for ended in &mut slow[..4] {
            assert_eq!(rest(ended).await, "");
        }
        // The last of them still has its turn.
        slow[4].write_all(&GET[20..]).await.unwrap();
        answer(&mut slow[4]).await;
    }

    #[tokio::test]
    async fn a_connection_does_not_last_forever() {
        let server = Server::start(Limits { connection: SOON, stop: SOON, ..unlimited() }).await;
        let mut kept = server.connect().await;
        assert_eq!(rest(&mut kept).await, "");
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_kept_connections_and_leaves_slow_ones() {
        let server = Server::start(unlimited()).await;
        let mut kept = server.connect().await;
        kept.write_all(GET).await.unwrap();
        answer(&mut kept).await;
        server.stop().await;
        assert_eq!(rest(&mut kept).await, "");

        let server = Server::start(Limits { stop: SOON, ..unlimited() }).await;
        let mut slow = server.connect().await;
        slow.write_all(&GET[..20]).await.unwrap();
        server.stop().await;
    }
}
