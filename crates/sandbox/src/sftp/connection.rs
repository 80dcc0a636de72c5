//! One SSH connection: login, and SFTP sessions on its channels. All else is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{
    Channel, ChannelId, ChannelWriteHalf, Disconnect, Preferred, Pty, SshId, compression, server,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backpressure::{Backpressure, Throttled};
use super::config::Limits;
use super::files::Files;
use super::inbox::Inbox;
use super::login::Login;
use super::operation::Operation;
use super::root::Root;
use super::session::{Session, Worker};
use crate::fault::Faults;

/// What the answer to a wrong login waits for, so that guessing takes its time.
const REJECTION_TIME: Duration = Duration::from_millis(300);
/// A silent client gets keepalive requests, up to three.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a client is given to receive the server's disconnect.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
/// Messages to a client that wait in the connection, of 32 kiB each at most.
const QUEUE_LENGTH: usize = 32;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) root: Arc<Root>,
    pub(super) login: Login,
    pub(super) limits: Limits,
    pub(super) faults: Faults<Operation>,
}

/// How connections speak SSH.
pub(super) fn ssh_config(key: PrivateKey, login: &Login, limits: &Limits) -> server::Config {
    server::Config {
        server_id: SshId::Standard(concat!("SSH-2.0-cdr_sandbox_", env!("CARGO_PKG_VERSION")).into()),
        methods: login.methods(),
        auth_rejection_time: REJECTION_TIME,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        // What is unpacked could be a thousand times what has come.
        preferred: Preferred { compression: (&[compression::NONE]).into(), ..Preferred::DEFAULT },
        max_auth_attempts: limits.login_attempts,
        event_buffer_size: QUEUE_LENGTH,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        nodelay: true,
        ..server::Config::default()
    }
}

/// Serves a connection to its end, or until `stop`. When it returns, everything is closed.
pub(super) async fn serve(
    shared: Arc<Shared>,
    ssh: Arc<server::Config>,
    stream: TcpStream,
    stop: CancellationToken,
) {
    let peer = stream.peer_addr().map_or_else(|_| "someone".to_owned(), |peer| peer.to_string());
    let backpressure = Arc::new(Backpressure::default());
    let ended = CancellationToken::new();
    let sessions = TaskTracker::new();
    let logged_in = Arc::new(AtomicBool::new(false));
    let client = Client {
        free_handles: Arc::new(Semaphore::new(shared.limits.handles)),
        peer: peer.clone(),
        backpressure: Arc::clone(&backpressure),
        ended: ended.clone(),
        tasks: sessions.clone(),
        logged_in: Arc::clone(&logged_in),
        waiting: HashMap::new(),
        sessions: HashMap::new(),
        shared: Arc::clone(&shared),
    };
    // If it does not work, only small messages are slower.
    let _ = stream.set_nodelay(true);
    let gated = Throttled { stream, backpressure: Arc::clone(&backpressure) };
    let login_time = shared.limits.login_time;
    let starting = timeout(login_time, server::run_stream(ssh, gated, client));
    let started = tokio::select! {
        started = starting => started,
        () = stop.cancelled() => return,
    };
    match started {
        Ok(Ok(running)) => run(running, &peer, &backpressure, &stop, login_time, &logged_in).await,
        Ok(Err(error)) => log_end(&peer, &error),
        Err(_) => tracing::debug!("Closed the connection of {peer}: it does not begin to speak SSH"),
    }
    ended.cancel();
    sessions.close();
    sessions.wait().await;
}

async fn run(
    mut running: server::RunningSession<Client>,
    peer: &str,
    backpressure: &Backpressure,
    stop: &CancellationToken,
    login_time: Duration,
    logged_in: &AtomicBool,
) {
    let farewell = running.handle();
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        () = stop.cancelled() => {
            let goodbye = async {
                let reason = "the server is shutting down".to_owned();
                let _ = farewell.disconnect(Disconnect::ByApplication, reason, String::new()).await;
                // How it ends is of no interest any more.
                let _ = (&mut running).await;
            };
            if timeout(FAREWELL_TIME, goodbye).await.is_err() {
                backpressure.close();
                let _ = running.await;
            }
            Ok(())
        }
        () = never_logged_in(login_time, logged_in) => {
            tracing::debug!("Closed the connection of {peer}: no login within {login_time:?}");
            backpressure.close();
            let _ = running.await;
            Ok(())
        }
    };
    if let Err(error) = outcome {
        log_end(peer, &error);
    }
}

