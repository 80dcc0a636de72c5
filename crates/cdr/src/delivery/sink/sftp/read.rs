//! What stands in the remote folder: names, sizes, contents.

use std::collections::VecDeque;

use super::error::SftpError;
use super::folder::Place;
use super::session::{Answer, Failure, Session};
use super::wire::{Request, status};

/// Bytes of one file that are asked for ahead of those that have come.
const AHEAD_BYTES: u64 = 1024 * 1024;

/// A file in the remote folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    pub name: String,
    /// In bytes, where the server tells.
    pub size: Option<u64>,
}

/// All files in the folder, in no order; none where there is no such folder.
pub(super) async fn list(session: &Session, place: &Place) -> Result<Vec<RemoteFile>, SftpError> {
    let failed = |failure| place.failed("list", place.folder(), failure);
    let opened = session.request(&Request::OpenFolder { path: place.folder() }).await?;
    let handle = match opened.handle().await {
        Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => return Ok(Vec::new()),
        outcome => outcome.map_err(failed)?,
    };
    let mut files = Vec::new();
    loop {
        let asked = session.request(&Request::ReadFolder { handle: &handle }).await?;
        let Some(names) = asked.names().await.map_err(failed)? else { break };
        let names = names.into_iter().filter(|(_, found)| found.is_folder() != Some(true));
        files.extend(names.map(|(name, found)| RemoteFile { name, size: found.size }));
    }
    close(session, &handle).await?;
    Ok(files)
}

/// The content of a file up to a bound in bytes; `None` where there is no such file.
pub(super) async fn fetch(
    session: &Session,
    place: &Place,
    name: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, SftpError> {
    let path = place.path(name);
    // Only a server that limits the open files makes this wait; the semaphore is never closed.
    let _permit = session.open_files.acquire().await;
    let opened = session.request(&Request::OpenToRead { path: &path }).await?;
    let handle = match opened.handle().await {
        Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => return Ok(None),
        outcome => outcome.map_err(|failure| place.failed("open", &path, failure))?,
    };
    let content = Reading { session, handle: &handle }.all(bytes_max).await;
    close(session, &handle).await?;
    match content {
        Ok(content) => Ok(Some(content)),
        Err(failure) => Err(place.failed("read", &path, failure)),
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
    /// Reads up to the end or the bound, with several requests on their way.
    async fn all(&self, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        let mut waiting = VecDeque::new();
        let mut asked: u64 = 0;
        loop {
            let came = content.len() as u64;
            // One request lies behind the bound, so that a file which is longer shows.
            while asked <= bytes_max && asked < came + AHEAD_BYTES {
                waiting.push_back(self.ask(asked).await?);
                asked += u64::from(self.session.read_bytes);
            }
            let Some(answer) = waiting.pop_front() else { return Ok(content) };
            let Some(data) = answer.data().await? else { return Ok(content) };
            let short = data.len() < self.session.read_bytes as usize;
            content.extend_from_slice(&data);
            if short {
                // At the end, usually; but a server may give less than was asked for.
                waiting.clear();
                asked = content.len() as u64;
            }
        }
    }

    async fn ask(&self, offset: u64) -> Result<Answer, SftpError> {
        let length = self.session.read_bytes;
        self.session.request(&Request::Read { handle: self.handle, offset, length }).await
    }
}
