//! The local directory as a destination for files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::temporary::Temporary;

/// What went wrong with the directory; names the path and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "no space left for {0}. Free some, or set another OUTPUT_DIRECTORY, and start again: the run continues"
    )]
    Full(PathBuf),
    #[error("no permission to write {0}. Grant it, or set another OUTPUT_DIRECTORY")]
    NotPermitted(PathBuf),
    #[error("cannot write {path}: {error}. Check the path, or set another OUTPUT_DIRECTORY")]
    Io { path: PathBuf, error: io::Error },
}

/// Bytes that are handed to the system at once.
const PIECE_BYTES: usize = 1 << 20;

/// A folder that files are put into, each under its name only when it is complete.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    folder: Arc<Path>,
    temporary: Temporary,
}

impl DirectoryStore {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(folder).map_err(|error| explain(folder, error))?;
        Ok(DirectoryStore { folder: folder.into(), temporary: Temporary::new() })
    }

    /// Writes one file, under a temporary name. Blocks.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written.
    pub fn write(&self, name: &str, content: &dyn Content) -> Result<Written, DirectoryError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(self.temporary.name(name));
        // Dropped with an error, it takes what was written with it.
        let mut written = Written { temporary, path, bytes: 0, published: false };
        written.bytes =
            write(&written.temporary, content).map_err(|error| explain(&written.path, error))?;
        Ok(written)
    }

    /// The names of all files. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, DirectoryError> {
        let read = || {
            let names = fs::read_dir(&*self.folder)?.map(|entry| Ok(entry?.file_name()));
            names.collect::<io::Result<Vec<_>>>()
        };
        let names = read().map_err(|error| explain(&self.folder, error))?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Removes a file, if it is there. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(|error| explain(&path, error)),
        }
    }

    /// Whether a temporary name is one of this store's.
    pub fn made(&self, name: &str) -> bool {
        self.temporary.made(name)
    }
}

/// A file that is complete under its temporary name; dropped before it is published, it is removed.
#[derive(Debug)]
pub struct Written {
    temporary: PathBuf,
    path: PathBuf,
    bytes: u64,
    published: bool,
}

impl Written {
    /// Gives the file its name, in place of any older one, and returns its size in bytes. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn publish(mut self) -> Result<u64, DirectoryError> {
        let renamed = fs::rename(&self.temporary, &self.path);
        self.published = renamed.is_ok();
        // The new name, too, must outlast a loss of power, before progress counts the file.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let kept = renamed.and_then(|()| File::open(folder)?.sync_all());
        kept.map_err(|error| explain(&self.path, error))?;
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

/// Writes a file that must be new; gives its size in bytes.
fn write(path: &Path, content: &dyn Content) -> io::Result<u64> {
    let mut file = File::create_new(path)?;
    let mut bytes = 0;
    for piece in content.pieces(PIECE_BYTES) {
        file.write_all(&piece)?;
        bytes += piece.len() as u64;
    }
    // A file that progress counts must outlast a loss of power, too.
    file.sync_data()?;
    Ok(bytes)
}

fn explain(path: &Path, error: io::Error) -> DirectoryError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DirectoryError::Full(path),
        io::ErrorKind::PermissionDenied => DirectoryError::NotPermitted(path),
        _ => DirectoryError::Io { path, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_an_older_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(&folder.path().join("a/b")).unwrap();
        for content in [&b"older and longer"[..], b"new"] {
            let bytes = store.write("x.csv", &content.to_vec()).unwrap().publish().unwrap();
            assert_eq!(bytes, content.len() as u64);
        }
        assert_eq!(store.names().unwrap(), ["x.csv"]);
        assert_eq!(fs::read(folder.path().join("a/b/x.csv")).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_does_not_get_its_name_leaves_the_older_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(folder.path()).unwrap();
        fs::write(folder.path().join("x.csv"), "older").unwrap();
        let written = store.write("x.csv", b"new").unwrap();
        assert_eq!(store.names().unwrap().len(), 2);
        drop(written);
        assert_eq!(store.names().unwrap(), ["x.csv"]);
        assert_eq!(fs::read(folder.path().join("x.csv")).unwrap(), b"older");
    }

    #[test]
    fn a_file_in_the_folders_place_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::write(&path, "").unwrap();
        let error = DirectoryStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("taken") && error.contains("OUTPUT_DIRECTORY"), "{error}");
    }
}
