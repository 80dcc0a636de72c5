//! Usage in a SQLite file: for one host, with any number of processes that read.

use std::path::Path;
use std::time::{Duration, Instant};

use cdr_model::usage::{Interaction, Load, Sums, UsageKey};
use rusqlite::types::{ToSql, ValueRef};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params, params_from_iter};

use super::rows::{self, SIGHTINGS_IN_ROW};
use super::{Added, BEGIN, Batch, Database, OffsetAdvance, Result, STEP, StoreError, Value, schema};
use crate::pause::pause;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

const HELD: &str = "Another process is in the middle of writing to it, or was halted there; several hosts need STORE_URL";

/// Changes nothing where the row's sightings would become too many.
const ADD_USAGE: &str = "
    INSERT INTO usage (hour, msisdn, type, records, up_bytes, down_bytes, seconds, sightings)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT DO UPDATE SET
        records = records + excluded.records,
        up_bytes = up_bytes + excluded.up_bytes,
        down_bytes = down_bytes + excluded.down_bytes,
        seconds = seconds + excluded.seconds,
        sightings = CAST(sightings || excluded.sightings AS BLOB)
    WHERE records + excluded.records <= 64";

const _: () = assert!(SIGHTINGS_IN_ROW == 64, "it stands in a statement");

/// The same without the sightings. RETURNING makes a table for each statement, and so is for these alone.
const ADD_USAGE_OF_MANY: &str = "
    INSERT INTO usage (hour, msisdn, type, records, up_bytes, down_bytes, seconds, sightings)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, x'')
    ON CONFLICT DO UPDATE SET
        records = records + excluded.records,
        up_bytes = up_bytes + excluded.up_bytes,
        down_bytes = down_bytes + excluded.down_bytes,
        seconds = seconds + excluded.seconds
    RETURNING records";

const ADD_SIGHTINGS: &str = "
    INSERT INTO more_sightings (hour, msisdn, type, behind, sightings) VALUES (?1, ?2, ?3, ?4, ?5)";

const ADD_LOAD: &str = "
    INSERT INTO tower_load (quarter, tower, sessions, bytes, calls, call_seconds)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET
        sessions = sessions + excluded.sessions,
        bytes = bytes + excluded.bytes,
        calls = calls + excluded.calls,
        call_seconds = call_seconds + excluded.call_seconds";

/// A connection to a file.
pub struct Sqlite {
    name: String,
    connection: Connection,
}

