//! SFTP version 3 on the wire: requests to bytes, bytes to replies.
//!
//! Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL file for the extensions. Own code rather
//! than a library's, because a handle is any string of bytes (OpenSSH counts upwards in binary, which is
//! not UTF-8 from 128 on), and because several requests for one file go into one buffer here.

/// Version of the protocol spoken here.
pub(super) const VERSION: u32 = 3;
/// Largest message accepted from a server, in bytes: OpenSSH's own limit.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
pub(super) const LIMITS: &str = "limits@openssh.com";

const INIT: u8 = 1;
const VERSION_REPLY: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const FSTAT: u8 = 8;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const OPEN_READ: u32 = 0x01;
const OPEN_WRITE: u32 = 0x02;
const OPEN_CREATE: u32 = 0x08;

const ATTR_SIZE: u32 = 0x01;
const ATTR_OWNERS: u32 = 0x02;
const ATTR_PERMISSIONS: u32 = 0x04;
const ATTR_TIMES: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;
/// The bits of a mode that hold a file's kind, and the value for folders.
const MODE_KIND: u32 = 0o170_000;
const MODE_FOLDER: u32 = 0o040_000;

/// Outcome codes of the protocol that are handled here.
pub(super) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const EOF: u32 = 1;
    pub(crate) const NO_SUCH_FILE: u32 = 2;
    pub(crate) const PERMISSION_DENIED: u32 = 3;
    pub(crate) const FAILURE: u32 = 4;
    pub(crate) const UNSUPPORTED: u32 = 8;
    /// Of later versions of the protocol; some servers send it in version 3, too.
    pub(crate) const FILE_EXISTS: u32 = 11;
}

/// What becomes of a file that is there when it is opened for writing, by a flag of OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is somebody else's, and the request fails.
    Refused = 0x20,
    /// It loses what it holds.
    Emptied = 0x10,
    /// It keeps what it holds, until that is overwritten.
    Kept = 0,
}

