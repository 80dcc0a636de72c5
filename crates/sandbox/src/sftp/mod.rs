//! An SFTP server over one folder.
//!
//! It serves version 3 of the protocol with the extensions that OpenSSH's clients use, to one user, who
//! logs in with a password or a key. Files are plain files in the folder, and paths begin there: `/` is
//! the folder, and nothing leads out of it (`root.rs` has how, and what that does not cover). Symbolic
//! links are not followed, and cannot be made or read. Names are UTF-8.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cdr_sandbox::sftp::{Config, DEFAULT_PORT, Server};
//!
//! let server = Server::open(Config::new("files", "state/host_key"))?;
//! let listener = tokio::net::TcpListener::bind(("127.0.0.1", DEFAULT_PORT)).await?;
//! server.serve(listener, async { drop(tokio::signal::ctrl_c().await) }).await;
//! # Ok(())
//! # }
//! ```

mod attributes;
mod backpressure;
mod config;
mod connection;
mod error;
mod failure;
mod files;
mod handles;
mod host_key;
mod inbox;
mod login;
mod operation;
mod path;
mod root;
mod session;
mod wire;

use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{HashAlg, PrivateKey};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use russh::keys::PublicKey;

pub use self::config::{Config, DEFAULT_PORT, Limits, Password, read_authorized_keys};
use self::connection::Shared;
pub use self::error::Error;
use self::login::Login;
pub use self::operation::Operation;
use self::root::Root;
use crate::fault::Faults;

/// How long no connection is accepted after the system could not give one, for lack of something that
/// others must give back first.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A server that is ready to serve.
pub struct Server {
    shared: Shared,
    key: PrivateKey,
}

impl Server {
    /// Makes the root folder and the server's key, or finds them.
    ///
    /// # Errors
    ///
    /// Any [`Error`] but [`Error::AuthorizedKeys`].
    pub fn open(config: Config) -> Result<Self, Error> {
        if config.password.is_none() && config.authorized_keys.is_empty() {
            return Err(Error::NoLogin);
        }
        let mut folders = std::fs::DirBuilder::new();
        let made = folders.recursive(true).mode(0o755).create(&config.root);
        let root = made.and_then(|()| Root::open(&config.root));
        let root = root.map_err(|error| Error::Root { folder: config.root.clone(), error })?;
        let key = host_key::load_or_make(&config.host_key_file)?;
        let shared = Shared {
            root: Arc::new(root),
            login: Login::new(&config),
            limits: config.limits,
            faults: Faults::default(),
        };
        Ok(Self { shared, key })
    }

    /// What goes wrong on request. The codes to fail with are the protocol's: 2 that there is no such
    /// file, 3 that permission is denied, 4 any failure. When a connection is closed, answers to earlier
    /// requests that are still on their way may be lost with it.
    pub fn faults(&self) -> Faults<Operation> {
        self.shared.faults.clone()
    }

    /// The key by which clients know the server, for their `known_hosts`.
    pub fn host_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// As `ssh` and `ssh-keygen -l` show it: `SHA256:` and 43 letters.
    pub fn host_key_fingerprint(&self) -> String {
        self.host_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Serves until `shutdown`. When it returns, all connections have ended, and whatever they had open
    /// is closed. If it is dropped before, they end soon.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let ssh = connection::ssh_config(self.key, &self.shared.login, &self.shared.limits);
        let ssh = Arc::new(ssh);
        let shared = Arc::new(self.shared);
        let free = Arc::new(Semaphore::new(shared.limits.connections));
        let stop = CancellationToken::new();
        let _stop_if_dropped = stop.clone().drop_guard();
        let connections = TaskTracker::new();
        let accepting = async {
            loop {
                let Some(stream) = accept(&listener, &shared.faults).await else {
                    continue;
                };
                let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
                    tracing::warn!(
                        "Closed a connection: there are {} already",
                        shared.limits.connections
                    );
                    continue;
                };
                let serving =
                    connection::serve(Arc::clone(&shared), Arc::clone(&ssh), stream, stop.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = shutdown => {}
        }
        drop(listener);
        stop.cancel();
        connections.close();
        connections.wait().await;
    }
}

/// Accepts a connection, if one comes that is to be served.
async fn accept(listener: &TcpListener, faults: &Faults<Operation>) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => faults.accepting().then_some(stream),
        Err(error) => {
            tracing::warn!("Cannot accept a connection: {error}");
            sleep(PAUSE_AFTER_ERROR).await;
            None
        }
    }
}
