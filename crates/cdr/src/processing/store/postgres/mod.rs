//! Usage in PostgreSQL: for any number of processes, on any number of hosts, that write and read.

mod columns;
mod schema;
pub(super) mod server;
mod tls;

use std::fmt;

use cdr_model::usage::{Hour, Load, Quarter, Sighting, Sums, UsageType};
use postgres::error::Error;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Row, Statement, Transaction};

use self::columns::{LoadColumns, UsageColumns};
use self::server::Server;
use super::{
    Added, Batch, Committed, Heavy, HourUsage, OffsetAdvance, Partition, QuarterLoad, Result,
    StoreError, rows,
};
use crate::secret::Secret;

const BEGIN: &str = "INSERT INTO position VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

const STEP: &str = "
    UPDATE position SET next = $3, counted = counted + $4, dead = dead + $5
    WHERE topic = $1 AND partition = $2 AND next = $6";

const LOADS: &str = "
    WITH RECURSIVE quarters (quarter) AS (
        SELECT min(quarter) FROM tower_load WHERE quarter >= $2 AND quarter < $3
        UNION ALL
        SELECT (SELECT min(t.quarter) FROM tower_load t WHERE t.quarter > q.quarter AND t.quarter < $3)
        FROM quarters q WHERE q.quarter IS NOT NULL
    )
    SELECT quarters.quarter, sessions, bytes, calls, call_seconds
    FROM quarters CROSS JOIN LATERAL (
        SELECT * FROM tower_load t WHERE t.quarter = quarters.quarter AND tower = $1 OFFSET 0
    ) found ORDER BY quarters.quarter";

/// A database, and a connection to it while there is one.
pub struct Postgres {
    server: Server,
    connection: Option<Connection>,
}

/// A connection, with the statements that every batch needs.
struct Connection {
    client: Client,
    begin: Statement,
    step: Statement,
    add_usage: Statement,
    add_sightings: Statement,
    add_load: Statement,
}

/// Why there is no connection.
enum OpenError {
    Newer(i64),
    Failed(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        OpenError::Failed(error)
    }
}

impl Connection {
    fn open(server: &Server) -> std::result::Result<Connection, OpenError> {
        let mut client = server.connect()?;
        if let Some(found) = schema::migrate(&mut client)? {
            return Err(OpenError::Newer(found));
        }
        let [begin, step] = [client.prepare(BEGIN)?, client.prepare(STEP)?];
        let add_usage = client.prepare(columns::ADD_USAGE)?;
        let add_sightings = client.prepare(columns::ADD_SIGHTINGS)?;
        let add_load = client.prepare(columns::ADD_LOAD)?;
        Ok(Connection { client, begin, step, add_usage, add_sightings, add_load })
    }
}

impl Postgres {
    /// Connects, and makes or updates the tables where needed. Like all methods, and the end of the
    /// value, it may not be called where tasks run: it blocks.
    ///
    /// # Errors
    /// A database that cannot be reached, or was filled by a newer version.
    pub fn open(url: &Secret) -> Result<Postgres> {
        let server = Server::parse(url)?;
        let store = || server.name().to_owned();
        match Connection::open(&server) {
            Ok(connection) => Ok(Postgres { connection: Some(connection), server }),
            Err(OpenError::Newer(found)) => {
                Err(StoreError::Newer { store: store(), found, known: schema::KNOWN })
            }
            Err(OpenError::Failed(error)) => {
                let (passing, remedy) = server::outlook(&error);
                Err(StoreError::Open { store: store(), reason: server::reason(&error), remedy, passing })
            }
        }
    }

