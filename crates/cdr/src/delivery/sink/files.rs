//! The way of the files: generate a part's two files, put them, move the cursor, repeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cdr_model::{Generator, LineEnd, Micros, Part, PartIndex, Plan, Stream};
use tokio::task::JoinHandle;

use super::directory::{DirectoryError, DirectoryStore};
use super::sftp::{SftpError, SftpStore};
use crate::delivery::board::{Board, FileSink};
use crate::delivery::pace::SimulatedClock;
use crate::telemetry::Counters;

/// How long a run that is to stop still waits for uploads in flight.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of all files in flight together, so that memory does not grow with `LINE_COUNT`.
const IN_FLIGHT_BYTES: u64 = 24 << 20;

/// Upper estimate of a CSV line, in bytes.
const LINE_BYTES: u64 = 128;

/// A destination for files.
#[derive(Clone)]
pub enum Store {
    Sftp(SftpStore),
    Directory(DirectoryStore),
}

/// What stopped a file sink.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("an upload ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Store {
    fn sink(&self) -> FileSink {
        match self {
            Store::Sftp(_) => FileSink::Sftp,
            Store::Directory(_) => FileSink::Directory,
        }
    }

    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), FilesError> {
        match self {
            Store::Sftp(store) => Ok(store.put(name, &content).await?),
            Store::Directory(store) => {
                let (store, name) = (store.clone(), name.to_owned());
                Ok(tokio::task::spawn_blocking(move || store.put(&name, &content)).await??)
            }
        }
    }
}

/// Delivers the files of a plan to one store.
#[derive(Clone)]
pub struct Files {
    pub store: Store,
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub line_end: LineEnd,
    /// Files in flight at once, at least 1.
    pub in_flight: usize,
    pub clock: Arc<SimulatedClock>,
    pub board: Arc<Board>,
    pub counters: Arc<Counters>,
}

/// Whatever ends the sink, the others learn that it does nothing more.
struct Leaving<'a>(&'a Board);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Files {
    /// Runs until all is delivered, or until the board says stop; what is in flight then is finished.
    ///
    /// # Errors
    /// When the store cannot take a file, after all its own tries; the cursor stays before it.
    pub async fn run(self, from: PartIndex) -> Result<(), FilesError> {
        let _leaving = Leaving(&self.board);
        let mut uploads = VecDeque::new();
        let result = self.walk(from, &mut uploads).await;
        if result.is_err() {
            uploads.iter().for_each(JoinHandle::abort);
        }
        result
    }

    async fn walk(
        &self,
        from: PartIndex,
        uploads: &mut VecDeque<JoinHandle<Result<(), FilesError>>>,
    ) -> Result<(), FilesError> {
        let (mut next, mut done) = (from, from);
        let patience_ends = async {
            self.board.stopped().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        tokio::pin!(patience_ends);
        loop {
            let over = self.plan.is_done(next) || self.board.is_stopping();
            let room = !over && uploads.len() < self.parts_in_flight();
            let due = self.clock.until(last_time(&self.plan.part(next)));
            if room && due.is_zero() {
                let (files, part) = (self.clone(), self.plan.part(next));
                uploads.push_back(tokio::spawn(async move { files.deliver(&part).await }));
                next = self.plan.after(next);
                continue;
            }
            let Some(first) = uploads.front_mut() else {
                if over {
                    return Ok(());
                }
                tokio::select! {
                    () = tokio::time::sleep(due) => {}
                    () = self.board.stopped() => {}
                }
                continue;
            };
            // Uploads may end in any order; the cursor passes them in theirs.
            tokio::select! {
                result = first => {
                    result??;
                    uploads.pop_front();
                    done = self.plan.after(done);
                    self.board.advance(self.store.sink(), done);
                    self.counters.parts_files.store(self.plan.parts_before(done), Ordering::Relaxed);
                }
                () = tokio::time::sleep(due), if room => {}
                () = self.board.stopped(), if room => {}
                () = &mut patience_ends => {
                    // What is not done is done again; the cursor stays before it.
                    uploads.iter().for_each(JoinHandle::abort);
                    return Ok(());
                }
            }
        }
    }

    /// Each part is two files.
    fn parts_in_flight(&self) -> usize {
        let part_bytes = 2 * LINE_BYTES * u64::from(self.plan.line_count());
        let by_memory = (IN_FLIGHT_BYTES / part_bytes).max(1) as usize;
        self.in_flight.div_ceil(2).min(by_memory)
    }

    async fn deliver(&self, part: &Part) -> Result<(), FilesError> {
        tokio::try_join!(self.put(Stream::Data, part), self.put(Stream::Voice, part))?;
        Ok(())
    }

    async fn put(&self, stream: Stream, part: &Part) -> Result<(), FilesError> {
        let mut content = Vec::with_capacity((LINE_BYTES * u64::from(part.line_count)) as usize);
        self.generator.csv_file(stream, part, self.line_end, &mut content);
        let bytes = content.len() as u64;
        self.store.put(&part.file_name(stream), content).await?;
        self.counters.add_file(bytes);
        Ok(())
    }
}

/// A file is due when everything that its window could hold is.
fn last_time(part: &Part) -> Micros {
    Micros(part.end().0 - 1)
}
