//! How far some counts have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::display::{Shown, bar};
use super::units;

/// How often there is a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

const TEMPLATE: &str =
    "{prefix:7} [{wide_bar}] {human_pos}/{human_len}, {per_sec}, {elapsed_precise}, {eta_precise} left";

/// Something that is counted up to a total, which may become known later.
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub name: &'static str,
    pub done: Arc<AtomicU64>,
    /// 0 as long as it is not known.
    pub total: Arc<AtomicU64>,
}

impl Count {
    pub fn new(name: &'static str) -> Self {
        Count { name, ..Count::default() }
    }
}

/// Some counts as they are shown.
#[derive(Debug)]
pub struct Gauge {
    counts: Vec<Count>,
    logged: Instant,
}

impl Gauge {
    pub fn new(counts: Vec<Count>) -> Self {
        Gauge { counts, logged: Instant::now() }
    }
}

impl Shown for Gauge {
    fn bars(&self) -> Vec<ProgressBar> {
        self.counts.iter().map(|count| bar(count.name, 0, TEMPLATE)).collect()
    }

    fn update(&mut self, bars: &[ProgressBar], _: Instant) {
        for (bar, count) in bars.iter().zip(&self.counts) {
            bar.set_length(count.total.load(Ordering::Relaxed));
            bar.set_position(count.done.load(Ordering::Relaxed));
        }
    }

    fn line(&mut self, now: Instant) -> Option<String> {
        if now.duration_since(self.logged) < LINE_EVERY {
            return None;
        }
        self.logged = now;
        let read = |of: &AtomicU64| units::count(of.load(Ordering::Relaxed));
        let text = |of: &Count| format!("{} of {} {}", read(&of.done), read(&of.total), of.name);
        let texts: Vec<String> = self.counts.iter().map(text).collect();
        Some(format!("Looked at {}", texts.join(", ")))
    }
}
