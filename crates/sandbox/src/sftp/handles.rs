//! What a client holds open.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use rustix::fs::Dir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::{Failure, code};

/// What is open in one session, by names that no other session knows.
///
/// A name counts only in the session that it was given to. It holds a number drawn for the session, so
/// that one that strays into another session is unknown there and does not hit a file by accident; and
/// none is used twice.
pub(super) struct Handles {
    session: u32,
    opened: u64,
    open: HashMap<String, (Open, OwnedSemaphorePermit)>,
    /// One permit for each handle that the connection may hold open.
    free: Arc<Semaphore>,
}

pub(super) enum Open {
    File(OpenFile),
    Folder(OpenFolder),
}

pub(super) struct OpenFile {
    pub(super) file: File,
    /// Whether what is written goes to the end, whatever the client's offset.
    pub(super) append: bool,
    /// For messages.
    pub(super) path: String,
}

pub(super) struct OpenFolder {
    pub(super) entries: Dir,
    /// For messages.
    pub(super) path: String,
}

impl Handles {
    pub(super) fn new(free: Arc<Semaphore>) -> Self {
        // Each of these is keyed at random. Half of it will do: names are repeated in every request.
        let session = RandomState::new().build_hasher().finish() as u32;
        Self { session, opened: 0, open: HashMap::new(), free }
    }

    /// Opens something, unless too much is open already.
    pub(super) fn open(
        &mut self,
        open: impl FnOnce() -> Result<Open, Failure>,
    ) -> Result<String, Failure> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            return Err(Failure::new(
                code::FAILURE,
                "too many open files on this connection; close some",
            ));
        };
        let open = open()?;
        self.opened += 1;
        let name = format!("{:08x}{:x}", self.session, self.opened);
        self.open.insert(name.clone(), (open, permit));
        Ok(name)
    }

    pub(super) fn close(&mut self, name: &str) -> Result<(), Failure> {
        self.open.remove(name).map(drop).ok_or_else(unknown)
    }

    pub(super) fn file(&self, name: &str) -> Result<&OpenFile, Failure> {
        match self.open.get(name) {
            Some((Open::File(file), _)) => Ok(file),
            Some((Open::Folder(folder), _)) => {
                Err(Failure::new(code::FAILURE, format!("a handle of a folder: {}", folder.path)))
            }
            None => Err(unknown()),
        }
    }

    pub(super) fn folder(&mut self, name: &str) -> Result<&mut OpenFolder, Failure> {
        match self.open.get_mut(name) {
            Some((Open::Folder(folder), _)) => Ok(folder),
            Some((Open::File(file), _)) => {
                Err(Failure::new(code::FAILURE, format!("a handle of a file: {}", file.path)))
            }
            None => Err(unknown()),
        }
    }
}

fn unknown() -> Failure {
    Failure::new(code::FAILURE, "no such handle")
}
