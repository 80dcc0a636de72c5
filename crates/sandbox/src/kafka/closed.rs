//! Why a connection ends.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("the client is gone")]
    Gone,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a request of {0} bytes is longer than the {1} that are allowed")]
    TooLong(i64, usize),
    #[error("a request or an answer was not through within {0:?}")]
    TooSlow(Duration),
    #[error("a request is malformed: {0}")]
    Malformed(String),
    #[error("the request {0} is not known here")]
    Unknown(i16),
    #[error("the request {0:?} is not served in version {1}")]
    Version(ApiKey, i16),
    #[error("answering {0:?} failed: {1}")]
    Failed(ApiKey, String),
    #[error("a test wants it so")]
    Fault,
    #[error("the broker ends")]
    Stopped,
}
