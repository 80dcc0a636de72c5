//! `idx_data.dat`: the index of the last part that is complete everywhere.
//!
//! A cache for people, and the progress of runs without Kafka. Beside it stand a file that notes
//! which run it belongs to, and one that is locked while a process uses them.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cdr_model::resume::{IndexOwner, LocalIndex};
use cdr_model::{PartIndex, Shard};

/// What went wrong with the index file; names the path and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(
        "another cdr is at work with the index file {0}; wait for it or stop it, or use another --index-file \
         and --run-name"
    )]
    Locked(PathBuf),
    #[error(
        "cannot {action} the index file {path}: {error}. Check the folder's permissions and free space, or set INDEX_FILE"
    )]
    Io { action: &'static str, path: PathBuf, error: io::Error },
}

/// The index file of a run, locked for this process.
#[derive(Debug)]
pub struct IndexFile {
    path: PathBuf,
    _lock: File,
}

impl IndexFile {
    /// Takes the file for this process, unless another has it.
    pub fn lock(path: &Path, shard: Shard) -> Result<Self, IndexError> {
        let path = of_shard(path, shard);
        let lock_path = beside(&path, ".lock");
        let lock = File::create(&lock_path).map_err(failed("lock", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(IndexFile { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(IndexError::Locked(path)),
            Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path)(error)),
        }
    }

    /// The content of a run's file, while another process may be at work with it.
    pub fn peek(path: &Path, shard: Shard) -> LocalIndex {
        read(&of_shard(path, shard))
    }

    /// Its content. One of the older pipeline is understood: a decimal line and nothing else.
    pub fn read(&self) -> LocalIndex {
        read(&self.path)
    }

    /// Takes the file over for a run in whose sinks the parts up to `complete` are complete.
    ///
    /// The index comes first: whoever reads the file between the two finds too little in it, and
    /// never an index that counts a sink which has not come so far.
    pub fn begin(&self, owner: &IndexOwner, complete: Option<PartIndex>) -> Result<(), IndexError> {
        match complete {
            Some(last) => self.write(last)?,
            None => self.remove()?,
        }
        let text = serde_json::to_vec_pretty(owner).map_err(io::Error::from);
        text.and_then(|text| replace(&owner_path(&self.path), &text))
            .map_err(failed("write", &self.path))
    }

    /// Names the last complete part, all or nothing.
    pub fn write(&self, last: PartIndex) -> Result<(), IndexError> {
        replace(&self.path, format!("{last}\n").as_bytes()).map_err(failed("write", &self.path))
    }

    /// Removes what names a part, as when a run is complete.
    pub fn remove(&self) -> Result<(), IndexError> {
        for path in [&self.path, &owner_path(&self.path)] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(failed("remove", &self.path)(error));
            }
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
    move |error| IndexError::Io { action, path: path.to_owned(), error }
}

fn owner_path(path: &Path) -> PathBuf {
    beside(path, ".run.json")
}

fn read(path: &Path) -> LocalIndex {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return LocalIndex::Absent,
        Err(error) => return LocalIndex::Unreadable(error.to_string()),
    };
    match parse(&text).and_then(|last| Ok((last, owner(path)?))) {
        Ok((last, owner)) => LocalIndex::Complete { last, owner },
        Err(reason) => LocalIndex::Unreadable(format!("{}: {reason}", path.display())),
    }
}

/// Whose index it is; the older pipeline's files do not name it.
fn owner(path: &Path) -> Result<Option<IndexOwner>, String> {
    let path = owner_path(path);
    let owner = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
    };
    owner.map(Some).map_err(|error| format!("{} beside it cannot be read: {error}", path.display()))
}

/// Reads the one decimal line; `Err` is what is there instead.
fn parse(text: &str) -> Result<PartIndex, String> {
    let line = text.trim();
    let digits = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    match line.parse().map(PartIndex) {
        Ok(index) if digits => Ok(index),
        _ if line.is_empty() => Err("it is empty".to_owned()),
        _ => {
            let start: String = line.chars().take(20).collect();
            Err(format!("{start:?} is not a part's index"))
        }
    }
}

