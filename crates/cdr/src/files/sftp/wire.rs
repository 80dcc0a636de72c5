//! SFTP version 3 on the wire: requests to bytes, bytes to replies.
//!
//! Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL file for the
//! extensions. Own code rather than a library's, because a handle is any string
//! of bytes (OpenSSH counts upwards in binary, which is not UTF-8 from 128 on),
//! and because several requests for one file go into one buffer here.

/// Version of the protocol spoken here.
pub(super) const VERSION: u32 = 3;
/// Largest message accepted from a server, in bytes: OpenSSH's own limit.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// What a WRITE request takes besides handle and data, in bytes.
pub(super) const WRITE_OVERHEAD_BYTES: usize = 4 + 1 + 4 + 4 + 8 + 4;

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
const OPEN_TRUNCATE: u32 = 0x10;
const OPEN_EXCLUSIVE: u32 = 0x20;

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

/// What becomes of a file that is there when it is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is somebody else's, and the request fails.
    Refused,
    /// It loses what it holds.
    Emptied,
    /// It keeps what it holds, until that is overwritten.
    Kept,
}

impl Found {
    fn flags(self) -> u32 {
        match self {
            Found::Refused => OPEN_EXCLUSIVE,
            Found::Emptied => OPEN_TRUNCATE,
            Found::Kept => 0,
        }
    }
}

/// One request. The paths are as the server understands them: absolute, or
/// relative to the login folder.
pub(super) enum Request<'a> {
    /// Opens for writing; creates the file where there is none.
    Open {
        path: &'a str,
        found: Found,
    },
    OpenToRead {
        path: &'a str,
    },
    /// At most `length` bytes from `offset` on.
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    OpenFolder {
        path: &'a str,
    },
    /// The next names of an open folder.
    ReadFolder {
        handle: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    /// Cuts an open file off, in bytes.
    SetSize {
        handle: &'a [u8],
        size: u64,
    },
    /// Writes an open file to the server's disk.
    Fsync {
        handle: &'a [u8],
    },
    Close {
        handle: &'a [u8],
    },
    Stat {
        path: &'a str,
    },
    Mkdir {
        path: &'a str,
    },
    Remove {
        path: &'a str,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    PosixRename {
        from: &'a str,
        to: &'a str,
    },
    Limits,
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
    Extended(Vec<u8>),
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
    let mut out = Vec::with_capacity(9);
    put_message(&mut out, INIT, |out| put_u32(out, VERSION));
    out
}

/// Appends `request` under the number `id` to `out`.
pub(super) fn put_request(out: &mut Vec<u8>, id: u32, request: &Request<'_>) {
    put_message(out, kind(request), |out| {
        put_u32(out, id);
        match *request {
            Request::Open { path, found } => {
                put_string(out, path.as_bytes());
                put_u32(out, OPEN_WRITE | OPEN_CREATE | found.flags());
                put_u32(out, 0);
            }
            Request::OpenToRead { path } => {
                put_string(out, path.as_bytes());
                put_u32(out, OPEN_READ);
                put_u32(out, 0);
            }
            Request::Read { handle, offset, length } => {
                put_string(out, handle);
                out.extend_from_slice(&offset.to_be_bytes());
                put_u32(out, length);
            }
            Request::Write { handle, offset, data } => {
                put_string(out, handle);
                out.extend_from_slice(&offset.to_be_bytes());
                put_string(out, data);
            }
            Request::Fstat { handle } | Request::Close { handle } | Request::ReadFolder { handle } => {
                put_string(out, handle);
            }
            Request::SetSize { handle, size } => {
                put_string(out, handle);
                put_u32(out, ATTR_SIZE);
                out.extend_from_slice(&size.to_be_bytes());
            }
            Request::Stat { path } | Request::Remove { path } | Request::OpenFolder { path } => {
                put_string(out, path.as_bytes());
            }
            Request::Mkdir { path } => {
                put_string(out, path.as_bytes());
                put_u32(out, 0);
            }
            Request::Rename { from, to } => {
                put_string(out, from.as_bytes());
                put_string(out, to.as_bytes());
            }
            Request::PosixRename { from, to } => {
                put_string(out, POSIX_RENAME.as_bytes());
                put_string(out, from.as_bytes());
                put_string(out, to.as_bytes());
            }
            Request::Fsync { handle } => {
                put_string(out, FSYNC.as_bytes());
                put_string(out, handle);
            }
            Request::Limits => put_string(out, LIMITS.as_bytes()),
        }
    });
}

fn kind(request: &Request<'_>) -> u8 {
    match request {
        Request::Open { .. } | Request::OpenToRead { .. } => OPEN,
        Request::Read { .. } => READ,
        Request::OpenFolder { .. } => OPENDIR,
        Request::ReadFolder { .. } => READDIR,
        Request::Write { .. } => WRITE,
        Request::Fstat { .. } => FSTAT,
        Request::SetSize { .. } => FSETSTAT,
        Request::Close { .. } => CLOSE,
        Request::Stat { .. } => STAT,
        Request::Mkdir { .. } => MKDIR,
        Request::Remove { .. } => REMOVE,
        Request::Rename { .. } => RENAME,
        Request::PosixRename { .. } | Request::Fsync { .. } | Request::Limits => EXTENDED,
    }
}

/// Reads the answer to INIT from a message without its length.
pub(super) fn hello(message: &[u8]) -> Result<Hello, WireError> {
    let mut fields = Fields(message);
    match fields.u8()? {
        VERSION_REPLY => {}
        other => return Err(WireError::Unexpected(other)),
    }
    let version = fields.u32()?;
    let mut extensions = Vec::new();
    while !fields.0.is_empty() {
        extensions.push(fields.text()?);
        fields.string()?;
    }
    Ok(Hello { version, extensions })
}

/// Reads a reply, with the number of the request it answers, from a message
/// without its length.
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
        EXTENDED_REPLY => Reply::Extended(fields.0.to_vec()),
        other => return Err(WireError::Unexpected(other)),
    };
    Ok((id, reply))
}

/// Reads the body of the answer to a limits request.
pub(super) fn limits(body: &[u8]) -> Result<Limits, WireError> {
    let mut fields = Fields(body);
    let packet_bytes = fields.u64()?;
    let read_bytes = fields.u64()?;
    Ok(Limits { packet_bytes, read_bytes, write_bytes: fields.u64()?, handles: fields.u64()? })
}

/// A message's body, and the bytes after the message.
pub(super) type Split<'a> = (&'a [u8], &'a [u8]);

/// Takes the first whole message off `bytes`: its body without the length, and
/// the bytes after it. `None` when the message is not complete yet.
pub(super) fn split_message(bytes: &[u8]) -> Result<Option<Split<'_>>, WireError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    Ok(rest.split_at_checked(length))
}

/// Appends a message: a length, filled in last, the type, and the fields.
fn put_message(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_u32(out, 0);
    out.push(kind);
    fields(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, value: &[u8]) {
    put_u32(out, value.len() as u32);
    out.extend_from_slice(value);
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
