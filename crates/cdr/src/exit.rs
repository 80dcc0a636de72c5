//! How the process reports its end to its caller.

use std::error::Error;
use std::process::ExitCode;

use cdr_model::ScenarioError;
use cdr_model::resume::Conflict;

use crate::delivery::DeliveryError;
use crate::files::{FileSinkError, FileSinkFailure};
use crate::kafka::KafkaError;
use crate::processing::ProcessError;
use crate::processing::store::StoreError;
use crate::settings::ConfigError;

/// How a command ended. The numbers are documented in `cdr --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Complete = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Unreachable = 4,
    Fenced = 5,
    Differs = 6,
    Interrupted = 130,
    Terminated = 143,
}

/// What was requested cannot be; the text names why, and what can.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code for an error, by what is at its root.
    pub fn of(error: &anyhow::Error) -> Exit {
        error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
    }
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<Exit> {
    // Transparent errors show their inner one only by matching on it.
    match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(DeliveryError::Kafka(error)), _) | (_, Some(ProcessError::Kafka(error))) => {
            of_cause(error)
        }
        (Some(DeliveryError::Files(error)), _) => of_cause(error),
        (Some(DeliveryError::Conflict(error)), _) => of_cause(error),
        (_, Some(ProcessError::Store(error))) => of_cause(error),
        (_, Some(ProcessError::Shrunk { .. } | ProcessError::Lost { .. })) => Some(Exit::Refused),
        _ if cause.is::<Conflict>() => Some(Exit::Refused),
        _ if cause.is::<UsageError>() || cause.is::<ConfigError>() || cause.is::<ScenarioError>() => {
            Some(Exit::Usage)
        }
        _ => {
            let of_store = || cause.downcast_ref().and_then(of_store);
            let of_sink = || cause.downcast_ref().and_then(of_files);
            cause.downcast_ref().and_then(of_kafka).or_else(of_store).or_else(of_sink)
        }
    }
}

fn of_kafka(error: &KafkaError) -> Option<Exit> {
    match error {
        KafkaError::Unreachable { .. } | KafkaError::Waited { .. } => Some(Exit::Unreachable),
        KafkaError::Fenced { .. } => Some(Exit::Fenced),
        KafkaError::Property(_) => Some(Exit::Usage),
        _ => None,
    }
}

fn of_store(error: &StoreError) -> Option<Exit> {
    match error {
        StoreError::Open { passing, .. } | StoreError::Failed { passing, .. } => {
            passing.then_some(Exit::Unreachable)
        }
        _ => Some(Exit::Refused),
    }
}

fn of_files(error: &FileSinkError) -> Option<Exit> {
    match error.kind() {
        FileSinkFailure::Unreachable => Some(Exit::Unreachable),
        FileSinkFailure::Configuration => Some(Exit::Usage),
        FileSinkFailure::Other => None,
    }
}
