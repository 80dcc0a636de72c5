//! The tables, and how a database comes to have them.

use postgres::Client;
use postgres::error::Error;

/// The steps from an empty database to the current schema; `schema_version` counts those done.
///
/// Hours come first in keys: records come in the order of time, so a batch changes pages that lie
/// together, however large the table has grown. Pages keep room for new versions of their rows:
/// then no index has to change with them. Sightings are packed as tightly as they would compress.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE cluster (single boolean PRIMARY KEY DEFAULT true CHECK (single), id text NOT NULL);
    CREATE TABLE position (
        topic text, partition integer,
        next bigint NOT NULL, counted bigint NOT NULL, dead bigint NOT NULL,
        PRIMARY KEY (topic, partition)
    );
    CREATE TABLE usage (
        msisdn bigint, hour integer, type smallint,
        records bigint NOT NULL, up_bytes bigint NOT NULL, down_bytes bigint NOT NULL,
        seconds bigint NOT NULL, visits bytea NOT NULL,
        PRIMARY KEY (hour, msisdn, type)
    ) WITH (fillfactor = 80);
    ALTER TABLE usage ALTER COLUMN visits SET STORAGE EXTERNAL;
    CREATE TABLE tower_load (
        tower bigint, quarter integer,
        sessions bigint NOT NULL, bytes bigint NOT NULL,
        calls bigint NOT NULL, call_seconds bigint NOT NULL,
        PRIMARY KEY (quarter, tower)
    ) WITH (fillfactor = 50);
",
    "
    CREATE TABLE topic (name text PRIMARY KEY, id text NOT NULL);
",
    // Those beyond the first few of a row of usage; each row begins behind so many records.
    "
    ALTER TABLE usage RENAME COLUMN visits TO sightings;
    CREATE TABLE more_sightings (
        msisdn bigint, hour integer, type smallint, behind bigint, sightings bytea NOT NULL,
        PRIMARY KEY (hour, msisdn, type, behind)
    );
    ALTER TABLE more_sightings ALTER COLUMN sightings SET STORAGE EXTERNAL;
",
];

/// The schema that this program knows.
pub const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Whoever brings the schema up to date holds this advisory lock: a number of our own.
const LOCK: i64 = 0x6364_7273_746f_7265;

/// Brings the schema up to date; gives the version of one that is newer than this program.
pub fn migrate(client: &mut Client) -> Result<Option<i64>, Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let exists = transaction.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[])?;
    if !exists.try_get::<_, bool>(0)? {
        transaction.batch_execute(
            "CREATE TABLE schema_version (version bigint NOT NULL); INSERT INTO schema_version VALUES (0)",
        )?;
    }
    let version: i64 = transaction.query_one("SELECT version FROM schema_version", &[])?.try_get(0)?;
    let Some(steps) = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done..)) else {
        return Ok(Some(version));
    };
    if !steps.is_empty() {
        transaction.batch_execute(&steps.concat())?;
        transaction.execute("UPDATE schema_version SET version = $1", &[&KNOWN])?;
    }
    transaction.commit()?;
    Ok(None)
}
