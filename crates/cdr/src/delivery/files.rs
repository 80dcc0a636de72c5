//! The way of the files: generate a part's files, put them, move the cursor, repeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cdr_model::{FileFormat, Generator, Micros, Part, PartIndex, Plan, Stream};
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::cursors::FileCursors;
use super::lease::Lease;
use super::pace::SimulatedClock;
use crate::files::{FileSink, FileSinkError, PartFile, Stale};
use crate::telemetry::Counters;

/// How long a shutdown still waits for uploads in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long whoever only stops looks for temporary files: the next start does, too.
const CLEAN_UP_ON_SHUTDOWN: Duration = Duration::from_secs(3);

/// How long to wait at most before the clock is read again: it may have been set meanwhile.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of all files in flight together that are held at once, so that memory does not grow with
/// `LINE_COUNT`.
const IN_FLIGHT_BYTES: u64 = 24 << 20;

/// Bytes that are held of one file, however large: a few pieces, as they are made and sent.
const HELD_BYTES_MAX: u64 = 4 << 20;

/// Delivers the files of a plan to one sink.
#[derive(Clone)]
pub struct FileDelivery {
    pub sink: Arc<dyn FileSink>,
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub format: FileFormat,
    pub clock: Arc<SimulatedClock>,
    pub cursors: Arc<FileCursors>,
    pub lease: Arc<Lease>,
    pub shutdown: CancellationToken,
    pub counters: Arc<Counters>,
}

/// Whatever ends the sink, whoever commits learns that it delivers nothing more.
struct Leaving(Arc<FileCursors>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The uploads of a part, until all its files stand in their places.
type Uploads = VecDeque<AbortOnDropHandle<Result<(), FileSinkError>>>;

impl FileDelivery {
    /// Runs until all is delivered, or until shutdown; what is in flight then is finished.
    ///
    /// # Errors
    /// When the sink cannot take a file, after all its own tries; the cursor stays before it.
    pub async fn run(self, from: PartIndex) -> Result<(), FileSinkError> {
        let _leaving = Leaving(self.cursors.clone());
        tokio::select! {
            opened = self.sink.open() => opened?,
            // Nothing is in flight yet that could be finished.
            () = self.shutdown.cancelled() => return Ok(()),
        }
        let mut uploads = Uploads::new();
        // What earlier processes left must not hold up the first upload.
        let mut cleaning = JoinSet::new();
        cleaning.spawn(self.clone().clean_up(Stale::OfOthers));
        let result = tokio::select! {
            result = self.walk(from, &mut uploads) => result,
            Some(Err(panic)) = cleaning.join_next() => Err(panic.into()),
            // Another process delivers what is in flight here.
            () = self.lease.ended() => Ok(false),
        };
        cleaning.abort_all();
        uploads.iter().for_each(AbortOnDropHandle::abort);
        for upload in uploads {
            drop(upload.await);
        }
        cleaning.shutdown().await;
        // What was aborted may still be at work in a thread that blocks; behind this, nothing is.
        self.sink.quiesce().await;
        if let Ok(all_is_delivered) = result {
            self.clean_up(if all_is_delivered { Stale::All } else { Stale::Own }).await;
        }
        result.map(drop)
    }

    /// Removes what uploads left behind that were cut off.
    async fn clean_up(self, stale: Stale) {
        let is_ours = |name: &str| {
            let part = self.plan.part_of_file(name, self.format);
            part.is_some_and(|(_, part)| self.plan.owns(part))
        };
        let hurry = async {
            if stale != Stale::Own {
                self.shutdown.cancelled().await;
            }
            tokio::time::sleep(CLEAN_UP_ON_SHUTDOWN).await;
        };
        tokio::select! {
            cleaned = self.sink.clean_up(stale, &is_ours) => {
                if let Err(error) = cleaned {
                    warn!("Temporary files may be left behind: {error}");
                }
            }
            () = hurry => warn!("Temporary files may be left behind; the next start removes them"),
        }
    }

    /// Returns whether all is delivered; if not, what is still in flight must be aborted.
    async fn walk(&self, from: PartIndex, uploads: &mut Uploads) -> Result<bool, FileSinkError> {
        let (mut next, mut done) = (from, from);
        let timeout = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        tokio::pin!(timeout);
        loop {
            let over = self.plan.is_done(next) || self.shutdown.is_cancelled();
            let room = !over && uploads.len() < self.parts_in_flight();
            // A file is due when everything that its window could hold is.
            let last_time = Micros(self.plan.part(next).end().0 - 1);
            let due = self.clock.until(last_time).min(CLOCK_INTERVAL);
            if room && due.is_zero() {
                let (delivery, part) = (self.clone(), self.plan.part(next));
                let upload = tokio::spawn(async move { delivery.deliver(&part).await });
                uploads.push_back(AbortOnDropHandle::new(upload));
                next = self.plan.after(next);
                continue;
            }
            let Some(first) = uploads.front_mut() else {
                if over {
                    return Ok(self.plan.is_done(next));
                }
                tokio::select! {
                    () = tokio::time::sleep(due) => {}
                    () = self.shutdown.cancelled() => {}
                }
                continue;
            };
            // Uploads may end in any order; the cursor passes them in theirs.
            tokio::select! {
                result = first => {
                    uploads.pop_front();
                    result??;
                    done = self.plan.after(done);
                    self.cursors.advance(self.sink.name(), done);
                    self.counters.set_parts(self.sink.name(), self.plan.parts_before(done));
                }
                () = tokio::time::sleep(due), if room => {}
                () = self.shutdown.cancelled(), if room => {}
                () = &mut timeout => {
                    // What is not done is done again; the cursor stays before it.
                    return Ok(false);
                }
            }
        }
    }

    /// Each part is a file for each stream.
    fn parts_in_flight(&self) -> usize {
        let streams = self.plan.streams().count();
        let file_bytes = self.format.record_bytes() * u64::from(self.plan.count_max());
        let by_memory = IN_FLIGHT_BYTES / (streams as u64 * file_bytes.min(HELD_BYTES_MAX));
        self.sink.in_flight().div_ceil(streams).min(by_memory.max(1) as usize)
    }

    /// Puts all files of a part at once.
    async fn deliver(&self, part: &Part) -> Result<(), FileSinkError> {
        try_join_all(self.plan.streams().map(|stream| self.put(stream, part))).await.map(drop)
    }

    async fn put(&self, stream: Stream, part: &Part) -> Result<(), FileSinkError> {
        let name = part.file_name(stream, self.format);
        let (generator, format) = (self.generator.clone(), self.format);
        let content = Arc::new(PartFile { generator, stream, part: *part, format });
        let bytes = self.sink.put(&name, content, &*self.lease).await?;
        self.counters.add_file(self.sink.name(), bytes);
        Ok(())
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
