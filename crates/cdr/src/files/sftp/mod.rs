//! Uploads files over SFTP: to the byte, under their final names only when complete, and again after any
//! loss of the connection. Nothing here knows what the files hold.

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
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::config::{HostKeyPolicy, SftpConfig, UploadMode};
use self::connect::{Connection, Connector};
pub use self::error::SftpError;
use self::health::Backoff;
use self::pool::Pool;
use super::content::Content;
use super::temporary::{Temporary, final_name};
use super::{
    EachFile, EachPiece, FileSink, FileSinkError, IsOurs, Listed, ListedFile, PublishCondition, Stale,
};

/// Removals on their way at once.
const REMOVALS_AHEAD: usize = 16;

/// Stale files that are listed, and then removed, at once.
const STALE_MAX: usize = 10_000;

/// A folder on an SFTP server to put files into.
pub struct SftpSink {
    config: Arc<SftpConfig>,
    temporary: Temporary,
    pool: Pool,
    closed: CancellationToken,
}

impl SftpSink {
    /// Prepares uploads as configured; reads the key file, but does not use the network yet.
    ///
    /// # Errors
    /// [`SftpError::NoCredentials`] and [`SftpError::KeyFile`].
    pub fn new(config: &SftpConfig) -> Result<Self, SftpError> {
        Ok(Self::with(Connector::new(config, true)?))
    }

    /// The same, to look at what is there: the folder is not made when it is missing.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn read_only(config: &SftpConfig) -> Result<Self, SftpError> {
        Ok(Self::with(Connector::new(config, false)?))
    }

    fn with(connector: Connector) -> Self {
        Self {
            config: Arc::clone(&connector.config),
            temporary: Temporary::default(),
            pool: Pool::new(connector),
            closed: CancellationToken::new(),
        }
    }

    /// The names of stale files: the first that are listed.
    async fn stale(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<Vec<String>, SftpError> {
        let mut found = Vec::new();
        let mut select = |listed: Listed<'_>| match listed {
            Listed::Start => found.clear(),
            Listed::File(file) => {
                if found.len() < STALE_MAX && self.temporary.is_stale(file.name, stale, is_ours) {
                    found.push(file.name.to_owned());
                }
            }
        };
        let each = &Mutex::new(&mut select as EachFile<'_>);
        let list = |connection: Arc<Connection>| async move {
            unless_refused(Self::list_on(&connection, each).await)
        };
        self.run(list).await??;
        Ok(found)
    }

    /// Does the work on a connection: again after a failure, until it fails for good, or until
    /// `give_up_after` has passed without any success of this sink.
    async fn run<T, W>(&self, work: impl Fn(Arc<Connection>) -> W) -> Result<T, SftpError>
    where
        W: Future<Output = Result<T, SftpError>>,
    {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(SftpError::Closed { address: self.config.address() }),
            outcome = self.persist(work) => outcome,
        }
    }

    async fn persist<T, W>(&self, work: impl Fn(Arc<Connection>) -> W) -> Result<T, SftpError>
    where
        W: Future<Output = Result<T, SftpError>>,
    {
        let (begun, health) = (Instant::now(), &self.pool.health);
        let mut backoff = Backoff::default();
        loop {
            let connection = self.pool.lease(begun).await?;
            let error = match work(Arc::clone(&connection)).await {
                Ok(outcome) => {
                    health.succeeded();
                    return Ok(outcome);
                }
                // It shows nothing of other work, such as whether files can be put where they may not be
                // listed.
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => error,
            };
            let is_lost = connection.is_lost();
            drop(connection);
            health.failed(begun, &error, is_lost && !self.pool.is_connected());
            health.verdict(begun)?;
            backoff.failed();
            backoff.pause(health.retry_deadline(begun)).await;
        }
    }

    /// One attempt at a listing.
    async fn list_on(connection: &Connection, each: &Mutex<EachFile<'_>>) -> Result<(), SftpError> {
        let report = |listed: Listed<'_>| each.lock().unwrap_or_else(PoisonError::into_inner)(listed);
        report(Listed::Start);
        let mut file = |name: &str, found: wire::Attributes| {
            let temporary_for = final_name(name);
            report(Listed::File(ListedFile { name, bytes: found.size, temporary_for }));
        };
        connection.session.list(&mut file).await
    }
}

/// What the server refuses is not tried again, only what a lost connection kept from being done.
fn unless_refused<T>(outcome: Result<T, SftpError>) -> Result<Result<T, SftpError>, SftpError> {
    match outcome {
        Err(error @ SftpError::ConnectionLost { .. }) => Err(error),
        outcome => Ok(outcome),
    }
}

#[async_trait]
impl FileSink for SftpSink {
    fn name(&self) -> &'static str {
        "sftp"
    }

    fn target(&self) -> String {
        format!("{}@{}/{}", self.config.user, self.config.address(), self.config.remote_path)
    }

    fn in_flight(&self) -> usize {
        self.config.in_flight
    }

    /// Connects, and sees that files can be written.
    async fn open(&self) -> Result<(), FileSinkError> {
        tracing::info!("Connecting to SFTP server {} as {}", self.config.address(), self.config.user);
        let probe = |connection: Arc<Connection>| async move {
            connection.session.ensure_folder().await?;
            connection.session.probe().await
        };
        Ok(self.run(probe).await?)
    }

    /// An attempt that fails, or is dropped before its end, may leave a file with a [`Temporary`] name, and
    /// one that is open on the server as long as the connection lasts.
    async fn put(
        &self,
        name: &str,
        content: Arc<dyn Content>,
        condition: &dyn PublishCondition,
    ) -> Result<u64, FileSinkError> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(SftpError::FileName { name: name.to_owned() }.into());
        }
        let content = &*content;
        let put = |connection: Arc<Connection>| async move {
            upload::upload(&connection.session, &self.temporary, name, content, condition).await
        };
        Ok(self.run(put).await?)
    }

    async fn list(&self, each: EachFile<'_>) -> Result<(), FileSinkError> {
        let each = &Mutex::new(each);
        Ok(self.run(|connection| async move { Self::list_on(&connection, each).await }).await?)
    }

    async fn read(&self, name: &str, each: EachPiece<'_>) -> Result<bool, FileSinkError> {
        // How far it is read, as attempts come one after the other.
        let state = &tokio::sync::Mutex::new((0, each));
        let read = |connection: Arc<Connection>| async move {
            let (offset, each) = &mut *state.lock().await;
            connection.session.read(name, offset, *each).await
        };
        Ok(self.run(read).await?)
    }

    /// A refusal is not tried again.
    async fn remove(&self, name: &str) -> Result<(), FileSinkError> {
        let remove = |connection: Arc<Connection>| async move {
            unless_refused(connection.session.remove(name).await)
        };
        Ok(self.run(remove).await??)
    }

    /// Removes some at once. A listing that is refused is not tried again.
    async fn clean_up(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<(), FileSinkError> {
        let mut before = Vec::new();
        loop {
            let found = self.stale(stale, is_ours).await?;
            // A server that removes nothing lists the same again.
            let is_last = found.len() < STALE_MAX || found == before;
            before.clone_from(&found);
            let removals = stream::iter(found).map(|name| async move { self.remove(&name).await });
            removals.buffer_unordered(REMOVALS_AHEAD).try_collect::<()>().await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn close(&self) {
        self.closed.cancel();
        self.pool.close().await;
    }
}
