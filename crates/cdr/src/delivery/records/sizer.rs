//! How much goes into one transaction where the way to the brokers is slow.

use std::time::Duration;

/// A transaction that did not come to its end is followed by one of this fraction.
const SHRINK: u32 = 8;

/// Few enough for any network that is one.
const LEAST_RECORDS: u32 = 100;

/// The records of the next transaction: as many as are configured, but fewer after one that failed,
/// since the brokers end a transaction that takes longer than its timeout. The same again would be
/// ended again, for ever.
pub(super) struct TransactionSizer {
    most: u32,
    now: u32,
    timeout: Duration,
}

impl TransactionSizer {
    pub fn new(most: u32, timeout: Duration) -> Self {
        TransactionSizer { most, now: most, timeout }
    }

    pub fn records(&self) -> u32 {
        self.now
    }

    /// A transaction was committed after this time.
    pub fn succeeded(&mut self, time: Duration) {
        if time < self.timeout / 4 {
            self.now = self.now.saturating_mul(2).min(self.most);
        }
    }

    /// A transaction into which so many records had gone was not committed.
    pub fn failed(&mut self, sent: u64) {
        let sent = u32::try_from(sent).unwrap_or(u32::MAX);
        if sent > 0 {
            self.now = (sent / SHRINK).max(LEAST_RECORDS).min(self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sizer() -> TransactionSizer {
        TransactionSizer::new(400_000, 60 * SECOND)
    }

    #[test]
    fn what_failed_is_followed_by_less_down_to_a_bound() {
        let mut sizer = sizer();
        for expected in [20_000, 2_500, 312, 100, 100] {
            sizer.failed(u64::from(sizer.records()).min(160_000));
            assert_eq!(sizer.records(), expected);
        }
    }

    #[test]
    fn what_failed_before_anything_was_sent_shows_nothing_of_the_network() {
        let mut sizer = sizer();
        sizer.failed(0);
        assert_eq!(sizer.records(), 400_000);
    }

    #[test]
    fn what_takes_a_small_part_of_its_time_is_followed_by_more_up_to_the_setting() {
        let mut sizer = sizer();
        sizer.failed(800_000);
        for (seconds, expected) in [(1, 200_000), (16, 200_000), (14, 400_000), (1, 400_000)] {
            sizer.succeeded(seconds * SECOND);
            assert_eq!(sizer.records(), expected);
        }
    }

    #[test]
    fn a_setting_below_the_bound_holds() {
        let mut sizer = TransactionSizer::new(10, SECOND);
        sizer.failed(10);
        assert_eq!(sizer.records(), 10);
    }
}
