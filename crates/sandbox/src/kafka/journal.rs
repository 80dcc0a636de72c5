//! A file of changes, appended one by one, from which state is found again at the start.
//!
//! Each change stands behind its length and its checksum. A change that is cut off is dropped: it
//! was not acknowledged. At the start, and when the file has grown, it is rewritten with only
//! what still holds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{error, warn};

use super::error::Error;
use super::files::sync_dir;

/// Begins each file; the digit counts versions of what is written.
const MAGIC: &[u8; 8] = b"JOURNAL1";

/// Bytes before each change: its length and its checksum.
const FRAME_BYTES: usize = 8;

/// A file is rewritten when it has grown by this, and to twice its size.
const GROWTH_BYTES: u64 = 4 << 20;

/// Appends changes of a type.
#[derive(Debug)]
pub struct Journal<C> {
    path: PathBuf,
    file: File,
    size: u64,
    /// Its size when it was rewritten.
    base_size: u64,
    failed: bool,
    changes: PhantomData<C>,
}

impl<C: Serialize + DeserializeOwned> Journal<C> {
    /// Opens a file, and hands `apply` each change in it.
    ///
    /// # Errors
    /// When it cannot be read, or was written by another version.
    pub fn open(path: &Path, mut apply: impl FnMut(C)) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let mut size = 0;
        if !bytes.is_empty() {
            let magic = bytes.get(..MAGIC.len()).unwrap_or_default();
            if magic != MAGIC && !MAGIC.starts_with(&bytes) {
                let found = String::from_utf8_lossy(magic).into_owned();
                return Err(Error::Version { path: path.to_owned(), found });
            }
            size = MAGIC.len().min(bytes.len());
            while let Some(payload) = next(bytes.get(size..).unwrap_or_default()) {
                let change = serde_json::from_slice(payload).map_err(|error| Error::Version {
                    path: path.to_owned(),
                    found: format!("byte {size}: {error}"),
                })?;
                apply(change);
                size += FRAME_BYTES + payload.len();
            }
            if size < bytes.len() {
                let lost = bytes.len() - size;
                warn!(
                    "{} is cut at byte {size}: the change there is not whole; {lost} bytes go",
                    path.display()
                );
            }
        }
        let opened = open_for_appending(path, size as u64);
        let (file, size) = opened.map_err(|error| Error::io("open", path, error))?;
        let path = path.to_owned();
        Ok(Journal { path, file, size, base_size: size, failed: false, changes: PhantomData })
    }

    /// Appends a change. It then survives the end of the process.
    ///
    /// # Errors
    /// When it cannot be written; then it does not hold.
    pub fn append(&mut self, change: &C) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed half-way; restart the broker"));
        }
        let frame = framed(change)?;
        if let Err(error) = self.file.write_all(&frame) {
            error!("cannot append to {}: {error}", self.path.display());
            self.failed = self.file.set_len(self.size).is_err();
            return Err(error);
        }
        self.size += frame.len() as u64;
        Ok(())
    }

    /// Whether the file is mostly changes that hold no longer.
    pub fn has_grown(&self) -> bool {
        self.size > self.base_size * 2 + GROWTH_BYTES
    }

    /// Replaces the file by one with only these changes. If that cannot be written, as on a full disk, the
    /// old one stays and does as well; another try is made when it has grown again.
    pub fn rewrite(&mut self, changes: impl Iterator<Item = C>) {
        let draft = self.path.with_extension("draft");
        if let Err(error) = self.try_rewrite(&draft, changes) {
            warn!("{} stays as long as it is: it cannot be rewritten: {error}", self.path.display());
            self.base_size = self.size;
            // It takes room, and is of no use.
            drop(fs::remove_file(&draft));
        }
    }

    fn try_rewrite(&mut self, draft: &Path, changes: impl Iterator<Item = C>) -> io::Result<()> {
        let mut content = MAGIC.to_vec();
        for change in changes {
            content.extend(framed(&change)?);
        }
        let mut file = OpenOptions::new().append(true).create(true).open(draft)?;
        file.set_len(0)?;
        file.write_all(&content)?;
        file.sync_data()?;
        fs::rename(draft, &self.path)?;
        // The file is this one now, whatever else fails: what is appended to the old one is lost.
        (self.file, self.size, self.failed) = (file, content.len() as u64, false);
        self.base_size = self.size;
        self.path.parent().map_or(Ok(()), sync_dir)
    }

    /// Makes what was appended survive the loss of power.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Opens a file, cut to `size` bytes, or begins it.
