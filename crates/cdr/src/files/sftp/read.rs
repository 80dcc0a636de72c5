//! What stands in the remote folder: names, sizes, contents.

use std::collections::VecDeque;

use super::error::SftpError;
use super::folder::RemoteFolder;
use super::session::{Answer, Failure, Session};
use super::wire::{Attributes, Request, status};
use crate::files::EachPiece;

/// Bytes of one file that are requested ahead of those that have come.
const AHEAD_BYTES: u64 = 1024 * 1024;

/// No read requests less, however little the server gives at once.
const SHORTEST_READ_BYTES: u32 = 4096;

/// Requests for names that are on their way at once. Each answer has a hundred
/// names or so, and without requests ahead costs a round trip.
const LISTINGS_AHEAD: usize = 16;

/// Hands over the files in the folder, in no order; none where there is no such
/// folder.
pub(super) async fn list(
    session: &Session,
    folder: &RemoteFolder,
    each: &mut (dyn FnMut(&str, Attributes) + Send),
) -> Result<(), SftpError> {
    let failed = |failure| folder.failed("list", folder.folder(), failure);
    let opened = session.request(&Request::OpenFolder { path: folder.folder() }).await?;
    let handle = match opened.handle().await {
        Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => return Ok(()),
        outcome => outcome.map_err(failed)?,
    };
    let mut waiting = VecDeque::new();
    loop {
        while waiting.len() < LISTINGS_AHEAD {
            waiting.push_back(session.request(&Request::ReadFolder { handle: &handle }).await?);
        }
        let Some(answer) = waiting.pop_front() else { break };
        let Some(names) = answer.names().await.map_err(failed)? else { break };
        for (name, found) in names.iter().filter(|(_, found)| found.is_folder() != Some(true)) {
            each(name, *found);
        }
    }
    // Behind the end there are only further ends.
    drop(waiting);
    close(session, &handle).await
}

/// Hands over a file from an offset on, which is moved along, so that after a
/// loss of the connection the reading goes on there. Returns whether there is
/// such a file.
pub(super) async fn read(
    session: &Session,
    folder: &RemoteFolder,
    name: &str,
    offset: &mut u64,
    each: EachPiece<'_>,
) -> Result<bool, SftpError> {
    let path = folder.path(name);
    // Only a server that limits the open files makes this wait; the semaphore is never closed.
    let _permit = session.open_files.acquire().await;
    let opened = session.request(&Request::OpenToRead { path: &path }).await?;
    let handle = match opened.handle().await {
        Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => return Ok(false),
        outcome => outcome.map_err(|failure| folder.failed("open", &path, failure))?,
    };
    let outcome = Reading { session, handle: &handle }.to_the_end(offset, each).await;
    close(session, &handle).await?;
    match outcome {
        Ok(true) => Ok(true),
        Ok(false) => Err(SftpError::Protocol {
            address: folder.address.clone(),
            detail: format!("it answers READ of {path} with no bytes and no end of the file"),
        }),
        Err(failure) => Err(folder.failed("read", &path, failure)),
    }
}

/// Nothing was written, so how it goes does not matter.
async fn close(session: &Session, handle: &[u8]) -> Result<(), SftpError> {
    match session.request(&Request::Close { handle }).await?.done().await {
        Ok(()) | Err(Failure::Status(_)) => Ok(()),
        Err(Failure::Session(error)) => Err(error),
    }
}

/// An open file.
struct Reading<'a> {
    session: &'a Session,
    handle: &'a [u8],
}

impl Reading<'_> {
    /// Reads up to the end, or as far as is wanted, with several requests on
    /// their way. `false`: the server gives nothing, and no end either.
    async fn to_the_end(&self, offset: &mut u64, each: EachPiece<'_>) -> Result<bool, Failure> {
        let mut waiting = VecDeque::new();
        let (mut requested, mut length) = (*offset, self.session.read_bytes);
        loop {
            while requested < *offset + AHEAD_BYTES {
                waiting.push_back(self.request(requested, length).await?);
                requested += u64::from(length);
            }
            let Some(answer) = waiting.pop_front() else { return Ok(true) };
            let Some(data) = answer.data().await? else { return Ok(true) };
            if data.is_empty() {
                return Ok(false);
            }
            *offset += data.len() as u64;
            if !each(&data) {
                return Ok(true);
            }
            if data.len() < length as usize {
                // At the end, usually; but a server may give less than was requested.
                waiting.clear();
                length = (data.len() as u32).max(SHORTEST_READ_BYTES.min(length));
                requested = *offset;
            }
        }
    }

    async fn request(&self, offset: u64, length: u32) -> Result<Answer, SftpError> {
        self.session.request(&Request::Read { handle: self.handle, offset, length }).await
    }
}
