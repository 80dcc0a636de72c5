//! Uploads files over SFTP: to the byte, under their final names only when
//! complete, and again after any loss of the connection.
//!
//! Nothing here knows what the files hold. [`SftpSink`] is the whole interface:
//! the caller bounds how many uploads are in progress at once, by how many it
//! starts.

mod auth;
mod client;
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

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::config::{HostKeyPolicy, SftpConfig, UploadMode};
use self::connect::Connector;
pub use self::error::SftpError;
use self::folder::RemoteFolder;
use self::health::{Backoff, Health};
use self::pool::Pool;
use self::session::Session;
use self::upload::{Wanted, upload};
use super::content::Content;
use super::temporary::{Temporary, final_name};
use super::{EachFile, EachPiece, FileSink, FileSinkError, Gate, IsOurs, Listed, ListedFile, Stale};

/// Removals on their way at once.
const REMOVALS_AHEAD: usize = 16;

/// A folder on an SFTP server to put files into. Clones share the connections.
#[derive(Clone)]
pub struct SftpSink {
    shared: Arc<Shared>,
}

struct Shared {
    folder: RemoteFolder,
    mode: UploadMode,
    fsync: bool,
    in_flight: usize,
    target: String,
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
        shared.folder.ensure(session).await?;
        shared.folder.probe(session).await
    }
}

impl Work for Wanted<'_> {
    type Outcome = u64;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<u64, SftpError> {
        upload(session, &shared.folder, shared.mode, &shared.temporary, *self).await
    }
}

struct Remove<'a> {
    name: &'a str,
}

impl Work for Remove<'_> {
    type Outcome = ();

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<(), SftpError> {
        shared.folder.remove(session, self.name).await
    }
}

/// The callback is locked, as attempts come one after the other.
struct List<'a> {
    each: Mutex<EachFile<'a>>,
}

impl Work for List<'_> {
    type Outcome = ();

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<(), SftpError> {
        let report = |listed: Listed<'_>| {
            let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
            each(listed);
        };
        report(Listed::Start);
        let mut file = |name: &str, found: wire::Attributes| {
            let temporary_for = final_name(name);
            report(Listed::File(ListedFile { name, bytes: found.size, temporary_for }));
        };
        read::list(session, &shared.folder, &mut file).await
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

/// What is read of a file so far, as attempts come one after the other.
struct Read<'a> {
    name: &'a str,
    state: tokio::sync::Mutex<(u64, EachPiece<'a>)>,
}

impl Work for Read<'_> {
    type Outcome = bool;

    async fn attempt(&self, shared: &Shared, session: &Session) -> Result<bool, SftpError> {
        let (offset, each) = &mut *self.state.lock().await;
        read::read(session, &shared.folder, self.name, offset, *each).await
    }
}

impl SftpSink {
    /// Prepares uploads as configured; reads the key file, but does not use the
    /// network yet.
    ///
    /// # Errors
    ///
    /// [`SftpError::NoCredentials`] and [`SftpError::KeyFile`].
    pub fn new(config: &SftpConfig) -> Result<Self, SftpError> {
        let connector = Connector::new(config)?;
        Ok(Self::with_connector(config, connector, true))
    }

