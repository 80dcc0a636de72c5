//! Where usage is kept, together with how far the topics are read: both change in one transaction.
//!
//! A committed offset advances only from the value that its reader knows (compare-and-set). So a batch counts once, whatever
//! dies, is read again, or believes that it still has a partition: whoever comes second changes
//! nothing.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cdr_model::usage::{Dwell, Hour, Interaction, Load, Quarter, Sums, UsageType};

use crate::secret::Secret;

#[cfg(feature = "postgres")]
pub use self::postgres::Postgres;
pub use self::sqlite::Sqlite;

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// SQLite in a file.
    File(PathBuf),
    /// PostgreSQL by URL, which may hold a password.
    Postgres(Secret),
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    pub topic: String,
    pub number: i32,
}

/// How far a partition is read, and what was in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Offset of the next message.
    pub offset: i64,
    /// Messages that were counted.
    pub counted: u64,
    /// Messages that could not be used.
    pub dead: u64,
}

/// One partition's step in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAdvance {
    pub partition: Partition,
    /// The stored offset that the step begins at; `None` where there is none yet.
    pub from: Option<i64>,
    /// The offset behind it.
    pub to: i64,
    pub counted: u64,
    pub dead: u64,
}

/// What a batch of messages changes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub advances: Vec<OffsetAdvance>,
    pub interactions: Vec<Interaction>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Added {
    Stored,
    /// Somebody else has advanced one of the offsets: nothing has changed.
    OffsetConflict,
}

/// A subscriber's usage in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourUsage {
    pub hour: Hour,
    pub usage_type: UsageType,
    pub sums: Sums,
}

/// A tower's load in a quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarterLoad {
    pub quarter: Quarter,
    pub load: Load,
}

/// A subscriber's or tower's rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heavy {
    /// The msisdn, or the tower's number.
    pub id: u64,
    pub bytes: u64,
    pub seconds: u64,
    pub records: u64,
}

/// Why a store cannot be used. Each message names the store and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the usage store {store}: {reason}. {remedy}")]
    Open { store: String, reason: String, remedy: &'static str, passing: bool },
    #[error(
        "the usage store {store} was made by a newer cdr (its schema is {found}, this one knows {known}). \
         Update cdr, or choose another store with STORE_PATH or STORE_URL"
    )]
    Newer { store: String, found: i64, known: i64 },
    #[error(
        "the usage store {store} holds what was read from another Kafka cluster ({stored}, and this one is {found}), \
         so its offsets mean nothing here. Choose another store with STORE_PATH or STORE_URL, or begin again with \
         cdr process --restart"
    )]
    OtherCluster { store: String, stored: String, found: String },
    #[error(
        "topic {topic} was deleted and created again since the usage store {store} has read it, so its offsets mean \
         nothing there. Count again from the beginning with cdr process --restart, or into another store with STORE_PATH or STORE_URL"
    )]
    OtherTopic { store: String, topic: String },
    #[error("the usage store {store} failed: {reason}. {remedy}")]
    Failed { store: String, reason: String, remedy: &'static str, passing: bool },
}

impl StoreError {
    /// Whether a later try may do, as when a server is away.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Open { passing, .. } | StoreError::Failed { passing, .. } => *passing,
            _ => false,
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// A connection to a store.
#[derive(Debug)]
pub enum Store {
    Sqlite(Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(Box<Postgres>),
}

/// Calls the same method of whichever store it is.
macro_rules! each {
    ($store:expr, $inner:ident => $call:expr) => {
        match $store {
            Store::Sqlite($inner) => $call,
            #[cfg(feature = "postgres")]
            Store::Postgres($inner) => $call,
        }
    };
}

impl Store {
    /// Opens a store, which is made or brought to the current schema where needed. Blocks, as all
    /// that a store does.
    ///
    /// # Errors
    /// A store that cannot be reached, or was made by a newer version.
    pub fn open(config: &StoreConfig) -> Result<Store> {
        match config {
            StoreConfig::File(path) => Sqlite::open(path).map(Store::Sqlite),
            #[cfg(feature = "postgres")]
            StoreConfig::Postgres(url) => Postgres::open(url).map(Box::new).map(Store::Postgres),
            #[cfg(not(feature = "postgres"))]
            StoreConfig::Postgres(_) => Err(StoreError::Open {
                store: "at STORE_URL".to_owned(),
                reason: "this cdr was built without PostgreSQL".to_owned(),
                remedy: "Build it with the feature postgres, which is on by default",
                passing: false,
            }),
        }
    }

