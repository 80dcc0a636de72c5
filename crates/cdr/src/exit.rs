//! How the process reports its end to its caller.

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

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<UsageError>() || cause.is::<ConfigError>() || cause.is::<ScenarioError>() {
        return Some(Exit::Usage);
    }
    if cause.is::<Conflict>() {
        return Some(Exit::Refused);
    }
    // Transparent errors show their inner one only by matching on it.
    if let Some(error) = cause.downcast_ref::<DeliveryError>() {
        return match error {
            DeliveryError::Kafka(error) => of_kafka(error),
            DeliveryError::Files(error) => of_files(error),
            DeliveryError::Conflict(_) => Some(Exit::Refused),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<ProcessError>() {
        return match error {
            ProcessError::Kafka(error) => of_kafka(error),
            ProcessError::Store(error) => of_store(error),
            ProcessError::Shrunk { .. } | ProcessError::Lost { .. } => Some(Exit::Refused),
        };
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    let of_sink = || cause.downcast_ref().and_then(of_files);
    cause.downcast_ref().and_then(of_kafka).or_else(of_sink)
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
        StoreError::OtherCluster { .. } | StoreError::OtherTopic { .. } | StoreError::Newer { .. } => {
            Some(Exit::Refused)
        }
        StoreError::Open { .. } | StoreError::Failed { .. } => {
            error.is_passing().then_some(Exit::Unreachable)
        }
    }
}

fn of_files(error: &FileSinkError) -> Option<Exit> {
    match error.kind() {
        FileSinkFailure::Unreachable => Some(Exit::Unreachable),
        FileSinkFailure::Configuration => Some(Exit::Usage),
        FileSinkFailure::Other => None,
    }
}
