//! Rows → the columns that a statement takes: thousands of rows for one answer of the server.

use cdr_model::usage::{Load, Quarter};
use postgres::error::Error;
use postgres::{Statement, Transaction};

use super::super::rows::UsageRow;

/// Rows in a statement: enough that its cost does not count, little memory on both sides.
const ROWS: usize = 8_192;

pub const ADD_USAGE: &str = "
    INSERT INTO usage AS u (hour, msisdn, type, records, up_bytes, down_bytes, seconds, visits)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[],
                         $6::bigint[], $7::bigint[], $8::bytea[])
    ON CONFLICT (hour, msisdn, type) DO UPDATE SET
        records = u.records + excluded.records,
        up_bytes = u.up_bytes + excluded.up_bytes,
        down_bytes = u.down_bytes + excluded.down_bytes,
        seconds = u.seconds + excluded.seconds,
        visits = u.visits || excluded.visits";

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
pub struct UsageColumns {
    hours: Vec<i32>,
    msisdns: Vec<i64>,
    types: Vec<i16>,
    /// Records, bytes up, bytes down, seconds.
    sums: [Vec<i64>; 4],
    visits: Vec<Vec<u8>>,
}

impl UsageColumns {
    /// Takes the next rows in the place of those that it has; `false` when there are no more.
    pub fn fill<'a>(&mut self, rows: &mut impl Iterator<Item = UsageRow<'a>>) -> bool {
        self.hours.clear();
        self.msisdns.clear();
        self.types.clear();
        self.sums.iter_mut().for_each(Vec::clear);
        for (at, row) in rows.take(ROWS).enumerate() {
            self.hours.push(row.key.hour.0);
            self.msisdns.push(row.key.msisdn as i64);
            self.types.push(row.key.usage_type.into());
            let sums = [row.sums.records, row.sums.up_bytes, row.sums.down_bytes, row.sums.seconds];
            push(&mut self.sums, sums);
            if at == self.visits.len() {
                self.visits.push(Vec::new());
            }
            row.visits(&mut self.visits[at]);
        }
        !self.hours.is_empty()
    }

    pub fn add(&self, transaction: &mut Transaction<'_>, statement: &Statement) -> Result<u64, Error> {
        let [records, up_bytes, down_bytes, seconds] = &self.sums;
        let visits = &self.visits[..self.hours.len()];
        transaction.execute(
            statement,
            &[&self.hours, &self.msisdns, &self.types, records, up_bytes, down_bytes, seconds, &visits],
        )
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