async fn never_logged_in(login_time: Duration, logged_in: &AtomicBool) {
    sleep(login_time).await;
    if logged_in.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Clients come and go; one that does not speak SSH is worth a line.
fn log_end(peer: &str, error: &russh::Error) {
    use russh::Error::{ConnectionTimeout, Disconnect, HUP, IO, KeepaliveTimeout};
    match error {
        IO(_) | Disconnect | HUP | KeepaliveTimeout | ConnectionTimeout => {
            tracing::debug!("The connection of {peer} ended: {error}");
        }
        error => tracing::warn!("Closed the connection of {peer}: {error}"),
    }
}

/// What one client may do, and does.
pub(super) struct Client {
    shared: Arc<Shared>,
    peer: String,
    backpressure: Arc<Backpressure>,
    ended: CancellationToken,
    tasks: TaskTracker,
    logged_in: Arc<AtomicBool>,
    free_handles: Arc<Semaphore>,
    /// Channels on which nothing was requested yet: their sending sides. The receiving ones are dropped,
    /// because one that nobody reads would stop the connection when it is full.
    waiting: HashMap<ChannelId, ChannelWriteHalf<Msg>>,
    /// The channels with an SFTP session.
    sessions: HashMap<ChannelId, OpenSession>,
}

/// The other end of a session.
struct OpenSession {
    inbox: Arc<Inbox>,
    /// Cancelled when the client closes the channel.
    closed: CancellationToken,
}

impl Client {
    fn judge(&self, right: bool, user: &str, method: &str) -> Auth {
        if right {
            return Auth::Accept;
        }
        // What strangers send is not to fill the log.
        let user: String = user.escape_debug().take(64).collect();
        tracing::debug!("Refused the {method} of '{user}' from {}", self.peer);
        // Unless they are named, the method is not offered again, and a mistyped password is the last.
        let methods = Some(self.shared.login.methods());
        Auth::Reject { proceed_with_methods: methods, partial_success: false }
    }

    fn begin(&mut self, writer: ChannelWriteHalf<Msg>) {
        let id = writer.id();
        let inbox = Arc::new(Inbox::new(Arc::clone(&self.backpressure)));
        let closed = CancellationToken::new();
        let session = Session {
            peer: self.peer.clone(),
            inbox: Arc::clone(&inbox),
            writer,
            backpressure: Arc::clone(&self.backpressure),
            ended: self.ended.clone(),
            closed: closed.clone(),
            stall_time: self.shared.limits.stall_time,
        };
        let files = Files::new(
            Arc::clone(&self.shared.root),
            Arc::clone(&self.free_handles),
            self.shared.limits.handles,
        );
        let worker = Worker::new(files, self.shared.faults.clone());
        self.tasks.spawn(session.run(worker));
        self.sessions.insert(id, OpenSession { inbox, closed });
    }

    fn end(&self, channel: ChannelId) {
        if let Some(session) = self.sessions.get(&channel) {
            session.inbox.end();
        }
    }
}

/// However the connection ended, its sessions learn of it.
impl Drop for Client {
    fn drop(&mut self) {
        self.sessions.values().for_each(|session| session.inbox.end());
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.judge(self.shared.login.takes_password(user, password), user, "password"))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.judge(self.shared.login.takes_key(user, offer.public_key), user, "key"))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.judge(self.shared.login.takes_key(user, key.public_key), user, "key"))
    }

    async fn auth_succeeded(&mut self, _session: &mut server::Session) -> Result<(), Self::Error> {
        self.logged_in.store(true, Ordering::Relaxed);
        tracing::debug!("{} has logged in", self.peer);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        // Without an answer, it is refused.
        if self.waiting.len() + self.sessions.len() < self.shared.limits.sessions {
            let (_, writer) = channel.split();
            self.waiting.insert(writer.id(), writer);
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        match self.waiting.remove(&id) {
            Some(writer) if name == "sftp" => {
                session.channel_success(id)?;
                self.begin(writer);
                Ok(())
            }
            other => {
                self.waiting.extend(other.map(|writer| (id, writer)));
                session.channel_failure(id)
            }
        }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        if let Some(session) = self.sessions.get(&channel) {
            session.inbox.put(data);
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        self.end(channel);
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        self.end(channel);
        if let Some(session) = self.sessions.remove(&channel) {
            session.closed.cancel();
        }
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
