//! The local directory as a destination for files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::content::Content;
use super::temporary::{Temporary, final_name};
use super::{
    EachFile, EachPiece, FileSink, FileSinkError, IsOurs, Listed, ListedFile, PublishCondition, Stale,
};

/// What went wrong with the directory; names the path and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "no space left for {0}. Free some, or set another OUTPUT_DIRECTORY, and start again: the run continues"
    )]
    Full(PathBuf),
    #[error("no permission to write {0}. Grant it, or set another OUTPUT_DIRECTORY")]
    NotPermitted(PathBuf),
    #[error("cannot {action} {path}: {error}. Check the path, or set another OUTPUT_DIRECTORY")]
    Io { action: &'static str, path: PathBuf, error: io::Error },
}

/// Bytes that are handed to the system at once.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces of a file, or names of a folder in thousands, that wait for whoever takes them.
const QUEUE_LENGTH: usize = 4;
const NAMES_AT_ONCE: usize = 1_000;

/// Files that are written at once; some wait for the disk while others are made.
const IN_FLIGHT: usize = 8;

/// A folder that files are put into, each under its name only when it is complete.
#[derive(Clone, Debug)]
pub struct DirectorySink {
    folder: Arc<Path>,
    temporary: Temporary,
    /// What blocks, and goes on when nobody waits for it any more.
    at_work: TaskTracker,
}

/// A file of the folder, and its size in bytes where it was wanted.
type Entry = (String, Option<u64>);

impl DirectorySink {
    /// Of a folder that is made when it is opened.
    pub fn new(folder: &Path) -> Self {
        DirectorySink {
            folder: folder.into(),
            temporary: Temporary::default(),
            at_work: TaskTracker::new(),
        }
    }

    /// Does what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&DirectorySink) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, FileSinkError> {
        let sink = self.clone();
        Ok(self.at_work.spawn_blocking(move || call(&sink)).await??)
    }

    /// Reads in a thread that may block, as fast as what it reads is taken.
    fn reading<T: Send + 'static>(
        &self,
        path: PathBuf,
        read: impl FnOnce(&Path, &mut dyn FnMut(T) -> bool) -> io::Result<()> + Send + 'static,
    ) -> mpsc::Receiver<Result<T, DirectoryError>> {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        self.at_work.spawn_blocking(move || {
            let read = read(&path, &mut |item| sender.blocking_send(Ok(item)).is_ok());
            if let Err(error) = read {
                // Whoever has stopped taking does not want to know.
                let _ = sender.blocking_send(Err(explain("read", &path, error)));
            }
        });
        receiver
    }

    fn entries(&self, with_sizes: bool) -> mpsc::Receiver<Result<Vec<Entry>, DirectoryError>> {
        self.reading(self.folder.to_path_buf(), move |folder, take| {
            read_folder(folder, with_sizes, take)
        })
    }
}

