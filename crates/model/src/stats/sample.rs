//! Which people are looked at one by one.

use crate::random::{GOLDEN_GAMMA, mix};

/// People of whose number a hash begins with some zeros, in binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    zeros: u32,
}

impl Sample {
    #[inline]
    pub fn has(self, who: u64) -> bool {
        // Numbers of a country differ in their last digits only.
        mix(who.wrapping_mul(GOLDEN_GAMMA)).leading_zeros() >= self.zeros
    }

    pub fn half(self) -> Sample {
        Sample { zeros: self.zeros + 1 }
    }

    pub fn is_all(self) -> bool {
        self.zeros == 0
    }

    pub fn one_of(self) -> u64 {
        1 << self.zeros.min(63)
    }
}

/// Bytes of hash tables with so many entries, by and large: tables grow by doubling, and are a bit more
/// than half full on average.
pub fn bytes<Entry>(entries: usize) -> usize {
    entries * (size_of::<Entry>() + 1) * 8 / 5
}

/// Bytes of a table that is nearly empty, beside those of its entries.
pub const SMALL_TABLE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_is_of_the_one_before() {
        let (all, half) = (Sample::default(), Sample::default().half());
        let quarter = half.half();
        let people = 27_820_000_000..27_820_100_000u64;
        let count = |sample: Sample| people.clone().filter(|&who| sample.has(who)).count();
        assert_eq!((count(all), all.one_of(), quarter.one_of()), (100_000, 1, 4));
        assert!(count(half).abs_diff(50_000) < 1_000 && count(quarter).abs_diff(25_000) < 1_000);
        assert!(people.clone().all(|who| !quarter.has(who) || half.has(who)));
    }
}