    #[cfg(test)]
    pub(super) fn sighting_bytes(&mut self) -> (u64, u64, u64) {
        const QUERY: &str = "SELECT (SELECT coalesce(sum(length(sightings)), 0) FROM usage),
            count(*), coalesce(sum(length(sightings)), 0) FROM more_sightings";
        let of_row = |row: &Row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?));
        self.query(QUERY, &[], of_row).unwrap()[0]
    }

    pub(super) fn name(&self) -> &str {
        self.server.name()
    }

    /// Does something, over a new connection if the last was lost, and gives an error its store and
    /// remedy.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Connection) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => connection,
            _ => match Connection::open(&self.server) {
                Ok(connection) => connection,
                Err(OpenError::Newer(found)) => {
                    let store = self.server.name().to_owned();
                    return Err(StoreError::Newer { store, found, known: schema::KNOWN });
                }
                Err(OpenError::Failed(error)) => return Err(self.failed(&error)),
            },
        };
        match act(&mut connection) {
            Err(error) if server::is_loss(&error) => Err(self.failed(&error)),
            result => {
                self.connection = Some(connection);
                result.map_err(|error| self.failed(&error))
            }
        }
    }

    fn failed(&self, error: &Error) -> StoreError {
        let (passing, remedy) = server::outlook(error);
        let (store, reason) = (self.server.name().to_owned(), server::reason(error));
        StoreError::Failed { store, reason, remedy, passing }
    }

    pub(super) fn bind(&mut self, cluster: &str) -> Result<String> {
        self.with(|connection| {
            connection
                .client
                .execute("INSERT INTO cluster (id) VALUES ($1) ON CONFLICT DO NOTHING", &[&cluster])?;
            connection.client.query_one("SELECT id FROM cluster", &[])?.try_get(0)
        })
    }

    pub(super) fn bind_topic(&mut self, topic: &str, id: &str) -> Result<String> {
        self.with(|connection| {
            connection
                .client
                .execute("INSERT INTO topic VALUES ($1, $2) ON CONFLICT DO NOTHING", &[&topic, &id])?;
            // Another process may have emptied it meanwhile.
            let stored =
                connection.client.query_opt("SELECT id FROM topic WHERE name = $1", &[&topic])?;
            stored.map_or_else(|| Ok(id.to_owned()), |row| row.try_get(0))
        })
    }

    pub(super) fn committed(&mut self) -> Result<Vec<(Partition, Committed)>> {
        self.query(
            r#"SELECT topic, partition, next, counted, dead FROM position ORDER BY topic COLLATE "C", partition"#,
            &[],
            |row| {
                let partition = Partition { topic: row.try_get(0)?, number: row.try_get(1)? };
                let (counted, dead) = (number(row, 3)?, number(row, 4)?);
                Ok((partition, Committed { offset: row.try_get(2)?, counted, dead }))
            },
        )
    }

    /// READ COMMITTED, the default, is enough. Each committed offset is taken first, by a statement that
    /// waits for whoever has it and then sees what that one committed: its `next` is no longer what
    /// is expected, so no batch counts twice. Sums that others changed meanwhile are added to as
    /// they are when their row is locked. And as everybody takes offsets, usage and loads in this
    /// order, each in the order of keys, nobody waits in a circle.
    pub(super) fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        self.with(|connection| {
            let mut transaction = connection.client.transaction()?;
            batch.advances.sort_by(|one, next| one.partition.cmp(&next.partition));
            for advance in &batch.advances {
                if !step(&mut transaction, [&connection.begin, &connection.step], advance)? {
                    transaction.rollback()?;
                    return Ok(Added::OffsetConflict);
                }
            }
            let mut usage = UsageColumns::default();
            let mut rows = rows::usage(&mut batch.interactions);
            while usage.fill(&mut rows) {
                usage.add(&mut transaction, &connection.add_usage, &connection.add_sightings)?;
            }
            drop((rows, usage));
            let mut loads = LoadColumns::default();
            let mut rows = rows::loads(&mut batch.interactions);
            while loads.fill(&mut rows) {
                loads.add(&mut transaction, &connection.add_load)?;
            }
            transaction.commit()?;
            Ok(Added::Stored)
        })
    }

    /// The tables are taken in the order in which `add` takes them.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.with(|connection| {
            connection
                .client
                .batch_execute("TRUNCATE position, usage, more_sightings, tower_load, cluster, topic")
        })
    }

    pub(super) fn usage(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<HourUsage>> {
        let columns = "type, records, up_bytes, down_bytes, seconds";
        let found = self.of_subscriber("usage", columns, msisdn, from, to, |hour, row| {
            Ok(usage_at(row, 1)?.map(|(usage_type, sums)| HourUsage { hour, usage_type, sums }))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) fn sightings(&mut self, msisdn: u64, from: Hour, to: Hour) -> Result<Vec<Sighting>> {
        let unpack = |hour: Hour, row: &Row| Ok(rows::unpack(hour, row.try_get(1)?).collect::<Vec<_>>());
        let few = self.of_subscriber("usage", "sightings", msisdn, from, to, unpack)?;
        let more = self.of_subscriber("more_sightings", "sightings", msisdn, from, to, unpack)?;
        Ok(few.into_iter().chain(more).flatten().collect())
    }

    /// Looks a subscriber up in each hour that there is, by one look into the index each: the key
    /// begins with the hour, and of the many rows of an hour a subscriber has few.
    fn of_subscriber<T>(
        &mut self,
        table: &str,
        columns: &str,
        msisdn: u64,
        from: Hour,
        to: Hour,
        read: impl Fn(Hour, &Row) -> std::result::Result<T, Error>,
    ) -> Result<Vec<T>> {
        let query = format!(
            "WITH RECURSIVE hours (hour) AS (
                SELECT min(hour) FROM {table} WHERE hour >= $2 AND hour < $3
                UNION ALL
                SELECT (SELECT min(u.hour) FROM {table} u WHERE u.hour > h.hour AND u.hour < $3)
                FROM hours h WHERE h.hour IS NOT NULL
            )
            SELECT hours.hour, {columns} FROM hours CROSS JOIN LATERAL (
                SELECT * FROM {table} u WHERE u.hour = hours.hour AND msisdn = $1 OFFSET 0
            ) found ORDER BY hours.hour, type"
        );
        self.query(&query, &[&(msisdn as i64), &from.0, &to.0], |row| read(Hour(row.try_get(0)?), row))
    }

    pub(super) fn loads(&mut self, tower: u32, from: Quarter, to: Quarter) -> Result<Vec<QuarterLoad>> {
        self.query(LOADS, &[&i64::from(tower), &from.0, &to.0], |row| load_at(row, 0))
    }

    pub(super) fn heaviest_subscribers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(
            "SELECT msisdn, sum(up_bytes + down_bytes)::bigint, sum(seconds)::bigint, sum(records)::bigint
             FROM usage GROUP BY msisdn ORDER BY 2 DESC, 1 LIMIT $1",
            count,
        )
    }

    pub(super) fn heaviest_towers(&mut self, count: u32) -> Result<Vec<Heavy>> {
        self.heaviest(
            "SELECT tower, sum(bytes)::bigint, sum(call_seconds)::bigint, sum(sessions + calls)::bigint
             FROM tower_load GROUP BY tower ORDER BY 2 DESC, 1 LIMIT $1",
            count,
        )
    }

    fn heaviest(&mut self, query: &str, count: u32) -> Result<Vec<Heavy>> {
        self.query(query, &[&i64::from(count)], |row| {
            Ok(Heavy {
                id: number(row, 0)?,
                bytes: number(row, 1)?,
                seconds: number(row, 2)?,
                records: number(row, 3)?,
            })
        })
    }

    pub(super) fn all_usage(&mut self, each: &mut dyn FnMut(u64, HourUsage)) -> Result<()> {
        self.for_each(
            "SELECT hour, msisdn, type, records, up_bytes, down_bytes, seconds FROM usage
             ORDER BY hour, msisdn, type",
            |row| {
                if let Some((usage_type, sums)) = usage_at(row, 2)? {
                    each(number(row, 1)?, HourUsage { hour: Hour(row.try_get(0)?), usage_type, sums });
                }
                Ok(())
            },
        )
    }

    pub(super) fn all_loads(&mut self, each: &mut dyn FnMut(u32, QuarterLoad)) -> Result<()> {
        self.for_each(
            "SELECT tower, quarter, sessions, bytes, calls, call_seconds FROM tower_load
             ORDER BY quarter, tower",
            |row| {
                each(number(row, 0)? as u32, load_at(row, 1)?);
                Ok(())
            },
        )
    }

    fn query<T>(
        &mut self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
        read: impl Fn(&Row) -> std::result::Result<T, Error>,
    ) -> Result<Vec<T>> {
        self.with(|connection| connection.client.query(query, parameters)?.iter().map(read).collect())
    }

    /// Rows are read as they come, so that any number of them can.
    fn for_each(
        &mut self,
        query: &str,
        mut each: impl FnMut(&Row) -> std::result::Result<(), Error>,
    ) -> Result<()> {
        self.with(|connection| {
            let mut rows = connection.client.query_raw(query, std::iter::empty::<&str>())?;
            while let Some(row) = rows.next()? {
                each(&row)?;
            }
            Ok(())
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Advances an offset; `false` if it is not where the batch began.
fn step(
    transaction: &mut Transaction<'_>,
    [begin, step]: [&Statement; 2],
    advance: &OffsetAdvance,
) -> std::result::Result<bool, Error> {
    let OffsetAdvance { partition: Partition { topic, number }, from, to, counted, dead } = advance;
    let (counted, dead) = (*counted as i64, *dead as i64);
    let changed = match from {
        None => transaction.execute(begin, &[topic, number, to, &counted, &dead])?,
        Some(from) => transaction.execute(step, &[topic, number, to, &counted, &dead, from])?,
    };
    Ok(changed == 1)
}

/// A number that is never below zero, as PostgreSQL has it: with a sign.
fn number(row: &Row, at: usize) -> std::result::Result<u64, Error> {
    row.try_get::<_, i64>(at).map(|number| number as u64)
}

/// The type and sums that stand from a column on; `None` for a type that is not known.
fn usage_at(row: &Row, at: usize) -> std::result::Result<Option<(UsageType, Sums)>, Error> {
    let sums = Sums {
        records: number(row, at + 1)?,
        up_bytes: number(row, at + 2)?,
        down_bytes: number(row, at + 3)?,
        seconds: number(row, at + 4)?,
    };
    let found = u8::try_from(row.try_get::<_, i16>(at)?).ok().and_then(UsageType::from_number);
    Ok(found.map(|usage_type| (usage_type, sums)))
}

/// The quarter and load that stand from a column on.
fn load_at(row: &Row, at: usize) -> std::result::Result<QuarterLoad, Error> {
    let load = Load {
        sessions: number(row, at + 1)?,
        bytes: number(row, at + 2)?,
        calls: number(row, at + 3)?,
        call_seconds: number(row, at + 4)?,
    };
    Ok(QuarterLoad { quarter: Quarter(row.try_get(at)?), load })
}
