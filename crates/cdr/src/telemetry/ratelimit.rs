//! Keeps repeated messages from flooding the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one message per key through in each interval, and counts the others.
///
/// A caller logs when [`RateLimit::pass`] gives a number, and mentions that number when it is not 0.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    /// When a message passed last, and how many were suppressed since.
    keys: Mutex<HashMap<String, (Instant, u64)>>,
}

/// Above this many keys those whose interval is over are forgotten, so that keys made from
/// changing text cannot use up memory.
const KEYS_MAX: usize = 1_000;

impl RateLimit {
    /// At most one message per key and `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { interval, keys: Mutex::new(HashMap::new()) }
    }

    /// How many messages of this key were suppressed since the last that passed, if this one may
    /// pass; otherwise None.
    pub fn pass(&self, key: &str) -> Option<u64> {
        self.pass_at(key, Instant::now())
    }

    fn pass_at(&self, key: &str, now: Instant) -> Option<u64> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |passed: Instant| now.duration_since(passed) < self.interval;
        if let Some((passed, suppressed)) = keys.get_mut(key) {
            if is_recent(*passed) {
                *suppressed += 1;
                return None;
            }
            *passed = now;
            return Some(std::mem::take(suppressed));
        }
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, (passed, _)| is_recent(*passed));
        }
        // Still full: what floods the log with ever new keys is suppressed altogether.
        if keys.len() >= KEYS_MAX {
            return None;
        }
        keys.insert(key.to_owned(), (now, 0));
        Some(0)
    }
}

/// The end of a line that stands for others: ` (and 3 more like it)`, or nothing.
pub fn and_more(suppressed: u64) -> String {
    match suppressed {
        0 => String::new(),
        more => format!(" (and {more} more like it)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_interval_passes_and_the_others_are_counted() {
        let limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limit.pass_at("down", at(0)), Some(0));
        assert_eq!(limit.pass_at("down", at(1)), None);
        assert_eq!(limit.pass_at("down", at(9)), None);
        assert_eq!(limit.pass_at("other", at(9)), Some(0));
        assert_eq!(limit.pass_at("down", at(10)), Some(2));
        assert_eq!(limit.pass_at("down", at(11)), None);
        assert_eq!(limit.pass_at("down", at(30)), Some(1));
        assert_eq!(limit.pass_at("down", at(60)), Some(0));
    }

    #[test]
    fn memory_is_bounded() {
        let limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        let passed = (0..5_000).filter(|key| limit.pass_at(&key.to_string(), start).is_some()).count();
        assert_eq!(passed, KEYS_MAX);
        assert_eq!(limit.pass_at("5000", start + Duration::from_secs(10)), Some(0));
        assert_eq!(limit.keys.lock().unwrap().len(), 1);
    }
}