#[async_trait]
impl FileSink for DirectorySink {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn target(&self) -> String {
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.to_path_buf());
        folder.display().to_string()
    }

    fn in_flight(&self) -> usize {
        IN_FLIGHT
    }

    async fn open(&self) -> Result<(), FileSinkError> {
        self.blocking(|sink| {
            fs::create_dir_all(&sink.folder).map_err(|error| explain("make", &sink.folder, error))
        })
        .await
    }

    async fn put(
        &self,
        name: &str,
        content: Arc<dyn Content>,
        condition: &dyn PublishCondition,
    ) -> Result<u64, FileSinkError> {
        let (name, stop) = (name.to_owned(), CancellationToken::new());
        // When this is dropped, the thread that writes stops behind its next piece.
        let _stops = stop.clone().drop_guard();
        let written = self.blocking(move |sink| Written::new(sink, &name, &*content, &stop)).await?;
        condition.met().await;
        self.blocking(|_| written.publish()).await
    }

    async fn list(&self, each: EachFile<'_>) -> Result<(), FileSinkError> {
        each(Listed::Start);
        let mut entries = self.entries(true);
        while let Some(some) = entries.recv().await {
            for (name, bytes) in some? {
                let temporary_for = final_name(&name);
                each(Listed::File(ListedFile { name: &name, bytes, temporary_for }));
            }
        }
        Ok(())
    }

    async fn read(&self, name: &str, each: EachPiece<'_>) -> Result<bool, FileSinkError> {
        let path = self.folder.join(name);
        let open = path.clone();
        let opened = self.blocking(move |_| match File::open(&open) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| explain("open", &open, error)),
        });
        let Some(file) = opened.await? else { return Ok(false) };
        let mut pieces = self.reading(path, |_, take| read_file(file, take));
        while let Some(piece) = pieces.recv().await {
            if !each(&piece?) {
                break;
            }
        }
        Ok(true)
    }

    async fn remove(&self, name: &str) -> Result<(), FileSinkError> {
        let path = self.folder.join(name);
        self.blocking(move |_| match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| explain("remove", &path, error)),
        })
        .await
    }

    async fn clean_up(&self, stale: Stale, is_ours: IsOurs<'_>) -> Result<(), FileSinkError> {
        let mut entries = self.entries(false);
        while let Some(some) = entries.recv().await {
            let names = some?.into_iter().map(|(name, _)| name);
            for name in names.filter(|name| self.temporary.is_stale(name, stale, is_ours)) {
                self.remove(&name).await?;
            }
        }
        Ok(())
    }

    async fn quiesce(&self) {
        self.at_work.close();
        self.at_work.wait().await;
        self.at_work.reopen();
    }
}

/// A file that is complete under its temporary name; dropped before it is published, it is removed.
struct Written {
    temporary: PathBuf,
    path: PathBuf,
    bytes: u64,
    published: bool,
}

impl Written {
    /// Writes the file, which must be new, unless it is stopped. Blocks.
    fn new(
        sink: &DirectorySink,
        name: &str,
        content: &dyn Content,
        stop: &CancellationToken,
    ) -> Result<Self, DirectoryError> {
        let temporary = sink.folder.join(sink.temporary.name(name));
        // Dropped with an error, it takes what was written with it.
        let mut written =
            Written { temporary, path: sink.folder.join(name), bytes: 0, published: false };
        let filled = written.fill(content, stop);
        filled.map_err(|error| explain("write", &written.path, error))?;
        Ok(written)
    }

    fn fill(&mut self, content: &dyn Content, stop: &CancellationToken) -> io::Result<()> {
        let mut file = File::create_new(&self.temporary)?;
        for piece in content.pieces(PIECE_BYTES) {
            if stop.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            file.write_all(&piece)?;
            self.bytes += piece.len() as u64;
        }
        // A file that progress counts must outlast a loss of power, too.
        file.sync_data()
    }

    /// Gives the file its name, in place of any older one, and returns its size in bytes. Blocks.
    fn publish(mut self) -> Result<u64, DirectoryError> {
        let renamed = fs::rename(&self.temporary, &self.path);
        self.published = renamed.is_ok();
        // The new name, too, must outlast a loss of power, before progress counts the file.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let kept = renamed.and_then(|()| File::open(folder)?.sync_all());
        kept.map_err(|error| explain("write", &self.path, error))?;
        Ok(self.bytes)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.published {
            // It would only fill the disk; if it cannot go now, it goes when the run ends.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Hands over the files of a folder in groups, until `take` wants no more; none where there is no such
/// folder.
fn read_folder(
    folder: &Path,
    with_sizes: bool,
    take: &mut dyn FnMut(Vec<Entry>) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut group = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Other names than ours may be anything.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let bytes = match with_sizes.then(|| entry.metadata()).transpose() {
            Ok(Some(found)) if found.is_dir() => continue,
            // It has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?.map(|found| found.len()),
        };
        group.push((name, bytes));
        if group.len() >= NAMES_AT_ONCE && !take(std::mem::take(&mut group)) {
            return Ok(());
        }
    }
    take(group);
    Ok(())
}

/// Hands over a file piece by piece, until `take` wants no more.
fn read_file(mut file: File, take: &mut dyn FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || !take(piece) {
            return Ok(());
        }
    }
}

fn explain(action: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DirectoryError::Full(path),
        io::ErrorKind::PermissionDenied => DirectoryError::NotPermitted(path),
        _ => DirectoryError::Io { action, path, error },
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::files::{Pieces, Unconditional};

    async fn names(sink: &DirectorySink) -> Vec<String> {
        let mut names = Vec::new();
        let mut take = |listed: Listed<'_>| {
            if let Listed::File(file) = listed {
                names.push(file.name.to_owned());
            }
        };
        sink.list(&mut take).await.unwrap();
        names
    }

