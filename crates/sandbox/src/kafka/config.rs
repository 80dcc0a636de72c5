//! How a broker is set up.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;

/// The port that a broker for people listens on. Tests bind port 0.
pub const DEFAULT_PORT: u16 = 19092;

/// Settings of a broker. [`Config::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where topics and all else is kept. Only one broker can use it at a time.
    pub data_dir: PathBuf,
    /// The advertised host and port; `None` is the listener's
    /// address, or the loopback address if it listens on all.
    pub advertised: Option<(String, u16)>,
    /// Whether a topic is created when a client names it.
    pub auto_create_topics: bool,
    /// Partitions of a topic for which nobody named a number, at least 1.
    pub default_partitions: i32,
    /// A partition's file is closed before it grows beyond this, at least 1 MB.
    pub segment_bytes: u64,
    /// A partition's oldest files go while what is left is at least this large; `None` for never.
    pub retention_bytes: Option<u64>,
    /// The largest batch that is taken.
    pub max_message_bytes: usize,
    /// The longest request that is read; at least `max_message_bytes` and room for its envelope. A
    /// longer one closes the connection.
    pub max_request_bytes: usize,
    /// Requests of more than 256 KB, and as much again of answers with records, that are in memory at
    /// a time.
    pub in_flight_bytes: usize,
    /// How long the first member of a consumer group waits for others.
    pub rebalance_delay: Duration,
    /// How often written data is made to survive the loss of power. What was acknowledged survives
    /// the end of the process at any time.
    pub sync_interval: Duration,
    /// What a client may make the broker keep.
    pub limits: Limits,
}

/// Bounds of what is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    pub topics: usize,
    /// Of all topics together; each keeps one file open.
    pub partitions: usize,
    pub groups: usize,
    pub members_per_group: usize,
    /// Committed offsets of one group.
    pub offsets_per_group: usize,
    pub transactional_ids: usize,
    /// Partitions of one transaction.
    pub partitions_per_transaction: usize,
}

impl Config {
    /// A broker for one developer, with its data in a folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Config {
            data_dir: data_dir.into(),
            advertised: None,
            auto_create_topics: true,
            default_partitions: 1,
            segment_bytes: 64 << 20,
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            max_request_bytes: 16 << 20,
            in_flight_bytes: 64 << 20,
            rebalance_delay: Duration::from_millis(100),
            sync_interval: Duration::from_secs(5),
            limits: Limits {
                connections: 500,
                topics: 500,
                partitions: 500,
                groups: 500,
                members_per_group: 200,
                offsets_per_group: 5_000,
                transactional_ids: 5_000,
                partitions_per_transaction: 1_000,
            },
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |name, value: String, expected| Err(Error::Setting { name, value, expected });
        let partitions = usize::try_from(self.default_partitions).unwrap_or(0);
        if !(1..=self.limits.partitions).contains(&partitions) {
            return wrong("default_partitions", partitions.to_string(), "1 to the limit of partitions");
        }
        if self.segment_bytes < 1 << 20 || self.segment_bytes > 1 << 31 {
            return wrong("segment_bytes", self.segment_bytes.to_string(), "1 MB to 2 GB");
        }
        if self.max_request_bytes < self.max_message_bytes + 4_096 || self.max_request_bytes > 1 << 30 {
            let expected = "at least 4096 more than max_message_bytes, and at most 1 GB";
            return wrong("max_request_bytes", self.max_request_bytes.to_string(), expected);
        }
        if self.in_flight_bytes < self.max_request_bytes || self.in_flight_bytes > 1 << 40 {
            let expected = "at least max_request_bytes";
            return wrong("in_flight_bytes", self.in_flight_bytes.to_string(), expected);
        }
        Ok(())
    }
}
