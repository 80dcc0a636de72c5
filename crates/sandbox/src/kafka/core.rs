//! What all connections share: topics, groups, transactions. No network, and no waiting.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_protocol::ResponseError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;

use super::config::Config;
use super::error::Error;
use super::files::replace_file;
use super::groups::Groups;
use super::log::scan::ScanDepth;
use super::topics::Topics;
use super::transactions::{Ending, Transactions};

/// The id of the only node.
pub const NODE_ID: i32 = 1;

/// Producers of a partition are forgotten when they were silent this long; Kafka's
/// `producer.id.expiration.ms`.
const PRODUCER_SILENT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Unit of the budgets for memory: a semaphore counts with 32 bits.
const BUDGET_UNIT_BYTES: usize = 1 << 10;

const LOCK_FILE: &str = "lock";
const CLUSTER_FILE: &str = "cluster-id";
/// Is there after an end in good order: then checksums need not be compared.
const CLEAN_FILE: &str = "clean";

/// Milliseconds since 1970 that never go back.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    begun_ms: i64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { begun: Instant::now(), begun_ms: i64::try_from(since.as_millis()).unwrap_or(0) }
    }

    fn now_ms(&self) -> i64 {
        self.begun_ms + i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0)
    }
}

/// A budget for memory, in bytes.
#[derive(Debug)]
pub struct Budget(Arc<Semaphore>);

/// A part of a budget, given back when it is dropped.
pub type Share = tokio::sync::OwnedSemaphorePermit;

impl Budget {
    fn new(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new(bytes / BUDGET_UNIT_BYTES)))
    }

    /// Waits until so many bytes are free. More than all of it is never requested: the
    /// configuration is checked.
    pub async fn take(&self, bytes: usize) -> Option<Share> {
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX);
        self.0.clone().acquire_many_owned(units).await.ok()
    }

    /// Gives back all of a share but so many bytes.
    pub fn reduce(mut share: Share, bytes: usize) -> Share {
        let surplus = share.num_permits().saturating_sub(bytes.div_ceil(BUDGET_UNIT_BYTES));
        drop(share.split(surplus));
        share
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Core {
    pub config: Arc<Config>,
    pub topics: Topics,
    pub cluster_id: String,
    pub requests: Budget,
    pub answers: Budget,
    /// The broker is to end.
    pub stop: CancellationToken,
    groups: Mutex<Groups>,
    transactions: Mutex<Transactions>,
    address: OnceLock<(String, u16)>,
    clock: Clock,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl Core {
    /// Opens a data folder, and ends what a crash interrupted.
    ///
    /// # Errors
    /// When the folder is in use, cannot be read or written, or is damaged.
    pub fn open(config: Config) -> Result<Self, Error> {
        config.check()?;
        let dir = config.data_dir.clone();
        fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        let lock = lock(&dir)?;
        let clock = Clock::new();
        let clean = dir.join(CLEAN_FILE);
        let depth = match fs::remove_file(&clean) {
            Ok(()) => ScanDepth::Headers,
            Err(error) if error.kind() == io::ErrorKind::NotFound => ScanDepth::Whole,
            Err(error) => return Err(Error::io("remove", &clean, error)),
        };
        let delay_ms = i64::try_from(config.rebalance_delay.as_millis()).unwrap_or(i64::MAX);
        let groups = Groups::open(&dir.join("groups.journal"), delay_ms, config.limits)?;
        let transactions = Transactions::open(&dir.join("transactions.journal"), config.limits)?;
        let config = Arc::new(config);
        let core = Core {
            topics: Topics::open(&dir.join("topics"), &config, depth, clock.now_ms())?,
            cluster_id: cluster_id(&dir)?,
            requests: Budget::new(config.in_flight_bytes),
            answers: Budget::new(config.in_flight_bytes),
            stop: CancellationToken::new(),
            groups: Mutex::new(groups),
            transactions: Mutex::new(transactions),
            address: OnceLock::new(),
            clock,
            _lock: lock,
            config,
        };
        core.end_what_is_due();
        Ok(core)
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub fn groups(&self) -> MutexGuard<'_, Groups> {
        // Changes are written before they are made, so none is half-done.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be taken for a moment only, and never while waiting for a partition or for the groups:
    /// who holds one of those may call this.
    pub fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The advertised host and port.
    pub fn address(&self) -> (String, u16) {
        self.address.get().cloned().unwrap_or_default()
    }

    pub fn set_address(&self, address: (String, u16)) {
        // A broker serves once.
        drop(self.address.set(address));
    }

    /// Writes the markers of a transaction whose end is decided.
    ///
    /// # Errors
    /// When not all could be written. They will be, later.
    pub fn carry_out(&self, ending: &Ending) -> Result<(), ResponseError> {
        let mut done = true;
        for (topic, index) in &ending.partitions {
            // A topic that is gone needs no marker.
            let Some((topic, partition)) = self.topics.partition(topic, *index) else { continue };
            let retention = topic.effective().retention;
            let ended =
                partition.end_transaction(ending.producer, ending.outcome, &retention, self.now_ms());
            done &= matches!(ended, Ok(()) | Err(ResponseError::UnknownTopicOrPartition));
        }
        for group in &ending.groups {
            done &= self.groups().end_transaction(group, ending.producer.0, ending.outcome).is_ok();
        }
        self.transactions().ended(ending, done)?;
        if done { Ok(()) } else { Err(ResponseError::CoordinatorNotAvailable) }
    }

    fn end_what_is_due(&self) {
        let due = self.transactions().due(self.now_ms());
        for ending in due {
            let (id, (producer, epoch)) = (&ending.id, ending.producer);
            info!(
                "ending a transaction of {id} (producer {producer}, epoch {epoch}): {:?}",
                ending.outcome
            );
            if let Err(error) = self.carry_out(&ending) {
                error!("the transaction of {id} is not ended yet: {error}");
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&self) {
        self.groups().tick(self.now_ms());
        self.end_what_is_due();
    }

    /// Applies retention, and makes what was acknowledged survive the loss of power.
    pub fn maintain(&self) {
        let now_ms = self.now_ms();
        for topic in self.topics.all() {
            let retention = topic.effective().retention;
            for partition in topic.partitions() {
                partition.apply_retention(&retention, now_ms - PRODUCER_SILENT_MS, now_ms);
                partition.sync();
            }
        }
        let synced = self.groups().flush().and_then(|()| self.transactions().flush());
        if let Err(error) = synced {
            error!("cannot sync {}: {error}", self.config.data_dir.display());
        }
    }

    /// Notes that all is on disk. Nothing may be written any more.
    pub fn close(&self) {
        self.maintain();
        let clean = self.config.data_dir.join(CLEAN_FILE);
        if let Err(error) = replace_file(&clean, b"") {
            error!("cannot write {}: {error}; the next start compares all checksums", clean.display());
        }
    }
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK_FILE);
    let file = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: PathBuf::from(dir) }),
        Err(fs::TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

fn cluster_id(dir: &Path) -> Result<String, Error> {
    let path = dir.join(CLUSTER_FILE);
    match fs::read_to_string(&path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::new_v4().simple().to_string();
            replace_file(&path, id.as_bytes()).map_err(|error| Error::io("write", &path, error))?;
            Ok(id)
        }
        Err(error) => Err(Error::io("read", &path, error)),
    }
}

#[cfg(test)]
mod tests;
