//! Where usage is kept, together with how far the topics are read: both change in one transaction.
//!
//! A committed offset advances only from the value that its reader knows (compare-and-set). So a batch counts once, whatever
//! dies, is read again, or believes that it still has a partition: whoever comes second changes
//! nothing.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cdr_model::usage::{Dwell, Hour, Interaction, Load, Quarter, Sums, UsageType};

use crate::kafka::TopicPartition;
use crate::secret::Secret;

#[cfg(feature = "postgres")]
use self::postgres::Postgres;
use self::sqlite::Sqlite;

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// SQLite in a file.
    File(PathBuf),
    /// PostgreSQL by URL, which may hold a password.
    Postgres(Secret),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAdvance {
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
    pub advances: BTreeMap<TopicPartition, OffsetAdvance>,
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

/// What a query compares with.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(i64),
    Text(&'a str),
}

/// What each kind of store does in its own way. Queries are written so that both understand them: their
/// parameters, `$1` and so on, first appear in the order of their numbers.
trait Database: Send {
    fn name(&self) -> &str;

    /// Calls `each` with every row as it comes: its numbers, and its text or bytes if it has any.
    fn query(
        &mut self,
        query: &str,
        parameters: &[Value<'_>],
        each: &mut dyn FnMut(&[i64], &[u8]),
    ) -> Result<()>;

    fn add(&mut self, batch: &mut Batch) -> Result<Added>;

    fn clear(&mut self) -> Result<()>;
}

/// The first step of a partition.
const BEGIN: &str = "
    INSERT INTO position (next, counted, dead, topic, partition) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING";

/// Every other step.
const STEP: &str = "
    UPDATE position SET next = $1, counted = counted + $2, dead = dead + $3
    WHERE topic = $4 AND partition = $5 AND next = $6";

const HEAVIEST_SUBSCRIBERS: &str = "
    SELECT msisdn, CAST(sum(up_bytes + down_bytes) AS bigint), CAST(sum(seconds) AS bigint),
        CAST(sum(records) AS bigint)
    FROM usage GROUP BY msisdn ORDER BY 2 DESC, 1 LIMIT $1";

const HEAVIEST_TOWERS: &str = "
    SELECT tower, CAST(sum(bytes) AS bigint), CAST(sum(call_seconds) AS bigint),
        CAST(sum(sessions + calls) AS bigint)
    FROM tower_load GROUP BY tower ORDER BY 2 DESC, 1 LIMIT $1";

/// A connection to a store.
pub struct Store(Box<dyn Database>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.name()).finish()
    }
}

impl Store {
    /// Opens a store, which is made or brought to the current schema where needed. Like everything that a
    /// store does, also when it is dropped, this blocks, and may not be called where tasks run.
    ///
    /// # Errors
    /// A store that cannot be reached, or was made by a newer version.
    pub fn open(config: &StoreConfig) -> Result<Store> {
        match config {
            StoreConfig::File(path) => Ok(Store(Box::new(Sqlite::open(path)?))),
            #[cfg(feature = "postgres")]
            StoreConfig::Postgres(url) => Ok(Store(Box::new(Postgres::open(url)?))),
            #[cfg(not(feature = "postgres"))]
            StoreConfig::Postgres(_) => Err(StoreError::Open {
                store: "at STORE_URL".to_owned(),
                reason: "this cdr was built without PostgreSQL".to_owned(),
                remedy: "Build it with the feature postgres, which is on by default",
                passing: false,
            }),
        }
    }

    /// Notes which cluster the committed offsets belong to.
    ///
    /// # Errors
    /// A store that was filled from another cluster.
    pub fn bind(&mut self, cluster: &str) -> Result<()> {
        let add = "INSERT INTO cluster (id) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM cluster)
             ON CONFLICT DO NOTHING RETURNING id";
        let stored = self.noted("SELECT id FROM cluster", &[], add, cluster)?;
        if stored != cluster {
            let (store, found) = (self.name().to_owned(), cluster.to_owned());
            return Err(StoreError::OtherCluster { store, stored, found });
        }
        Ok(())
    }

    /// Notes which topics the committed offsets belong to, by the ids of those that have one.
    ///
    /// # Errors
    /// A store that was filled from a topic that is no more.
    pub fn bind_topics(&mut self, topics: &BTreeMap<String, String>) -> Result<()> {
        let add = "INSERT INTO topic (name, id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id";
        for (topic, id) in topics {
            let name = [Value::Text(topic)];
            if self.noted("SELECT id FROM topic WHERE name = $1", &name, add, id)? != *id {
                let store = self.name().to_owned();
                return Err(StoreError::OtherTopic { store, topic: topic.clone() });
            }
        }
        Ok(())
    }

    /// The id that was noted first. It is there but for the first time, and whoever only looks must not
    /// wait; meanwhile another process may have noted one, or emptied the store.
    fn noted(&mut self, find: &str, of: &[Value<'_>], add: &str, id: &str) -> Result<String> {
        let added = [of, &[Value::Text(id)]].concat();
        for (query, parameters) in [(find, of), (add, &added), (find, of)] {
            let mut stored = None;
            self.0.query(query, parameters, &mut |_, text| stored = Some(string(text)))?;
            if let Some(stored) = stored {
                return Ok(stored);
            }
        }
        Ok(id.to_owned())
    }

    /// What people call it; without a password.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// How far all partitions are read.
    pub fn committed(&mut self) -> Result<BTreeMap<TopicPartition, Committed>> {
        let query = "SELECT partition, next, counted, dead, topic FROM position";
        let mut committed = BTreeMap::new();
        self.0.query(query, &[], &mut |row, topic| {
            let at = Committed { offset: row[1], counted: row[2] as u64, dead: row[3] as u64 };
            committed.insert((string(topic), row[0] as i32), at);
        })?;
        Ok(committed)
    }

    /// Adds a batch and advances its offsets, or does neither. The order of its interactions is
    /// changed.
    ///
    /// # Errors
    /// A store that fails. Whether the batch is in it is then unknown, and shows when it is added
    /// once more: it then has an offset conflict with itself.
    pub fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        self.0.add(batch)
    }