/// One request. The paths are as the server understands them: absolute, or relative to the login folder.
pub(super) enum Request<'a> {
    // For writing; creates the file where there is none.
    Open { path: &'a str, found: Found },
    OpenToRead { path: &'a str },
    Read { handle: &'a [u8], offset: u64, length: u32 },
    Write { handle: &'a [u8], offset: u64, data: &'a [u8] },
    OpenFolder { path: &'a str },
    // The next names of an open folder.
    ReadFolder { handle: &'a [u8] },
    Fstat { handle: &'a [u8] },
    // Cuts an open file off, in bytes.
    SetSize { handle: &'a [u8], size: u64 },
    // Writes an open file to the server's disk.
    Fsync { handle: &'a [u8] },
    Close { handle: &'a [u8] },
    Stat { path: &'a str },
    Mkdir { path: &'a str },
    Remove { path: &'a str },
    Rename { from: &'a str, to: &'a str },
    PosixRename { from: &'a str, to: &'a str },
    Limits,
}

/// What a request consists of behind its number.
enum Field<'a> {
    U32(u32),
    U64(u64),
    /// With its length before it.
    Bytes(&'a [u8]),
    Text(&'a str),
}

/// A server's answer to INIT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u32,
    pub(super) extensions: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(Status),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(String, Attributes)>),
    Attributes(Attributes),
    /// The only extended request with an answer of its own.
    Limits(Limits),
}

/// The outcome of a request, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// In bytes.
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
}

impl Attributes {
    /// Whether this is a folder, as far as the server reports.
    pub(super) fn is_folder(self) -> Option<bool> {
        self.mode.map(|mode| mode & MODE_KIND == MODE_FOLDER)
    }
}

/// The server's limits, in bytes and handles; 0 stands for "not reported".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) packet_bytes: u64,
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
    pub(super) handles: u64,
}

/// Bytes that are not the protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum WireError {
    #[error("a message of {0} bytes, more than the protocol's usual limit")]
    TooLong(usize),
    #[error("a message that ends in the middle of a field")]
    Short,
    #[error("a message of unexpected type {0}")]
    Unexpected(u8),
}

/// The first message of a session.
pub(super) fn init() -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, INIT, VERSION, &[]);
    out
}

/// Appends `request` under the number `id` to `out`.
pub(super) fn put_request(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    use Field::{Bytes, Text, U32, U64};
    let mut put = |kind, fields: &[Field<'_>]| put_message(out, kind, id, fields);
    match *request {
        Request::Open { path, found } => {
            put(OPEN, &[Text(path), U32(OPEN_WRITE | OPEN_CREATE | found as u32), U32(0)]);
        }
        Request::OpenToRead { path } => put(OPEN, &[Text(path), U32(OPEN_READ), U32(0)]),
        Request::Read { handle, offset, length } => {
            put(READ, &[Bytes(handle), U64(offset), U32(length)]);
        }
        Request::Write { handle, offset, data } => {
            put(WRITE, &[Bytes(handle), U64(offset), Bytes(data)]);
        }
        Request::OpenFolder { path } => put(OPENDIR, &[Text(path)]),
        Request::ReadFolder { handle } => put(READDIR, &[Bytes(handle)]),
        Request::Fstat { handle } => put(FSTAT, &[Bytes(handle)]),
        Request::SetSize { handle, size } => put(FSETSTAT, &[Bytes(handle), U32(ATTR_SIZE), U64(size)]),
        Request::Fsync { handle } => put(EXTENDED, &[Text(FSYNC), Bytes(handle)]),
        Request::Close { handle } => put(CLOSE, &[Bytes(handle)]),
        Request::Stat { path } => put(STAT, &[Text(path)]),
        Request::Mkdir { path } => put(MKDIR, &[Text(path), U32(0)]),
        Request::Remove { path } => put(REMOVE, &[Text(path)]),
        Request::Rename { from, to } => put(RENAME, &[Text(from), Text(to)]),
        Request::PosixRename { from, to } => put(EXTENDED, &[Text(POSIX_RENAME), Text(from), Text(to)]),
        Request::Limits => put(EXTENDED, &[Text(LIMITS)]),
    }
}

/// Appends a message: its length, its type, its number (of INIT, the version), and the fields.
fn put_message(out: &mut Vec<u8>, kind: u8, number: u32, fields: &[Field<'_>]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
    for field in fields {
        match *field {
            Field::U32(value) => out.extend_from_slice(&value.to_be_bytes()),
            Field::U64(value) => out.extend_from_slice(&value.to_be_bytes()),
            Field::Bytes(bytes) => put_bytes(out, bytes),
            Field::Text(text) => put_bytes(out, text.as_bytes()),
        }
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

impl Hello {
    pub(super) fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }
}

/// Reads the answer to INIT from a message without its length.
pub(super) fn hello(message: &[u8]) -> Result<Hello, WireError> {
    let mut fields = Fields(message);
    let kind = fields.u8()?;
    if kind != VERSION_REPLY {
        return Err(WireError::Unexpected(kind));
    }
    let version = fields.u32()?;
    let mut extensions = Vec::new();
    while !fields.0.is_empty() {
        extensions.push(fields.text()?);
        fields.string()?;
    }
    Ok(Hello { version, extensions })
}

/// Reads a reply, with the number of the request it answers, from a message without its length.
pub(super) fn reply(message: &[u8]) -> Result<(u32, Reply), WireError> {
    let mut fields = Fields(message);
    let kind = fields.u8()?;
    let id = fields.u32()?;
    let reply = match kind {
        STATUS => Reply::Status(Status {
            code: fields.u32()?,
            // Version 3 has a message here, but some servers leave it out.
            message: fields.text().unwrap_or_default(),
        }),
        HANDLE => Reply::Handle(fields.string()?.to_vec()),
        DATA => Reply::Data(fields.string()?.to_vec()),
        NAME => Reply::Names(fields.names()?),
        ATTRS => Reply::Attributes(fields.attributes()?),
        EXTENDED_REPLY => Reply::Limits(fields.limits()?),
        other => return Err(WireError::Unexpected(other)),
    };
    Ok((id, reply))
}

/// A message without its length, and the bytes after it.
pub(super) type Split<'a> = (&'a [u8], &'a [u8]);

/// Takes the first whole message off `bytes`. `None` when it is not complete yet.
pub(super) fn split_message(bytes: &[u8]) -> Result<Option<Split<'_>>, WireError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    Ok(rest.split_at_checked(length))
}

/// The fields of a message that are not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn text(&mut self) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.string()?).into_owned())
    }

    fn limits(&mut self) -> Result<Limits, WireError> {
        let (packet_bytes, read_bytes) = (self.u64()?, self.u64()?);
        Ok(Limits { packet_bytes, read_bytes, write_bytes: self.u64()?, handles: self.u64()? })
    }

    fn attributes(&mut self) -> Result<Attributes, WireError> {
        let flags = self.u32()?;
        let size = (flags & ATTR_SIZE != 0).then(|| self.u64()).transpose()?;
        if flags & ATTR_OWNERS != 0 {
            self.u64()?;
        }
        let mode = (flags & ATTR_PERMISSIONS != 0).then(|| self.u32()).transpose()?;
        if flags & ATTR_TIMES != 0 {
            self.u64()?;
        }
        if flags & ATTR_EXTENDED != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(Attributes { size, mode })
    }

    /// Each name comes with a line as of `ls -l`, which is for people.
    fn names(&mut self) -> Result<Vec<(String, Attributes)>, WireError> {
        let mut names = Vec::new();
        for _ in 0..self.u32()? {
            let name = self.text()?;
            self.string()?;
            names.push((name, self.attributes()?));
        }
        Ok(names)
    }
}