    /// Notes which cluster the committed offsets belong to, and whether they belong to this one.
    ///
    /// # Errors
    /// A store that was filled from another cluster.
    pub fn bind(&mut self, cluster: &str) -> Result<()> {
        let stored = each!(self, store => store.bind(cluster))?;
        match stored == cluster {
            true => Ok(()),
            false => {
                Err(StoreError::OtherCluster { store: self.name(), stored, found: cluster.to_owned() })
            }
        }
    }

    /// Notes which topics the committed offsets belong to, by the ids of those that have one, and whether they
    /// belong to these.
    ///
    /// # Errors
    /// A store that was filled from a topic that is no more.
    pub fn bind_topics(&mut self, topics: &BTreeMap<String, String>) -> Result<()> {
        for (topic, id) in topics {
            if each!(self, store => store.bind_topic(topic, id))? != *id {
                return Err(StoreError::OtherTopic { store: self.name(), topic: topic.clone() });
            }
        }
        Ok(())
    }

    /// What people call it; without a password.
    pub fn name(&self) -> String {
        each!(self, store => store.name().to_owned())
    }

    /// How far all partitions are read.
    ///
    /// # Errors
    /// A store that fails.
    pub fn committed(&mut self) -> Result<Vec<(Partition, Committed)>> {
        each!(self, store => store.committed())
    }

    /// Adds a batch and advances its offsets, or does neither. The order of its interactions is
    /// changed.
    ///
    /// # Errors
    /// A store that fails. Whether the batch is in it is then unknown, and shows when it is added
    /// once more: it then has an offset conflict with itself.
    pub fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        each!(self, store => store.add(batch))
    }

    /// Forgets everything: usage, loads, offsets, cluster, topics.
    ///
    /// # Errors
    /// A store that fails.
    pub fn clear(&mut self) -> Result<()> {
        each!(self, store => store.clear())
    }

    /// A subscriber's usage in the hours from `from` to before `to`, in the order of hours and types.
    ///
    /// # Errors
    /// A store that fails.
    pub fn usage(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<HourUsage>> {
        each!(self, store => store.usage(msisdn, from, to))
    }

    /// A subscriber's dwells among the sightings of the hours from `from` to before `to`.
    ///
    /// # Errors
    /// A store that fails.
    pub fn dwells(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<Dwell>> {
        let mut sightings = each!(self, store => store.sightings(msisdn, from, to))?;
        Ok(cdr_model::usage::dwells(&mut sightings))
    }

    /// A tower's load in the quarters from `from` to before `to`, in their order.
    ///
    /// # Errors
    /// A store that fails.
    pub fn loads(&mut self, tower: u32, from: Quarter, to: Quarter) -> Result<Vec<QuarterLoad>> {
        each!(self, store => store.loads(tower, from, to))
    }

    /// The subscribers with the most bytes.
    ///
    /// # Errors
    /// A store that fails.
    pub fn heaviest_subscribers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        each!(self, store => store.heaviest_subscribers(count))
    }

    /// The towers with the most bytes.
    ///
    /// # Errors
    /// A store that fails.
    pub fn heaviest_towers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        each!(self, store => store.heaviest_towers(count))
    }

    /// Calls `each` with all usage, in the order of keys: for comparisons.
    ///
    /// # Errors
    /// A store that fails.
    pub fn all_usage(&mut self, each: &mut dyn FnMut(u64, HourUsage)) -> Result<()> {
        each!(self, store => store.all_usage(each))
    }

    /// Calls `each` with all loads, in the order of keys: for comparisons.
    ///
    /// # Errors
    /// A store that fails.
    pub fn all_loads(&mut self, each: &mut dyn FnMut(u32, QuarterLoad)) -> Result<()> {
        each!(self, store => store.all_loads(each))
    }
}
