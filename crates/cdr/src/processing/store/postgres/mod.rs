//! Usage in PostgreSQL: for any number of processes, on any number of hosts, that write and read.

mod columns;
pub(super) mod server;
mod tls;

use postgres::error::Error;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Client, Statement};

use self::server::Server;
use super::{Added, BEGIN, Batch, Database, OffsetAdvance, Result, STEP, StoreError, Value, schema};
use crate::secret::Secret;

/// A database, and a connection to it while there is one.
pub struct Postgres {
    server: Server,
    connection: Option<Connection>,
}

/// A connection, with the statements that every batch needs: for the first and every other step of a
/// partition; for usage, sightings and loads.
struct Connection {
    client: Client,
    steps: [Statement; 2],
    sums: [Statement; 3],
}

impl Connection {
    fn open(server: &Server, failed: fn(&Server, &Error) -> StoreError) -> Result<Connection> {
        let failed = |error| failed(server, &error);
        let mut client = server.connect().map_err(failed)?;
        if let Some(found) = migrate(&mut client).map_err(failed)? {
            let store = server.name().to_owned();
            return Err(StoreError::Newer { store, found, known: schema::KNOWN });
        }
        let mut prepare = |statement| client.prepare(statement).map_err(failed);
        let steps = [prepare(BEGIN)?, prepare(STEP)?];
        let sums = [
            prepare(columns::ADD_USAGE)?,
            prepare(columns::ADD_SIGHTINGS)?,
            prepare(columns::ADD_LOAD)?,
        ];
        Ok(Connection { client, steps, sums })
    }
}

impl Postgres {
    /// Connects, and makes or updates the tables where needed.
    pub fn open(url: &Secret) -> Result<Postgres> {
        let server = Server::parse(url)?;
        let connection = Some(Connection::open(&server, Server::refused)?);
        Ok(Postgres { server, connection })
    }

    /// Does something, over a new connection if the last was lost, and gives an error its store and
    /// remedy.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Connection) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => connection,
            _ => Connection::open(&self.server, Server::failed)?,
        };
        let result = act(&mut connection);
        if !result.as_ref().is_err_and(server::is_loss) {
            self.connection = Some(connection);
        }
        result.map_err(|error| self.server.failed(&error))
    }
}

impl Database for Postgres {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn query(
        &mut self,
        query: &str,
        parameters: &[Value<'_>],
        each: &mut dyn FnMut(&[i64], &[u8]),
    ) -> Result<()> {
        let parameters = parameters.iter().map(|value| match value {
            Value::Number(number) => (number as &(dyn ToSql + Sync), Type::INT8),
            Value::Text(text) => (text as _, Type::TEXT),
        });
        self.with(|connection| {
            let mut rows = connection.client.query_typed_raw(query, parameters)?;
            let mut numbers = Vec::new();
            while let Some(row) = rows.next()? {
                numbers.clear();
                let mut bytes: &[u8] = &[];
                for (at, column) in row.columns().iter().enumerate() {
                    match *column.type_() {
                        Type::INT2 => numbers.push(row.try_get::<_, i16>(at)?.into()),
                        Type::INT4 => numbers.push(row.try_get::<_, i32>(at)?.into()),
                        Type::INT8 => numbers.push(row.try_get(at)?),
                        Type::TEXT => bytes = row.try_get::<_, &str>(at)?.as_bytes(),
                        _ => bytes = row.try_get(at)?,
                    }
                }
                each(&numbers, bytes);
            }
            Ok(())
        })
    }

    /// READ COMMITTED, the default, is enough. Each committed offset is taken first, by a statement that
    /// waits for whoever has it and then sees what that one committed: its `next` is no longer what
    /// is expected, so no batch counts twice. Sums that others changed meanwhile are added to as
    /// they are when their row is locked. And as everybody takes offsets, usage and loads in this
    /// order, each in the order of keys, nobody waits in a circle.
    fn add(&mut self, batch: &mut Batch) -> Result<Added> {
        self.with(|connection| {
            let mut transaction = connection.client.transaction()?;
            let [begin, step] = &connection.steps;
            for ((topic, number), advance) in &batch.advances {
                let OffsetAdvance { from, to, counted, dead } = advance;
                let (counted, dead) = (*counted as i64, *dead as i64);
                let changed = match from {
                    None => transaction.execute(begin, &[to, &counted, &dead, topic, number])?,
                    Some(from) => {
                        transaction.execute(step, &[to, &counted, &dead, topic, number, from])?
                    }
                };
                if changed == 0 {
                    transaction.rollback()?;
                    return Ok(Added::OffsetConflict);
                }
            }
            let [add_usage, add_sightings, add_load] = &connection.sums;
            columns::add_usage(&mut transaction, [add_usage, add_sightings], &mut batch.interactions)?;
            columns::add_loads(&mut transaction, add_load, &mut batch.interactions)?;
            transaction.commit()?;
            Ok(Added::Stored)
        })
    }

    /// The tables are taken in the order in which `add` takes them.
    fn clear(&mut self) -> Result<()> {
        self.with(|connection| {
            connection
                .client
                .batch_execute("TRUNCATE position, usage, more_sightings, tower_load, cluster, topic")
        })
    }
}

/// Whoever brings the schema up to date holds this advisory lock: a number of our own.
const LOCK: i64 = 0x6364_7273_746f_7265;

/// Pages keep room for new versions of their rows: then no index has to change with them. Sightings are
/// packed as tightly as they would compress.
const STORAGE: &str = "
    ALTER TABLE usage SET (fillfactor = 80);
    ALTER TABLE usage ALTER COLUMN sightings SET STORAGE EXTERNAL;
    ALTER TABLE more_sightings ALTER COLUMN sightings SET STORAGE EXTERNAL;
    ALTER TABLE tower_load SET (fillfactor = 50);";

/// Brings the schema up to date; gives the version of one that is newer than this program.
fn migrate(client: &mut Client) -> std::result::Result<Option<i64>, Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let exists = transaction.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[])?;
    if !exists.try_get::<_, bool>(0)? {
        transaction.batch_execute(
            "CREATE TABLE schema_version (version bigint NOT NULL); INSERT INTO schema_version VALUES (0)",
        )?;
    }
    let version: i64 = transaction.query_one("SELECT version FROM schema_version", &[])?.try_get(0)?;
    let Some(steps) = schema::steps(version, "", "bytea") else {
        return Ok(Some(version));
    };
    if !steps.is_empty() {
        transaction.batch_execute(&(steps + STORAGE))?;
        transaction.execute("UPDATE schema_version SET version = $1", &[&schema::KNOWN])?;
    }
    transaction.commit()?;
    Ok(None)
}
