//! Which record follows which.
//!
//! A record is fresh, or it follows an earlier one of its ward: by a time that obeys a power law, as
//! times between calls do (Jiang and others, PNAS 110, 2013). What it follows is found from its number
//! alone, and may follow another one itself.

use super::law::Quantiles;
use super::memo::Memo;
use super::wards::{Dealt, Wards};
use crate::profile::daily::{Cell, Daily};
use crate::random::{key, more};
use crate::stream::Stream;

/// How often a record is looked for that ended early enough to be followed.
const TRIES: u32 = 4;

/// Records that follow one another, at most.
pub const LENGTH_MAX: u32 = 64;

/// What somebody has to pause between two records, in microseconds.
const PAUSE: i64 = 2_000_000;

/// A second, in microseconds.
pub const SECOND: i64 = 1_000_000;

/// The records of one stream, as they follow one another.
#[derive(Clone, Debug)]
pub struct Chain {
    pub stream: Stream,
    pub daily: Daily,
    pub wards: Wards,
    /// From the beginning of a record to that of what follows it, in microseconds.
    lags: Quantiles,
    /// Of 2^16 records, so many follow another one, where one can be found.
    share: u32,
}

impl Chain {
    /// `share`: of records that follow another one. `least`: seconds from one to the other.
    pub fn new(
        daily: &Daily,
        wards: &Wards,
        stream: Stream,
        share: f64,
        exponent: f64,
        least: f64,
    ) -> Chain {
        let lags = Quantiles::power(exponent, least * SECOND as f64, 86_400.0 * SECOND as f64);
        Chain {
            stream,
            daily: daily.clone(),
            wards: wards.clone(),
            lags,
            share: (share * 65_536.0) as u32,
        }
    }

    /// Random bits of a record, apart from those that place it in time.
    #[inline]
    pub fn bits(&self, record: i64) -> u64 {
        more(self.daily.bits(self.stream, record), key(0))
    }

    /// When a record of a cell happens.
    #[inline]
    pub fn time_in(&self, cell: &Cell, record: i64) -> i64 {
        cell.time(record, self.daily.bits(self.stream, record) as u32)
    }

    /// When a record happens. The cell may be any, and becomes its own; one that is close takes least.
    #[inline]
    pub fn time(&self, record: i64, cell: &mut Cell) -> i64 {
        self.daily.go_to(self.stream, record, cell);
        self.time_in(cell, record)
    }

    /// Whether a record of such bits follows another one, if one can be found.
    #[inline]
    pub fn follows(&self, bits: u64) -> bool {
        ((bits & 0xFFFF) as u32) < self.share
    }

    /// The record that one follows which does so, with its time. `cell` is that of the record, and becomes
    /// that of the earlier one; `length` gives how long an earlier one took, in seconds.
    #[inline]
    pub fn before(
        &self,
        memo: &mut Memo,
        (ward, record): (u32, i64),
        time: i64,
        cell: &mut Cell,
        bits: u64,
        length: impl Fn(i64) -> u32,
    ) -> Option<(Dealt, i64)> {
        let draws = more(bits, key(9));
        let wanted = time - self.lags.of((draws >> 32) as u32);
        let there = *memo.cell(&self.daily, self.stream, wanted.div_euclid(SECOND));
        // At night few records can be followed: else all of the morning would follow them.
        if (draws & 0xFFFF_FFFF) * u64::from(cell.rate) >= u64::from(there.rate) << 32 {
            return None;
        }
        *cell = there;
        let mut turn = self.wards.turn_of(there.record_at(wanted));
        for _ in 0..TRIES {
            let earlier = self.wards.dealt(ward, turn);
            if earlier.record < record {
                let begin = self.time(earlier.record, cell);
                if begin + i64::from(length(earlier.record)) * SECOND + PAUSE <= time {
                    return Some((earlier, begin));
                }
            }
            turn -= 1;
        }
        None
    }
}
