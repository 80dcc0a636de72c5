//! Requests that cannot be done, in the protocol's terms.

use rustix::io::Errno;

/// Status codes of version 3 of the protocol (section 7 of the draft).
pub(super) mod code {
    pub(in crate::sftp) const OK: u32 = 0;
    pub(in crate::sftp) const EOF: u32 = 1;
    pub(in crate::sftp) const NO_SUCH_FILE: u32 = 2;
    pub(in crate::sftp) const PERMISSION_DENIED: u32 = 3;
    pub(in crate::sftp) const FAILURE: u32 = 4;
    pub(in crate::sftp) const BAD_MESSAGE: u32 = 5;
    pub(in crate::sftp) const OP_UNSUPPORTED: u32 = 8;
}

/// Why a request was not done, for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(code::OP_UNSUPPORTED, format!("{what}: not supported by this server"))
    }

    /// The system's error about `subject`, a path as the client gave it.
    pub(super) fn system(errno: Errno, subject: &str) -> Self {
        Self::new(code_of(errno), format!("{}: {subject}", reason(errno)))
    }

    pub(super) fn io(error: &std::io::Error, subject: &str) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::system(errno, subject),
            None => Self::new(code::FAILURE, format!("{error}: {subject}")),
        }
    }
}

/// As OpenSSH's `sftp-server` puts it (`errno_to_portable` in sftp-server.c).
fn code_of(errno: Errno) -> u32 {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::BADF | Errno::LOOP => code::NO_SUCH_FILE,
        Errno::PERM | Errno::ACCESS | Errno::FAULT => code::PERMISSION_DENIED,
        Errno::NAMETOOLONG | Errno::INVAL => code::BAD_MESSAGE,
        Errno::NOSYS => code::OP_UNSUPPORTED,
        _ => code::FAILURE,
    }
}

/// The system's words, without the number that Rust adds to them.
fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_reason_and_the_path() {
        let full = Failure::system(Errno::NOSPC, "/a.csv");
        assert_eq!(full, Failure::new(code::FAILURE, "No space left on device: /a.csv"));
    }

    #[test]
    fn codes_are_those_of_openssh() {
        for (errno, code) in [
            (Errno::NOENT, 2),
            (Errno::NOTDIR, 2),
            (Errno::LOOP, 2),
            (Errno::ACCESS, 3),
            (Errno::PERM, 3),
            (Errno::EXIST, 4),
            (Errno::NOTEMPTY, 4),
            (Errno::NOSPC, 4),
            (Errno::NAMETOOLONG, 5),
            (Errno::INVAL, 5),
            (Errno::NOSYS, 8),
        ] {
            assert_eq!(code_of(errno), code, "{errno:?}");
        }
    }
}
