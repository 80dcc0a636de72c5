//! A batch → the rows that it adds to, each once, in the order of the table's key.

use cdr_model::Micros;
use cdr_model::usage::{Hour, Interaction, Load, Quarter, Sighting, Sums, UsageKey};

/// Sightings of a row of usage that stand in it. A batch that adds to the row copies them, so they are
/// few; those beyond get rows of their own, one for each batch that has some.
pub const SIGHTINGS_IN_ROW: u64 = 64;

/// What a batch adds to one row of usage.
#[derive(Clone, Copy)]
pub struct UsageRow<'a> {
    pub key: UsageKey,
    pub sums: Sums,
    interactions: &'a [Interaction],
}

impl UsageRow<'_> {
    /// Its sightings that are to stand in the row, if those that the row has leave room.
    #[cfg(feature = "postgres")]
    pub fn pack_few(&self, packed: &mut Vec<u8>) {
        packed.clear();
        if self.sums.records <= SIGHTINGS_IN_ROW {
            self.pack(packed);
        }
    }

    /// Its sightings: the microseconds since the hour began and the tower, four bytes each.
    pub fn pack(&self, packed: &mut Vec<u8>) {
        packed.clear();
        for one in self.interactions {
            let of_hour = (one.time.0 - self.key.hour.begin().0) as u32;
            let both = u64::from(one.tower) << 32 | u64::from(of_hour);
            packed.extend_from_slice(&both.to_le_bytes());
        }
    }
}

/// The sightings of a row.
pub fn unpack(hour: Hour, packed: &[u8]) -> impl Iterator<Item = Sighting> + '_ {
    packed.as_chunks().0.iter().map(move |packed| {
        let both = u64::from_le_bytes(*packed);
        Sighting { time: Micros(hour.begin().0 + i64::from(both as u32)), tower: (both >> 32) as u32 }
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
