//! What the process tells its caller at its end.

use std::process::ExitCode;

use cdr_model::ScenarioError;
use cdr_model::resume::Conflict;

use crate::config::ConfigError;
use crate::delivery::DeliveryError;
use crate::delivery::sink::files::FilesError;
use crate::delivery::sink::kafka::KafkaSinkError;
use crate::delivery::sink::sftp::SftpError;
use crate::processing::ProcessError;
use crate::processing::store::StoreError;

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
    if cause.is::<ConfigError>() || cause.is::<ScenarioError>() {
        return Some(Exit::Usage);
    }
    if cause.is::<cdr_model::NumberingPlanError>() || cause.is::<cdr_model::ShardError>() {
        return Some(Exit::Usage);
    }
    if cause.is::<Conflict>() {
        return Some(Exit::Refused);
    }
    // Transparent errors show their inner one only by matching on it.
    if let Some(error) = cause.downcast_ref::<DeliveryError>() {
        return match error {
            DeliveryError::Kafka(error) => of_kafka(error),
            DeliveryError::Files(FilesError::Sftp(error)) => of_sftp(error),
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
    cause.downcast_ref().and_then(of_kafka).or_else(|| cause.downcast_ref().and_then(of_sftp))
}

fn of_kafka(error: &KafkaSinkError) -> Option<Exit> {
    match error {
        KafkaSinkError::Unreachable { .. } | KafkaSinkError::Waited { .. } => Some(Exit::Unreachable),
        KafkaSinkError::Fenced { .. } => Some(Exit::Fenced),
        KafkaSinkError::Property(_) => Some(Exit::Usage),
        KafkaSinkError::Conflict(_) => Some(Exit::Refused),
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

fn of_sftp(error: &SftpError) -> Option<Exit> {
    match error {
        SftpError::GaveUp { .. } => Some(Exit::Unreachable),
        SftpError::NoCredentials { .. } | SftpError::KeyFile { .. } => Some(Exit::Usage),
        _ => None,
    }
}
