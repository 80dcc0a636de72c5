//! The tables, and the steps by which a store comes to have them.

/// From an empty store to the current schema; each store counts those done. `{keyed}` has SQLite keep rows
/// in the order of their key, and `{bytes}` is a type that goes by different names.
///
/// Hours come first in keys: records come in the order of time, so a batch changes pages that lie
/// together, however large a table has grown. And columns of a key come first, in its order: SQLite then
/// has nothing to rearrange.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE cluster (single boolean PRIMARY KEY DEFAULT true CHECK (single), id text NOT NULL);
    CREATE TABLE position (
        topic text NOT NULL, partition integer NOT NULL,
        next bigint NOT NULL, counted bigint NOT NULL, dead bigint NOT NULL,
        PRIMARY KEY (topic, partition)
    ){keyed};
    CREATE TABLE usage (
        hour integer NOT NULL, msisdn bigint NOT NULL, type smallint NOT NULL,
        records bigint NOT NULL, up_bytes bigint NOT NULL, down_bytes bigint NOT NULL,
        seconds bigint NOT NULL, visits {bytes} NOT NULL,
        PRIMARY KEY (hour, msisdn, type)
    ){keyed};
    CREATE TABLE tower_load (
        quarter integer NOT NULL, tower bigint NOT NULL,
        sessions bigint NOT NULL, bytes bigint NOT NULL,
        calls bigint NOT NULL, call_seconds bigint NOT NULL,
        PRIMARY KEY (quarter, tower)
    ){keyed};
",
    "
    CREATE TABLE topic (name text NOT NULL PRIMARY KEY, id text NOT NULL){keyed};
",
    // Those beyond the first few of a row of usage; each row begins behind so many records.
    "
    ALTER TABLE usage RENAME COLUMN visits TO sightings;
    CREATE TABLE more_sightings (
        hour integer NOT NULL, msisdn bigint NOT NULL, type smallint NOT NULL,
        behind bigint NOT NULL, sightings {bytes} NOT NULL,
        PRIMARY KEY (hour, msisdn, type, behind)
    ){keyed};
",
];

/// The schema that this program knows.
pub const KNOWN: i64 = MIGRATIONS.len() as i64;

/// What brings a store of this version up to date; `None` of one that is newer than this program.
pub fn steps(version: i64, keyed: &str, bytes: &str) -> Option<String> {
    let steps = MIGRATIONS.get(usize::try_from(version).ok()?..)?;
    Some(steps.concat().replace("{keyed}", keyed).replace("{bytes}", bytes))
}
