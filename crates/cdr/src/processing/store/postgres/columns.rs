//! Rows → the columns that a statement takes: thousands of rows for one answer of the server.

use cdr_model::usage::{Load, Quarter};
use postgres::error::Error;
use postgres::{Statement, Transaction};

use super::super::rows::{SIGHTINGS_IN_ROW, UsageRow};

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

/// Rows of usage, as columns.
#[derive(Default)]
pub struct UsageColumns<'a> {
    rows: Vec<UsageRow<'a>>,
    hours: Vec<i32>,
    msisdns: Vec<i64>,
    types: Vec<i16>,
    /// Records, bytes up, bytes down, seconds.
    sums: [Vec<i64>; 4],
    sightings: Vec<Vec<u8>>,
}

impl<'a> UsageColumns<'a> {
    /// Takes the next rows in the place of those that it has; `false` when there are no more.
    pub fn fill(&mut self, rows: &mut impl Iterator<Item = UsageRow<'a>>) -> bool {
        self.rows.clear();
        self.hours.clear();
        self.msisdns.clear();
        self.types.clear();
        self.sums.iter_mut().for_each(Vec::clear);
        self.rows.extend(rows.take(ROWS));
        self.sightings.resize_with(self.rows.len(), Vec::new);
        for (row, sightings) in self.rows.iter().zip(&mut self.sightings) {
            self.hours.push(row.key.hour.0);
            self.msisdns.push(row.key.msisdn as i64);
            self.types.push(row.key.usage_type.into());
            let sums = [row.sums.records, row.sums.up_bytes, row.sums.down_bytes, row.sums.seconds];
            push(&mut self.sums, sums);
            row.pack_few(sightings);
        }
        !self.rows.is_empty()
    }

    /// Adds them; sightings for which there is no room in their row get one of their own.
    pub fn add(
        &self,
        transaction: &mut Transaction<'_>,
        add_usage: &Statement,
        add_sightings: &Statement,
    ) -> Result<(), Error> {
        let [records, up_bytes, down_bytes, seconds] = &self.sums;
        let (in_row, sightings) = (SIGHTINGS_IN_ROW as i64, &self.sightings);
        let full = transaction.query(
            add_usage,
            &[
                &self.hours,
                &self.msisdns,
                &self.types,
                records,
                up_bytes,
                down_bytes,
                seconds,
                sightings,
                &in_row,
            ],
        )?;
        if full.is_empty() {
            return Ok(());
        }
        let mut more = MoreSightings::default();
        for row in &full {
            let key = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            more.add(key, row.try_get(3)?, self.row(key));
        }
        let MoreSightings { hours, msisdns, types, behind, sightings } = &more;
        transaction.execute(add_sightings, &[hours, msisdns, types, behind, sightings])?;
        Ok(())
    }

    /// The row with this key, as the database has it.
    fn row(&self, (hour, msisdn, usage_type): Key) -> Option<&UsageRow<'a>> {
        let key =
            |row: &UsageRow<'_>| (row.key.hour.0, row.key.msisdn as i64, i16::from(row.key.usage_type));
        let found = self.rows.binary_search_by_key(&(hour, msisdn, usage_type), key);
        found.ok().map(|at| &self.rows[at])
    }
}

/// Hour, msisdn and type.
type Key = (i32, i64, i16);

/// Rows of sightings, as columns.
#[derive(Default)]
struct MoreSightings {
    hours: Vec<i32>,
    msisdns: Vec<i64>,
    types: Vec<i16>,
    behind: Vec<i64>,
    sightings: Vec<Vec<u8>>,
}

impl MoreSightings {
    /// Adds those of a row, which has so many records now.
    fn add(&mut self, (hour, msisdn, usage_type): Key, records: i64, row: Option<&UsageRow<'_>>) {
        let Some(row) = row else { return };
        let mut packed = Vec::new();
        row.pack(&mut packed);
        self.hours.push(hour);
        self.msisdns.push(msisdn);
        self.types.push(usage_type);
        self.behind.push(records - row.sums.records as i64);
        self.sightings.push(packed);
    }
}

/// Rows of load, as columns.
#[derive(Default)]
pub struct LoadColumns {
    quarters: Vec<i32>,
    towers: Vec<i64>,
    /// Sessions, bytes, calls, seconds of calls.
    sums: [Vec<i64>; 4],
}

impl LoadColumns {
    /// Takes the next rows in the place of those that it has; `false` when there are no more.
    pub fn fill(&mut self, rows: &mut impl Iterator<Item = (Quarter, u32, Load)>) -> bool {
        self.quarters.clear();
        self.towers.clear();
        self.sums.iter_mut().for_each(Vec::clear);
        for (quarter, tower, load) in rows.take(ROWS) {
            self.quarters.push(quarter.0);
            self.towers.push(tower.into());
            push(&mut self.sums, [load.sessions, load.bytes, load.calls, load.call_seconds]);
        }
        !self.quarters.is_empty()
    }

    pub fn add(&self, transaction: &mut Transaction<'_>, statement: &Statement) -> Result<u64, Error> {
        let [sessions, bytes, calls, seconds] = &self.sums;
        transaction.execute(statement, &[&self.quarters, &self.towers, sessions, bytes, calls, seconds])
    }
}

/// No sum comes near the range's end, which is 9 * 10^18.
fn push(columns: &mut [Vec<i64>; 4], row: [u64; 4]) {
    for (column, sum) in columns.iter_mut().zip(row) {
        column.push(sum as i64);
    }
}
