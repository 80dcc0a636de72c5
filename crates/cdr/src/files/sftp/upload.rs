//! One file, over one session, to its folder.

use super::config::UploadMode;
use super::error::SftpError;
use super::session::{Answer, Answered, RequestGroup, Session};
use super::wire::{Found, Request, status};
use crate::files::content::Content;
use crate::files::temporary::Temporary;
use crate::files::{PublishCondition, Unconditional};

/// Bytes of one file that go to the connection at once. Of a larger file, two such pieces at most are on
/// their way.
const PIECE_BYTES: usize = 1024 * 1024;

/// Uploads a file, and returns its size in bytes when it stands under its name with that. Three round trips:
/// open; write, size and close; rename.
pub(super) async fn upload(
    session: &Session,
    temporary: &Temporary,
    name: &str,
    content: &dyn Content,
    condition: &dyn PublishCondition,
) -> Result<u64, SftpError> {
    // Only a server that limits the open files makes this wait; the semaphore is never closed.
    let _permit = session.open_files.acquire().await;
    let shown = session.config.path(name);
    match session.config.upload_mode {
        UploadMode::Rename => {
            let path = session.config.path(&temporary.name(name));
            Upload { session, content, path, shown, condition: &Unconditional }.renamed(condition).await
        }
        UploadMode::Direct => {
            Upload { session, content, path: shown.clone(), shown, condition }.direct().await
        }
    }
}

/// An upload in progress.
struct Upload<'a> {
    session: &'a Session,
    content: &'a dyn Content,
    /// Where the content is written.
    path: String,
    /// The final name, by which people know it.
    shown: String,
    /// What is awaited before anything is written, where readers see that at once.
    condition: &'a dyn PublishCondition,
}

/// How large a file should be and is, in bytes; the latter where the server reports it.
#[derive(Clone, Copy)]
struct Sizes {
    written: u64,
    found: Option<u64>,
}

