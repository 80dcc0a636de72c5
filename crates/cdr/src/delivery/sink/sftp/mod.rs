//! Uploads files over SFTP: to the byte, under their final names only when
//! complete, and again after any loss of the connection.
//!
//! Nothing here knows what the files hold. [`SftpStore`] is the whole interface:
//! the caller bounds how many uploads are in progress at once, by how many it
//! starts.

mod auth;
mod config;
mod connect;
mod error;
mod folder;
mod health;
mod host_keys;
mod pool;
mod read;
mod session;
#[cfg(test)]
mod tests;
mod upload;
mod wire;

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::config::{HostKeyPolicy, SftpConfig, UploadMode};
use self::connect::Connector;
pub use self::error::SftpError;
use self::folder::Place;
use self::health::{Backoff, Health};
use self::pool::Pool;
pub use self::read::RemoteFile;
use self::session::Session;
use self::upload::{Wanted, upload};
use super::content::Content;
use super::temporary::Temporary;
use crate::delivery::board::Board;

/// A folder on an SFTP server to put files into. Clones share the connections.
#[derive(Clone)]
pub struct SftpStore {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    mode: UploadMode,
    temporary: Temporary,
    pool: Pool,
    health: Health,
    closed: CancellationToken,
}

/// What to do on a connection, as often as it takes.
trait Work {
    type Outcome: Send;

    fn attempt(
        &self,
        shared: &Shared,
        session: &Session,
    ) -> impl Future<Output = Result<Self::Outcome, SftpError>> + Send;
}

/// See whether files can be written.
struct Probe;

impl Work for Probe {
    type Outcome = ();

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<(), SftpError> {
        shared.place.ensure(session).await?;
        shared.place.probe(session).await
    }
}

impl Work for Wanted<'_> {
    type Outcome = u64;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<u64, SftpError> {
        upload(session, &shared.place, shared.mode, &shared.temporary, *self).await
    }
}

struct Remove<'a> {
    name: &'a str,
}

impl Work for Remove<'_> {
    type Outcome = ();

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<(), SftpError> {
        shared.place.remove(session, self.name).await
    }
}

struct List;

impl Work for List {
    type Outcome = Vec<RemoteFile>;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<Vec<RemoteFile>, SftpError> {
        read::list(session, &shared.place).await
    }
}

/// Work that is left when the server refuses it: it is done again only after a
/// loss of the connection.
struct UnlessRefused<W>(W);

impl<W: Work + Sync> Work for UnlessRefused<W> {
    type Outcome = Result<W::Outcome, SftpError>;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<Self::Outcome, SftpError> {
        match self.0.attempt(shared, session).await {
            Err(error @ SftpError::ConnectionLost { .. }) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

struct Fetch<'a> {
    name: &'a str,
    bytes_max: u64,
}

impl Work for Fetch<'_> {
    type Outcome = Option<Vec<u8>>;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<Self::Outcome, SftpError> {
        read::fetch(session, &shared.place, self.name, self.bytes_max).await
    }
}

impl SftpStore {
    /// Prepares uploads as configured; reads the key file, but does not use the
    /// network yet.
    ///
    /// # Errors
    ///
    /// [`SftpError::NoCredentials`] and [`SftpError::KeyFile`].
    pub fn new(config: SftpConfig) -> Result<Self, SftpError> {
        let connector = Connector::new(&config)?;
        Ok(Self::with_connector(config, connector, true))
    }

    /// The same, to look at what is there: the folder is not made when it is missing.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn read_only(config: SftpConfig) -> Result<Self, SftpError> {
        let connector = Connector::new(&config)?;
        Ok(Self::with_connector(config, connector, false))
    }

    fn with_connector(config: SftpConfig, connector: Connector, writable: bool) -> Self {
        let address = config.address();
        let shared = Shared {
            health: Health::new(address.clone(), config.give_up_after),
            place: match (writable, Place::new(address, config.user, &config.remote_path)) {
                (true, place) => place,
                (false, place) => place.read_only(),
            },
            mode: config.upload_mode,
            temporary: Temporary::new(),
            pool: Pool::new(connector, config.connections),
            closed: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connects, makes the remote folder if it is missing, and sees that files
    /// can be written there. Waits for a server that is away, as
    /// [`put`](Self::put) does.
    ///
    /// # Errors
    ///
    /// A permanent one at once; [`SftpError::GaveUp`], with the last cause, when
    /// the server stays away.
    pub async fn connect(&self) -> Result<(), SftpError> {
        self.shared.run(Probe).await
    }

    /// Uploads `content`, and returns its size in bytes when it stands under
    /// `name` with that. Tries again, from the file's start, until `give_up_after` has
    /// passed without any success of this store. Before the file gets its name,
    /// `board` is asked whether this process may still give it. An attempt that
    /// fails may leave a file with a [`Temporary`] name behind.
    ///
    /// The content is asked for in pieces, of which a few are held at once. Run several at once to use the connections' full speed: 8 for
    /// each connection is enough. One that is dropped before its end may leave a
    /// part behind, too, and a file open on the server as long as the connection
    /// lasts.
    ///
    /// # Errors
    ///
    /// A permanent one at once; [`SftpError::GaveUp`], with the last cause;
    /// [`SftpError::Closed`] after [`close`](Self::close).
    pub async fn put(
        &self,
        name: &str,
        content: &dyn Content,
        board: Option<&Board>,
    ) -> Result<u64, SftpError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(SftpError::FileName { name: name.to_owned() });
        }
        self.shared.run(Wanted { name, content, board }).await
    }

    /// Removes a file, if it is there. A refusal is not tried again.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn remove(&self, name: &str) -> Result<(), SftpError> {
        self.shared.run(UnlessRefused(Remove { name })).await?
    }

    /// As [`list`](Self::list), but a refusal is not tried again.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn try_list(&self) -> Result<Vec<RemoteFile>, SftpError> {
        self.shared.run(UnlessRefused(List)).await?
    }

    /// Whether a temporary name is one of this store's.
    pub fn made(&self, name: &str) -> bool {
        self.shared.temporary.made(name)
    }

    /// All files in the folder, in no order; none where there is no such folder. Waits for a server
    /// that is away, as [`put`](Self::put) does.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn list(&self) -> Result<Vec<RemoteFile>, SftpError> {
        self.shared.run(List).await
    }

    /// The content of a file; `None` where there is no such file. Of one that is longer than
    /// `bytes_max`, at least one byte more comes, and not much more.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, SftpError> {
        self.shared.run(Fetch { name, bytes_max }).await
    }

    /// Ends all connections. Uploads in progress fail.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.pool.close().await;
    }
}

impl Shared {
    async fn run<W: Work>(&self, work: W) -> Result<W::Outcome, SftpError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(SftpError::Closed {
                address: self.place.address.clone(),
            }),
            outcome = self.persist(work) => outcome,
        }
    }

    /// Does the work, as often as it takes.
    async fn persist<W: Work>(&self, work: W) -> Result<W::Outcome, SftpError> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let lease = self.pool.lease(&self.health, &self.place, begun).await?;
            let error = match work.attempt(self, &lease.connection.session).await {
                Ok(outcome) => {
                    self.health.succeeded();
                    return Ok(outcome);
                }
                // It says nothing of other work, such as whether files can be put
                // where they may not be listed.
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => error,
            };
            if lease.connection.is_lost() && !self.pool.is_connected() {
                self.health.away(begun, &error);
            } else {
                self.health.failed(begun, &error);
            }
            drop(lease);
            self.health.verdict(begun)?;
            backoff.failed();
            backoff.pause(self.health.patience_ends(begun)).await;
        }
    }
}
