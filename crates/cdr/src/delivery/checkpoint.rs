//! What becomes visible locally behind each commit: the index file and the counts of parts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::progress::{Cursors, SinkTargets};
use cdr_model::{PartIndex, Plan};
use tracing::warn;

use super::index::{IndexError, IndexFile};
use crate::telemetry::{Counters, RateLimit, and_more};

/// The index file is written at most this often; redoing a little after a crash is harmless.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// Keeps the index file and the counts of complete parts behind the commit point.
pub struct LocalCheckpoint {
    plan: Plan,
    targets: SinkTargets,
    index: IndexFile,
    counters: Arc<Counters>,
    written: Option<(PartIndex, Instant)>,
    warnings: RateLimit,
}

impl LocalCheckpoint {
    /// Of a run that delivers to these targets.
    pub fn new(plan: Plan, targets: SinkTargets, index: IndexFile, counters: Arc<Counters>) -> Self {
        let warnings = RateLimit::new(Duration::from_secs(10));
        LocalCheckpoint { plan, targets, index, counters, written: None, warnings }
    }

    /// Whether the sinks have delivered the whole plan.
    pub fn is_complete(&self, cursors: &Cursors) -> bool {
        cursors.complete_before(&self.targets).is_some_and(|cursor| self.plan.is_done(cursor))
    }

    /// Notes that everything before these cursors is committed.
    pub fn reached(&mut self, cursors: &Cursors) {
        let Some(complete) = cursors.complete_before(&self.targets) else { return };
        self.counters.set_complete(self.plan.parts_before(complete));
        let recently = |(_, at): (PartIndex, Instant)| at.elapsed() < WRITE_EVERY;
        if !self.written.is_some_and(recently) {
            self.write(complete);
        }
    }

    /// Notes the end: the file of a finished run goes, that of a stopped one is brought up to date.
    pub fn end(&mut self, cursors: &Cursors, finished: bool) {
        self.reached(cursors);
        match cursors.complete_before(&self.targets) {
            _ if finished => self.warn(self.index.remove()),
            Some(complete) => self.write(complete),
            None => {}
        }
    }

    /// The commit point of a run without Kafka: the file sinks' cursors alone. Returns whether the run
    /// is finished, where they are final.
    pub fn commit_files(&mut self, files: BTreeMap<String, PartIndex>, is_final: bool) -> bool {
        let cursors = Cursors { records: None, files };
        let finished = is_final && self.is_complete(&cursors);
        match is_final {
            true => self.end(&cursors, finished),
            false => self.reached(&cursors),
        }
        finished
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
        self.warn(result);
    }

    /// The file is a convenience, and never a reason to stop: whoever continues without it repeats
    /// what it would have named.
    fn warn(&self, result: Result<(), IndexError>) {
        if let Err(error) = result
            && let Some(more) = self.warnings.pass("index")
        {
            warn!(
                "{error}; the run goes on, and a restart may upload some files again{}",
                and_more(more)
            );
        }
    }
}
