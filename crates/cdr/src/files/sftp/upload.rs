//! One file, over one session, to its folder.

use super::config::UploadMode;
use super::error::SftpError;
use super::folder::RemoteFolder;
use super::session::{Answer, Failure, RequestGroup, Session};
use super::wire::{Found, Request, WRITE_OVERHEAD_BYTES, status};
use crate::files::content::Content;
use crate::files::temporary::Temporary;
use crate::files::{Gate, OpenGate};

/// Bytes of one file that go to the connection at once. Of a larger file, two
/// such pieces at most are on their way.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file that is to stand under a name.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a dyn Content,
    /// What is awaited before readers see anything of it.
    pub(super) gate: &'a dyn Gate,
    /// Whether the server is to write it to its disk before it gets its name.
    pub(super) sync: bool,
}

/// Uploads a file, and returns its size in bytes when it stands under its name
/// with that. Three round trips: open; write, size and close; rename.
pub(super) async fn upload(
    session: &Session,
    folder: &RemoteFolder,
    mode: UploadMode,
    temporary: &Temporary,
    wanted: Wanted<'_>,
) -> Result<u64, SftpError> {
    // Only a server that limits the open files makes this wait; the semaphore
    // is never closed.
    let _permit = session.open_files.acquire().await;
    let shown = folder.path(wanted.name);
    let sync = wanted.sync && session.fsync;
    match mode {
        UploadMode::Rename => {
            let path = folder.path(&temporary.name(wanted.name));
            Upload { session, folder, path, shown, gate: &OpenGate, sync }.renamed(wanted).await
        }
        UploadMode::Direct => {
            let path = shown.clone();
            Upload { session, folder, path, shown, gate: wanted.gate, sync }.direct(wanted.content).await
        }
    }
}

/// An upload in progress.
struct Upload<'a> {
    session: &'a Session,
    folder: &'a RemoteFolder,
    /// Where the content is written.
    path: String,
    /// The final name, by which people know it.
    shown: String,
    /// What is awaited before anything is written, where readers see that at
    /// once.
    gate: &'a dyn Gate,
    /// Whether the server writes the file to its disk before it is closed.
    sync: bool,
}

/// How large a file should be and is, in bytes; the latter where the server
/// reports it.
#[derive(Clone, Copy)]
struct Sizes {
    written: u64,
    found: Option<u64>,
}

