//! Files below one folder, and no others.
//!
//! A path is walked name by name, each opened relative to the folder before it and never through a
//! symbolic link. So nothing that a client sends leads out, nor does a link that was there before, nor
//! one that another process puts in place of a folder or file in the middle of a request: what was
//! opened stays what it was. Links can be listed, looked at with lstat, renamed and removed.
//!
//! It does not hold against someone who can write to the root folder from outside of this server and
//! hard-links other files or mounts other file systems there, or moves a folder out of it while a
//! request works there; that request ends in the folder that was moved.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use russh_sftp::protocol::FileAttributes;
use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, StatVfs, Uid};
use rustix::io::Errno;

use super::attributes::{MODE_BITS, file_type, times};
use super::failure::{Failure, code};
use super::path::Inside;

/// To open a folder on the way. Linux wants no permission to list it then.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

/// Opening a FIFO must not wait for its other end; files are not affected.
const PLAIN: OFlags =
    OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The folder that clients see as `/`.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
}

/// A folder on the way.
enum Folder<'r> {
    Root(BorrowedFd<'r>),
    Below(OwnedFd),
}

/// A name in a folder that is open.
struct Location<'r, 'p> {
    folder: Folder<'r>,
    name: &'p str,
}

/// What a rename does about a file of the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Keep,
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(folder) => *folder,
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

impl Root {
    /// Opens the folder; links on the way to it are followed.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let flags = SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: fs::open(path, flags, Mode::empty())? })
    }

    /// Opens a file, and nothing but a file, with `flags`.
    pub(super) fn open_file(&self, path: &Inside, flags: OFlags, mode: u32) -> Result<File, Failure> {
        let file = self.open_any(path, flags, mode)?;
        let stat = fs::fstat(&file).map_err(|errno| Failure::system(errno, &path.to_string()))?;
        match file_type(&stat) {
            FileType::RegularFile => Ok(File::from(file)),
            FileType::Directory => Err(Failure::system(Errno::ISDIR, &path.to_string())),
            _ => Err(Failure::new(code::PERMISSION_DENIED, format!("not a plain file: {path}"))),
        }
    }

    pub(super) fn open_folder(&self, path: &Inside) -> Result<Dir, Failure> {
        let folder = self.open_any(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        Dir::new(folder).map_err(|errno| Failure::system(errno, &path.to_string()))
    }

    /// What is known of a file; of a link, it is about the link.
    pub(super) fn lstat(&self, path: &Inside) -> Result<Stat, Failure> {
        self.at(path, |at| fs::statat(&at.folder, at.name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// What is known of a file that is not a link.
    pub(super) fn stat(&self, path: &Inside) -> Result<Stat, Failure> {
        let stat = self.lstat(path)?;
        if file_type(&stat) == FileType::Symlink { Err(link(path)) } else { Ok(stat) }
    }

    pub(super) fn make_folder(&self, path: &Inside, mode: u32) -> Result<(), Failure> {
        self.at(path, |at| fs::mkdirat(&at.folder, at.name, mode_of(mode)))
    }

    pub(super) fn remove_file(&self, path: &Inside) -> Result<(), Failure> {
        self.below(path)?;
        self.at(path, |at| fs::unlinkat(&at.folder, at.name, AtFlags::empty()))
    }

    pub(super) fn remove_folder(&self, path: &Inside) -> Result<(), Failure> {
        self.below(path)?;
        self.at(path, |at| fs::unlinkat(&at.folder, at.name, AtFlags::REMOVEDIR))
    }

    pub(super) fn rename(&self, from: &Inside, to: &Inside, existing: Existing) -> Result<(), Failure> {
        self.below(from)?;
        self.below(to)?;
        let source = self.locate(from)?;
        let destination = self.locate(to)?;
        let renamed = match existing {
            Existing::Replace => {
                fs::renameat(&source.folder, source.name, &destination.folder, destination.name)
            }
            Existing::Keep => rename_to_new(&source, &destination),
        };
        renamed.map_err(|errno| match errno {
            Errno::EXIST => Failure::system(errno, &to.to_string()),
            _ => Failure::system(errno, &format!("{from} to {to}")),
        })
    }

    /// Changes the size, mode, times and owner that `attributes` have, in OpenSSH's order.
    pub(super) fn set(&self, path: &Inside, attributes: &FileAttributes) -> Result<(), Failure> {
        self.stat(path)?;
        if let Some(size) = attributes.size {
            let file = self.open_file(path, OFlags::WRONLY, 0)?;
            set_size(&file, size).map_err(|errno| Failure::system(errno, &path.to_string()))?;
        }
        if let Some(mode) = attributes.permissions {
            // A mode is set on what is open, because by name it would be set through a link.
            let file = self.open_any_way(path)?;
            let set = fs::fchmod(&file, mode_of(mode));
            set.map_err(|errno| Failure::system(errno, &path.to_string()))?;
        }
        if let Some(times) = times(attributes) {
            self.at(path, |at| fs::utimensat(&at.folder, at.name, &times, AtFlags::SYMLINK_NOFOLLOW))?;
        }
        if let Some((user, group)) = owner(attributes) {
            self.at(path, |at| {
                fs::chownat(&at.folder, at.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            })?;
        }
        Ok(())
    }

    /// The file system that a path is on.
    pub(super) fn file_system(&self, path: &Inside) -> Result<StatVfs, Failure> {
        let file = self.open_any_way(path)?;
        fs::fstatvfs(&file).map_err(|errno| Failure::system(errno, &path.to_string()))
    }

    /// Opens something for reading, or else for writing; for neither is not possible everywhere.
    fn open_any_way(&self, path: &Inside) -> Result<OwnedFd, Failure> {
        let readable = self.open_any(path, OFlags::RDONLY, 0);
        readable.or_else(|failure| match failure.code {
            code::PERMISSION_DENIED => self.open_any(path, OFlags::WRONLY, 0).map_err(|_| failure),
            _ => Err(failure),
        })
    }

    fn open_any(&self, path: &Inside, flags: OFlags, mode: u32) -> Result<OwnedFd, Failure> {
        let opened = self.at(path, |at| fs::openat(&at.folder, at.name, flags | PLAIN, mode_of(mode)));
        opened.map_err(|failure| match self.lstat(path) {
            // The system's word for it depends on the flags, and does not show what is wrong.
            Ok(stat) if file_type(&stat) == FileType::Symlink && !flags.contains(OFlags::EXCL) => {
                link(path)
            }
            _ => failure,
        })
    }

    /// Does something at the location of a path.
    fn at<T>(
        &self,
        path: &Inside,
        act: impl FnOnce(&Location<'_, '_>) -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        act(&self.locate(path)?).map_err(|errno| Failure::system(errno, &path.to_string()))
    }

    /// Opens the folder that holds what is at a path. That of the root is the root.
    fn locate<'p>(&self, path: &Inside<'p>) -> Result<Location<'_, 'p>, Failure> {
        let root = Folder::Root(self.folder.as_fd());
        let Some((folders, name)) = path.split() else {
            return Ok(Location { folder: root, name: "." });
        };
        let folder = folders.iter().try_fold(root, |folder, name| descend(&folder, name));
        let folder = folder.map_err(|errno| Failure::system(errno, &path.to_string()))?;
        Ok(Location { folder, name })
    }

    fn below(&self, path: &Inside) -> Result<(), Failure> {
        match path.split() {
            Some(_) => Ok(()),
            None => Err(Failure::new(code::PERMISSION_DENIED, "the root folder stays where it is")),
        }
    }
}

fn descend<'r>(folder: &Folder<'_>, name: &str) -> Result<Folder<'r>, Errno> {
    let flags = SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(folder, name, flags, Mode::empty()).map(Folder::Below)
}

fn rename_to_new(from: &Location, to: &Location) -> Result<(), Errno> {
    let flags = fs::RenameFlags::NOREPLACE;
    match fs::renameat_with(&from.folder, from.name, &to.folder, to.name, flags) {
        // Some file systems cannot do both in one step. Whoever creates the target in between loses it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match fs::statat(&to.folder, to.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => fs::renameat(&from.folder, from.name, &to.folder, to.name),
                Err(errno) => Err(errno),
            }
        }
        renamed => renamed,
    }
}

