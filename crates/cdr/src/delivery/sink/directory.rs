//! The local directory as a destination for files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
}

impl DirectoryStore {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(folder).map_err(|error| explain(folder, error))?;
        Ok(DirectoryStore { folder: folder.into() })
    }

    /// Writes one file: under a temporary name first, then in place of any older one. Blocks.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), DirectoryError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(format!(".{name}.part"));
        let written = write(&temporary, content).and_then(|()| fs::rename(&temporary, &path));
        // The new name, too, must outlast a loss of power, before progress counts the file.
        let kept = written.and_then(|()| File::open(&*self.folder)?.sync_all());
        kept.map_err(|error| explain(&path, error))
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
