//! Usage in a SQLite file: for one host, with any number of processes that read.

use std::path::Path;
use std::time::{Duration, Instant};

use cdr_model::usage::{Hour, Load, Quarter, Sighting, Sums, UsageType};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};

use super::{
    Added, Batch, Committed, Heavy, HourUsage, OffsetAdvance, Partition, QuarterLoad, Result,
    StoreError,
    rows::{self, SIGHTINGS_IN_ROW},
};

/// The steps from an empty file to the current schema; the file's `user_version` counts those done.
///
/// Hours come first in keys: records come in the order of time, so a batch changes pages that lie
/// together, however large the file has grown.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE cluster (id TEXT NOT NULL);
    CREATE TABLE position (
        topic TEXT NOT NULL, partition INTEGER NOT NULL,
        next INTEGER NOT NULL, counted INTEGER NOT NULL, dead INTEGER NOT NULL,
        PRIMARY KEY (topic, partition)
    ) WITHOUT ROWID;
    CREATE TABLE usage (
        hour INTEGER NOT NULL, msisdn INTEGER NOT NULL, type INTEGER NOT NULL,
        records INTEGER NOT NULL, up_bytes INTEGER NOT NULL, down_bytes INTEGER NOT NULL,
        seconds INTEGER NOT NULL, visits BLOB NOT NULL,
        PRIMARY KEY (hour, msisdn, type)
    ) WITHOUT ROWID;
    CREATE TABLE tower_load (
        quarter INTEGER NOT NULL, tower INTEGER NOT NULL,
        sessions INTEGER NOT NULL, bytes INTEGER NOT NULL,
        calls INTEGER NOT NULL, call_seconds INTEGER NOT NULL,
        PRIMARY KEY (quarter, tower)
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE topic (name TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
",
    // Those beyond the first few of a row of usage; each row begins behind so many records.
    "
    ALTER TABLE usage RENAME COLUMN visits TO sightings;
    CREATE TABLE more_sightings (
        hour INTEGER NOT NULL, msisdn INTEGER NOT NULL, type INTEGER NOT NULL,
        behind INTEGER NOT NULL, sightings BLOB NOT NULL,
        PRIMARY KEY (hour, msisdn, type, behind)
    ) WITHOUT ROWID;
",
];

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

const HELD: &str = "Another process is in the middle of writing to it, or was halted there; several hosts need STORE_URL";

const ADD_USAGE: &str = "
    INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT DO UPDATE SET
        records = records + excluded.records,
        up_bytes = up_bytes + excluded.up_bytes,
        down_bytes = down_bytes + excluded.down_bytes,
        seconds = seconds + excluded.seconds,
        sightings = CASE WHEN records + excluded.records <= ?9
            THEN CAST(sightings || excluded.sightings AS BLOB) ELSE sightings END
    RETURNING records";

const ADD_SIGHTINGS: &str = "INSERT INTO more_sightings VALUES (?1, ?2, ?3, ?4, ?5)";

const ADD_LOAD: &str = "
    INSERT INTO tower_load VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET
        sessions = sessions + excluded.sessions,
        bytes = bytes + excluded.bytes,
        calls = calls + excluded.calls,
        call_seconds = call_seconds + excluded.call_seconds";

/// A connection to a file.
#[derive(Debug)]
pub struct Sqlite {
    name: String,
    connection: Connection,
}

impl Sqlite {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// A file that cannot be opened, or was made by a newer version.
    pub fn open(path: &Path) -> Result<Sqlite> {
        let name = path.display().to_string();
        let refused = |error: rusqlite::Error| StoreError::Open {
            store: name.clone(),
            reason: error.to_string(),
            passing: false,
            remedy: match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HELD,
                _ => {
                    "Its folder must exist and be writable, and the file must be a usage store of cdr; choose \
                     another with STORE_PATH"
                }
            },
        };
        let connection = Connection::open(path).map_err(refused)?;
        connection.busy_timeout(BUSY).map_err(refused)?;
        log_ahead(&connection).map_err(refused)?;
        // With a write-ahead log a crash of the machine may lose the last batches, and then their
        // committed offsets with them: they are read again.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(refused)?;
        connection.pragma_update(None, "cache_size", -32_768).map_err(refused)?;
        let mut sqlite = Sqlite { name: name.clone(), connection };
        match sqlite.migrate() {
            Ok(None) => Ok(sqlite),
            Ok(Some(found)) => {
                Err(StoreError::Newer { store: name, found, known: MIGRATIONS.len() as i64 })
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Brings the schema up to date; gives the version of one that is newer than this program.
    fn migrate(&mut self) -> rusqlite::Result<Option<i64>> {
        // Whoever only reads must not wait for who writes.
        let version: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == MIGRATIONS.len() as i64 {
            return Ok(None);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let Some(steps) = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done..)) else {
            return Ok(Some(version));
        };
        for step in steps {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        transaction.commit()?;
        Ok(None)
    }

    /// Changes how long to wait for another process that writes.
    #[cfg(test)]
    pub(in crate::processing) fn wait_for_others(&self, time: Duration) {
        self.connection.busy_timeout(time).unwrap();
    }

    #[cfg(test)]
    pub(super) fn sighting_bytes(&mut self) -> (u64, u64, u64) {
        const QUERY: &str = "SELECT (SELECT ifnull(sum(length(sightings)), 0) FROM usage),
            count(*), ifnull(sum(length(sightings)), 0) FROM more_sightings";
        let of_row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.connection.query_row(QUERY, [], of_row).unwrap()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does something, and gives an error its store and remedy.
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        act(&mut self.connection).map_err(|error| {
            let code = error.sqlite_error_code();
            let (passing, remedy) = match code {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (true, HELD),
                Some(ErrorCode::DiskFull) => (true, "Make room on its disk"),
                Some(ErrorCode::SystemIoFailure) => (true, "Its disk does not answer as it should"),
                _ => (
                    false,
                    "It is not changed by what failed; start again, or choose another with STORE_PATH",
                ),
            };
            StoreError::Failed { store: self.name.clone(), reason: error.to_string(), remedy, passing }
        })
    }

    pub(super) fn bind(&mut self, cluster: &str) -> Result<String> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let stored =
                transaction.query_row("SELECT id FROM cluster", [], |row| row.get(0)).optional()?;
            if let Some(stored) = stored {
                return Ok(stored);
            }
            transaction.execute("INSERT INTO cluster VALUES (?1)", [cluster])?;
            transaction.commit()?;
            Ok(cluster.to_owned())
        })
    }

    pub(super) fn bind_topic(&mut self, topic: &str, id: &str) -> Result<String> {
        self.with(|connection| {
            const STORED: &str = "SELECT id FROM topic WHERE name = ?1";
            // It is there but for the first time, and whoever only looks must not wait.
            let stored = connection.prepare_cached(STORED)?.query_row([topic], |row| row.get(0));
            if let Some(stored) = stored.optional()? {
                return Ok(stored);
            }
            connection
                .execute("INSERT INTO topic VALUES (?1, ?2) ON CONFLICT DO NOTHING", [topic, id])?;
            // Another process may have emptied it meanwhile.
            let stored = connection.query_row(STORED, [topic], |row| row.get(0)).optional()?;
            Ok(stored.unwrap_or_else(|| id.to_owned()))
        })
    }

    pub(super) fn committed(&mut self) -> Result<Vec<(Partition, Committed)>> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT topic, partition, next, counted, dead FROM position ORDER BY topic, partition",
            )?;
            let committed = query.query_map([], |row| {
                let partition = Partition { topic: row.get(0)?, number: row.get(1)? };
                Ok((
                    partition,
                    Committed { offset: row.get(2)?, counted: row.get(3)?, dead: row.get(4)? },
                ))
            })?;
            committed.collect()
        })
    }

    pub(super) fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for advance in &batch.advances {
                if !step(&transaction, advance)? {
                    return Ok(Added::OffsetConflict);
                }
            }
            let mut add = transaction.prepare_cached(ADD_USAGE)?;
            let mut add_sightings = transaction.prepare_cached(ADD_SIGHTINGS)?;
            let mut sightings = Vec::new();
            for row in rows::usage(&mut batch.interactions) {
                row.pack_few(&mut sightings);
                let (key, sums) = (row.key, row.sums);
                let values = params![
                    key.hour.0,
                    key.msisdn,
                    key.usage_type,
                    sums.records,
                    sums.up_bytes,
                    sums.down_bytes,
                    sums.seconds,
                    sightings,
                    SIGHTINGS_IN_ROW
                ];
                let records: u64 = add.query_row(values, |row| row.get(0))?;
                if records > SIGHTINGS_IN_ROW {
                    row.pack(&mut sightings);
                    let behind = records - sums.records;
                    let values = params![key.hour.0, key.msisdn, key.usage_type, behind, sightings];
                    add_sightings.execute(values)?;
                }
            }
            drop((add, add_sightings));
            let mut add = transaction.prepare_cached(ADD_LOAD)?;
            for (quarter, tower, load) in rows::loads(&mut batch.interactions) {
                let Load { sessions, bytes, calls, call_seconds } = load;
                add.execute(params![quarter.0, tower, sessions, bytes, calls, call_seconds])?;
            }
            drop(add);
            transaction.commit()?;
            Ok(Added::Stored)
        })
    }

    pub(super) fn clear(&mut self) -> Result<()> {
        self.with(|connection| {
            connection.execute_batch(
                "BEGIN IMMEDIATE; DELETE FROM usage; DELETE FROM more_sightings; DELETE FROM tower_load; DELETE FROM position;
                 DELETE FROM cluster; DELETE FROM topic; COMMIT",
            )
        })
    }

    pub(super) fn usage(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<HourUsage>> {
        self.of_subscriber(
            "usage",
            "type, records, up_bytes, down_bytes, seconds",
            msisdn,
            from,
            to,
            |hour, row| {
                Ok(usage_at(row, 0)?.map(|(usage_type, sums)| HourUsage { hour, usage_type, sums }))
            },
        )
        .map(|found| found.into_iter().flatten().collect())
    }

    pub(super) fn sightings(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<Sighting>> {
        let packed = |hour: Hour, row: &Row<'_>| Ok((hour, row.get::<_, Vec<u8>>(0)?));
        let few = self.of_subscriber("usage", "sightings", msisdn, from, to, packed)?;
        let more = self.of_subscriber("more_sightings", "sightings", msisdn, from, to, packed)?;
        let all = few.iter().chain(&more);
        Ok(all.flat_map(|(hour, packed)| rows::unpack(*hour, packed)).collect())
    }

    /// Looks a subscriber up in each hour that there is: the key begins with the hour.
    fn of_subscriber<T>(
        &mut self,
        table: &str,
        columns: &str,
        msisdn: u64,
        from: Hour,
        to: Hour,
        read: impl Fn(Hour, &Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            let mut next = transaction.prepare_cached(&format!(
                "SELECT min(hour) FROM {table} WHERE hour >= ?1 AND hour < ?2"
            ))?;
            let mut of_hour = transaction.prepare_cached(&format!(
                "SELECT {columns} FROM {table} WHERE hour = ?1 AND msisdn = ?2 ORDER BY type"
            ))?;
            let (mut found, mut at) = (Vec::new(), from.0);
            while let Some(hour) = next.query_row([at, to.0], |row| row.get::<_, Option<i32>>(0))? {
                for row in of_hour.query_map(params![hour, msisdn], |row| read(Hour(hour), row))? {
                    found.push(row?);
                }
                at = hour + 1;
            }
            Ok(found)
        })
    }

    pub(super) fn loads(&mut self, tower: u32, from: Quarter, to: Quarter) -> Result<Vec<QuarterLoad>> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "WITH RECURSIVE quarters (quarter) AS (
                     SELECT min(quarter) FROM tower_load WHERE quarter >= ?2 AND quarter < ?3
                     UNION ALL
                     SELECT (SELECT min(t.quarter) FROM tower_load t WHERE t.quarter > q.quarter AND t.quarter < ?3)
                     FROM quarters q WHERE q.quarter IS NOT NULL
                 )
                 SELECT quarter, sessions, bytes, calls, call_seconds
                 FROM quarters JOIN tower_load USING (quarter) WHERE tower = ?1 ORDER BY quarter",
            )?;
            let loads = query.query_map(params![tower, from.0, to.0], |row| load_at(row, 0))?;
            loads.collect()
        })
    }

    pub(super) fn heaviest_subscribers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(
            "SELECT msisdn, sum(up_bytes + down_bytes), sum(seconds), sum(records) FROM usage
             GROUP BY msisdn ORDER BY 2 DESC, 1 LIMIT ?1",
            count,
        )
    }

    pub(super) fn heaviest_towers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(
            "SELECT tower, sum(bytes), sum(call_seconds), sum(sessions + calls) FROM tower_load
             GROUP BY tower ORDER BY 2 DESC, 1 LIMIT ?1",
            count,
        )
    }

    fn heaviest(&mut self, query: &str, count: u32) -> Result<Vec<Heavy>> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(query)?;
            let heavy = query.query_map([count], |row| {
                Ok(Heavy {
                    id: row.get(0)?,
                    bytes: row.get(1)?,
                    seconds: row.get(2)?,
                    records: row.get(3)?,
                })
            })?;
            heavy.collect()
        })
    }

    pub(super) fn all_usage(&mut self, each: &mut dyn FnMut(u64, HourUsage)) -> Result<()> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT hour, msisdn, type, records, up_bytes, down_bytes, seconds FROM usage
                 ORDER BY hour, msisdn, type",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if let Some((usage_type, sums)) = usage_at(row, 2)? {
                    each(row.get(1)?, HourUsage { hour: Hour(row.get(0)?), usage_type, sums });
                }
            }
            Ok(())
        })
    }

    pub(super) fn all_loads(&mut self, each: &mut dyn FnMut(u32, QuarterLoad)) -> Result<()> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT tower, quarter, sessions, bytes, calls, call_seconds FROM tower_load ORDER BY quarter, tower",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, load_at(row, 1)?);
            }
            Ok(())
        })
    }
}

