//! Random numbers by position: (seed, stream, part, index) → value, with no hidden state.
//!
//! The sequence of a part is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
//! number generators", OOPSLA 2014, with Stafford's finaliser "Mix13"). Its n-th output is a
//! function of the key and n alone, so every value can be had without those before it.

use crate::stream::Stream;

/// 2^64 divided by the golden ratio, odd: the step between the states of SplitMix64.
pub(crate) const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Stafford's Mix13: a bijection on 64 bits in which each input bit flips half of the output.
#[inline]
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What [`more`] makes its bits differ by.
pub(crate) const fn key(nth: u64) -> u64 {
    mix(nth) | 1
}

/// More bits from bits that are mixed already; each key gives others. The halves of a product, folded
/// (as in Yi's wyhash), take a third of the time of [`mix`].
#[inline(always)]
pub(crate) fn more(bits: u64, key: u64) -> u64 {
    let product = u128::from(bits) * u128::from(key);
    product as u64 ^ (product >> 64) as u64
}

/// The random words of one part of one stream.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    key: u64,
}

impl Words {
    pub fn new(seed: u64, stream: Stream, part: u64) -> Self {
        let run = mix(seed.wrapping_add(GOLDEN_GAMMA) ^ stream.salt());
        Words { key: mix(run.wrapping_add(part.wrapping_mul(GOLDEN_GAMMA))) }
    }

    #[inline]
    pub fn at(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_mul(GOLDEN_GAMMA)))
    }
}

/// Maps 32 random bits to `0..bound`. The bias is at most `bound / 2^32`.
#[inline]
pub(crate) fn below(bits: u32, bound: u32) -> u32 {
    ((u64::from(bits) * u64::from(bound)) >> 32) as u32
}

/// Maps 64 random bits to `0..bound`. The bias is at most `bound / 2^64`.
#[inline]
pub(crate) fn below_wide(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}
