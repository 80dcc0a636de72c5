//! A batch → the rows that it adds to, each once, in the order of the table's key.

use cdr_model::Micros;
use cdr_model::usage::{Hour, Interaction, Load, Quarter, Sums, UsageKey, Visit};

/// What a batch adds to one row of usage.
pub struct UsageRow<'a> {
    pub key: UsageKey,
    pub sums: Sums,
    interactions: &'a [Interaction],
}

/// A visit as it is stored: microseconds since the hour began, and the tower.
const VISIT_BYTES: usize = 8;

impl UsageRow<'_> {
    /// Its visits, to be appended to those that the row has.
    pub fn visits(&self, packed: &mut Vec<u8>) {
        packed.clear();
        for one in self.interactions {
            let of_hour = (one.time.0 - self.key.hour.begin().0) as u32;
            packed.extend_from_slice(&of_hour.to_le_bytes());
            packed.extend_from_slice(&one.tower.to_le_bytes());
        }
    }
}

/// The visits of a row.
pub fn unpack(hour: Hour, packed: &[u8]) -> impl Iterator<Item = Visit> + '_ {
    packed.chunks_exact(VISIT_BYTES).map(move |visit| {
        let number =
            |at: usize| u32::from_le_bytes([visit[at], visit[at + 1], visit[at + 2], visit[at + 3]]);
        Visit { time: Micros(hour.begin().0 + i64::from(number(0))), tower: number(4) }
    })
}

/// The rows of usage, by hour, subscriber and type.
pub fn usage(interactions: &mut [Interaction]) -> impl Iterator<Item = UsageRow<'_>> {
    interactions.sort_unstable_by_key(Interaction::key);
    interactions.chunk_by(|one, next| one.key() == next.key()).map(|interactions| UsageRow {
        key: interactions[0].key(),
        sums: Sums::of(interactions),
        interactions,
    })
}

/// The rows of load, by quarter and tower.
pub fn loads(interactions: &mut [Interaction]) -> impl Iterator<Item = (Quarter, u32, Load)> + '_ {
    interactions.sort_unstable_by_key(Interaction::load_key);
    interactions.chunk_by(|one, next| one.load_key() == next.load_key()).map(|interactions| {
        let (quarter, tower) = interactions[0].load_key();
        (quarter, tower, Load::of(interactions))
    })
}