    fn text(text: &'static str) -> Arc<dyn Content> {
        Arc::new(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_file_takes_the_place_of_an_older_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let sink = DirectorySink::new(&folder.path().join("a/b"));
        sink.open().await.unwrap();
        for content in ["older and longer", "new"] {
            let bytes = sink.put("x.csv", text(content), &Unconditional).await.unwrap();
            assert_eq!(bytes, content.len() as u64);
        }
        assert_eq!(names(&sink).await, ["x.csv"]);
        assert_eq!(fs::read(folder.path().join("a/b/x.csv")).unwrap(), b"new");
    }

    /// Content whose second piece comes only when it may.
    struct Slow(std::sync::Mutex<Option<(SyncSender<()>, Receiver<()>)>>);

    impl Content for Slow {
        fn pieces(&self, _: usize) -> Pieces<'_> {
            let (begun, may_end) = self.0.lock().unwrap().take().unwrap();
            let second = std::iter::once_with(move || {
                begun.send(()).unwrap();
                may_end.recv().unwrap();
                Cow::Borrowed(&b"second"[..])
            });
            Box::new(std::iter::once(Cow::Borrowed(&b"first"[..])).chain(second))
        }
    }

    #[tokio::test]
    async fn a_file_that_is_given_up_is_written_no_further_and_is_gone_when_all_is_quiet() {
        let folder = tempfile::tempdir().unwrap();
        let sink = DirectorySink::new(folder.path());
        fs::write(folder.path().join("x.csv"), "older").unwrap();
        let ((begun, has_begun), (ends, may_end)) = (sync_channel(1), sync_channel(1));
        let content = Arc::new(Slow(Some((begun, may_end)).into()));
        let upload = tokio::spawn({
            let sink = sink.clone();
            async move { sink.put("x.csv", content, &Unconditional).await }
        });
        tokio::task::spawn_blocking(move || has_begun.recv()).await.unwrap().unwrap();
        upload.abort();
        assert!(upload.await.unwrap_err().is_cancelled());
        assert_eq!(names(&sink).await.len(), 2, "the thread that writes is at work");
        ends.send(()).unwrap();
        sink.quiesce().await;
        assert_eq!(names(&sink).await, ["x.csv"]);
        assert_eq!(fs::read(folder.path().join("x.csv")).unwrap(), b"older");
    }

    #[tokio::test]
    async fn a_file_in_the_folders_place_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::write(&path, "").unwrap();
        let error = DirectorySink::new(&path).open().await.unwrap_err().to_string();
        assert!(error.contains("taken") && error.contains("OUTPUT_DIRECTORY"), "{error}");
    }

    #[tokio::test]
    async fn a_file_is_read_piece_by_piece_and_no_further_than_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let sink = DirectorySink::new(folder.path());
        let content = vec![b'x'; 5 * PIECE_BYTES / 2];
        fs::write(folder.path().join("x.csv"), &content).unwrap();
        let mut read = Vec::new();
        let mut all = |piece: &[u8]| {
            read.extend_from_slice(piece);
            true
        };
        assert!(sink.read("x.csv", &mut all).await.unwrap());
        assert!(read == content);
        let mut pieces = 0;
        let mut first = |_: &[u8]| {
            pieces += 1;
            false
        };
        assert!(sink.read("x.csv", &mut first).await.unwrap());
        assert_eq!(pieces, 1);
        assert!(!sink.read("y.csv", &mut |_: &[u8]| true).await.unwrap());
    }

    #[tokio::test]
    async fn thousands_of_files_are_listed_once_each_and_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let sink = DirectorySink::new(folder.path());
        let mut expected: Vec<String> = (0..2_500).map(|number| format!("{number}.csv")).collect();
        for name in &expected {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder")).unwrap();
        let mut found = names(&sink).await;
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
