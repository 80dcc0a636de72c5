//! The way of the files: generate a part's two files, put them, move the cursor, repeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cdr_model::{Generator, LineEnd, Micros, Part, PartIndex, Plan, Stream};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::content::{CsvFile, LINE_BYTES};
use super::directory::{DirectoryError, DirectoryStore};
use super::sftp::{SftpError, SftpStore};
use super::temporary::final_name;
use crate::delivery::board::{Board, FileSink};
use crate::delivery::pace::SimulatedClock;
use crate::telemetry::Counters;

/// How long a run that is to stop still waits for uploads in flight.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait at most before the clock is looked at again: it may have been set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Bytes of all files in flight together that are held at once, so that memory does not grow with
/// `LINE_COUNT`.
const IN_FLIGHT_BYTES: u64 = 24 << 20;

/// Bytes that are held of one file, however large: a few pieces, as they are made and sent.
const HELD_BYTES_MAX: u64 = 4 << 20;

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

    /// Returns when files can be put; makes what is missing for that.
    async fn open(&self) -> Result<(), FilesError> {
        match self {
            Store::Sftp(store) => Ok(store.connect().await?),
            Store::Directory(_) => Ok(()),
        }
    }

    /// Returns the file's size, in bytes, when it stands under its name.
    async fn put(&self, content: CsvFile, board: &Board) -> Result<u64, FilesError> {
        let name = content.part.file_name(content.stream);
        match self {
            Store::Sftp(store) => Ok(store.put(&name, &content, Some(board)).await?),
            Store::Directory(store) => {
                let store = store.clone();
                let written = tokio::task::spawn_blocking(move || store.write(&name, &content));
                let written = written.await??;
                board.may_publish().await;
                Ok(tokio::task::spawn_blocking(move || written.publish()).await??)
            }
        }
    }

    /// The names of all files that are there.
    async fn names(&self) -> Result<Vec<String>, FilesError> {
        match self {
            Store::Sftp(store) => {
                Ok(store.try_list().await?.into_iter().map(|file| file.name).collect())
            }
            Store::Directory(store) => {
                let store = store.clone();
                Ok(tokio::task::spawn_blocking(move || store.names()).await??)
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<(), FilesError> {
        match self {
            Store::Sftp(store) => Ok(store.remove(name).await?),
            Store::Directory(store) => {
                let (store, name) = (store.clone(), name.to_owned());
                Ok(tokio::task::spawn_blocking(move || store.remove(&name)).await??)
            }
        }
    }

    /// Whether a temporary name is one of this process's.
    fn made(&self, name: &str) -> bool {
        match self {
            Store::Sftp(store) => store.made(name),
            Store::Directory(store) => store.made(name),
        }
    }
}

/// Files with temporary names that belong to parts of this run and shard.
#[derive(Clone, Copy, Debug)]
enum Remains {
    /// Of other processes: they are no more, or have lost the run.
    OfOthers,
    /// Of this process, which has no upload in flight any more.
    Own,
    OfAll,
}

impl Remains {
    /// How long a look for them may take. Who only stops must not be held up by it: the next start
    /// looks, too.
    fn patience(self) -> Duration {
        match self {
            Remains::OfOthers | Remains::OfAll => Duration::from_secs(60),
            Remains::Own => Duration::from_secs(3),
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
struct Leaving(Arc<Board>);

impl Drop for Leaving {
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
        let _leaving = Leaving(self.board.clone());
        tokio::select! {
            opened = self.store.open() => opened?,
            // Nothing is in flight yet that could be finished.
            () = self.board.stopped() => return Ok(()),
        }
        let mut uploads = VecDeque::new();
        // What earlier starts left must not hold up the first upload.
        let sweeping = tokio::spawn(self.clone().sweep(Remains::OfOthers));
        let result = tokio::select! {
            result = self.walk(from, &mut uploads) => result,
            // Another process delivers what is in flight here.
            () = self.board.lost() => Ok(false),
        };
        sweeping.abort();
        uploads.iter().for_each(JoinHandle::abort);
        // What is aborted may still be at work for a moment; behind this, nothing is.
        for upload in uploads {
            drop(upload.await);
        }
        drop(sweeping.await);
        if let Ok(all_is_delivered) = result {
            self.sweep(if all_is_delivered { Remains::OfAll } else { Remains::Own }).await;
        }
        result.map(drop)
    }

    /// Removes what uploads left behind that were cut off.
    async fn sweep(self, remains: Remains) {
        let sweeping = async {
            for name in self.store.names().await? {
                let part = final_name(&name).and_then(|name| self.plan.part_of_file(name));
                let is_ours = part.is_some_and(|part| self.plan.owns(part));
                let is_wanted = match remains {
                    Remains::OfOthers => !self.store.made(&name),
                    Remains::Own => self.store.made(&name),
                    Remains::OfAll => true,
                };
                if is_ours && is_wanted {
                    self.store.remove(&name).await?;
                    debug!("removed {name}, which an upload had left behind");
                }
            }
            Ok::<(), FilesError>(())
        };
        match tokio::time::timeout(remains.patience(), sweeping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("Temporary files may be left behind: {error}"),
            Err(_) => warn!("Temporary files may be left behind: it takes long to look for them"),
        }
    }

    /// Tells whether all is delivered; if not, what is still in flight must be aborted.
    async fn walk(
        &self,
        from: PartIndex,
        uploads: &mut VecDeque<JoinHandle<Result<(), FilesError>>>,
    ) -> Result<bool, FilesError> {
        let (mut next, mut done) = (from, from);
        let patience_ends = async {
            self.board.stopped().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        tokio::pin!(patience_ends);
        loop {
            let over = self.plan.is_done(next) || self.board.is_stopping();
            let room = !over && uploads.len() < self.parts_in_flight();
            let due = self.clock.until(last_time(&self.plan.part(next))).min(LOOK_AGAIN);
            if room && due.is_zero() {
                let (files, part) = (self.clone(), self.plan.part(next));
                uploads.push_back(tokio::spawn(async move { files.deliver(&part).await }));
                next = self.plan.after(next);
                continue;
            }
            let Some(first) = uploads.front_mut() else {
                if over {
                    return Ok(self.plan.is_done(next));
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
                    uploads.pop_front();
                    result??;
                    done = self.plan.after(done);
                    self.board.advance(self.store.sink(), done);
                    self.counters.parts_files.store(self.plan.parts_before(done), Ordering::Relaxed);
                }
                () = tokio::time::sleep(due), if room => {}
                () = self.board.stopped(), if room => {}
                () = &mut patience_ends => {
                    // What is not done is done again; the cursor stays before it.
                    return Ok(false);
                }
            }
        }
    }

    /// Each part is two files.
    fn parts_in_flight(&self) -> usize {
        let file_bytes = LINE_BYTES * u64::from(self.plan.line_count());
        let by_memory = IN_FLIGHT_BYTES / (2 * file_bytes.min(HELD_BYTES_MAX));
        self.in_flight.div_ceil(2).min(by_memory.max(1) as usize)
    }

    async fn deliver(&self, part: &Part) -> Result<(), FilesError> {
        tokio::try_join!(self.put(Stream::Data, part), self.put(Stream::Voice, part))?;
        Ok(())
    }

    async fn put(&self, stream: Stream, part: &Part) -> Result<(), FilesError> {
        let (generator, line_end) = (self.generator.clone(), self.line_end);
        let content = CsvFile { generator, stream, part: *part, line_end };
        let bytes = self.store.put(content, &self.board).await?;
        self.counters.add_file(bytes);
        Ok(())
    }
}

/// A file is due when everything that its window could hold is.
fn last_time(part: &Part) -> Micros {
    Micros(part.end().0 - 1)
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
