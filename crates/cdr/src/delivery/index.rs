//! `idx_data.dat`: the index of the last part that is complete everywhere.
//!
//! A cache for people, and the progress of runs without Kafka. Beside it stand a file that notes
//! which run it belongs to, and one that is locked while a process uses them.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cdr_model::progress::Parameters;
use cdr_model::resume::LocalIndex;
use cdr_model::{PartIndex, Shard};
use serde::{Deserialize, Serialize};

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

/// Which run an index belongs to: the content of the file beside it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    parameters: Parameters,
}

impl IndexFile {
    /// Takes the file for this process.
    ///
    /// # Errors
    /// Another process has it, or the folder cannot be written.
    pub fn lock(path: &Path, shard: Shard) -> Result<Self, IndexError> {
        let path = of_shard(path, shard);
        let lock_path = beside(&path, ".lock");
        let failed = |error| IndexError::Io { action: "lock", path: lock_path.clone(), error };
        let lock = File::create(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(IndexFile { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(IndexError::Locked(path)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// What the file says. One of the older pipeline is understood: a decimal line and nothing else.
    pub fn read(&self) -> LocalIndex {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return LocalIndex::Absent,
            Err(error) => return LocalIndex::Unreadable(error.to_string()),
        };
        match parse(&text) {
            Ok(last) => LocalIndex::Complete { last, parameters: self.owner() },
            Err(reason) => LocalIndex::Unreadable(format!("{}: {reason}", self.path.display())),
        }
    }

    fn owner(&self) -> Option<Parameters> {
        let text = fs::read(self.owner_path()).ok()?;
        serde_json::from_slice::<Owner>(&text).ok().map(|owner| owner.parameters)
    }

    /// Notes which run the file belongs to from now on. A new run's file names no part yet.
    pub fn begin(&self, parameters: &Parameters, anew: bool) -> Result<(), IndexError> {
        if anew {
            self.remove()?;
        }
        let owner = Owner { parameters: parameters.clone() };
        let text = serde_json::to_vec_pretty(&owner).map_err(io::Error::from);
        text.and_then(|text| replace(&self.owner_path(), &text)).map_err(self.failed("write"))
    }

    /// Names the last complete part, all or nothing.
    pub fn write(&self, last: PartIndex) -> Result<(), IndexError> {
        replace(&self.path, format!("{last}\n").as_bytes()).map_err(self.failed("write"))
    }

    /// Removes what names a part, as when a run is complete.
    pub fn remove(&self) -> Result<(), IndexError> {
        for path in [&self.path, &self.owner_path()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failed("remove")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn owner_path(&self) -> PathBuf {
        beside(&self.path, ".run.json")
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> IndexError {
        let path = self.path.clone();
        move |error| IndexError::Io { action, path: path.clone(), error }
    }
}

/// Reads the one decimal line; `Err` says what is there instead.
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
    let shard = shard.to_string().replace('/', "-of-");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{shard}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{shard}"),
    };
    path.with_file_name(name)
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
