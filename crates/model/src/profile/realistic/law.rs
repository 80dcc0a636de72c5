//! Laws as tables of whole numbers: a draw is a lookup, and the same on every host.

use std::array::from_fn;

use super::math::{exp, ln, normal_quantile, pow};
use crate::random::below;

/// Which of several cases a draw selects, each by its weight.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The upper bound of each case among 2^32 draws; that of the last is 2^32 - 1.
    bounds: Vec<u32>,
    /// The case at the beginning of each of equal ranges of draws.
    guide: Vec<u16>,
    shift: u32,
}

impl Choice {
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Choice {
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .into_iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Choice::of_bounds(sums.into_iter().map(|part| (part / sum * 4_294_967_295.0) as u32).collect())
    }

    fn of_bounds(mut bounds: Vec<u32>) -> Choice {
        if let Some(last) = bounds.last_mut() {
            *last = u32::MAX;
        }
        // Eight ranges and more for each case, so that few have a bound within them.
        let bits = (usize::BITS - bounds.len().leading_zeros() + 3).clamp(4, 16);
        let shift = 32 - bits;
        let mut guide = Vec::with_capacity(1 << bits);
        let mut case = 0;
        for range in 0..1u32 << bits {
            while bounds[case] < range << shift {
                case += 1;
            }
            guide.push(case as u16);
        }
        Choice { bounds, guide, shift }
    }

    /// The case of a draw.
    #[inline]
    pub fn of(&self, draw: u32) -> u32 {
        let case = self.guide[(draw >> self.shift) as usize];
        // Without a branch: it would be guessed wrong as often as right.
        let mut case = usize::from(case) + usize::from(self.bounds[usize::from(case)] < draw);
        while self.bounds[case] < draw {
            case += 1;
        }
        case as u32
    }
}

/// Values of a continuous law: its quantiles, between which draws are interpolated.
///
/// A draw cannot lie outside of a table whose length is known, so nothing has to look whether it does.
#[derive(Clone, Debug)]
pub struct Quantiles(Box<[i64; RANGES + 1]>);

/// Ranges of draws between which is interpolated.
const RANGES: usize = 4_096;

impl Quantiles {
    /// `of` gives the value below which a share of all values lies.
    pub fn new(of: impl Fn(f64) -> f64) -> Quantiles {
        Quantiles(Box::new(from_fn(|n| of(n as f64 / RANGES as f64).round() as i64)))
    }

    /// A power law: the density of x is proportional to x^-exponent, from `low` to `high`.
    pub fn power(exponent: f64, low: f64, high: f64) -> Quantiles {
        let power = 1.0 - exponent;
        let (from, to) = (pow(low, power), pow(high, power));
        Quantiles::new(|share| pow(from + share * (to - from), 1.0 / power))
    }

    /// The normal law, times `one`.
    pub fn normal(one: f64) -> Quantiles {
        // The table's ends are the means of what lies beyond the last step.
        let least = 0.25 / RANGES as f64;
        Quantiles::new(|share| one * normal_quantile(share.clamp(least, 1.0 - least)))
    }

    /// The value of a draw.
    #[inline]
    pub fn of(&self, draw: u32) -> i64 {
        let (range, within) = ((draw >> 20) as usize, i64::from(draw & 0xF_FFFF));
        let (from, to) = (self.0[range], self.0[range + 1]);
        from + (((to - from) * within) >> 20)
    }
}

/// Powers of two of fixed-point exponents.
#[derive(Clone, Debug)]
pub struct PowersOfTwo(Box<[u32; 1 << PowersOfTwo::BITS]>);

impl PowersOfTwo {
    /// Bits of an exponent behind the point.
    pub const POINT: u32 = 20;
    const BITS: u32 = 10;

    pub fn new() -> PowersOfTwo {
        let steps = f64::from(1 << Self::BITS);
        let ln_2 = ln(2.0);
        // From 2^31 on, so that a shift to the right gives the result.
        PowersOfTwo(Box::new(from_fn(|n| (2_147_483_648.0 * exp(ln_2 * n as f64 / steps)) as u32)))
    }

    /// Two to the power of `exponent / 2^POINT`, which is below 32, rounded down.
    #[inline]
    pub fn of(&self, exponent: i64) -> u32 {
        let (whole, rest) = (exponent >> Self::POINT, exponent & ((1 << Self::POINT) - 1));
        let mantissa = self.0[(rest >> (Self::POINT - Self::BITS)) as usize];
        if whole < 0 { 0 } else { mantissa >> (31 - whole.min(31)) }
    }
}

/// How long calls last, in whole seconds: a truncated log-logistic law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    /// The draws that give at most so many seconds, of 2^32.
    bounds: Vec<u32>,
    guide: Box<[u16; RANGES]>,
}

