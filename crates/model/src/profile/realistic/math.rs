//! Functions whose results are the same on every host, bit for bit.
//!
//! IEEE 754 fixes the results of `+ - * /` and of the square root, and nothing else: the standard
//! library's `exp` and `ln` are those of the platform. Tables are built with these instead.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

/// e to the power of x, for results that are normal numbers.
pub fn exp(x: f64) -> f64 {
    let halvings = (x * LOG2_E).round();
    let rest = x - halvings * LN_2;
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..=18 {
        term *= rest / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((1_023 + halvings as i64) as u64) << 52)
}

/// The natural logarithm of a normal number above 0.
pub fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1_023;
    let mut mantissa = f64::from_bits(bits & MANTISSA | 1_023 << 52);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), and the argument is below 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let (square, mut power, mut sum) = (s * s, s, 0.0);
    for n in 0..12 {
        sum += power / f64::from(2 * n + 1);
        power *= square;
    }
    2.0 * sum + exponent as f64 * LN_2
}

/// x to the power of y, for x above 0.
pub fn pow(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

/// The normal distribution: the share of values below x.
pub fn normal(x: f64) -> f64 {
    // Marsaglia's series, "Evaluating the normal distribution", J. Stat. Softw. 11(4), 2004.
    let (mut sum, mut term, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + sum * density(x)
}

fn density(x: f64) -> f64 {
    const SQRT_TWO_PI: f64 = 2.506_628_274_631_000_5;
    exp(-0.5 * x * x) / SQRT_TWO_PI
}

/// The value below which a share `p` of normally distributed values lies, for p from 1e-7 to 1 - 1e-7.
pub fn normal_quantile(p: f64) -> f64 {
    if p < 0.5 {
        return -normal_quantile(1.0 - p);
    }
    // Newton's method: from 0 on it comes closer from one side, since the density falls.
    let mut x = 0.0;
    for _ in 0..40 {
        let step = (p - normal(x)) / density(x);
        x += step;
        if step < 1e-12 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_standard_library() {
        let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= 1e-14 * theirs.abs().max(1.0);
        for step in -700..700 {
            let x = f64::from(step) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp({x})");
            let y = x.exp();
            assert!(close(ln(y), y.ln()), "ln({y})");
        }
        assert!(close(pow(7.5, -1.3), 7.5f64.powf(-1.3)));
    }

    /// To the last bit: else hosts would generate different records.
    #[test]
    fn they_are_the_same_on_every_host() {
        let args = || (1..20_000).map(|step| f64::from(step) / 20_000.0);
        let hash = |of: &dyn Fn(f64) -> f64| {
            args().fold(0, |hash, x| crate::random::mix(hash ^ of(x).to_bits()))
        };
        let hashes = [
            hash(&|x| exp(40.0 * x - 20.0)),
            hash(&|x| ln(x)),
            hash(&|x| pow(1e4 * x, -1.3)),
            hash(&normal_quantile),
            hash(&|x| normal(8.0 * x - 4.0)),
        ];
        let expected = [
            3_719_545_877_082_125_138,
            14_240_032_326_134_736_023,
            15_292_449_182_229_116_826,
            15_511_873_476_918_316_118,
            16_667_511_796_338_584_333,
        ];
        assert_eq!(hashes, expected);
    }

    #[test]
    fn quantiles_of_the_normal_distribution_are_those_of_the_tables() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959_964), (0.05, -1.644_854), (0.999, 3.090_232)] {
            assert!((normal_quantile(p) - x).abs() < 1e-6, "{p}");
        }
    }
}
