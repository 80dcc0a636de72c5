//! Numbers as people read them.

use std::time::Duration;

use indicatif::{DecimalBytes, HumanCount};

/// `864,000`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Decimal units: `1.50 MB` are 1,500,000 bytes.
pub fn bytes(number: u64) -> String {
    DecimalBytes(number).to_string()
}

/// `250 ms`, `3.2 s`, `2 min 5 s`, `3 h 7 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match time.as_millis() {
        0..1_000 => format!("{} ms", time.as_millis()),
        1_000..60_000 => format!("{:.1} s", time.as_secs_f64()),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// How many per second, rounded; 0 where no time has passed.
pub fn per_second(number: u64, time: Duration) -> u64 {
    match time.as_secs_f64() {
        0.0 => 0,
        seconds => (number as f64 / seconds).round() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(864_000), "864,000");
        assert_eq!(bytes(160_200_000), "160.20 MB");
        assert_eq!(per_second(864_000, Duration::from_millis(1_500)), 576_000);
        assert_eq!(per_second(5, Duration::ZERO), 0);
    }

    #[test]
    fn times_are_readable() {
        let cases = [(0, "0 ms"), (999, "999 ms"), (3_249, "3.2 s"), (59_940, "59.9 s")];
        let longer = [(125_400, "2 min 5 s"), (11_220_000, "3 h 7 min")];
        for (milliseconds, text) in cases.into_iter().chain(longer) {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