    /// Forgets everything: usage, loads, offsets, cluster, topics.
    pub fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    /// A subscriber's usage in the hours from `from` to before `to`, in the order of hours and types.
    pub fn usage(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<HourUsage>> {
        let columns = "hour, type, records, up_bytes, down_bytes, seconds";
        let mut found = Vec::new();
        let each = &mut |row: &[i64], _: &[u8]| found.extend(hour_usage(row));
        self.find(["usage", "hour", "msisdn", columns], [from.0, to.0], msisdn, each)?;
        Ok(found)
    }

    /// A subscriber's dwells among the sightings of the hours from `from` to before `to`.
    pub fn dwells(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<Dwell>> {
        let mut sightings = Vec::new();
        for table in ["usage", "more_sightings"] {
            let each = &mut |row: &[i64], packed: &[u8]| {
                sightings.extend(rows::unpack(Hour(row[0] as i32), packed));
            };
            self.find([table, "hour", "msisdn", "hour, type, sightings"], [from.0, to.0], msisdn, each)?;
        }
        Ok(cdr_model::usage::dwells(&mut sightings))
    }

    /// A tower's load in the quarters from `from` to before `to`, in their order.
    pub fn loads(&mut self, tower: u32, from: Quarter, to: Quarter) -> Result<Vec<QuarterLoad>> {
        let columns = "quarter, sessions, bytes, calls, call_seconds";
        let mut found = Vec::new();
        let each = &mut |row: &[i64], _: &[u8]| found.push(quarter_load(row));
        self.find(["tower_load", "quarter", "tower", columns], [from.0, to.0], tower.into(), each)?;
        Ok(found)
    }

    /// Looks something up in each hour or quarter that there is, by one look into the index each: keys
    /// begin with the time, and of the many rows of a time a subscriber or tower has few.
    fn find(
        &mut self,
        [table, time, key, columns]: [&str; 4],
        [from, to]: [i32; 2],
        id: u64,
        each: &mut dyn FnMut(&[i64], &[u8]),
    ) -> Result<()> {
        let query = format!(
            "WITH RECURSIVE times (at) AS (
                SELECT min({time}) FROM {table} WHERE {time} >= $1 AND {time} < $2
                UNION ALL
                SELECT (SELECT min({time}) FROM {table} WHERE {time} > times.at AND {time} < $2)
                FROM times WHERE times.at IS NOT NULL
            )
            SELECT {columns} FROM times CROSS JOIN {table} WHERE {time} = times.at AND {key} = $3
            ORDER BY 1, 2"
        );
        let parameters = [from.into(), to.into(), id as i64].map(Value::Number);
        self.0.query(&query, &parameters, each)
    }

    /// The subscribers with the most bytes.
    pub fn heaviest_subscribers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(HEAVIEST_SUBSCRIBERS, count)
    }

    /// The towers with the most bytes.
    pub fn heaviest_towers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(HEAVIEST_TOWERS, count)
    }

    fn heaviest(&mut self, query: &str, count: u32) -> Result<Vec<Heavy>> {
        let mut heaviest = Vec::new();
        self.0.query(query, &[Value::Number(count.into())], &mut |row, _| {
            let [id, bytes, seconds, records] = [0, 1, 2, 3].map(|at| row[at] as u64);
            heaviest.push(Heavy { id, bytes, seconds, records });
        })?;
        Ok(heaviest)
    }

    /// Calls `each` with all usage, in the order of keys: for comparisons.
    pub fn all_usage(&mut self, each: &mut dyn FnMut(u64, HourUsage)) -> Result<()> {
        let query = "SELECT hour, type, records, up_bytes, down_bytes, seconds, msisdn FROM usage
             ORDER BY hour, msisdn, type";
        self.0.query(query, &[], &mut |row, _| {
            if let Some(found) = hour_usage(row) {
                each(row[6] as u64, found);
            }
        })
    }

    /// Calls `each` with all loads, in the order of keys: for comparisons.
    pub fn all_loads(&mut self, each: &mut dyn FnMut(u32, QuarterLoad)) -> Result<()> {
        let query = "SELECT quarter, sessions, bytes, calls, call_seconds, tower FROM tower_load
             ORDER BY quarter, tower";
        self.0.query(query, &[], &mut |row, _| each(row[5] as u32, quarter_load(row)))
    }
}

fn string(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// From hour, type and sums; `None` of a type that is not known.
fn hour_usage(row: &[i64]) -> Option<HourUsage> {
    let usage_type = UsageType::from_number(u8::try_from(row[1]).ok()?)?;
    let [records, up_bytes, down_bytes, seconds] = [2, 3, 4, 5].map(|at| row[at] as u64);
    let sums = Sums { records, up_bytes, down_bytes, seconds };
    Some(HourUsage { hour: Hour(row[0] as i32), usage_type, sums })
}

/// From quarter and sums.
fn quarter_load(row: &[i64]) -> QuarterLoad {
    let [sessions, bytes, calls, call_seconds] = [1, 2, 3, 4].map(|at| row[at] as u64);
    let load = Load { sessions, bytes, calls, call_seconds };
    QuarterLoad { quarter: Quarter(row[0] as i32), load }
}
