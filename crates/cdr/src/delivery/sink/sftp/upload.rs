//! One file, over one session, to its place.

use super::config::UploadMode;
use super::error::SftpError;
use super::folder::Place;
use super::session::{Answer, Batch, Failure, Session};
use super::wire::{Request, WRITE_OVERHEAD_BYTES, status};

/// Bytes of one file that go to the connection at once. Of a larger file, two
/// such pieces at most are on their way.
const PIECE_BYTES: usize = 1024 * 1024;

/// Uploads `content`, and returns when it stands under `name` with its full
/// size. Three round trips: open; write, size and close; rename.
pub(super) async fn upload(
    session: &Session,
    place: &Place,
    mode: UploadMode,
    name: &str,
    content: &[u8],
) -> Result<(), SftpError> {
    let target = place.path(name);
    let path = match mode {
        UploadMode::Rename => place.path(&format!(".{name}.part")),
        UploadMode::Direct => target.clone(),
    };
    let upload = Upload { session, place, path };
    // Only a server that limits the open files makes this wait; the semaphore
    // is never closed.
    let _permit = session.open_files.acquire().await;
    let handle = upload.open().await?;
    let size = upload.write(&handle, content).await?;
    upload.check_size(content.len() as u64, size).await?;
    match mode {
        UploadMode::Rename => upload.publish(&target).await,
        UploadMode::Direct => Ok(()),
    }
}

/// An upload in progress.
struct Upload<'a> {
    session: &'a Session,
    place: &'a Place,
    /// Where the content is written.
    path: String,
}

impl Upload<'_> {
    /// Opens the file for writing; makes its folder anew if that has gone.
    async fn open(&self) -> Result<Vec<u8>, SftpError> {
        let request = Request::Open { path: &self.path };
        let mut opened = self.session.request(&request).await?.handle().await;
        if let Err(Failure::Status(answer)) = &opened
            && answer.code == status::NO_SUCH_FILE
        {
            self.place.ensure(self.session).await?;
            opened = self.session.request(&request).await?.handle().await;
        }
        opened.map_err(|failure| self.place.failed("create", &self.path, failure))
    }

    /// Writes all of `content`, and closes the file; gives the size the server
    /// then reports, in bytes, if it does.
    async fn write(&self, handle: &[u8], content: &[u8]) -> Result<Option<u64>, SftpError> {
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
        self.finish(handle, body.len(), tail, pending).await
    }

    /// Writes the last piece, asks for the size, and closes, without waiting in
    /// between: the protocol has a server process the requests on one file in
    /// the order in which they come (section 4 of the draft).
    async fn finish(
        &self,
        handle: &[u8],
        offset: usize,
        tail: &[u8],
        pending: Vec<Answer>,
    ) -> Result<Option<u64>, SftpError> {
        let mut batch = self.session.batch(self.batch_bytes(tail, handle));
        let writes = self.add_writes(&mut batch, handle, offset, tail)?;
        let size = batch.add(&Request::Fstat { handle })?;
        let close = batch.add(&Request::Close { handle })?;
        batch.send().await?;
        self.all_done(pending).await?;
        self.all_done(writes).await?;
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

    /// What the requests for `piece` take, with room for the last two.
    fn batch_bytes(&self, piece: &[u8], handle: &[u8]) -> usize {
        let requests = piece.len().div_ceil(self.session.write_bytes) + 2;
        piece.len() + requests * (WRITE_OVERHEAD_BYTES + handle.len())
    }

    async fn all_done(&self, answers: Vec<Answer>) -> Result<(), SftpError> {
        for answer in answers {
            let outcome = answer.done().await;
            outcome.map_err(|failure| self.place.write_failed(&self.path, failure))?;
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
            .map_err(|failure| self.place.failed("tell the size of", &self.path, failure))?
            .size;
        if size == Some(expected) {
            return Ok(());
        }
        Err(SftpError::SizeMismatch {
            address: self.place.address.clone(),
            path: self.path.clone(),
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
                self.replace(to).await.map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
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
