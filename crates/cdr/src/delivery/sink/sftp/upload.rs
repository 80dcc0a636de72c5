//! One file, over one session, to its place.

use super::config::UploadMode;
use super::error::SftpError;
use super::folder::Place;
use super::session::{Answer, Batch, Failure, Session};
use super::wire::{Request, WRITE_OVERHEAD_BYTES, status};
use crate::delivery::board::Board;
use crate::delivery::sink::temporary::Temporary;

/// Bytes of one file that go to the connection at once. Of a larger file, two
/// such pieces at most are on their way.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file that is to stand under a name.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
    /// Who must be asked before the file gets its name.
    pub(super) board: Option<&'a Board>,
}

/// Uploads a file, and returns when it stands under its name with its full
/// size. Three round trips: open; write, size and close; rename.
pub(super) async fn upload(
    session: &Session,
    place: &Place,
    mode: UploadMode,
    temporary: &Temporary,
    wanted: Wanted<'_>,
) -> Result<(), SftpError> {
    // Only a server that limits the open files makes this wait; the semaphore
    // is never closed.
    let _permit = session.open_files.acquire().await;
    match mode {
        UploadMode::Rename => renamed(session, place, temporary, wanted).await,
        UploadMode::Direct => direct(session, place, wanted).await,
    }
}

async fn renamed(
    session: &Session,
    place: &Place,
    temporary: &Temporary,
    wanted: Wanted<'_>,
) -> Result<(), SftpError> {
    let (path, shown) = (place.path(&temporary.name(wanted.name)), place.path(wanted.name));
    let upload = Upload { session, place, path, shown };
    let outcome = async {
        upload.fill(wanted.content, true).await?;
        if let Some(board) = wanted.board {
            board.may_publish().await;
        }
        upload.publish(&upload.shown).await
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        upload.forget().await;
    }
    outcome
}

/// The file keeps what it has, byte by byte, until it is overwritten: whoever
/// delivers it again writes the same bytes, and so it is at no time less than it
/// was.
async fn direct(session: &Session, place: &Place, wanted: Wanted<'_>) -> Result<(), SftpError> {
    if let Some(board) = wanted.board {
        board.may_publish().await;
    }
    let path = place.path(wanted.name);
    let upload = Upload { session, place, shown: path.clone(), path };
    match upload.fill(wanted.content, false).await {
        // A longer file stood there, and the server cannot cut an open one off.
        Err(SftpError::SizeMismatch { .. }) => upload.fill(wanted.content, true).await,
        outcome => outcome,
    }
}

/// An upload in progress.
struct Upload<'a> {
    session: &'a Session,
    place: &'a Place,
    /// Where the content is written.
    path: String,
    /// The final name, by which people know it.
    shown: String,
}