impl Upload<'_> {
    async fn renamed(&self, wanted: Wanted<'_>) -> Result<u64, SftpError> {
        let outcome = async {
            let sizes = self.fill(wanted.content, Found::Refused).await?;
            let bytes = self.whole(sizes)?;
            wanted.gate.pass().await;
            self.publish(&self.shown).await?;
            Ok(bytes)
        };
        let outcome = outcome.await;
        if outcome.is_err() {
            self.discard().await;
        }
        outcome
    }

    /// The file keeps what it has, byte by byte, until it is overwritten: whoever
    /// delivers it again writes the same bytes, and so it is at no time less than
    /// it was.
    async fn direct(&self, content: &dyn Content) -> Result<u64, SftpError> {
        let mut sizes = self.fill(content, Found::Kept).await?;
        if sizes.found > Some(sizes.written) {
            // A longer file stood there, and the server cannot cut an open one off.
            sizes = self.fill(content, Found::Emptied).await?;
        }
        self.whole(sizes)
    }

    /// Writes the file. Where the server did not report the size of the open file,
    /// or reported another than expected, the closed file is what counts.
    async fn fill(&self, content: &dyn Content, found: Found) -> Result<Sizes, SftpError> {
        let handle = self.open(found).await?;
        let sizes = self.write(&handle, content, found == Found::Kept).await?;
        if sizes.found == Some(sizes.written) {
            return Ok(sizes);
        }
        let requested = self.session.request(&Request::Stat { path: &self.path }).await?;
        let attributes = requested.attributes().await;
        let attributes =
            attributes.map_err(|failure| self.folder.failed("stat", &self.shown, failure))?;
        Ok(Sizes { found: attributes.size, ..sizes })
    }

    fn whole(&self, sizes: Sizes) -> Result<u64, SftpError> {
        let Sizes { written, found } = sizes;
        if found == Some(written) {
            return Ok(written);
        }
        Err(SftpError::SizeMismatch {
            address: self.folder.address.clone(),
            path: self.shown.clone(),
            expected: written,
            found: found.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string()),
        })
    }

    /// Removes what a failed attempt wrote, where the server still answers: it
    /// would only fill its disk.
    async fn discard(&self) {
        if let Ok(requested) = self.session.request(&Request::Remove { path: &self.path }).await {
            // What stays is removed when the run ends.
            let _ = requested.done().await;
        }
    }

    /// Opens the file for writing; makes its folder again if that has gone.
    async fn open(&self, found: Found) -> Result<Vec<u8>, SftpError> {
        self.gate.pass().await;
        let open = async |found| {
            let request = Request::Open { path: &self.path, found };
            self.session.request(&request).await?.handle().await
        };
        let mut opened = open(found).await;
        if refused_with(&opened, status::NO_SUCH_FILE) {
            self.folder.ensure(self.session).await?;
            opened = open(found).await;
        }
        if found == Found::Refused && refused_with(&opened, status::UNSUPPORTED) {
            // The name is unique all the same, being random.
            opened = open(Found::Emptied).await;
        }
        opened.map_err(|failure| self.folder.failed("create", &self.shown, failure))
    }

    /// Writes all of `content`, cuts off what follows it if so wished, and closes
    /// the file.
    async fn write(&self, handle: &[u8], content: &dyn Content, cut: bool) -> Result<Sizes, SftpError> {
        let mut pieces = content.pieces(self.piece_bytes());
        let (mut offset, mut pending) = (0, Vec::new());
        let mut next = pieces.next();
        loop {
            let piece = next.unwrap_or_default();
            self.gate.pass().await;
            next = pieces.next();
            if next.is_none() {
                return self.finish(handle, offset, &piece, pending, cut).await;
            }
            let mut group = self.session.group(self.group_bytes(&piece, handle));
            let writes = self.add_writes(&mut group, handle, offset, &piece)?;
            group.send().await?;
            offset += piece.len();
            let before = std::mem::replace(&mut pending, writes);
            if let Err(error) = self.all_done(before).await {
                self.session.request(&Request::Close { handle }).await?;
                return Err(error);
            }
        }
    }

    /// Writes the last piece, cuts off, syncs, requests the size, and closes, without
    /// waiting in between: the protocol has a server process the requests on one
    /// file in the order in which they come (section 4 of the draft).
    async fn finish(
        &self,
        handle: &[u8],
        offset: usize,
        tail: &[u8],
        pending: Vec<Answer>,
        cut: bool,
    ) -> Result<Sizes, SftpError> {
        let written = (offset + tail.len()) as u64;
        let mut group = self.session.group(self.group_bytes(tail, handle));
        let writes = self.add_writes(&mut group, handle, offset, tail)?;
        let cut = cut.then(|| group.add(&Request::SetSize { handle, size: written })).transpose()?;
        let sync = self.sync.then(|| group.add(&Request::Fsync { handle })).transpose()?;
        let size = group.add(&Request::Fstat { handle })?;
        let close = group.add(&Request::Close { handle })?;
        group.send().await?;
        self.all_done(pending).await?;
        self.all_done(writes).await?;
        // A server that cannot shows it by the size.
        if let Some(Err(Failure::Session(error))) = done(cut).await {
            return Err(error);
        }
        match done(sync).await {
            // What it offers, it may yet be unable to do on this file system.
            Some(Err(Failure::Status(answer))) if answer.code == status::UNSUPPORTED => {}
            Some(Err(failure)) => return Err(self.folder.failed("sync", &self.shown, failure)),
            Some(Ok(())) | None => {}
        }
        let size = size.attributes().await;
        self.all_done(vec![close]).await?;
        let found = match size {
            Ok(attributes) => attributes.size,
            Err(Failure::Status(_)) => None,
            Err(Failure::Session(error)) => return Err(error),
        };
        Ok(Sizes { written, found })
    }

    /// Adds requests that write `piece` at `offset`, in bytes from the start.
    fn add_writes(
        &self,
        group: &mut RequestGroup<'_>,
        handle: &[u8],
        offset: usize,
        piece: &[u8],
    ) -> Result<Vec<Answer>, SftpError> {
        let write_bytes = self.session.write_bytes;
        let writes = piece.chunks(write_bytes).enumerate().map(|(index, data)| {
            let offset = (offset + index * write_bytes) as u64;
            group.add(&Request::Write { handle, offset, data })
        });
        writes.collect()
    }

    /// A whole number of writes.
    fn piece_bytes(&self) -> usize {
        let write_bytes = self.session.write_bytes;
        (PIECE_BYTES / write_bytes).max(1) * write_bytes
    }

    /// What the requests for `piece` take, with room for the last four.
    fn group_bytes(&self, piece: &[u8], handle: &[u8]) -> usize {
        let requests = piece.len().div_ceil(self.session.write_bytes) + 4;
        piece.len() + requests * (WRITE_OVERHEAD_BYTES + handle.len())
    }

    async fn all_done(&self, answers: Vec<Answer>) -> Result<(), SftpError> {
        for answer in answers {
            let outcome = answer.done().await;
            outcome.map_err(|failure| self.folder.write_failed(&self.shown, failure))?;
        }
        Ok(())
    }

    /// Gives the file its name, in place of a file that has it already.
    async fn publish(&self, to: &str) -> Result<(), SftpError> {
        let failed = |failure| self.folder.failed("rename to", to, failure);
        let from = self.path.as_str();
        if self.session.posix_rename {
            let request = Request::PosixRename { from, to };
            match self.session.request(&request).await?.done().await {
                Err(Failure::Status(answer)) if answer.code == status::UNSUPPORTED => {}
                outcome => return outcome.map_err(failed),
            }
        }
        let request = Request::Rename { from, to };
        let outcome = self.session.request(&request).await?.done().await;
        // The plain rename refuses when the target exists, and version 3 of the
        // protocol has no code for that. Nothing that stands there may go
        // unless there is something to take its folder.
        if let Err(Failure::Status(answer)) = &outcome
            && matches!(answer.code, status::FAILURE | status::FILE_EXISTS)
            && self.is_there(to).await?
            && self.is_there(from).await?
        {
            return self.replace(to).await.map_err(failed);
        }
        outcome.map_err(failed)
    }

    async fn is_there(&self, path: &str) -> Result<bool, SftpError> {
        match self.session.request(&Request::Stat { path }).await?.attributes().await {
            Ok(_) => Ok(true),
            Err(Failure::Status(_)) => Ok(false),
            Err(Failure::Session(error)) => Err(error),
        }
    }

    /// Removes the file that has the name, and renames. For a moment nothing
    /// has the name; after a failure in this moment, the next attempt fills it.
    async fn replace(&self, to: &str) -> Result<(), Failure> {
        let mut group = self.session.group(1024);
        let removed = group.add(&Request::Remove { path: to })?;
        let renamed = group.add(&Request::Rename { from: &self.path, to })?;
        group.send().await?;
        let removed = removed.done().await;
        let renamed = renamed.done().await;
        match removed {
            Err(Failure::Status(answer)) if answer.code == status::PERMISSION_DENIED => {
                // This is why the rename failed, if it did.
                renamed.map_err(|_| Failure::Status(answer))
            }
            _ => renamed,
        }
    }
}

fn refused_with<T>(outcome: &Result<T, Failure>, code: u32) -> bool {
    matches!(outcome, Err(Failure::Status(answer)) if answer.code == code)
}

/// The outcome of a request that may not have been made.
async fn done(answer: Option<Answer>) -> Option<Result<(), Failure>> {
    match answer {
        Some(answer) => Some(answer.done().await),
        None => None,
    }
}
