//! Rows → the columns that a statement takes: thousands of rows for one answer of the server.

use cdr_model::usage::{Hour, Interaction, UsageKey};
use postgres::error::Error;
use postgres::{Row, Statement, Transaction};

use super::super::rows::{self, SIGHTINGS_IN_ROW, UsageRow};

/// Rows in a statement: enough that its cost does not count, little memory on both sides.
const ROWS: usize = 8_192;

/// Returns the rows that have more records than they hold sightings of.
pub const ADD_USAGE: &str = "
    WITH added AS (
        INSERT INTO usage AS u (hour, msisdn, type, records, up_bytes, down_bytes, seconds, sightings)
        SELECT * FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[],
                             $6::bigint[], $7::bigint[], $8::bytea[])
        ON CONFLICT (hour, msisdn, type) DO UPDATE SET
            records = u.records + excluded.records,
            up_bytes = u.up_bytes + excluded.up_bytes,
            down_bytes = u.down_bytes + excluded.down_bytes,
            seconds = u.seconds + excluded.seconds,
            sightings = CASE WHEN u.records + excluded.records <= $9
                THEN u.sightings || excluded.sightings ELSE u.sightings END
        RETURNING hour, msisdn, type, records
    )
    SELECT * FROM added WHERE records > $9";

pub const ADD_SIGHTINGS: &str = "
    INSERT INTO more_sightings (hour, msisdn, type, behind, sightings)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bytea[])";

pub const ADD_LOAD: &str = "
    INSERT INTO tower_load AS t (quarter, tower, sessions, bytes, calls, call_seconds)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    ON CONFLICT (quarter, tower) DO UPDATE SET
        sessions = t.sessions + excluded.sessions,
        bytes = t.bytes + excluded.bytes,
        calls = t.calls + excluded.calls,
        call_seconds = t.call_seconds + excluded.call_seconds";

/// Adds usage; sightings for which there is no room in their row get one of their own.
pub fn add_usage(
    transaction: &mut Transaction<'_>,
    [add_usage, add_sightings]: [&Statement; 2],
    interactions: &mut [Interaction],
) -> Result<(), Error> {
    let rows: Vec<_> = rows::usage(interactions).collect();
    for rows in rows.chunks(ROWS) {
        let full = transaction.query(
            add_usage,
            &[
                &column(rows, |row| row.key.hour.0),
                &column(rows, |row| row.key.msisdn as i64),
                &column(rows, |row| i16::from(row.key.usage_type)),
                &column(rows, |row| row.sums.records as i64),
                &column(rows, |row| row.sums.up_bytes as i64),
                &column(rows, |row| row.sums.down_bytes as i64),
                &column(rows, |row| row.sums.seconds as i64),
                &column(rows, |row| packed(|to| row.pack_few(to))),
                &(SIGHTINGS_IN_ROW as i64),
            ],
        )?;
        if !full.is_empty() {
            add_more_sightings(transaction, add_sightings, rows, &full)?;
        }
    }
    Ok(())
}

/// Adds the sightings of rows that are full: of those with these keys, and so many records now.
fn add_more_sightings(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    rows: &[UsageRow<'_>],
    full: &[Row],
) -> Result<(), Error> {
    let mut more = Vec::with_capacity(full.len());
    for row in full {
        let (msisdn, usage_type) = (row.try_get::<_, i64>(1)? as u64, row.try_get::<_, i16>(2)? as u8);
        let key = UsageKey { hour: Hour(row.try_get(0)?), msisdn, usage_type };
        if let Ok(at) = rows.binary_search_by_key(&key, |row| row.key) {
            more.push((&rows[at], row.try_get::<_, i64>(3)?));
        }
    }
    transaction.execute(
        statement,
        &[
            &column(&more, |(row, _)| row.key.hour.0),
            &column(&more, |(row, _)| row.key.msisdn as i64),
            &column(&more, |(row, _)| i16::from(row.key.usage_type)),
            &column(&more, |(row, records)| records - row.sums.records as i64),
            &column(&more, |(row, _)| packed(|to| row.pack(to))),
        ],
    )?;
    Ok(())
}

pub fn add_loads(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    interactions: &mut [Interaction],
) -> Result<(), Error> {
    let rows: Vec<_> = rows::loads(interactions).collect();
    for rows in rows.chunks(ROWS) {
        transaction.execute(
            statement,
            &[
                &column(rows, |(quarter, ..)| quarter.0),
                &column(rows, |(_, tower, _)| i64::from(*tower)),
                &column(rows, |(.., load)| load.sessions as i64),
                &column(rows, |(.., load)| load.bytes as i64),
                &column(rows, |(.., load)| load.calls as i64),
                &column(rows, |(.., load)| load.call_seconds as i64),
            ],
        )?;
    }
    Ok(())
}

/// No sum comes near the end of an `i64`'s range, which is 9 * 10^18.
fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn packed(pack: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packed = Vec::new();
    pack(&mut packed);
    packed
}
