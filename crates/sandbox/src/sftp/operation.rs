//! Kinds of requests.

/// A kind of request, to plan faults for. The names are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The first request of a session.
    Init,
    Open,
    Close,
    Read,
    Write,
    Lstat,
    Fstat,
    Setstat,
    Fsetstat,
    Opendir,
    Readdir,
    Remove,
    Mkdir,
    Rmdir,
    Realpath,
    Stat,
    /// A rename that does not replace.
    Rename,
    Readlink,
    Symlink,
    /// `posix-rename@openssh.com`: a rename that replaces.
    PosixRename,
    /// `fsync@openssh.com`
    Fsync,
    /// `statvfs@openssh.com` and `fstatvfs@openssh.com`
    Statvfs,
    /// `limits@openssh.com`
    Limits,
    /// Any other extension; the answer is that it is not supported.
    OtherExtension,
}

pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
pub(super) const STATVFS: &str = "statvfs@openssh.com";
pub(super) const FSTATVFS: &str = "fstatvfs@openssh.com";
pub(super) const LIMITS: &str = "limits@openssh.com";

/// The extensions that are offered, with their versions.
pub(super) const EXTENSIONS: [(&str, &str); 5] =
    [(POSIX_RENAME, "1"), (FSYNC, "1"), (STATVFS, "2"), (FSTATVFS, "2"), (LIMITS, "1")];

impl Operation {
    /// What an extension does.
    pub(super) fn of_extension(name: &str) -> Self {
        match name {
            POSIX_RENAME => Self::PosixRename,
            FSYNC => Self::Fsync,
            STATVFS | FSTATVFS => Self::Statvfs,
            LIMITS => Self::Limits,
            _ => Self::OtherExtension,
        }
    }
}
