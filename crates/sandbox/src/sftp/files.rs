//! Requests on files, one after another, and their answers.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BufMut;
use russh_sftp::protocol::{
    Attrs, Data, Extended, ExtendedReply, File as Entry, FileAttributes, Handle, Name,
    Open as OpenRequest, OpenFlags, Packet, Read, ReadDir, Version, Write as WriteRequest,
};
use rustix::fs::{self, AtFlags, OFlags, Stat, StatVfs, StatVfsMountFlags};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::attributes::{attributes, long_name};
use super::failure::{Failure, code};
use super::handles::{Handles, Open, OpenFile, OpenFolder};
use super::operation::{EXTENSIONS, FSTATVFS, FSYNC, LIMITS, POSIX_RENAME, STATVFS};
use super::path::Inside;
use super::root::{Existing, Root, set_open};
use super::wire::{DATA_BYTES_MAX, MESSAGE_BYTES_MAX, string};

/// Files listed in one answer to a readdir request, as OpenSSH's server does.
const ENTRIES_MAX: usize = 100;

/// What one session does with files. All of it blocks.
pub(super) struct Files {
    root: Arc<Root>,
    handles: Handles,
    handles_max: usize,
}

/// An answer; `None` when there is no more to report than that it was done.
type Answer = Result<Option<Packet>, Failure>;

impl Files {
    /// `free` has a permit for each of the `handles_max` that the connection may hold open.
    pub(super) fn new(root: Arc<Root>, free: Arc<Semaphore>, handles_max: usize) -> Self {
        Self { root, handles: Handles::new(free), handles_max }
    }

    /// Does what a request requires.
    pub(super) fn apply(&mut self, request: Packet) -> Answer {
        match request {
            Packet::Init(_) => Ok(Some(Packet::Version(version()))),
            Packet::Open(open) => self.open(&open),
            Packet::Close(close) => done(self.handles.close(&close.handle)),
            Packet::Read(read) => self.read(&read),
            Packet::Write(write) => done(self.write(&write)),
            Packet::Lstat(lstat) => attrs(lstat.id, &self.root.lstat(&Inside::parse(&lstat.path)?)?),
            Packet::Stat(stat) => attrs(stat.id, &self.root.stat(&Inside::parse(&stat.path)?)?),
            Packet::Fstat(fstat) => self
                .on_file(&fstat.handle, |file| fs::fstat(file))
                .and_then(|stat| attrs(fstat.id, &stat)),
            Packet::SetStat(set) => done(self.root.set(&Inside::parse(&set.path)?, &set.attrs)),
            Packet::FSetStat(set) => done(self.on_file(&set.handle, |file| set_open(file, &set.attrs))),
            Packet::OpenDir(open) => self.open_folder(open.id, &open.path),
            Packet::ReadDir(read) => self.read_folder(&read),
            Packet::Remove(remove) => done(self.root.remove_file(&Inside::parse(&remove.filename)?)),
            Packet::MkDir(make) => {
                let mode = make.attrs.permissions.unwrap_or(0o777);
                done(self.root.make_folder(&Inside::parse(&make.path)?, mode))
            }
            Packet::RmDir(remove) => done(self.root.remove_folder(&Inside::parse(&remove.path)?)),
            Packet::RealPath(real) => {
                Ok(Some(only_name(real.id, Inside::parse(&real.path)?.to_string())))
            }
            Packet::Rename(names) => done(self.rename(&names.oldpath, &names.newpath, Existing::Keep)),
            Packet::Extended(extended) => self.extended(&extended),
            Packet::ReadLink(_) => Err(Failure::unsupported("reading a symbolic link")),
            Packet::Symlink(_) => Err(Failure::unsupported("making a symbolic link")),
            _ => Err(Failure::unsupported("this request")),
        }
    }

    fn open(&mut self, open: &OpenRequest) -> Answer {
        let path = Inside::parse(&open.filename)?;
        let handle = self.handles.open(|| {
            let mode = open.attrs.permissions.unwrap_or(0o666);
            let file = self.root.open_file(&path, open_flags(open.pflags), mode)?;
            let append = open.pflags.contains(OpenFlags::APPEND);
            Ok(Open::File(OpenFile { file, append, path: path.to_string() }))
        })?;
        Ok(Some(Packet::Handle(Handle { id: open.id, handle })))
    }

    fn open_folder(&mut self, id: u32, path: &str) -> Answer {
        let path = Inside::parse(path)?;
        let handle = self.handles.open(|| {
            let entries = self.root.open_folder(&path)?;
            Ok(Open::Folder(OpenFolder { entries, path: path.to_string() }))
        })?;
        Ok(Some(Packet::Handle(Handle { id, handle })))
    }

    /// Does something with a file that is open.
    fn on_file<T>(
        &self,
        handle: &str,
        act: impl FnOnce(&File) -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        let open = self.handles.file(handle)?;
        act(&open.file).map_err(|errno| Failure::system(errno, &open.path))
    }

    fn read(&self, read: &Read) -> Answer {
        let open = self.handles.file(&read.handle)?;
        let mut data = vec![0; read.len.min(DATA_BYTES_MAX) as usize];
        let length = read_at(open, &mut data, read.offset)?;
        if length == 0 {
            return Err(Failure::new(code::EOF, "end of file"));
        }
        data.truncate(length);
        Ok(Some(Packet::Data(Data { id: read.id, data })))
    }

