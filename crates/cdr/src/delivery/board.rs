//! Where the sinks of a run see each other: the files' cursors, and the wish to stop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cdr_model::PartIndex;
use cdr_model::progress::Cursors;
use tokio_util::sync::CancellationToken;

/// A sink that takes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSink {
    Sftp,
    Directory,
}

/// Shared by all sinks of a run.
#[derive(Debug, Default)]
pub struct Board {
    files: Mutex<Files>,
    changed: Condvar,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Files {
    cursors: Cursors,
    at_work: usize,
}

impl Board {
    /// Announces a file sink, which begins at `cursor`; it must leave when it ends.
    pub fn enlist(&self, sink: FileSink, cursor: PartIndex) {
        self.lock().at_work += 1;
        self.advance(sink, cursor);
    }

    /// Says that a file sink has done everything before `cursor`.
    pub fn advance(&self, sink: FileSink, cursor: PartIndex) {
        let mut files = self.lock();
        match sink {
            FileSink::Sftp => files.cursors.sftp = Some(cursor),
            FileSink::Directory => files.cursors.directory = Some(cursor),
        }
        drop(files);
        self.changed.notify_all();
    }

    /// Says that a file sink does nothing more: all is done, or it was stopped, or it failed.
    pub fn leave(&self) {
        self.lock().at_work -= 1;
        self.changed.notify_all();
    }

    /// The files' cursors, and whether they are final.
    pub fn files(&self) -> (Cursors, bool) {
        let files = self.lock();
        (files.cursors, files.at_work == 0)
    }

    /// Waits until a file sink says something, the run is to stop, or the time is over.
    pub fn wait(&self, longest: Duration) {
        let files = self.lock();
        if !self.is_stopping() {
            drop(self.changed.wait_timeout(files, longest));
        }
    }

    /// Waits only for file sinks, so that a stopped run still sees their last words.
    pub fn wait_for_files(&self, longest: Duration) {
        let files = self.lock();
        if files.at_work > 0 {
            drop(self.changed.wait_timeout(files, longest));
        }
    }

    /// Asks every sink to finish what is in flight, and then to end.
    pub fn stop(&self) {
        self.stop.cancel();
        // The lock makes sure that nobody is between looking at `stop` and waiting.
        drop(self.lock());
        self.changed.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when the run is to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