impl Upload<'_> {
    async fn renamed(&self, condition: &dyn PublishCondition) -> Result<u64, SftpError> {
        let outcome = async {
            let bytes = self.whole(self.fill(Found::Refused).await?)?;
            condition.met().await;
            self.publish().await?;
            Ok(bytes)
        };
        let outcome = outcome.await;
        // What a failed attempt wrote would only fill the server's disk. What stays where the server does
        // not answer any more is removed when the run ends.
        if outcome.is_err()
            && let Ok(removal) = self.session.request(&Request::Remove { path: &self.path }).await
        {
            let _ = removal.done().await;
        }
        outcome
    }

    /// The file keeps what it has, byte by byte, until it is overwritten: whoever delivers it again writes
    /// the same bytes, and so it is at no time less than it was.
    async fn direct(&self) -> Result<u64, SftpError> {
        let mut sizes = self.fill(Found::Kept).await?;
        if sizes.found > Some(sizes.written) {
            // A longer file stood there, and the server cannot cut an open one off.
            sizes = self.fill(Found::Emptied).await?;
        }
        self.whole(sizes)
    }

    /// Writes the file. Where the server did not report the size of the open file, or reported another than
    /// expected, the closed file is what counts.
    async fn fill(&self, found: Found) -> Result<Sizes, SftpError> {
        let handle = self.open(found).await?;
        let sizes = self.write(&handle, found == Found::Kept).await?;
        if sizes.found == Some(sizes.written) {
            return Ok(sizes);
        }
        let closed = self.stat(&self.path).await?;
        let closed = closed.map_err(|refusal| self.session.failed("stat", &self.shown, refusal))?;
        Ok(Sizes { found: closed, ..sizes })
    }

    fn whole(&self, sizes: Sizes) -> Result<u64, SftpError> {
        let Sizes { written, found } = sizes;
        if found == Some(written) {
            return Ok(written);
        }
        Err(SftpError::SizeMismatch {
            address: self.session.config.address(),
            path: self.shown.clone(),
            expected: written,
            found: found.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string()),
        })
    }

    /// Opens the file for writing; makes its folder again if that has gone.
    async fn open(&self, found: Found) -> Result<Vec<u8>, SftpError> {
        self.condition.met().await;
        let open = async |found| {
            let request = Request::Open { path: &self.path, found };
            self.session.request(&request).await?.handle().await
        };
        let mut opened = open(found).await?;
        if is_refused(&opened, status::NO_SUCH_FILE) {
            self.session.ensure_folder().await?;
            opened = open(found).await?;
        }
        if found == Found::Refused && is_refused(&opened, status::UNSUPPORTED) {
            // The name is unique all the same, being random.
            opened = open(Found::Emptied).await?;
        }
        opened.map_err(|refusal| self.session.failed("create", &self.shown, refusal))
    }

    /// Writes the content, cuts off what follows it if so wished, and closes the file.
    async fn write(&self, handle: &[u8], cut: bool) -> Result<Sizes, SftpError> {
        // A whole number of writes.
        let write_bytes = self.session.write_bytes;
        let mut pieces = self.content.pieces((PIECE_BYTES / write_bytes).max(1) * write_bytes);
        let (mut offset, mut pending) = (0, Vec::new());
        let mut next = pieces.next();
        loop {
            let piece = next.unwrap_or_default();
            self.condition.met().await;
            next = pieces.next();
            let (group, writes) = self.writes(handle, offset, &piece)?;
            offset += piece.len();
            if next.is_none() {
                pending.extend(writes);
                return self.finish(group, handle, offset as u64, pending, cut).await;
            }
            group.send().await?;
            let before = std::mem::replace(&mut pending, writes);
            if let Err(error) = self.all_done(before).await {
                self.session.request(&Request::Close { handle }).await?;
                return Err(error);
            }
        }
    }

    /// Adds to the last writes: cuts off, syncs, requests the size, and closes, without waiting in between:
    /// the protocol has a server process the requests on one file in the order in which they come (section
    /// 4 of the draft).
    async fn finish(
        &self,
        mut group: RequestGroup<'_>,
        handle: &[u8],
        written: u64,
        writes: Vec<Answer>,
        cut: bool,
    ) -> Result<Sizes, SftpError> {
        let cut = cut.then(|| group.add(&Request::SetSize { handle, size: written })).transpose()?;
        let sync = self.session.fsync && self.session.config.fsync;
        let sync = sync.then(|| group.add(&Request::Fsync { handle })).transpose()?;
        let size = group.add(&Request::Fstat { handle })?;
        let close = group.add(&Request::Close { handle })?;
        group.send().await?;
        self.all_done(writes).await?;
        if let Some(cut) = cut {
            // A server that cannot shows it by the size.
            let _ = cut.done().await?;
        }
        if let Some(sync) = sync {
            let synced = sync.done().await?;
            // What it offers, it may yet be unable to do on this file system.
            if !is_refused(&synced, status::UNSUPPORTED) {
                synced.map_err(|refusal| self.session.failed("sync", &self.shown, refusal))?;
            }
        }
        let size = size.attributes().await?;
        self.all_done(vec![close]).await?;
        Ok(Sizes { written, found: size.ok().and_then(|attributes| attributes.size) })
    }

    /// Requests that write `piece` at `offset`, in bytes from the start; not sent yet.
    fn writes(
        &self,
        handle: &[u8],
        offset: usize,
        piece: &[u8],
    ) -> Result<(RequestGroup<'_>, Vec<Answer>), SftpError> {
        let write_bytes = self.session.write_bytes;
        // With room for what stands around the data, and for the requests behind it.
        let mut group = self.session.group(piece.len() + piece.len() / 64 + 2048);
        let writes = piece.chunks(write_bytes).enumerate().map(|(index, data)| {
            let offset = (offset + index * write_bytes) as u64;
            group.add(&Request::Write { handle, offset, data })
        });
        let writes = writes.collect::<Result<_, _>>()?;
        Ok((group, writes))
    }

    async fn all_done(&self, answers: Vec<Answer>) -> Result<(), SftpError> {
        for answer in answers {
            let answered = answer.done().await?;
            answered.map_err(|refusal| self.session.write_failed(&self.shown, refusal))?;
        }
        Ok(())
    }

    /// Gives the file its name, in place of a file that has it already.
    async fn publish(&self) -> Result<(), SftpError> {
        let (from, to) = (self.path.as_str(), self.shown.as_str());
        let failed = |refusal| self.session.failed("rename to", to, refusal);
        if self.session.posix_rename {
            let renamed = self.session.request(&Request::PosixRename { from, to }).await?.done().await?;
            if !is_refused(&renamed, status::UNSUPPORTED) {
                return renamed.map_err(failed);
            }
        }
        let mut renamed = self.session.request(&Request::Rename { from, to }).await?.done().await?;
        // The plain rename refuses when the target exists, and version 3 of the protocol has no code for
        // that. Nothing that stands there may go unless there is something to take its folder.
        if (is_refused(&renamed, status::FAILURE) || is_refused(&renamed, status::FILE_EXISTS))
            && self.stat(to).await?.is_ok()
            && self.stat(from).await?.is_ok()
        {
            renamed = self.replace().await?;
        }
        renamed.map_err(failed)
    }

    /// The size of the file there, where the server reports it.
    async fn stat(&self, path: &str) -> Result<Answered<Option<u64>>, SftpError> {
        let found = self.session.request(&Request::Stat { path }).await?.attributes().await?;
        Ok(found.map(|attributes| attributes.size))
    }

    /// Removes the file that has the name, and renames. For a moment nothing has the name; after a failure
    /// in this moment, the next attempt fills it.
    async fn replace(&self) -> Result<Answered<()>, SftpError> {
        let (from, to) = (self.path.as_str(), self.shown.as_str());
        let mut group = self.session.group(1024);
        let removed = group.add(&Request::Remove { path: to })?;
        let renamed = group.add(&Request::Rename { from, to })?;
        group.send().await?;
        let (removed, renamed) = (removed.done().await?, renamed.done().await?);
        // This is why the rename failed, if it did.
        let is_cause = renamed.is_err() && is_refused(&removed, status::PERMISSION_DENIED);
        Ok(if is_cause { removed } else { renamed })
    }
}

fn is_refused<T>(answered: &Answered<T>, code: u32) -> bool {
    answered.as_ref().is_err_and(|refusal| refusal.code == code)
}