impl Upload<'_> {
    /// Writes the file, and returns when it has its full size.
    async fn fill(&self, content: &[u8], truncate: bool) -> Result<(), SftpError> {
        let handle = self.open(truncate).await?;
        let size = self.write(&handle, content, !truncate).await?;
        self.check_size(content.len() as u64, size).await
    }

    /// Removes what a failed attempt wrote, where the server still answers: it
    /// would only fill its disk.
    async fn forget(&self) {
        if let Ok(asked) = self.session.request(&Request::Remove { path: &self.path }).await {
            // What stays is removed when the run ends.
            let _ = asked.done().await;
        }
    }

    /// Opens the file for writing; makes its folder anew if that has gone.
    async fn open(&self, truncate: bool) -> Result<Vec<u8>, SftpError> {
        let request = Request::Open { path: &self.path, truncate };
        let mut opened = self.session.request(&request).await?.handle().await;
        if let Err(Failure::Status(answer)) = &opened
            && answer.code == status::NO_SUCH_FILE
        {
            self.place.ensure(self.session).await?;
            opened = self.session.request(&request).await?.handle().await;
        }
        opened.map_err(|failure| self.place.failed("create", &self.shown, failure))
    }

    /// Writes all of `content`, and closes the file; gives the size the server
    /// then reports, in bytes, if it does.
    async fn write(&self, handle: &[u8], content: &[u8], cut: bool) -> Result<Option<u64>, SftpError> {
        let piece_bytes = self.piece_bytes();
        let (body, tail) = content.split_at(content.len().saturating_sub(1) / piece_bytes * piece_bytes);
        let mut pending = Vec::new();
        for (index, piece) in body.chunks(piece_bytes).enumerate() {
            let mut batch = self.session.batch(self.batch_bytes(piece, handle));
            let writes = self.add_writes(&mut batch, handle, index * piece_bytes, piece)?;
            batch.send().await?;
            let before = std::mem::replace(&mut pending, writes);
            if let Err(error) = self.all_done(before).await {
                self.session.request(&Request::Close { handle }).await?;
                return Err(error);
            }
        }
        self.finish(handle, body.len(), tail, pending, cut).await
    }

    /// Writes the last piece, cuts off what follows it if so wished, asks for the
    /// size, and closes, without waiting in between: the protocol has a server process the requests on one file in
    /// the order in which they come (section 4 of the draft).
    async fn finish(
        &self,
        handle: &[u8],
        offset: usize,
        tail: &[u8],
        pending: Vec<Answer>,
        cut: bool,
    ) -> Result<Option<u64>, SftpError> {
        let mut batch = self.session.batch(self.batch_bytes(tail, handle));
        let writes = self.add_writes(&mut batch, handle, offset, tail)?;
        let end = (offset + tail.len()) as u64;
        let cut = cut.then(|| batch.add(&Request::SetSize { handle, size: end })).transpose()?;
        let size = batch.add(&Request::Fstat { handle })?;
        let close = batch.add(&Request::Close { handle })?;
        batch.send().await?;
        self.all_done(pending).await?;
        self.all_done(writes).await?;
        if let Some(Err(Failure::Session(error))) = done(cut).await {
            return Err(error);
        }
        let size = size.attributes().await;
        self.all_done(vec![close]).await?;
        match size {
            Ok(attributes) => Ok(attributes.size),
            Err(Failure::Status(_)) => Ok(None),
            Err(Failure::Session(error)) => Err(error),
        }
    }

    /// Adds requests that write `piece` at `offset`, in bytes from the start.
    fn add_writes(
        &self,
        batch: &mut Batch<'_>,
        handle: &[u8],
        offset: usize,
        piece: &[u8],
    ) -> Result<Vec<Answer>, SftpError> {
        let write_bytes = self.session.write_bytes;
        let writes = piece.chunks(write_bytes).enumerate().map(|(index, data)| {
            let offset = (offset + index * write_bytes) as u64;
            batch.add(&Request::Write { handle, offset, data })
        });
        writes.collect()
    }

    /// A whole number of writes.
    fn piece_bytes(&self) -> usize {
        let write_bytes = self.session.write_bytes;
        (PIECE_BYTES / write_bytes).max(1) * write_bytes
    }

    /// What the requests for `piece` take, with room for the last three.
    fn batch_bytes(&self, piece: &[u8], handle: &[u8]) -> usize {
        let requests = piece.len().div_ceil(self.session.write_bytes) + 3;
        piece.len() + requests * (WRITE_OVERHEAD_BYTES + handle.len())
    }

    async fn all_done(&self, answers: Vec<Answer>) -> Result<(), SftpError> {
        for answer in answers {
            let outcome = answer.done().await;
            outcome.map_err(|failure| self.place.write_failed(&self.shown, failure))?;
        }
        Ok(())
    }

    /// Compares sizes. Where the server did not tell the size of the open file,
    /// or told another than expected, the closed file is what counts.
    async fn check_size(&self, expected: u64, size: Option<u64>) -> Result<(), SftpError> {
        if size == Some(expected) {
            return Ok(());
        }
        let asked = self.session.request(&Request::Stat { path: &self.path }).await?;
        let attributes = asked.attributes().await;
        let size = attributes
            .map_err(|failure| self.place.failed("tell the size of", &self.shown, failure))?
            .size;
        if size == Some(expected) {
            return Ok(());
        }
        Err(SftpError::SizeMismatch {
            address: self.place.address.clone(),
            path: self.shown.clone(),
            expected,
            found: size.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string()),
        })
    }

    /// Gives the file its name, in place of a file that has it already.
    async fn publish(&self, to: &str) -> Result<(), SftpError> {
        let failed = |failure| self.place.failed("rename to", to, failure);
        let from = self.path.as_str();
        if self.session.posix_rename {
            let request = Request::PosixRename { from, to };
            match self.session.request(&request).await?.done().await {
                Err(Failure::Status(answer)) if answer.code == status::UNSUPPORTED => {}
                outcome => return outcome.map_err(failed),
            }
        }
        let request = Request::Rename { from, to };
        match self.session.request(&request).await?.done().await {
            // The plain rename refuses when the target exists, and has no code
            // that says so.
            Err(Failure::Status(answer)) if answer.code != status::PERMISSION_DENIED => {
                // Nothing that stands there may go unless something takes its place.
                self.stands().await.map_err(failed)?;
                self.replace(to).await.map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    /// Fails unless what was written is there.
    async fn stands(&self) -> Result<(), Failure> {
        let asked = self.session.request(&Request::Stat { path: &self.path }).await?;
        asked.attributes().await.map(drop)
    }

    /// Removes the file that has the name, and renames. For a moment nothing
    /// has the name; after a failure in this moment, the next attempt fills it.
    async fn replace(&self, to: &str) -> Result<(), Failure> {
        let mut batch = self.session.batch(1024);
        let removed = batch.add(&Request::Remove { path: to })?;
        let renamed = batch.add(&Request::Rename { from: &self.path, to })?;
        batch.send().await?;
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

/// The outcome of a request that may not have been made.
async fn done(answer: Option<Answer>) -> Option<Result<(), Failure>> {
    match answer {
        Some(answer) => Some(answer.done().await),
        None => None,
    }
}
