//! Messages as bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use russh_sftp::protocol::Packet;

use super::failure::Failure;
use super::operation::Operation;

/// The largest message taken, in bytes after its length field: that of OpenSSH's server.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// The most data that one read or write request moves, in bytes: that of OpenSSH's server.
pub(super) const DATA_BYTES_MAX: u32 = 255 * 1024;

/// The bytes of the field before each message that holds its length.
const LENGTH_BYTES: usize = 4;
const INIT: u8 = 1;
const FIRST_REQUEST: u8 = 3;
const LAST_REQUEST: u8 = 20;
const EXTENDED: u8 = 200;
const STATUS: u8 = 101;

/// Something that is not the protocol. No more can be understood after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

impl Malformed {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }
}

/// A message from a client.
pub(super) enum Request {
    Known(Operation, Packet),
    /// A kind of request that this version of the protocol does not have.
    Unknown {
        id: u32,
        kind: u8,
    },
}

/// How many bytes at the front of `bytes` are complete messages: at least one, if there is one, and more
/// as long as they are fewer than `enough` bytes.
///
/// # Errors
///
/// When the first message is too large, or empty.
pub(super) fn complete(bytes: &[u8], enough: usize) -> Result<usize, Malformed> {
    let mut complete = 0;
    while complete < enough
        && let Some(length) = bytes.get(complete..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>())
    {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MESSAGE_BYTES_MAX {
            // What came before is done first.
            return if complete > 0 { Ok(complete) } else { Err(wrong_length(length)) };
        }
        match complete + LENGTH_BYTES + length {
            end if end <= bytes.len() => complete = end,
            _ => break,
        }
    }
    Ok(complete)
}

fn wrong_length(length: usize) -> Malformed {
    Malformed(format!("a message of {length} bytes, where 1 to {MESSAGE_BYTES_MAX} are allowed"))
}

/// Takes the first message off `bytes`, which begin with a complete one; `None` when they are empty.
pub(super) fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_u32().ok()? as usize;
    Some(bytes.split_to(length.min(bytes.len())))
}

/// Understands a message. As in OpenSSH's server, bytes after what is needed are passed over.
pub(super) fn request(mut message: Bytes) -> Result<Request, Malformed> {
    let kind = message.first().copied().unwrap_or_default();
    if !matches!(kind, INIT | FIRST_REQUEST..=LAST_REQUEST | EXTENDED) {
        message.advance(1.min(message.len()));
        return match message.try_get_u32() {
            Ok(id) => Ok(Request::Unknown { id, kind }),
            Err(_) => Err(Malformed(format!("a message of kind {kind} without a number"))),
        };
    }
    match Packet::try_from(&mut message) {
        Ok(packet) => match operation(&packet) {
            Some(operation) => Ok(Request::Known(operation, packet)),
            None => Err(Malformed(format!("a message of kind {kind} from a client"))),
        },
        Err(error) => Err(Malformed(format!("a message of kind {kind}: {error}"))),
    }
}

fn operation(packet: &Packet) -> Option<Operation> {
    Some(match packet {
        Packet::Init(_) => Operation::Init,
        Packet::Open(_) => Operation::Open,
        Packet::Close(_) => Operation::Close,
        Packet::Read(_) => Operation::Read,
        Packet::Write(_) => Operation::Write,
        Packet::Lstat(_) => Operation::Lstat,
        Packet::Fstat(_) => Operation::Fstat,
        Packet::SetStat(_) => Operation::Setstat,
        Packet::FSetStat(_) => Operation::Fsetstat,
        Packet::OpenDir(_) => Operation::Opendir,
        Packet::ReadDir(_) => Operation::Readdir,
        Packet::Remove(_) => Operation::Remove,
        Packet::MkDir(_) => Operation::Mkdir,
        Packet::RmDir(_) => Operation::Rmdir,
        Packet::RealPath(_) => Operation::Realpath,
        Packet::Stat(_) => Operation::Stat,
        Packet::Rename(_) => Operation::Rename,
        Packet::ReadLink(_) => Operation::Readlink,
        Packet::Symlink(_) => Operation::Symlink,
        Packet::Extended(extended) => Operation::of_extension(&extended.request),
        _ => return None,
    })
}

/// Takes a string off the front of `data`.
pub(super) fn string(data: &mut &[u8]) -> Option<String> {
    let length = data.try_get_u32().ok()? as usize;
    let (text, rest) = data.split_at_checked(length)?;
    *data = rest;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Appends the answer that a request was not done, or, with [`code::OK`](super::failure::code), that it
/// was. Written here because a test may inject codes that `russh-sftp` does not know.
pub(super) fn put_status(answers: &mut BytesMut, id: u32, status: &Failure) {
    let message = status.message.as_bytes();
    answers.put_u32((1 + 4 + 4 + 4 + message.len() + 4) as u32);
    answers.put_u8(STATUS);
    answers.put_u32(id);
    answers.put_u32(status.code);
    answers.put_u32(message.len() as u32);
    answers.put_slice(message);
    answers.put_u32(0); // no language
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_taken_whole() {
        let bytes = [0, 0, 0, 1, 9, 0, 0, 0, 2, 8, 7, 0, 0, 0, 3, 1];
        assert_eq!(complete(&bytes, 100), Ok(11));
        assert_eq!(complete(&bytes, 1), Ok(5));
        assert_eq!(complete(&bytes[..3], 100), Ok(0));
        let mut bytes = Bytes::copy_from_slice(&bytes[..11]);
        assert_eq!(take(&mut bytes).unwrap(), [9][..]);
        assert_eq!(take(&mut bytes).unwrap(), [8, 7][..]);
        assert_eq!(take(&mut bytes), None);
    }

    #[test]
    fn a_length_out_of_bounds_is_an_error_once_it_is_next() {
        assert!(complete(&[0, 0, 0, 0], 100).is_err());
        assert!(complete(&[0, 4, 0, 1], 100).is_err());
        assert_eq!(complete(&[0, 4, 0, 0], 100), Ok(0));
        assert_eq!(complete(&[0, 0, 0, 1, 9, 255, 0, 0, 0], 100), Ok(5));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_understood_or_refused(mut bytes: Vec<u8>, kind in 0u8..=255) {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = request(Bytes::from(bytes));
        }

        #[test]
        fn what_is_complete_can_be_taken(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..9),
            rest in proptest::collection::vec(0u8..3, 0..3),
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                bytes.extend((message.len() as u32).to_be_bytes());
                bytes.extend(message);
            }
            let whole = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(complete(&bytes, usize::MAX), Ok(whole));
            let mut bytes = Bytes::copy_from_slice(&bytes[..whole]);
            for message in messages {
                prop_assert_eq!(take(&mut bytes), Some(Bytes::from(message)));
            }
        }
    }
}
