//! A stretch of network that can be cut, go silent, or be slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Line {
    target: u16,
    /// Bytes that may still pass to the server before the line is cut.
    budget: Arc<AtomicI64>,
    /// How many connections there have been.
    connections: Arc<AtomicUsize>,
    /// Of the connections, how many from the first on swallow everything.
    silent: Arc<AtomicUsize>,
    /// How long everything takes, each way.
    delay_ms: Arc<AtomicU64>,
}

pub(super) struct Proxy {
    pub(super) port: u16,
    line: Line,
    cut: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(target: u16) -> Self {
        Self::start_at(0, target).await
    }

    pub(super) async fn start_at(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let line = Line {
            target,
            budget: Arc::new(i64::MAX.into()),
            connections: Arc::default(),
            silent: Arc::default(),
            delay_ms: Arc::default(),
        };
        let cut = CancellationToken::new();
        Self {
            port: listener.local_addr().unwrap().port(),
            accepting: tokio::spawn(accept(listener, line.clone(), cut.clone())),
            line,
            cut,
        }
    }

    /// Lets `bytes` more pass to the server, then cuts the connection that
    /// carried them. Later connections are not cut.
    pub(super) fn cut_after(&self, bytes: i64) {
        self.line.budget.store(bytes, SeqCst);
    }

    pub(super) fn has_cut(&self) -> bool {
        self.line.budget.load(SeqCst) == i64::MAX
    }

    /// Has all connections made so far go on, but carry nothing any more.
    pub(super) fn silence(&self) {
        let connections = self.line.connections.load(SeqCst);
        self.line.silent.store(connections, SeqCst);
    }

    /// Has all that comes from here on arrive so much later, each way.
    pub(super) fn delay(&self, milliseconds: u64) {
        self.line.delay_ms.store(milliseconds, SeqCst);
    }

    /// Cuts all connections and takes no more. Returns when nobody listens.
    pub(super) async fn stop(mut self) -> u16 {
        self.cut.cancel();
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut.cancel();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, line: Line, cut: CancellationToken) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (line, cut) = (line.clone(), cut.clone());
        let number = line.connections.fetch_add(1, SeqCst);
        tokio::spawn(async move {
            let server = TcpStream::connect(("127.0.0.1", line.target)).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = cut.cancelled() => {}
                () = line.carry(number, from_client, to_server, true) => {}
                () = line.carry(number, from_server, to_client, false) => {}
            }
        });
    }
}

impl Line {
    async fn carry(
        &self,
        number: usize,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        counted: bool,
    ) {
        let (sender, mut receiver) = mpsc::channel(1024);
        let reading = async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                if number < self.silent.load(SeqCst) {
                    continue;
                }
                if counted && self.spend(length as i64) {
                    return;
                }
                let due = Instant::now() + Duration::from_millis(self.delay_ms.load(SeqCst));
                if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                    return;
                }
            }
        };
        let writing = async move {
            while let Some((due, bytes)) = receiver.recv().await {
                sleep_until(due).await;
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::pin!(writing);
        tokio::select! {
            () = reading => writing.await,
            () = &mut writing => {}
        }
    }

    /// Whether the budget is used up; it is without limit from then on.
    fn spend(&self, length: i64) -> bool {
        let left = self.budget.load(SeqCst);
        if left == i64::MAX {
            return false;
        }
        let cut = left < length;
        self.budget.store(if cut { i64::MAX } else { left - length }, SeqCst);
        cut
    }
}
