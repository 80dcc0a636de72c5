//! The validated configuration: plain typed values, nothing left to parse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDateTime;

use super::choice::choice;
use crate::processing::store::StoreConfig;
use crate::processing::tariff::Tariff;
use crate::secret::Secret;

choice! {
    /// Which set of defaults applies.
    Environment {
        /// A developer's machine: `USER` is set and not empty.
        Dev = "dev",
        /// A container or service.
        Prod = "prod",
    }
}

choice! {
    /// How the simulated subscribers behave.
    Profile {
        /// Every value is drawn uniformly from its domain.
        Uniform = "uniform",
    }
}

choice! {
    /// What ends a line of a CSV file.
    LineEnd {
        /// `\n`.
        Lf = "lf",
        /// `\r\n`.
        CrLf = "crlf",
    }
}

choice! {
    /// Where a run delivers to.
    SinkKind {
        /// CSV files to an SFTP server.
        Sftp = "sftp",
        /// Records to Kafka topics.
        Kafka = "kafka",
        /// CSV files to a local folder.
        Directory = "directory",
    }
}

choice! {
    /// What to do about an SFTP server whose host key is not known yet.
    HostKeyPolicy {
        /// Record the key and go on. A changed key is refused all the same.
        AcceptNew = "accept-new",
        /// Refuse.
        Strict = "strict",
    }
}

choice! {
    /// How a file appears on the SFTP server.
    UploadMode {
        /// Under a temporary name first, then renamed, so that no reader sees half a file.
        Rename = "rename",
        /// Under its final name from the first byte, for servers that cannot rename.
        Direct = "direct",
    }
}

choice! {
    /// Compression of the batches sent to Kafka.
    Compression {
        /// Uncompressed.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }
}

choice! {
    /// What a Kafka record's timestamp says.
    RecordTimestamp {
        /// When the record was sent.
        Send = "send",
        /// When the call or session began.
        Event = "event",
    }
}

choice! {
    /// The least severe level that is logged.
    LogLevel {
        /// Failures only.
        Error = "error",
        /// And what needs attention.
        Warn = "warn",
        /// And the run's course.
        Info = "info",
        /// And each decision.
        Debug = "debug",
        /// And every detail, also of the client libraries.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level `steps` more verbose (negative: quieter), stopping at either end.
    pub fn shifted(self, steps: i32) -> Self {
        const LEVELS: [LogLevel; 5] =
            [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        let index = (self as i32).saturating_add(steps).clamp(0, LEVELS.len() as i32 - 1);
        LEVELS[index as usize]
    }
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// `2024-12-07 10:00:00 - INFO - message`.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// How a run shows its progress.
    ProgressMode {
        /// Bars on a terminal, lines elsewhere.
        Auto = "auto",
        /// Bars, also where standard error is no terminal.
        Bar = "bar",
        /// Log lines.
        Lines = "lines",
        /// Nothing.
        None = "none",
    }
}

/// The simulated time at which a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTime {
    /// This time, UTC, whole seconds, year 1970 to 2199.
    At(NaiveDateTime),
    /// The time at which the run is first started. Whoever holds the clock turns it into a time,
    /// and a continued run keeps the one it began with.
    Now,
}

/// How fast records are delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the destinations take them.
    Max,
    /// Simulated seconds per real second, 0.001 to 1,000,000. Real time is 1.
    Factor(f64),
    /// Records per second and stream, 1 to 10,000,000.
    Rate(u32),
}

/// Which share of the parts a process delivers: number `index` of `count`, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// 1..=`count`.
    pub index: u16,
    /// 1..=1024.
    pub count: u16,
}

/// Everything `cdr` is configured with, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub env: Environment,
    pub data: DataConfig,
    pub files: FilesConfig,
    pub run: RunConfig,
    pub sftp: SftpSettings,
    pub kafka: KafkaSettings,
    pub process: ProcessSettings,
    pub tariff: Tariff,
    pub api: ApiSettings,
    pub metrics: SocketAddr,
    pub log: LogSettings,
}

/// What is simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataConfig {
    /// Same seed, same records.
    pub seed: u64,
    pub start: StartTime,
    /// Simulated seconds, 1..=1,000,000,000.
    pub total_seconds: u64,
    /// Records per file, 1..=10,000,000.
    pub line_count: u32,
    /// Records per simulated second and stream, 1..=1,000,000.
    pub lines_per_second: u32,
    pub profile: Profile,
    /// From 1.
    pub subscribers: u32,
    /// Numbers called by the subscribers, from 1.
    pub destinations: u32,
    /// From 1.
    pub towers: u16,
    /// Web sites visited, from 1.
    pub sites: u16,
    /// E.164 country code, 1..=999.
    pub country: u16,
    /// Digits after the country code with which mobile numbers begin. None: by country.
    pub mobile_prefixes: Option<Vec<String>>,
    /// Digits after the prefix, 1..=9. None: by country.
    pub subscriber_digits: Option<u8>,
}

/// How CSV files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    pub line_end: LineEnd,
}

/// How a run proceeds.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// Identifies the run at the destinations: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// At least one, none twice.
    pub sinks: Vec<SinkKind>,
    /// Where the directory sink writes.
    pub directory: PathBuf,
    /// Holds the index of the last complete part.
    pub index_file: PathBuf,
    pub shard: Shard,
    pub pace: Pace,
    /// Go on without end.
    pub follow: bool,
}

/// How to reach the SFTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpSettings {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// From `sftp.password` or from the file `sftp.password_file`.
    pub password: Option<Secret>,
    pub key_file: Option<PathBuf>,
    pub key_passphrase: Option<Secret>,
    /// Whether to offer the keys of the running SSH agent.
    pub agent: bool,
    pub remote_path: String,
    pub known_hosts: PathBuf,
    pub host_key_policy: HostKeyPolicy,
    pub upload_mode: UploadMode,
    /// 1..=64.
    pub connections: usize,
    /// Files at once over all connections, 1..=256.
    pub in_flight: usize,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub keepalive: Duration,
    /// How long to keep trying an unreachable server.
    pub give_up: Duration,
}

/// How to reach and use Kafka or Redpanda.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port` each, at least one.
    pub brokers: Vec<String>,
    pub topic_data: String,
    pub topic_voice: String,
    pub topic_progress: String,
    pub topic_dead_letter: String,
    /// Of topics that have to be created, from 1.
    pub partitions: i32,
    /// Of topics that have to be created. 0: the smaller of 3 and the number of brokers.
    pub replication: i32,
    pub compression: Compression,
    pub timestamp: RecordTimestamp,
    /// Records per transaction at most.
    pub transaction_records: usize,
    /// Bytes of record values per transaction at most.
    pub transaction_bytes: usize,
    /// How long a transaction stays open at most when records come slowly.
    pub transaction_open_max: Duration,
    /// After which the broker aborts what a vanished producer left open.
    pub transaction_timeout: Duration,
    /// How long to keep trying unreachable brokers, or the stream processor's store.
    pub give_up: Duration,
    /// Further librdkafka properties. All are secrets here, because some are.
    pub properties: BTreeMap<String, Secret>,
}

/// How the stream processor works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Its consumer group.
    pub group: String,
    /// Records that are stored at once, from 1.
    pub batch_records: usize,
    /// How long a record waits to be stored.
    pub batch_open_max: Duration,
    pub store: StoreConfig,
}

/// Where and to whom the usage API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    pub address: SocketAddr,
    pub user: String,
    pub password: Secret,
    /// Whether the password is the one that everybody knows.
    pub password_is_default: bool,
}

/// What is told on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
    pub progress: ProgressMode,
}