    /// The same, to look at what is there: the folder is not made when it is missing.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn read_only(config: &SftpConfig) -> Result<Self, SftpError> {
        let connector = Connector::new(config)?;
        Ok(Self::with_connector(config, connector, false))
    }

    fn with_connector(config: &SftpConfig, connector: Connector, writable: bool) -> Self {
        let address = config.address();
        let shared = Shared {
            health: Health::new(address.clone(), config.give_up_after),
            folder: match (
                writable,
                RemoteFolder::new(address, config.user.clone(), &config.remote_path),
            ) {
                (true, folder) => folder,
                (false, folder) => folder.read_only(),
            },
            mode: config.upload_mode,
            fsync: config.fsync,
            in_flight: config.in_flight,
            target: format!("{}@{}/{}", config.user, config.address(), config.remote_path),
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
        let RemoteFolder { address, user, .. } = &self.shared.folder;
        tracing::info!("Connecting to SFTP server {address} as {user}");
        self.shared.run(Probe).await
    }

    /// Uploads `content`, and returns its size in bytes when it stands under
    /// `name` with that. Tries again, from the file's start, until `give_up_after` has
    /// passed without any success of this sink. Before the file gets its name, the
    /// gate is passed. An attempt that fails may leave a file with a [`Temporary`]
    /// name behind.
    ///
    /// The content is taken in pieces, of which a few are held at once. Run several
    /// uploads at once to use the connections' full speed: 8 for each connection is
    /// enough. One that is dropped before its end may leave a part behind, too, and a
    /// file open on the server as long as the connection lasts.
    ///
    /// # Errors
    ///
    /// A permanent one at once; [`SftpError::GaveUp`], with the last cause;
    /// [`SftpError::Closed`] after [`close`](Self::close).
    pub async fn put(
        &self,
        name: &str,
        content: &dyn Content,
        gate: &dyn Gate,
    ) -> Result<u64, SftpError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(SftpError::FileName { name: name.to_owned() });
        }
        let sync = self.shared.fsync;
        self.shared.run(Wanted { name, content, gate, sync }).await
    }

    /// Removes a file, if it is there. A refusal is not tried again.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn remove(&self, name: &str) -> Result<(), SftpError> {
        self.shared.run(UnlessRefused(Remove { name })).await?
    }

    /// Hands over all files in the folder, in no order; none where there is no such folder. Waits for a
    /// server that is away, as [`put`](Self::put) does.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn list(&self, each: EachFile<'_>) -> Result<(), SftpError> {
        self.shared.run(List { each: Mutex::new(each) }).await
    }

    /// Hands over the content of a file; returns whether there is such a file.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn read(&self, name: &str, each: EachPiece<'_>) -> Result<bool, SftpError> {
        self.shared.run(Read { name, state: tokio::sync::Mutex::new((0, each)) }).await
    }

    /// Removes stale temporary files, some of them at once. A listing that is refused is not tried
    /// again.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn clean_up(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<(), SftpError> {
        let mut found = Vec::new();
        let mut select = |listed: Listed<'_>| match listed {
            Listed::Start => found.clear(),
            Listed::File(file) if self.shared.temporary.is_stale(file.name, stale, is_ours) => {
                found.push(file.name.to_owned());
            }
            Listed::File(_) => {}
        };
        self.shared.run(UnlessRefused(List { each: Mutex::new(&mut select) })).await??;
        let mut removals = JoinSet::new();
        for name in found {
            if removals.len() >= REMOVALS_AHEAD {
                self.removed(removals.join_next().await)?;
            }
            let sink = self.clone();
            removals.spawn(async move { sink.remove(&name).await });
        }
        while let Some(removed) = removals.join_next().await {
            self.removed(Some(removed))?;
        }
        Ok(())
    }

    fn removed(
        &self,
        removed: Option<Result<Result<(), SftpError>, tokio::task::JoinError>>,
    ) -> Result<(), SftpError> {
        // A task that panicked has reported it.
        removed.and_then(Result::ok).unwrap_or(Ok(()))
    }

    /// Ends all connections. Uploads in progress fail.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.pool.close().await;
    }
}

#[async_trait]
impl FileSink for SftpSink {
    fn name(&self) -> &'static str {
        "sftp"
    }

    fn target(&self) -> String {
        self.shared.target.clone()
    }

    fn in_flight(&self) -> usize {
        self.shared.in_flight
    }

    async fn open(&self) -> Result<(), FileSinkError> {
        Ok(self.connect().await?)
    }

    async fn put(
        &self,
        name: &str,
        content: Arc<dyn Content>,
        gate: &dyn Gate,
    ) -> Result<u64, FileSinkError> {
        Ok(SftpSink::put(self, name, &*content, gate).await?)
    }

    async fn list(&self, each: EachFile<'_>) -> Result<(), FileSinkError> {
        Ok(SftpSink::list(self, each).await?)
    }

    async fn read(&self, name: &str, each: EachPiece<'_>) -> Result<bool, FileSinkError> {
        Ok(SftpSink::read(self, name, each).await?)
    }

    async fn remove(&self, name: &str) -> Result<(), FileSinkError> {
        Ok(SftpSink::remove(self, name).await?)
    }

    async fn clean_up(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<(), FileSinkError> {
        Ok(SftpSink::clean_up(self, stale, is_ours).await?)
    }

    async fn close(&self) {
        SftpSink::close(self).await;
    }
}

impl Shared {
    async fn run<W: Work>(&self, work: W) -> Result<W::Outcome, SftpError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(SftpError::Closed {
                address: self.folder.address.clone(),
            }),
            outcome = self.persist(work) => outcome,
        }
    }

    /// Does the work, as often as it takes.
    async fn persist<W: Work>(&self, work: W) -> Result<W::Outcome, SftpError> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let lease = self.pool.lease(&self.health, &self.folder, begun).await?;
            let error = match work.attempt(self, &lease.connection.session).await {
                Ok(outcome) => {
                    self.health.succeeded();
                    return Ok(outcome);
                }
                // It shows nothing of other work, such as whether files can be put
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
