//! What becomes visible locally behind each commit: the index file and the counts of parts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cdr_model::progress::{Cursors, Sinks};
use cdr_model::{PartIndex, Plan};
use tracing::warn;

use super::index::IndexFile;
use crate::telemetry::{Counters, RateLimit, and_more};

/// The index file is written at most this often; redoing a little after a crash is harmless.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// Keeps the index file and the counts of complete parts behind the commit point.
pub struct Milestones {
    plan: Plan,
    sinks: Sinks,
    index: IndexFile,
    counters: Arc<Counters>,
    written: Option<(PartIndex, Instant)>,
    complaints: RateLimit<String>,
}

impl Milestones {
    pub fn new(plan: Plan, sinks: Sinks, index: IndexFile, counters: Arc<Counters>) -> Self {
        let complaints = RateLimit::new(Duration::from_secs(10));
        Milestones { plan, sinks, index, counters, written: None, complaints }
    }

    pub fn sinks(&self) -> Sinks {
        self.sinks
    }

    /// Notes that everything before these cursors is committed.
    pub fn reached(&mut self, cursors: &Cursors) {
        let Some(complete) = cursors.complete_before(self.sinks) else { return };
        self.counters.parts_complete.store(self.plan.parts_before(complete), Ordering::Relaxed);
        let recently = |(_, at): (PartIndex, Instant)| at.elapsed() < WRITE_EVERY;
        if !self.written.is_some_and(recently) {
            self.write(complete);
        }
    }

    /// Notes the end: the file of a finished run goes, that of a stopped one is brought up to date.
    pub fn end(&mut self, cursors: &Cursors, finished: bool) {
        self.reached(cursors);
        match cursors.complete_before(self.sinks) {
            _ if finished => self.complain(self.index.remove()),
            Some(complete) => self.write(complete),
            None => {}
        }
    }

    fn write(&mut self, complete: PartIndex) {
        let Some(last) = self.plan.before(complete) else { return };
        if last < self.plan.first() || self.written.is_some_and(|(written, _)| written == last) {
            return;
        }
        let result = self.index.write(last);
        if result.is_ok() {
            self.written = Some((last, Instant::now()));
        }
        self.complain(result);
    }

    /// The file is a convenience, and never a reason to stop: whoever continues without it does
    /// over what it would have named.
    fn complain(&self, result: Result<(), super::index::IndexError>) {
        if let Err(error) = result
            && let Some(more) = self.complaints.pass("index")
        {
            warn!(
                "{error}; the run goes on, and a restart may upload some files again{}",
                and_more(more)
            );
        }
    }
}