/// Each shard has an index file of its own: `idx_data.2-of-8.dat`.
fn of_shard(path: &Path, shard: Shard) -> PathBuf {
    if shard.is_whole() {
        return path.to_owned();
    }
    let mut extension = OsString::from(shard.to_string().replace('/', "-of-"));
    if let Some(given) = path.extension() {
        extension.push(".");
        extension.push(given);
    }
    path.with_extension(extension)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Replaces a file's content so that a crash leaves either the old or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use cdr_model::progress::{Parameters, SinkTargets};
    use cdr_model::{FileFormat, MessageFormat, Scenario};

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("idx_data.dat");
        (folder, path)
    }

    fn lock(path: &Path) -> IndexFile {
        IndexFile::lock(path, Shard::WHOLE).unwrap()
    }

    #[test]
    fn the_file_is_one_decimal_line_and_goes_with_the_run() {
        let (folder, path) = folder();
        let (index, owner) = (lock(&path), owner());
        assert_eq!(index.read(), LocalIndex::Absent);
        index.begin(&owner, None).unwrap();
        index.write(PartIndex(41)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "41\n");
        let complete = LocalIndex::Complete { last: PartIndex(41), owner: Some(owner) };
        assert_eq!(index.read(), complete);
        index.remove().unwrap();
        assert_eq!(index.read(), LocalIndex::Absent);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["idx_data.dat.lock"]);
    }

    fn owner() -> IndexOwner {
        let formats = (FileFormat::default(), MessageFormat::default());
        let parameters = Parameters::new(&Scenario::default(), formats.0, formats.1);
        IndexOwner { parameters, targets: SinkTargets::from([("sftp".to_owned(), "a".to_owned())]) }
    }

    #[test]
    fn a_run_that_takes_the_file_over_lowers_the_index_first() {
        let (_folder, path) = folder();
        let index = lock(&path);
        index.write(PartIndex(41)).unwrap();
        index.begin(&owner(), Some(PartIndex(7))).unwrap();
        let complete = LocalIndex::Complete { last: PartIndex(7), owner: Some(owner()) };
        assert_eq!(index.read(), complete);
        index.begin(&owner(), None).unwrap();
        assert_eq!(index.read(), LocalIndex::Absent);
    }

    #[test]
    fn an_index_whose_owner_cannot_be_read_is_not_taken_for_the_older_pipelines() {
        let (_folder, path) = folder();
        fs::write(&path, "42\n").unwrap();
        fs::write(beside(&path, ".run.json"), "{").unwrap();
        assert!(matches!(lock(&path).read(), LocalIndex::Unreadable(_)));
    }

    #[test]
    fn a_file_of_the_older_pipeline_is_understood() {
        for text in ["42", "42\n", " 42\r\n", "0042"] {
            let (_folder, path) = folder();
            fs::write(&path, text).unwrap();
            let expected = LocalIndex::Complete { last: PartIndex(42), owner: None };
            assert_eq!(lock(&path).read(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_an_index_is_named() {
        let long = "9".repeat(400);
        for text in ["", "\n", "abc", "-1", "+1", "4 2", "1.5", "\u{662}", &long] {
            let (_folder, path) = folder();
            fs::write(&path, text).unwrap();
            let LocalIndex::Unreadable(reason) = lock(&path).read() else { panic!("{text:?}") };
            assert!(reason.contains("idx_data.dat") && reason.len() < 200, "{reason}");
        }
        let (_folder, path) = folder();
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(lock(&path).read(), LocalIndex::Unreadable(_)));
    }

    #[test]
    fn a_second_process_cannot_take_the_file() {
        let (_folder, path) = folder();
        let first = lock(&path);
        let error = IndexFile::lock(&path, Shard::WHOLE).unwrap_err();
        assert!(matches!(error, IndexError::Locked(_)), "{error}");
        drop(first);
        lock(&path);
    }

    #[test]
    fn each_shard_has_a_file_of_its_own() {
        let shard = Shard::new(2, 8).unwrap();
        assert_eq!(of_shard(Path::new("a/idx_data.dat"), shard), Path::new("a/idx_data.2-of-8.dat"));
        assert_eq!(of_shard(Path::new("idx"), shard), Path::new("idx.2-of-8"));
        assert_eq!(of_shard(Path::new("idx.dat"), Shard::WHOLE), Path::new("idx.dat"));
    }

    #[test]
    fn a_folder_that_is_missing_is_named_with_the_remedy() {
        let (folder, _) = folder();
        let error = IndexFile::lock(&folder.path().join("no/idx.dat"), Shard::WHOLE).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no/idx.dat") && text.contains("INDEX_FILE"), "{text}");
    }
}
