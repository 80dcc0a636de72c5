//! What can be wrong with a configuration, so that the reader knows what to change.

use std::path::PathBuf;

use cdr_model::ScenarioError;
use thiserror::Error;

use super::origin::Origin;

/// Why there is no valid configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{name}: {given} from {origin} is not {allowed}")]
    Value { name: &'static str, given: String, origin: Origin, allowed: String },

    #[error("{name}: {given} from {origin} cannot be found, because HOME is not set")]
    NoHome { name: &'static str, given: String, origin: Origin },

    #[error("{name}: the environment variable is not valid Unicode")]
    NotUnicode { name: &'static str },

    #[error("no setting has the key \"{key}\"")]
    NoSuchSetting { key: String },

    #[error("cannot read the configuration file {path}")]
    ConfigFile { path: PathBuf, source: std::io::Error },

    #[error("{file}:{line}: not valid TOML: {message}")]
    Syntax { file: String, line: usize, message: String },

    #[error("{file}:{line}: \"{key}\" is not a {what}; did you mean \"{nearest}\"?")]
    UnknownKey { file: String, line: usize, what: &'static str, key: String, nearest: &'static str },

    #[error("{file}:{line}: {key} is {found}, not {allowed}")]
    Shape { file: String, line: usize, key: String, found: &'static str, allowed: String },

    #[error("kafka.properties: {given:?} from {origin} is not NAME=VALUE with a name of a-z 0-9 . _")]
    PropertyForm { given: String, origin: Origin },

    #[error("kafka.properties: {name} from {origin} cannot be set: {reason}")]
    PropertyReserved { name: String, origin: Origin, reason: &'static str },

    #[error(
        "kafka.properties: {name} from {origin} is not a property of librdkafka; \
         did you mean {nearest}?"
    )]
    PropertyUnknown { name: String, origin: Origin, nearest: &'static str },

    #[error("kafka.properties: {name} from {origin} has a value that librdkafka refuses: {reason}")]
    PropertyValue { name: String, origin: Origin, reason: String },

    #[error(
        "kafka.properties: {name} from {origin} is a secret, and others can read a command line; \
         use KAFKA_PROPERTIES or [kafka.properties] in cdr.toml"
    )]
    PropertySecret { name: String, origin: Origin },

    #[error(
        "sftp.password ({password}) and sftp.password_file ({file}) are both given; \
         give only one of them"
    )]
    TwoPasswords { password: Origin, file: Origin },

    #[error("sftp.password_file: cannot read {path} from {origin}")]
    PasswordFile { path: PathBuf, origin: Origin, source: std::io::Error },

    #[error("sftp.password_file: {path} from {origin} is empty")]
    PasswordFileEmpty { path: PathBuf, origin: Origin },

    #[error(transparent)]
    Scenario(#[from] ScenarioError),

    #[error(
        "run.rate ({rate}) and run.pace {pace} ({pace_origin}) are both given; \
         a rate needs the pace max, so give only one of them"
    )]
    PaceAndRate { rate: Origin, pace: String, pace_origin: Origin },

    #[error(
        "run.follow with data.start now ({start}) goes with the clock, so {key} {given} ({origin}) \
         cannot make it faster or slower; use the pace max or realtime, or another start"
    )]
    NowAtAnotherPace { start: Origin, key: &'static str, given: String, origin: Origin },

    #[error(
        "data.start now ({start}) gives each shard a start of its own, so that their files would collide; \
         give all shards the same start, such as data.start = \"2024-01-01 00:00:00\""
    )]
    NowInShards { start: Origin },

    #[error("{first} and {second} are both \"{topic}\"; each needs a topic of its own")]
    SameTopic { first: String, second: String, topic: String },

    #[error(
        "kafka.transaction_ms ({open_ms}) must be lower than kafka.transaction_timeout_ms \
         ({timeout_ms}), or the broker aborts transactions that are still being filled"
    )]
    TransactionTimes { open_ms: u128, timeout_ms: u128 },
}
