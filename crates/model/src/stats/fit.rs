//! Slopes, shares and distances of distributions.

/// The slope of a straight line through points, by least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let of = |sum: (f64, f64), point: &(f64, f64)| {
        let dx = point.0 - x;
        (sum.0 + dx * (point.1 - y), sum.1 + dx * dx)
    };
    let (both, square) = points.iter().fold((0.0, 0.0), of);
    both / square
}

/// The share of the sum that the largest have: those of the first `share` of `count` values.
pub fn top_share(mut values: Vec<f64>, count: usize, share: f64) -> f64 {
    values.sort_by(|a, b| b.total_cmp(a));
    let top = (count as f64 * share) as usize;
    values.iter().take(top).sum::<f64>() / values.iter().sum::<f64>()
}

/// The value that is farthest from 0; none, if one of them is none.
pub fn farthest(values: impl IntoIterator<Item = f64>) -> f64 {
    let is_farther = |one: f64, far: f64| one.is_nan() || one.abs() > far.abs();
    values.into_iter().fold(0.0, |far, one| if is_farther(one, far) { one } else { far })
}

/// A histogram whose bins grow by a factor.
#[derive(Clone, Debug)]
pub struct LogBins {
    least: f64,
    /// Bins in which values double.
    per_doubling: f64,
    counts: Vec<u64>,
}

impl LogBins {
    pub fn new(least: f64, most: f64, per_doubling: f64) -> LogBins {
        let bins = ((most / least).log2() * per_doubling).ceil() as usize;
        LogBins { least, per_doubling, counts: vec![0; bins] }
    }

    pub fn add(&mut self, value: f64) {
        if value >= self.least {
            let bin = ((value / self.least).log2() * self.per_doubling) as usize;
            if let Some(count) = self.counts.get_mut(bin) {
                *count += 1;
            }
        }
    }

    /// The middle of each bin that has values, and their density there.
    pub fn density(&self) -> Vec<(f64, f64)> {
        let bound = |bin: usize| self.least * (bin as f64 / self.per_doubling).exp2();
        let bins = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        bins.map(|(bin, &count)| {
            let (from, to) = (bound(bin), bound(bin + 1));
            ((from * to).sqrt(), count as f64 / (to - from))
        })
        .collect()
    }

    /// The power by which the density falls.
    pub fn exponent(&self) -> f64 {
        let points: Vec<_> = self.density().iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        slope(&points)
    }
}
