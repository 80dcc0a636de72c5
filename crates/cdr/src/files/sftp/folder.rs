//! The remote folder: made when missing, and named in what goes wrong there.

use super::error::{SftpError, one_line};
use super::session::{Failure, Session};
use super::wire::{Found, Request, Status, status};

/// Written and removed to see whether the user may write. The name is such that
/// whoever picks files up ignores it, as with uploads in progress.
const PROBE: &str = ".write-check.part";

/// The folder that files go to.
pub(super) struct RemoteFolder {
    pub(super) address: String,
    pub(super) user: String,
    /// Absolute, or relative to the login folder; `.` is that itself.
    folder: String,
    /// Whether it may be made.
    writable: bool,
}

impl RemoteFolder {
    pub(super) fn new(address: String, user: String, folder: &str) -> Self {
        let trimmed = folder.trim_end_matches('/');
        let folder = match (trimmed, folder) {
            ("", "") => ".",
            ("", _) => "/",
            (trimmed, _) => trimmed,
        };
        Self { address, user, folder: folder.to_owned(), writable: true }
    }

    /// The same folder, only to be looked at.
    pub(super) fn read_only(self) -> Self {
        Self { writable: false, ..self }
    }

    /// Its path on the server.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// The folder, as people know it.
    fn name(&self) -> &str {
        match self.folder.as_str() {
            "." => "the login folder",
            folder => folder,
        }
    }

    /// The path of the file `name` in this folder.
    pub(super) fn path(&self, name: &str) -> String {
        match self.folder.as_str() {
            "." => name.to_owned(),
            "/" => format!("/{name}"),
            folder => format!("{folder}/{name}"),
        }
    }

    /// Makes sure that the folder exists; makes it, and those above it, if not. Does nothing where
    /// the folder is only to be looked at.
    pub(super) async fn ensure(&self, session: &Session) -> Result<(), SftpError> {
        if !self.writable {
            return Ok(());
        }
        match self.stat(session, &self.folder).await {
            Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => {}
            outcome => {
                return outcome.map_err(|failure| self.failed("open", &self.folder, failure));
            }
        }
        let mut path = String::new();
        for (index, part) in self.folder.split('/').enumerate() {
            if index > 0 {
                path.push('/');
            }
            path.push_str(part);
            if !part.is_empty() {
                self.make(session, &path).await?;
            }
        }
        Ok(())
    }

    /// Sees whether files can be written, by writing an empty one.
    pub(super) async fn probe(&self, session: &Session) -> Result<(), SftpError> {
        let path = self.path(PROBE);
        let opened = session.request(&Request::Open { path: &path, found: Found::Emptied }).await?;
        let handle = opened.handle().await;
        // What is not permitted for this file is not for any in the folder.
        let handle = handle.map_err(|failure| match failure {
            Failure::Status(answer) if answer.code == status::PERMISSION_DENIED => {
                self.not_permitted(self.name())
            }
            failure => self.failed("create", &path, failure),
        })?;
        let mut group = session.group(256);
        let close = group.add(&Request::Close { handle: &handle })?;
        let remove = group.add(&Request::Remove { path: &path })?;
        group.send().await?;
        let closed = close.done().await;
        closed.map_err(|failure| self.write_failed(&path, failure))?;
        match remove.done().await {
            // Another process has probed at the same time and removed it, or
            // this is a folder to put files into and nothing else.
            Ok(()) | Err(Failure::Status(_)) => Ok(()),
            Err(Failure::Session(error)) => Err(error),
        }
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, session: &Session, name: &str) -> Result<(), SftpError> {
        let path = self.path(name);
        match session.request(&Request::Remove { path: &path }).await?.done().await {
            Err(Failure::Status(answer)) if answer.code == status::NO_SUCH_FILE => Ok(()),
            outcome => outcome.map_err(|failure| self.failed("remove", &path, failure)),
        }
    }

    /// Makes one folder, unless it is there: another connection may be making
    /// the same one.
    async fn make(&self, session: &Session, path: &str) -> Result<(), SftpError> {
        let made = session.request(&Request::Mkdir { path }).await?.done().await;
        let Err(refusal) = made else {
            return Ok(());
        };
        match self.stat(session, path).await {
            Ok(()) => Ok(()),
            Err(Failure::Status(_)) => Err(self.failed("make the folder", path, refusal)),
            Err(failure) => Err(self.failed("open", path, failure)),
        }
    }

    /// Sees whether `path` is there and a folder.
    async fn stat(&self, session: &Session, path: &str) -> Result<(), Failure> {
        let attributes = session.request(&Request::Stat { path }).await?;
        match attributes.attributes().await?.is_folder() {
            Some(false) => Err(Failure::Session(SftpError::NotAFolder {
                address: self.address.clone(),
                path: path.to_owned(),
            })),
            _ => Ok(()),
        }
    }

    /// The error for a request on `path` that failed.
    pub(super) fn failed(&self, action: &'static str, path: &str, failure: Failure) -> SftpError {
        match failure {
            Failure::Session(error) => error,
            Failure::Status(answer) if answer.code == status::PERMISSION_DENIED => {
                self.not_permitted(path)
            }
            Failure::Status(answer) => SftpError::Rejected {
                address: self.address.clone(),
                action,
                path: path.to_owned(),
                detail: answer.in_words(),
            },
        }
    }

    fn not_permitted(&self, path: &str) -> SftpError {
        SftpError::PermissionDenied {
            address: self.address.clone(),
            user: self.user.clone(),
            path: path.to_owned(),
        }
    }

    /// The error for a write that failed. Version 3 of the protocol has no code
    /// for a full disk: servers just answer "Failure".
    pub(super) fn write_failed(&self, path: &str, failure: Failure) -> SftpError {
        match failure {
            Failure::Status(answer) if answer.code == status::FAILURE => SftpError::NoSpace {
                address: self.address.clone(),
                path: path.to_owned(),
                detail: answer.in_words(),
            },
            other => self.failed("write", path, other),
        }
    }
}

impl Status {
    fn in_words(&self) -> String {
        if self.message.is_empty() { format!("status {}", self.code) } else { one_line(&self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_remote_path() {
        for (folder, path) in [
            (".", "a.csv"),
            ("", "a.csv"),
            ("./", "a.csv"),
            ("up", "up/a.csv"),
            ("up/cdr/", "up/cdr/a.csv"),
            ("/", "/a.csv"),
            ("/srv/in", "/srv/in/a.csv"),
        ] {
            let remote = RemoteFolder::new("localhost:22".into(), "cdr".into(), folder);
            assert_eq!(remote.path("a.csv"), path, "{folder:?}");
        }
    }
}