/// Changes what `attributes` have of a file that is open, in OpenSSH's order.
pub(super) fn set_open(file: &File, attributes: &FileAttributes) -> Result<(), Errno> {
    if let Some(size) = attributes.size {
        set_size(file, size)?;
    }
    if let Some(mode) = attributes.permissions {
        fs::fchmod(file, mode_of(mode))?;
    }
    if let Some(times) = times(attributes) {
        fs::futimens(file, &times)?;
    }
    if let Some((user, group)) = owner(attributes) {
        fs::fchown(file, user, group)?;
    }
    Ok(())
}

fn set_size(file: &File, size: u64) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| fs::ftruncate(file, size))
}

fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & MODE_BITS) as RawMode)
}

fn owner(attributes: &FileAttributes) -> Option<(Option<Uid>, Option<Gid>)> {
    // All ones are not an owner, but leave the owner as it is, and are no valid value here.
    let some = |id: Option<u32>| id.filter(|id| *id != u32::MAX);
    let (user, group) = (some(attributes.uid), some(attributes.gid));
    (user.is_some() || group.is_some()).then(|| (user.map(Uid::from_raw), group.map(Gid::from_raw)))
}

fn link(path: &Inside) -> Failure {
    Failure::new(code::PERMISSION_DENIED, format!("symbolic links are not followed: {path}"))
}
