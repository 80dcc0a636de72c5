//! The local directory as a destination for files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// Writes one file: under a temporary name first, then in place of any older one. Blocks.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), DirectoryError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(self.temporary.name(name));
        let written = write(&temporary, content).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // It would only fill the disk; if it cannot go now, it goes when the run ends.
            drop(fs::remove_file(&temporary));
        }
        // The new name, too, must outlast a loss of power, before progress counts the file.
        let kept = written.and_then(|()| File::open(&*self.folder)?.sync_all());
        kept.map_err(|error| explain(&path, error))
    }
}

impl DirectoryStore {
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

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    // A file that progress counts must outlast a loss of power, too.
    file.sync_data()
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
        store.put("x.csv", b"older and longer").unwrap();
        store.put("x.csv", b"new").unwrap();
        let found: Vec<_> = fs::read_dir(folder.path().join("a/b")).unwrap().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(fs::read(folder.path().join("a/b/x.csv")).unwrap(), b"new");
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