    fn write(&self, write: &WriteRequest) -> Result<(), Failure> {
        let open = self.handles.file(&write.handle)?;
        let written = match open.append {
            true => (&open.file).write_all(&write.data),
            false => open.file.write_all_at(&write.data, write.offset),
        };
        written.map_err(|error| Failure::io(&error, &open.path))
    }

    fn read_folder(&mut self, read: &ReadDir) -> Answer {
        let folder = self.handles.folder(&read.handle)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut files = Vec::new();
        while files.len() < ENTRIES_MAX {
            match next_entry(folder, now) {
                Ok(Some(entry)) => files.push(entry),
                Ok(None) => break,
                Err(errno) => return Err(Failure::system(errno, &folder.path)),
            }
        }
        if files.is_empty() {
            return Err(Failure::new(code::EOF, "no more files"));
        }
        Ok(Some(Packet::Name(Name { id: read.id, files })))
    }

    fn rename(&self, from: &str, to: &str, existing: Existing) -> Result<(), Failure> {
        self.root.rename(&Inside::parse(from)?, &Inside::parse(to)?, existing)
    }

    fn extended(&self, extended: &Extended) -> Answer {
        let mut data = extended.data.as_slice();
        let mut text = || {
            let bad = || Failure::new(code::BAD_MESSAGE, format!("{}: too short", extended.request));
            string(&mut data).ok_or_else(bad)
        };
        match extended.request.as_str() {
            POSIX_RENAME => done(self.rename(&text()?, &text()?, Existing::Replace)),
            FSYNC => done(self.on_file(&text()?, |file| fs::fsync(file))),
            STATVFS => {
                let path = text()?;
                let found = self.root.file_system(&Inside::parse(&path)?)?;
                Ok(Some(reply(extended.id, &numbers_of(&found))))
            }
            FSTATVFS => {
                let found = self.on_file(&text()?, |file| fs::fstatvfs(file))?;
                Ok(Some(reply(extended.id, &numbers_of(&found))))
            }
            LIMITS => {
                let data = u64::from(DATA_BYTES_MAX);
                let limits = [MESSAGE_BYTES_MAX as u64, data, data, self.handles_max as u64];
                Ok(Some(reply(extended.id, &limits)))
            }
            other => Err(Failure::unsupported(&format!("the extension {other:.60}"))),
        }
    }
}

fn done(outcome: Result<(), Failure>) -> Answer {
    outcome.map(|()| None)
}

fn version() -> Version {
    let mut version = Version::new();
    version.extensions.extend(EXTENSIONS.map(|(name, number)| (name.to_owned(), number.to_owned())));
    version
}

fn attrs(id: u32, stat: &Stat) -> Answer {
    Ok(Some(Packet::Attrs(Attrs { id, attrs: attributes(stat) })))
}

fn only_name(id: u32, path: String) -> Packet {
    let entry = Entry { longname: path.clone(), filename: path, attrs: FileAttributes::empty() };
    Packet::Name(Name { id, files: vec![entry] })
}

fn reply(id: u32, numbers: &[u64]) -> Packet {
    let mut data = Vec::with_capacity(numbers.len() * 8);
    numbers.iter().for_each(|number| data.put_u64(*number));
    Packet::ExtendedReply(ExtendedReply { id, data })
}

/// As OpenSSH's server understands the flags, but for a file that is not to be written: it is not
/// truncated.
fn open_flags(flags: OpenFlags) -> OFlags {
    let write = flags.contains(OpenFlags::WRITE);
    let mut open = match (flags.contains(OpenFlags::READ), write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    open.set(OFlags::APPEND, flags.contains(OpenFlags::APPEND));
    open.set(OFlags::CREATE, flags.contains(OpenFlags::CREATE));
    open.set(OFlags::EXCL, flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUDE));
    open.set(OFlags::TRUNC, flags.contains(OpenFlags::TRUNCATE) && write);
    open
}

/// Reads until the buffer is full or the file ends; gives the bytes read.
fn read_at(open: &OpenFile, buffer: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match open.file.read_at(rest, offset.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io(&error, &open.path)),
        }
    }
    Ok(length)
}

/// The next file in a folder. `.` and `..` are left out: the parent of the root is nobody's business.
fn next_entry(folder: &mut OpenFolder, now: i64) -> Result<Option<Entry>, Errno> {
    while let Some(entry) = folder.entries.read().transpose()? {
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = fs::statat(folder.entries.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
        let stat = match stat {
            // It was removed in the meantime.
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let filename = entry.file_name().to_string_lossy().into_owned();
        let longname = long_name(&filename, &stat, now);
        return Ok(Some(Entry { filename, longname, attrs: attributes(&stat) }));
    }
    Ok(None)
}

/// The answer to statvfs (section 4.5 of OpenSSH's PROTOCOL).
fn numbers_of(found: &StatVfs) -> [u64; 11] {
    const READ_ONLY: u64 = 1;
    const NO_SET_USER_ID: u64 = 2;
    let flag = |flag: StatVfsMountFlags, bit| if found.f_flag.contains(flag) { bit } else { 0 };
    [
        found.f_bsize,
        found.f_frsize,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_favail,
        found.f_fsid,
        flag(StatVfsMountFlags::RDONLY, READ_ONLY) | flag(StatVfsMountFlags::NOSUID, NO_SET_USER_ID),
        found.f_namemax,
    ]
}
