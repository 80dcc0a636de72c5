//! A small SFTP server with switches for what servers do wrong.

mod files;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, Handler, Msg, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Limits, MethodKind, MethodSet};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use self::files::Files;

pub(super) const USER: &str = "cdr_data";
pub(super) const PASSWORD: &str = "correct horse";

/// What the server does, changed by tests while it runs.
pub(super) struct Switches {
    pub(super) posix_rename: AtomicBool,
    /// The answer to a limits request: packet, read, write, handles.
    pub(super) limits: Mutex<Option<[u64; 4]>>,
    /// How many writes to refuse.
    pub(super) failing_writes: AtomicUsize,
    /// How many sizes to report wrong.
    pub(super) wrong_sizes: AtomicUsize,
    /// Whether it offers to sync files.
    pub(super) fsync: AtomicBool,
    /// Whether it cannot, all the same.
    pub(super) refusing_fsync: AtomicBool,
    /// How many times that fails.
    pub(super) failing_fsyncs: AtomicUsize,
    /// Whether listings have no names and no end; otherwise there are none.
    pub(super) endless_folders: AtomicBool,
    /// How many bytes it reads at once.
    pub(super) longest_read: AtomicUsize,
    /// Whether a file can be opened as one that must be new.
    pub(super) exclusive: AtomicBool,
    /// Whether the size of an open file can be set.
    pub(super) set_size: AtomicBool,
    /// Whether files with temporary names vanish once they are closed.
    pub(super) losing_parts: AtomicBool,
    /// Whether nothing may be created.
    pub(super) read_only: AtomicBool,
    /// The methods offered; logins by others are refused.
    pub(super) methods: Mutex<Vec<MethodKind>>,
    /// Whether a key is not enough, and the password must follow.
    pub(super) two_factors: AtomicBool,
    /// Connections allowed at once, from here on.
    pub(super) connections_left: AtomicUsize,
    pub(super) connections: AtomicUsize,
    pub(super) login_attempts: AtomicUsize,
    pub(super) opened: AtomicUsize,
    /// How often a file was emptied when it was opened.
    pub(super) emptied: AtomicUsize,
    /// Opened as one that must be new.
    pub(super) opened_as_new: AtomicUsize,
    pub(super) largest_write: AtomicUsize,
    /// Requests to sync a file that is open.
    pub(super) synced: AtomicUsize,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            posix_rename: true.into(),
            limits: Some([262_144, 261_120, 261_120, 100]).into(),
            failing_writes: 0.into(),
            wrong_sizes: 0.into(),
            fsync: true.into(),
            refusing_fsync: false.into(),
            failing_fsyncs: 0.into(),
            endless_folders: false.into(),
            longest_read: usize::MAX.into(),
            exclusive: true.into(),
            set_size: true.into(),
            losing_parts: false.into(),
            read_only: false.into(),
            methods: vec![MethodKind::Password, MethodKind::PublicKey].into(),
            two_factors: false.into(),
            connections_left: usize::MAX.into(),
            connections: 0.into(),
            login_attempts: 0.into(),
            opened: 0.into(),
            emptied: 0.into(),
            opened_as_new: 0.into(),
            largest_write: 0.into(),
            synced: 0.into(),
        }
    }
}

impl Switches {
    /// Takes one off a count of things to go wrong.
    fn strikes(count: &AtomicUsize) -> bool {
        count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) switches: Arc<Switches>,
    pub(super) key: PrivateKey,
    /// The login folder.
    pub(super) root: TempDir,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(super) fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_at(0, Limits::default()).await
    }

    pub(super) async fn start_at(port: u16, limits: Limits) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let switches = Arc::new(Switches::default());
        let root = tempfile::tempdir().unwrap();
        let key = new_key();
        let accepting = tokio::spawn(accept(
            listener,
            key.clone(),
            limits,
            Arc::clone(&switches),
            root.path().to_owned(),
        ));
        Self { port, switches, key, root, accepting }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

async fn accept(
    listener: TcpListener,
    key: PrivateKey,
    limits: Limits,
    switches: Arc<Switches>,
    root: PathBuf,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if !Switches::strikes(&switches.connections_left) {
            continue;
        }
        switches.connections.fetch_add(1, SeqCst);
        let config = russh::server::Config {
            methods: MethodSet::from(switches.methods.lock().unwrap().as_slice()),
            auth_rejection_time: Duration::ZERO,
            keys: vec![key.clone()],
            limits: limits.clone(),
            nodelay: true,
            ..Default::default()
        };
        let client = Client {
            switches: Arc::clone(&switches),
            root: root.clone(),
            has_key: false,
            channels: HashMap::new(),
        };
        tokio::spawn(serve(config, stream, client));
    }
}

async fn serve(config: russh::server::Config, stream: TcpStream, client: Client) {
    stream.set_nodelay(true).unwrap();
    // Clients may leave at any time.
    if let Ok(session) = russh::server::run_stream(Arc::new(config), stream, client).await {
        let _ = session.await;
    }
}

struct Client {
    switches: Arc<Switches>,
    root: PathBuf,
    has_key: bool,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Client {
    fn judge(&self, right: bool) -> Auth {
        self.switches.login_attempts.fetch_add(1, SeqCst);
        let two = self.switches.two_factors.load(SeqCst);
        if right && (!two || self.has_key) {
            return Auth::Accept;
        }
        let methods = self.switches.methods.lock().unwrap();
        Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(methods.as_slice())),
            partial_success: false,
        }
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.judge(user == USER && password == PASSWORD))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        _key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if self.switches.two_factors.load(SeqCst) && user == USER {
            self.has_key = true;
            return Ok(Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(&[MethodKind::Password][..])),
                partial_success: true,
            });
        }
        Ok(self.judge(user == USER))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let answer = response.next().unwrap_or_default();
        Ok(self.judge(user == USER && *answer == *PASSWORD.as_bytes()))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        assert_eq!(name, "sftp");
        let channel = self.channels.remove(&id).unwrap();
        session.channel_success(id)?;
        let files = Files {
            switches: Arc::clone(&self.switches),
            root: self.root.clone(),
            open: HashMap::new(),
        };
        russh_sftp::server::run(channel.into_stream(), files).await;
        Ok(())
    }
}
