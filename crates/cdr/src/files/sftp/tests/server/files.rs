//! What the server does with files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode,
    Version,
};

use super::Switches;

/// The files of one SFTP session.
pub(super) struct Files {
    pub(super) switches: Arc<Switches>,
    pub(super) root: PathBuf,
    pub(super) open: HashMap<String, (File, PathBuf)>,
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Ok".into(), language_tag: "en".into() }
}

fn code(error: std::io::Error) -> StatusCode {
    match error.kind() {
        ErrorKind::NotFound => StatusCode::NoSuchFile,
        ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    }
}

impl Files {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn attributes(&self, metadata: &fs::Metadata) -> FileAttributes {
        let wrong = metadata.is_file() && Switches::strikes(&self.switches.wrong_sizes);
        let mut attributes = FileAttributes::empty();
        attributes.size = Some(metadata.len() + u64::from(wrong));
        attributes.permissions = Some(metadata.mode());
        attributes
    }

    fn may_create(&self) -> Result<(), StatusCode> {
        let read_only = self.switches.read_only.load(SeqCst);
        if read_only { Err(StatusCode::PermissionDenied) } else { Ok(()) }
    }

    fn rename(from: &Path, to: &Path) -> Result<(), StatusCode> {
        fs::rename(from, to).map_err(code)
    }
}

impl russh_sftp::server::Handler for Files {
    type Error = StatusCode;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported
    }

    async fn init(
        &mut self,
        _version: u32,
        _extensions: HashMap<String, String>,
    ) -> Result<Version, Self::Error> {
        let mut version = Version::new();
        let mut offer = |name: &str| version.extensions.insert(name.into(), "1".into());
        if self.switches.posix_rename.load(SeqCst) {
            offer("posix-rename@openssh.com");
        }
        if self.switches.fsync.load(SeqCst) {
            offer("fsync@openssh.com");
        }
        if self.switches.limits.lock().unwrap().is_some() {
            offer("limits@openssh.com");
        }
        Ok(version)
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        pflags: OpenFlags,
        _attrs: FileAttributes,
    ) -> Result<Handle, Self::Error> {
        self.may_create()?;
        let number = self.switches.opened.fetch_add(1, SeqCst);
        let emptied = pflags.contains(OpenFlags::TRUNCATE);
        self.switches.emptied.fetch_add(emptied.into(), SeqCst);
        let new = pflags.contains(OpenFlags::EXCLUDE);
        self.switches.opened_as_new.fetch_add(new.into(), SeqCst);
        if new && !self.switches.exclusive.load(SeqCst) {
            return Err(StatusCode::OpUnsupported);
        }
        let (options, path) = (fs::OpenOptions::from(pflags), self.path(&filename));
        let file = options.open(&path).map_err(code)?;
        let handle = number.to_string();
        self.open.insert(handle.clone(), (file, path));
        Ok(Handle { id, handle })
    }

    async fn write(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Status, Self::Error> {
        self.switches.largest_write.fetch_max(data.len(), SeqCst);
        if Switches::strikes(&self.switches.failing_writes) {
            return Err(StatusCode::Failure);
        }
        let (file, _) = self.open.get(&handle).ok_or(StatusCode::Failure)?;
        file.write_all_at(&data, offset).map_err(code)?;
        Ok(ok(id))
    }

    async fn read(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, Self::Error> {
        let (file, _) = self.open.get(&handle).ok_or(StatusCode::Failure)?;
        let longest = self.switches.longest_read.load(SeqCst).min(len as usize);
        let mut data = vec![0; longest];
        let length = file.read_at(&mut data, offset).map_err(code)?;
        if length == 0 && longest > 0 {
            return Err(StatusCode::Eof);
        }
        data.truncate(length);
        Ok(Data { id, data })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, Self::Error> {
        let (file, _) = self.open.get(&handle).ok_or(StatusCode::Failure)?;
        let metadata = file.metadata().map_err(code)?;
        Ok(Attrs { id, attrs: self.attributes(&metadata) })
    }

    async fn fsetstat(
        &mut self,
        id: u32,
        handle: String,
        attrs: FileAttributes,
    ) -> Result<Status, Self::Error> {
        if !self.switches.set_size.load(SeqCst) {
            return Err(StatusCode::OpUnsupported);
        }
        let (file, _) = self.open.get(&handle).ok_or(StatusCode::Failure)?;
        file.set_len(attrs.size.ok_or(StatusCode::BadMessage)?).map_err(code)?;
        Ok(ok(id))
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, Self::Error> {
        let metadata = fs::metadata(self.path(&path)).map_err(code)?;
        Ok(Attrs { id, attrs: self.attributes(&metadata) })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, Self::Error> {
        let (_, path) = self.open.remove(&handle).ok_or(StatusCode::Failure)?;
        let is_part = path.extension().is_some_and(|extension| extension == "part");
        if is_part && self.switches.losing_parts.load(SeqCst) {
            fs::remove_file(path).map_err(code)?;
        }
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, _path: String) -> Result<Handle, Self::Error> {
        match self.switches.endless_folders.load(SeqCst) {
            true => Ok(Handle { id, handle: "folder".to_owned() }),
            false => Err(StatusCode::OpUnsupported),
        }
    }

    async fn readdir(&mut self, id: u32, _handle: String) -> Result<Name, Self::Error> {
        Ok(Name { id, files: Vec::new() })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Result<Status, Self::Error> {
        fs::remove_file(self.path(&filename)).map_err(code)?;
        Ok(ok(id))
    }

    async fn mkdir(
        &mut self,
        id: u32,
        path: String,
        _attrs: FileAttributes,
    ) -> Result<Status, Self::Error> {
        self.may_create()?;
        fs::create_dir(self.path(&path)).map_err(code)?;
        Ok(ok(id))
    }

    async fn rename(
        &mut self,
        id: u32,
        oldpath: String,
        newpath: String,
    ) -> Result<Status, Self::Error> {
        if self.path(&newpath).exists() {
            return Err(StatusCode::Failure);
        }
        Self::rename(&self.path(&oldpath), &self.path(&newpath))?;
        Ok(ok(id))
    }

    async fn extended(
        &mut self,
        id: u32,
        request: String,
        data: Vec<u8>,
    ) -> Result<Packet, Self::Error> {
        match request.as_str() {
            "limits@openssh.com" => {
                let limits = self.switches.limits.lock().unwrap().unwrap();
                let data = limits.iter().flat_map(|limit| limit.to_be_bytes());
                Ok(Packet::ExtendedReply(ExtendedReply { id, data: data.collect() }))
            }
            "fsync@openssh.com" => {
                let (handle, _) = text(&data);
                assert!(self.open.contains_key(handle), "it is synced while it is open");
                self.switches.synced.fetch_add(1, SeqCst);
                if Switches::strikes(&self.switches.failing_fsyncs) {
                    return Err(StatusCode::Failure);
                }
                match self.switches.refusing_fsync.load(SeqCst) {
                    true => Err(StatusCode::OpUnsupported),
                    false => Ok(Packet::Status(ok(id))),
                }
            }
            "posix-rename@openssh.com" => {
                let (from, rest) = text(&data);
                let (to, _) = text(rest);
                Self::rename(&self.path(from), &self.path(to))?;
                Ok(Packet::Status(ok(id)))
            }
            _ => Err(StatusCode::OpUnsupported),
        }
    }
}

/// A string off the front of `data`.
fn text(data: &[u8]) -> (&str, &[u8]) {
    let (length, rest) = data.split_first_chunk::<4>().unwrap();
    let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    (std::str::from_utf8(text).unwrap(), rest)
}
