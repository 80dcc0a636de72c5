//! What can keep the broker from starting or going on, and why it refuses a request.

use std::io;
use std::path::{Path, PathBuf};

use kafka_protocol::ResponseError;

use super::batch::BatchError;

/// Why the broker cannot work. Each has its cause in its own text, and no source that would repeat it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path}: {error}", path = path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },

    #[error("the folder {path} is in use by another broker; stop that, or name another folder", path = path.display())]
    InUse { path: PathBuf },

    #[error("{path} is not a file that this broker writes; move it away", path = path.display())]
    Foreign { path: PathBuf },

    #[error(
        "{path} is damaged at byte {position}: what follows is not a batch ({reason}); \
         the files after it would no longer fit, so restore it, or remove the folder of its topic",
        path = path.display()
    )]
    Damaged { path: PathBuf, position: u64, reason: BatchError },

    #[error("{path} was written by another version of this broker ({found}); remove it, or use that version", path = path.display())]
    Version { path: PathBuf, found: String },

    #[error("cannot use the listener: {0}")]
    Listener(io::Error),

    #[error("the setting {name} is {value}, but has to be {expected}")]
    Setting { name: &'static str, value: String, expected: &'static str },
}

impl Error {
    pub(super) fn io(action: &'static str, path: &Path, error: io::Error) -> Self {
        Error::Io { action, path: path.to_owned(), error }
    }
}

/// Why a request is refused: the protocol's code, and a sentence for the client where there is one.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub code: ResponseError,
    pub message: Option<String>,
}

impl ApiError {
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        ApiError { code, message: Some(message.into()) }
    }
}

impl From<ResponseError> for ApiError {
    fn from(code: ResponseError) -> Self {
        ApiError { code, message: None }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_cause_is_reported_once() {
        let error = Error::io("read", Path::new("log"), io::Error::other("the disk is gone"));
        assert_eq!(error.to_string(), "cannot read log: the disk is gone");
        assert!(error.source().is_none());
    }
}