/// Has a new file keep a write-ahead log. SQLite does not wait by itself for others that do the same
/// at this moment.
fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < BUSY =>
            {
                pause();
            }
            result => return result,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a store is used by threads that may block")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Advances an offset; `false` if it is not where the batch began.
fn step(connection: &Connection, advance: &OffsetAdvance) -> rusqlite::Result<bool> {
    let OffsetAdvance { partition, from, to, counted, dead } = advance;
    let changed = match from {
        None => connection
            .prepare_cached("INSERT INTO position VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING")?
            .execute(params![partition.topic, partition.number, to, counted, dead])?,
        Some(from) => connection
            .prepare_cached(
                "UPDATE position SET next = ?3, counted = counted + ?4, dead = dead + ?5
                 WHERE topic = ?1 AND partition = ?2 AND next = ?6",
            )?
            .execute(params![partition.topic, partition.number, to, counted, dead, from])?,
    };
    Ok(changed == 1)
}

/// The type and sums that stand from a column on; `None` for a type that is not known.
fn usage_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<(UsageType, Sums)>> {
    let sums = Sums {
        records: row.get(at + 1)?,
        up_bytes: row.get(at + 2)?,
        down_bytes: row.get(at + 3)?,
        seconds: row.get(at + 4)?,
    };
    Ok(UsageType::from_number(row.get(at)?).map(|usage_type| (usage_type, sums)))
}

/// The quarter and load that stand from a column on.
fn load_at(row: &Row<'_>, at: usize) -> rusqlite::Result<QuarterLoad> {
    let load = Load {
        sessions: row.get(at + 1)?,
        bytes: row.get(at + 2)?,
        calls: row.get(at + 3)?,
        call_seconds: row.get(at + 4)?,
    };
    Ok(QuarterLoad { quarter: Quarter(row.get(at)?), load })
}
