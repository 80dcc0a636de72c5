//! What stands in the remote folder: names, sizes, contents.

use std::collections::VecDeque;

use super::error::SftpError;
use super::session::{Answered, Session};
use super::wire::{Attributes, Request, status};
use crate::files::EachPiece;

/// Bytes of one file that are requested ahead of those that have come.
const AHEAD_BYTES: u64 = 1024 * 1024;

/// No read requests less, however little the server gives at once.
const SHORTEST_READ_BYTES: u32 = 4096;

/// Requests for names that are on their way at once. Each answer has a hundred names or so, and without
/// requests ahead costs a round trip.
const LISTINGS_AHEAD: usize = 16;

/// Answers without names, one behind the other, that are no reason to leave a server.
const EMPTY_MAX: u32 = 3;

impl Session {
    /// Hands over the files in the folder, in no order; none where there is no such folder.
    pub(super) async fn list(
        &self,
        each: &mut (dyn FnMut(&str, Attributes) + Send),
    ) -> Result<(), SftpError> {
        let path = self.config.folder();
        let failed = |refusal| self.failed("list", path, refusal);
        let opened = self.request(&Request::OpenFolder { path }).await?;
        let handle = match opened.handle().await? {
            Err(refusal) if refusal.code == status::NO_SUCH_FILE => return Ok(()),
            outcome => outcome.map_err(failed)?,
        };
        let (mut waiting, mut empty) = (VecDeque::new(), 0);
        loop {
            while waiting.len() < LISTINGS_AHEAD {
                waiting.push_back(self.request(&Request::ReadFolder { handle: &handle }).await?);
            }
            let Some(answer) = waiting.pop_front() else { break };
            let Some(names) = answer.names().await?.map_err(failed)? else { break };
            empty = if names.is_empty() { empty + 1 } else { 0 };
            if empty > EMPTY_MAX {
                drop(waiting);
                self.close_read(&handle).await?;
                let detail =
                    format!("it answers READDIR of {path} with no names and no end of the folder");
                return Err(SftpError::NoEnd { address: self.config.address(), detail });
            }
            for (name, found) in names.iter().filter(|(_, found)| found.is_folder() != Some(true)) {
                each(name, *found);
            }
        }
        // Behind the end there are only further ends.
        drop(waiting);
        self.close_read(&handle).await
    }

    /// Hands over a file from an offset on, which is moved along, so that after a loss of the connection
    /// the reading goes on there. Returns whether there is such a file.
    pub(super) async fn read(
        &self,
        name: &str,
        offset: &mut u64,
        each: EachPiece<'_>,
    ) -> Result<bool, SftpError> {
        let path = self.config.path(name);
        // Only a server that limits the open files makes this wait; the semaphore is never closed.
        let _permit = self.open_files.acquire().await;
        let opened = self.request(&Request::OpenToRead { path: &path }).await?;
        let handle = match opened.handle().await? {
            Err(refusal) if refusal.code == status::NO_SUCH_FILE => return Ok(false),
            outcome => outcome.map_err(|refusal| self.failed("open", &path, refusal))?,
        };
        let outcome = self.read_to_the_end(&handle, offset, each).await?;
        self.close_read(&handle).await?;
        if outcome.map_err(|refusal| self.failed("read", &path, refusal))? {
            return Ok(true);
        }
        let detail = format!("it answers READ of {path} with no bytes and no end of the file");
        Err(SftpError::NoEnd { address: self.config.address(), detail })
    }

    /// Nothing was written, so how it goes does not matter.
    async fn close_read(&self, handle: &[u8]) -> Result<(), SftpError> {
        let _ = self.request(&Request::Close { handle }).await?.done().await?;
        Ok(())
    }

    /// Reads up to the end, or as far as is wanted, with several requests on their way. `false`: the server
    /// gives nothing, and no end either.
    async fn read_to_the_end(
        &self,
        handle: &[u8],
        offset: &mut u64,
        each: EachPiece<'_>,
    ) -> Result<Answered<bool>, SftpError> {
        let mut waiting = VecDeque::new();
        let (mut requested, mut length) = (*offset, self.read_bytes);
        loop {
            while requested < *offset + AHEAD_BYTES {
                let request = Request::Read { handle, offset: requested, length };
                waiting.push_back(self.request(&request).await?);
                requested += u64::from(length);
            }
            let Some(answer) = waiting.pop_front() else { return Ok(Ok(true)) };
            let data = match answer.data().await? {
                Ok(Some(data)) => data,
                Ok(None) => return Ok(Ok(true)),
                Err(refusal) => return Ok(Err(refusal)),
            };
            if data.is_empty() {
                return Ok(Ok(false));
            }
            *offset += data.len() as u64;
            if !each(&data) {
                return Ok(Ok(true));
            }
            if data.len() < length as usize {
                // At the end, usually; but a server may give less than was requested.
                waiting.clear();
                length = (data.len() as u32).max(SHORTEST_READ_BYTES.min(length));
                requested = *offset;
            }
        }
    }
}