impl Sqlite {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> Result<Sqlite> {
        let store = path.display().to_string();
        match connect(path) {
            Ok((connection, None)) => Ok(Sqlite { name: store, connection }),
            Ok((_, Some(found))) => Err(StoreError::Newer { store, found, known: schema::KNOWN }),
            Err(error) => Err(StoreError::Open {
                store,
                reason: error.to_string(),
                passing: false,
                remedy: match error.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HELD,
                    _ => {
                        "Its folder must exist and be writable, and the file must be a usage store of cdr; choose \
                         another with STORE_PATH"
                    }
                },
            }),
        }
    }

    /// Does something, and gives an error its store and remedy.
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        act(&mut self.connection).map_err(|error| {
            let (passing, remedy) = match error.sqlite_error_code() {
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
}

impl Database for Sqlite {
    fn name(&self) -> &str {
        &self.name
    }

    fn query(
        &mut self,
        query: &str,
        parameters: &[Value<'_>],
        each: &mut dyn FnMut(&[i64], &[u8]),
    ) -> Result<()> {
        let parameters = parameters.iter().map(|value| match value {
            Value::Number(number) => number as &dyn ToSql,
            Value::Text(text) => text,
        });
        self.with(|connection| {
            let mut statement = connection.prepare_cached(query)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(parameters))?;
            let mut numbers = Vec::new();
            while let Some(row) = rows.next()? {
                numbers.clear();
                let mut bytes: &[u8] = &[];
                for at in 0..columns {
                    match row.get_ref(at)? {
                        ValueRef::Integer(number) => numbers.push(number),
                        other => bytes = other.as_bytes()?,
                    }
                }
                each(&numbers, bytes);
            }
            Ok(())
        })
    }

    fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for ((topic, number), advance) in &batch.advances {
                let OffsetAdvance { from, to, counted, dead } = advance;
                let changed = match from {
                    None => transaction
                        .prepare_cached(BEGIN)?
                        .execute(params![to, counted, dead, topic, number])?,
                    Some(from) => transaction
                        .prepare_cached(STEP)?
                        .execute(params![to, counted, dead, topic, number, from])?,
                };
                if changed == 0 {
                    return Ok(Added::OffsetConflict);
                }
            }
            add_usage(&transaction, &mut batch.interactions)?;
            let mut add_load = transaction.prepare_cached(ADD_LOAD)?;
            for (quarter, tower, load) in rows::loads(&mut batch.interactions) {
                let Load { sessions, bytes, calls, call_seconds } = load;
                add_load.execute(params![quarter.0, tower, sessions, bytes, calls, call_seconds])?;
            }
            drop(add_load);
            transaction.commit()?;
            Ok(Added::Stored)
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.with(|connection| {
            connection.execute_batch(
                "BEGIN IMMEDIATE; DELETE FROM usage; DELETE FROM more_sightings; DELETE FROM tower_load; DELETE FROM position;
                 DELETE FROM cluster; DELETE FROM topic; COMMIT",
            )
        })
    }
}

fn add_usage(connection: &Connection, interactions: &mut [Interaction]) -> rusqlite::Result<()> {
    let mut add_usage = connection.prepare_cached(ADD_USAGE)?;
    let mut add_many = connection.prepare_cached(ADD_USAGE_OF_MANY)?;
    let mut add_sightings = connection.prepare_cached(ADD_SIGHTINGS)?;
    let mut sightings = Vec::new();
    for row in rows::usage(interactions) {
        let UsageKey { hour, msisdn, usage_type } = row.key;
        let Sums { records, up_bytes, down_bytes, seconds } = row.sums;
        row.pack(&mut sightings);
        if records <= SIGHTINGS_IN_ROW {
            let few =
                params![hour.0, msisdn, usage_type, records, up_bytes, down_bytes, seconds, sightings];
            if add_usage.execute(few)? > 0 {
                continue;
            }
        }
        let many = params![hour.0, msisdn, usage_type, records, up_bytes, down_bytes, seconds];
        let now: u64 = add_many.query_row(many, |row| row.get(0))?;
        add_sightings.execute(params![hour.0, msisdn, usage_type, now - records, sightings])?;
    }
    Ok(())
}

/// With the version of a schema that is newer than this program.
fn connect(path: &Path) -> rusqlite::Result<(Connection, Option<i64>)> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    log_ahead(&connection)?;
    // With a write-ahead log a crash of the machine may lose the last batches, and then their
    // committed offsets with them: they are read again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    let newer = migrate(&mut connection)?;
    Ok((connection, newer))
}

/// Has a new file keep a write-ahead log. SQLite does not wait by itself for others that do the same
/// at this moment.
fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        let set = connection.pragma_update(None, "journal_mode", "WAL");
        let code = set.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        if code != Some(ErrorCode::DatabaseBusy) || begun.elapsed() >= BUSY {
            return set;
        }
        pause(Duration::from_millis(5));
    }
}

/// Brings the schema up to date, whose version stands in the file's header; gives the version of one that is newer than this program.
fn migrate(connection: &mut Connection) -> rusqlite::Result<Option<i64>> {
    let version =
        |of: &Connection| of.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    // Whoever only reads must not wait for who writes.
    if version(connection)? == schema::KNOWN {
        return Ok(None);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    let Some(steps) = schema::steps(version, " WITHOUT ROWID", "blob") else {
        return Ok(Some(version));
    };
    transaction.execute_batch(&steps)?;
    transaction.pragma_update(None, "user_version", schema::KNOWN)?;
    transaction.commit()?;
    Ok(None)
}
