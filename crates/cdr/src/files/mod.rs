//! Where files go: a folder on an SFTP server, or a local one.
//!
//! What a sink does so that a file is there as a whole or not at all, and outlasts a loss of power, is
//! its own affair: such as a temporary name and a rename. Nothing here knows of runs.

mod content;
mod directory;
pub mod sftp;
mod temporary;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::content::{Content, PartFile, Pieces};
pub use self::directory::{DirectoryError, DirectorySink};
use self::sftp::SftpError;
use crate::settings::choice;

choice! {
    /// The file sinks that there are.
    FileSinkKind {
        /// A folder on an SFTP server.
        Sftp = "sftp",
        /// A local folder.
        Directory = "directory",
    }
}

/// What is awaited before readers may see anything of a file.
#[async_trait]
pub trait PublishCondition: Send + Sync {
    /// Resolves when the file may be published; never, when it must not be.
    async fn met(&self);
}

/// Whoever owns the destination alone publishes at once.
#[derive(Clone, Copy, Debug)]
pub struct Unconditional;

#[async_trait]
impl PublishCondition for Unconditional {
    async fn met(&self) {}
}

/// A file that a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFile<'a> {
    pub name: &'a str,
    /// In bytes, where the sink knows it without reading the file.
    pub bytes: Option<u64>,
    /// The name that an upload in progress, or one that was cut off, was to have.
    pub temporary_for: Option<&'a str>,
}

/// Which files under temporary names are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Those of other processes: they are no more, or are fenced.
    OfOthers,
    /// Those of this process, which has no upload in flight any more. It must not take long: the next
    /// process cleans up, too.
    Own,
    All,
}

/// One step of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    /// The listing begins; or it begins again, after a connection was lost, and what came before it
    /// does not count.
    Start,
    File(ListedFile<'a>),
}

/// Takes files one by one as they are listed.
pub type EachFile<'a> = &'a mut (dyn FnMut(Listed<'_>) + Send);

/// Takes a file's content piece by piece; `false` ends the reading.
pub type EachPiece<'a> = &'a mut (dyn FnMut(&[u8]) -> bool + Send);

/// Whether a file, by its name, is one of those that are delivered here.
pub type IsOurs<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// A destination for files. Its errors are those of one that is away for too long, or refuses.
#[async_trait]
pub trait FileSink: Send + Sync {
    /// The sink's name among those of a run: `sftp`, `directory`.
    fn name(&self) -> &'static str;

    /// Where it puts files, as text that differs between two targets.
    fn target(&self) -> String;

    /// How many files it takes at once to be fast, at least 1.
    fn in_flight(&self) -> usize;

    /// Returns when files can be put; makes what is missing for that.
    async fn open(&self) -> Result<(), FileSinkError>;

    /// Writes a file piece by piece, and publishes it under its name once it is whole and the condition is
    /// met; returns its size in bytes.
    async fn put(
        &self,
        name: &str,
        content: Arc<dyn Content>,
        condition: &dyn PublishCondition,
    ) -> Result<u64, FileSinkError>;

    /// Hands over all files as they come, in no order; none where there is no such folder.
    async fn list(&self, each: EachFile<'_>) -> Result<(), FileSinkError>;

    /// Hands over the content of a file; returns whether there is such a file.
    async fn read(&self, name: &str, each: EachPiece<'_>) -> Result<bool, FileSinkError>;

    /// Removes a file, if it is there.
    async fn remove(&self, name: &str) -> Result<(), FileSinkError>;

    /// Removes what uploads that were cut off have left of files whose names are ours.
    async fn clean_up(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<(), FileSinkError>;

    /// Resolves when nothing is at work any more of what was begun, also of what was given up.
    async fn quiesce(&self) {}

    /// Ends all connections.
    async fn close(&self) {}
}

/// What stopped a file sink.
#[derive(Debug, thiserror::Error)]
pub enum FileSinkError {
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("an upload ended unexpectedly, which is a bug: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What kind of failure stopped a file sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSinkFailure {
    /// The destination was away for too long.
    Unreachable,
    /// With these settings it cannot work.
    Configuration,
    /// Anything else.
    Other,
}

impl FileSinkError {
    pub fn kind(&self) -> FileSinkFailure {
        match self {
            FileSinkError::Sftp(SftpError::GaveUp { .. }) => FileSinkFailure::Unreachable,
            FileSinkError::Sftp(SftpError::NoCredentials { .. } | SftpError::KeyFile { .. }) => {
                FileSinkFailure::Configuration
            }
            _ => FileSinkFailure::Other,
        }
    }
}
