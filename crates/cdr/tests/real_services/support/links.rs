//! Stretches of network between a run and a server, which can be slow, and can be cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// A tenth of a second's worth of bytes goes at once, and this many at most.
const PIECE_BYTES: usize = 16 * 1024;

/// Links from one address to servers of this machine; they end when this is dropped.
pub struct Links {
    /// A loopback address of their own, so that the ports can be those of the servers.
    address: IpAddr,
    line: Arc<Line>,
    runtime: Runtime,
}

struct Line {
    bytes_per_second: AtomicU64,
    cut: Notify,
}

impl Links {
    pub fn new() -> Links {
        static LAST: AtomicU8 = AtomicU8::new(1);
        let number = 1 + LAST.fetch_add(1, Ordering::Relaxed);
        let line = Line { bytes_per_second: AtomicU64::new(u64::MAX), cut: Notify::new() };
        let runtime = Runtime::new().expect("a runtime");
        Links { address: Ipv4Addr::new(127, 0, 0, number).into(), line: Arc::new(line), runtime }
    }

    /// Where the links begin.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Leads to the server at `host:port`, under the same port.
    pub fn lead_to(&self, server: &str) {
        let target: SocketAddr = server.parse().expect("an address and a port");
        let here = SocketAddr::new(self.address, target.port());
        let listener = self.runtime.block_on(TcpListener::bind(here));
        let listener = listener.unwrap_or_else(|error| panic!("{here}: {error}"));
        self.runtime.spawn(accept(listener, target, self.line.clone()));
    }

    /// Lets no more than so many bytes a second pass, in each direction of each connection.
    pub fn slow_down(&self, bytes_per_second: u64) {
        self.line.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Cuts all connections; new ones can be made.
    pub fn cut(&self) {
        self.line.cut.notify_waiters();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, line: Arc<Line>) {
    loop {
        let (client, _) = listener.accept().await.expect("connections come");
        let line = line.clone();
        tokio::spawn(async move {
            // A server that is away closes the connection, too.
            let Ok(server) = TcpStream::connect(target).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::select! {
                () = line.cut.notified() => {}
                () = line.carry(from_client, to_server) => {}
                () = line.carry(from_server, to_client) => {}
            }
        });
    }
}

impl Line {
    async fn carry(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        loop {
            let rate = self.bytes_per_second.load(Ordering::Relaxed);
            let mut piece = vec![0; PIECE_BYTES.min(rate as usize / 10)];
            let Ok(length @ 1..) = from.read(&mut piece).await else { return };
            if to.write_all(&piece[..length]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
        }
    }
}