fn open_for_appending(path: &Path, size: u64) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if size >= MAGIC.len() as u64 {
        file.set_len(size)?;
        return Ok((file, size));
    }
    file.set_len(0)?;
    file.write_all(MAGIC)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok((file, MAGIC.len() as u64))
}

fn framed(change: &impl Serialize) -> io::Result<Vec<u8>> {
    let payload = serde_json::to_vec(change)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let checksum = crc32c::crc32c(&payload);
    Ok([&length.to_be_bytes()[..], &checksum.to_be_bytes(), &payload].concat())
}

/// The change that bytes begin with, if all of it is there.
fn next(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_be_bytes(*length) as usize)?;
    (crc32c::crc32c(payload) == u32::from_be_bytes(*checksum)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &Path) -> (Journal<String>, Vec<String>) {
        let mut changes = Vec::new();
        let journal = Journal::open(path, |change| changes.push(change)).unwrap();
        (journal, changes)
    }

    #[test]
    fn changes_are_found_again_and_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, changes) = read(&path);
        assert!(changes.is_empty());
        journal.append(&"a".to_owned()).unwrap();
        journal.append(&"b".to_owned()).unwrap();
        let (mut journal, changes) = read(&path);
        assert_eq!(changes, ["a", "b"]);
        journal.rewrite(["c".to_owned()].into_iter());
        journal.append(&"d".to_owned()).unwrap();
        assert_eq!(read(&path).1, ["c", "d"]);
    }

    #[test]
    fn a_file_that_cannot_be_rewritten_is_appended_to_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = read(&path);
        journal.append(&"a".to_owned()).unwrap();
        // Nothing can be written where a folder is.
        fs::create_dir(dir.path().join("journal.draft")).unwrap();
        journal.rewrite(std::iter::empty());
        journal.append(&"b".to_owned()).unwrap();
        assert!(!journal.has_grown());
        assert_eq!(read(&path).1, ["a", "b"]);
    }

    #[test]
    fn a_file_that_was_rewritten_is_the_one_that_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = read(&path);
        // What a crash left.
        fs::write(dir.path().join("journal.draft"), "something").unwrap();
        journal.rewrite(["a".to_owned()].into_iter());
        journal.append(&"b".to_owned()).unwrap();
        assert_eq!(read(&path).1, ["a", "b"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_version_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::write(&path, "JOURNAL7 and more").unwrap();
        let refused = Journal::<String>::open(&path, |_| ()).unwrap_err();
        assert!(matches!(refused, Error::Version { found, .. } if found == "JOURNAL7"));
        assert_eq!(fs::read(&path).unwrap(), b"JOURNAL7 and more");
    }

    proptest! {
        #[test]
        fn cut_anywhere_whole_changes_are_left_and_more_can_be_appended(cut in 0..90u64) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("journal");
            let (mut journal, _) = read(&path);
            let all = ["one", "two", "three", "four"];
            for change in all {
                journal.append(&change.to_owned()).unwrap();
            }
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(cut.min(journal.size)).unwrap();
            let (mut journal, changes) = read(&path);
            prop_assert_eq!(&changes[..], &all[..changes.len()]);
            journal.append(&"new".to_owned()).unwrap();
            let (_, after) = read(&path);
            prop_assert_eq!(after.len(), changes.len() + 1);
        }
    }
}
