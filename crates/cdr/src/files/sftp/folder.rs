//! The remote folder: made when missing, and named in what goes wrong there.

use super::error::{SftpError, one_line};
use super::session::{Answered, Session};
use super::wire::{Found, Request, Status, status};

/// Written and removed to see whether the user may write. The name is such that whoever picks files up
/// ignores it, as with uploads in progress.
const PROBE: &str = ".write-check.part";

impl Session {
    /// Makes sure that the folder exists; makes it, and those above it, if not.
    pub(super) async fn ensure_folder(&self) -> Result<(), SftpError> {
        let folder = self.config.folder();
        match self.stat_folder(folder).await? {
            Err(refusal) if refusal.code == status::NO_SUCH_FILE => {}
            outcome => return outcome.map_err(|refusal| self.failed("open", folder, refusal)),
        }
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        let paths = ends.map(|end| &folder[..end]);
        for path in paths.filter(|path| !path.is_empty() && !path.ends_with('/')) {
            let made = self.request(&Request::Mkdir { path }).await?.done().await?;
            // Another connection may have made the same one.
            if let Err(refusal) = made
                && self.stat_folder(path).await?.is_err()
            {
                return Err(self.failed("make the folder", path, refusal));
            }
        }
        Ok(())
    }

    /// Sees whether files can be written, by writing an empty one.
    pub(super) async fn probe(&self) -> Result<(), SftpError> {
        let path = self.config.path(PROBE);
        let opened = self.request(&Request::Open { path: &path, found: Found::Emptied }).await?;
        let handle = opened.handle().await?.map_err(|refusal| {
            // What is not permitted for this file is not for any in the folder.
            let of_folder = refusal.code == status::PERMISSION_DENIED;
            let shown = match self.config.folder() {
                "." if of_folder => "the login folder",
                folder if of_folder => folder,
                _ => &path,
            };
            self.failed("create", shown, refusal)
        })?;
        let mut group = self.group(256);
        let close = group.add(&Request::Close { handle: &handle })?;
        let remove = group.add(&Request::Remove { path: &path })?;
        group.send().await?;
        close.done().await?.map_err(|refusal| self.write_failed(&path, refusal))?;
        // Where it is refused, another process has probed at the same time and removed it, or this is a
        // folder to put files into and nothing else.
        let _ = remove.done().await?;
        Ok(())
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, name: &str) -> Result<(), SftpError> {
        let path = self.config.path(name);
        match self.request(&Request::Remove { path: &path }).await?.done().await? {
            Err(refusal) if refusal.code == status::NO_SUCH_FILE => Ok(()),
            outcome => outcome.map_err(|refusal| self.failed("remove", &path, refusal)),
        }
    }

    /// Sees whether `path` is there and a folder.
    async fn stat_folder(&self, path: &str) -> Result<Answered<()>, SftpError> {
        let found = self.request(&Request::Stat { path }).await?.attributes().await?;
        if found.as_ref().is_ok_and(|attributes| attributes.is_folder() == Some(false)) {
            let (address, path) = (self.config.address(), path.to_owned());
            return Err(SftpError::NotAFolder { address, path });
        }
        Ok(found.map(drop))
    }

    /// The error for a request on `path` that was refused.
    pub(super) fn failed(&self, action: &'static str, path: &str, refusal: Status) -> SftpError {
        let (address, path) = (self.config.address(), path.to_owned());
        if refusal.code == status::PERMISSION_DENIED {
            return SftpError::PermissionDenied { address, user: self.config.user.clone(), path };
        }
        SftpError::Rejected { address, action, path, detail: refusal.in_words() }
    }

    /// The error for a write that was refused. Version 3 of the protocol has no code for a full disk:
    /// servers just answer "Failure".
    pub(super) fn write_failed(&self, path: &str, refusal: Status) -> SftpError {
        if refusal.code == status::FAILURE {
            let (address, path) = (self.config.address(), path.to_owned());
            return SftpError::NoSpace { address, path, detail: refusal.in_words() };
        }
        self.failed("write", path, refusal)
    }
}

impl Status {
    fn in_words(&self) -> String {
        if self.message.is_empty() { format!("status {}", self.code) } else { one_line(&self.message) }
    }
}
