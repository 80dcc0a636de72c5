//! The service: a listener, its connections, and the clock.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::api;
use super::closed::Closed;
use super::config::Config;
use super::connection;
use super::core::Core;
use super::error::Error;
use crate::fault::Faults;

/// How often sessions and transactions are looked at for having timed out.
const TICK: Duration = Duration::from_millis(20);

/// How long connections may take to answer what they have begun, when the broker is to end.
const GRACE: Duration = Duration::from_secs(5);

/// The pause after the listener failed, as it does when no more files can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A broker whose data is open.
#[derive(Debug)]
pub struct Broker {
    core: Arc<Core>,
    faults: Faults<ApiKey>,
}

impl Broker {
    /// Opens a data folder: locks it, reads the logs, cuts torn tails, and ends the transactions
    /// whose end was decided. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// When the folder is in use, cannot be read or written, or is damaged.
    pub fn open(config: Config) -> Result<Self, Error> {
        Ok(Broker { core: Arc::new(Core::open(config)?), faults: Faults::default() })
    }

    /// What a test may make go wrong. A fault applies to the requests of one kind; the code of
    /// [`Fail`](crate::fault::Fault::Fail) is one of Kafka's.
    pub fn faults(&self) -> Faults<ApiKey> {
        self.faults.clone()
    }

    /// Answers one request, as it stands behind its length on the wire; `None` if it wants no answer.
    /// This is what a connection does, for those who test it without one.
    ///
    /// # Errors
    /// Why a connection would be closed.
    pub async fn answer(&self, request: Bytes) -> Result<Option<Bytes>, Closed> {
        let call = connection::parse(request)?;
        Ok(api::answer(&self.core, call).await?.map(|answer| answer.bytes))
    }

    /// Serves clients until `shutdown` is over; then answers what it has begun, and brings all to
    /// the disk.
    ///
    /// # Errors
    /// When the listener is of no use.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let local = listener.local_addr().map_err(Error::Listener)?;
        let (host, port) = self.core.config.advertised.clone().unwrap_or_else(|| advertised(local));
        info!("Kafka-compatible broker on {local}, known to clients as {host}:{port}");
        if !local.ip().is_loopback() {
            warn!("the broker on {local} can be reached from outside of this machine, without a login");
        }
        self.core.set_address((host, port));
        let clock = tokio::spawn(run_clock(self.core.clone()));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => self.accepted(accepted, &mut connections).await,
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.core.stop.cancel();
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            warn!("connections that do not end are cut");
            connections.shutdown().await;
        }
        // The clock ends by itself: it was stopped.
        drop(clock.await);
        let core = self.core.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || core.close()).await {
            warn!("the broker's data could not be closed in good order: {error}");
        }
        debug!("the broker on {local} has ended");
        Ok(())
    }

    async fn accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        connections: &mut JoinSet<()>,
    ) {
        match accepted {
            Ok((_, peer)) if !self.faults.accepting() => debug!("refused {peer}: a test wants it so"),
            Ok((_, peer)) if connections.len() >= self.core.config.limits.connections => {
                warn!("refused {peer}: there are {} connections already", connections.len());
            }
            Ok((stream, peer)) => {
                connections.spawn(connection::run(stream, peer, self.core.clone(), self.faults.clone()));
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The address that clients on this machine can use.
fn advertised(local: SocketAddr) -> (String, u16) {
    let ip = local.ip();
    let host = match ip.is_unspecified() {
        true if ip.is_ipv6() => "::1".to_owned(),
        true => "127.0.0.1".to_owned(),
        false => ip.to_string(),
    };
    (host, local.port())
}

async fn run_clock(core: Arc<Core>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut maintained = Instant::now();
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let is_due = maintained.elapsed() >= core.config.sync_interval;
        let of_task = core.clone();
        let ticked = tokio::task::spawn_blocking(move || {
            of_task.tick();
            if is_due {
                of_task.maintain();
            }
        });
        if let Err(error) = ticked.await {
            warn!("a look at the clock failed: {error}");
        }
        if is_due {
            maintained = Instant::now();
        }
    }
}