impl Durations {
    /// The longest call, in seconds.
    pub const MAX: u32 = 1_800;

    /// `median` is that of the truncated law, in seconds.
    pub fn log_logistic(median: f64, shape: f64) -> Durations {
        let below = |scale: f64, x: f64| 1.0 / (1.0 + pow(x / scale, -shape));
        // The scale is the median of the law that is not truncated.
        let (mut low, mut high) = (median, 100.0 * median);
        for _ in 0..60 {
            let scale = (low + high) / 2.0;
            let share = below(scale, median) / below(scale, Self::MAX.into());
            if share > 0.5 { low = scale } else { high = scale }
        }
        let share = |x: u32| match x {
            0 => 0.0,
            _ => below(low, x.into()) / below(low, Self::MAX.into()),
        };
        Durations::of_shares((0..=Self::MAX).map(share))
    }

    /// The shares of calls that last at most 0, 1, 2, … seconds.
    pub fn of_shares(shares: impl Iterator<Item = f64>) -> Durations {
        let mut bounds: Vec<u32> = shares.map(|share| (share * 4_294_967_295.0) as u32).collect();
        bounds[Self::MAX as usize] = u32::MAX;
        let mut seconds = 0;
        let guide = from_fn(|range| {
            while bounds[seconds] < (range as u32) << 20 {
                seconds += 1;
            }
            seconds as u16
        });
        Durations { bounds, guide: Box::new(guide) }
    }

    /// How long a call lasts.
    #[inline]
    pub fn of(&self, draw: u32) -> u32 {
        let seconds = usize::from(self.guide[(draw >> 20) as usize]);
        let mut seconds = seconds + usize::from(self.bounds[seconds] < draw);
        while self.bounds[seconds] < draw {
            seconds += 1;
        }
        (seconds as u32).max(1)
    }

    /// How long a call lasts that ends within `room` seconds, of which there is at least one.
    #[inline]
    pub fn within(&self, draw: u32, room: u32) -> u32 {
        self.of(below(draw, self.bounds[room.min(Self::MAX) as usize])).min(room)
    }

    /// The share of calls that last at most so many seconds.
    pub fn share(&self, seconds: u32) -> f64 {
        f64::from(self.bounds[seconds.min(Self::MAX) as usize]) / 4_294_967_295.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    #[test]
    fn cases_are_drawn_by_their_weights() {
        let choice = Choice::new([1.0, 0.0, 2.0, 5.0]);
        let mut counts = [0u32; 4];
        (0..80_000u64).for_each(|nth| counts[choice.of(mix(nth) as u32) as usize] += 1);
        for (count, wanted) in counts.into_iter().zip([10_000, 0, 20_000, 50_000]) {
            assert!(count.abs_diff(wanted) < 500, "{counts:?}");
        }
        assert_eq!((choice.of(0), choice.of(u32::MAX)), (0, 3));
    }

    #[test]
    fn half_of_all_calls_are_no_longer_than_the_median() {
        for median in [10, 85, 600] {
            let law = Durations::log_logistic(median.into(), 1.5);
            assert!((law.share(median) - 0.5).abs() < 1e-6, "{median}");
            assert!(law.of(u32::MAX / 2).abs_diff(median) <= 1, "{median}");
            assert_eq!((law.of(0), law.of(u32::MAX)), (1, Durations::MAX));
        }
    }

    #[test]
    fn a_call_that_has_to_end_in_time_does() {
        let law = Durations::log_logistic(85.0, 1.5);
        for room in [1, 2, 30, 1_799, 1_800] {
            for draw in [0, 1 << 20, u32::MAX / 2, u32::MAX] {
                assert!((1..=room).contains(&law.within(draw, room)), "{room} {draw}");
            }
        }
    }

    #[test]
    fn a_power_law_has_its_bounds_and_its_median() {
        let law = Quantiles::power(2.0, 1_000.0, 1_000_000.0);
        assert_eq!(law.of(0), 1_000);
        // 1/x is drawn evenly.
        assert!((law.of(1 << 31) - 1_998).abs() <= 1, "{}", law.of(1 << 31));
        assert!(law.of(u32::MAX) <= 1_000_000);
    }

    #[test]
    fn powers_of_two_are_right_to_a_thousandth() {
        let powers = PowersOfTwo::new();
        for exponent in [-1.0, 0.0, 0.5, 10.3, 20.25, 31.0f64] {
            let found = f64::from(powers.of((exponent * f64::from(1 << PowersOfTwo::POINT)) as i64));
            let wanted = exponent.exp2();
            assert!((found - wanted).abs() <= 1.0 + wanted * 1e-3, "{exponent}: {found}");
        }
    }
}
