//! What can go wrong on the way to an SFTP server, each with its remedy.

use std::path::PathBuf;

/// A server's words, fit for a message of one line.
pub(super) fn one_line(text: &str) -> String {
    const LETTERS_MAX: usize = 200;
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(LETTERS_MAX).collect()
}

/// A failure of the SFTP sink. Every message is one line that names the thing, the address and the remedy;
/// none contains a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SftpError {
    #[error(
        "no way to sign in to SFTP server {address} as {user}: \
         give SFTP_PASSWORD, SFTP_PASSWORD_FILE, SFTP_KEY_FILE or SFTP_AGENT=true"
    )]
    NoCredentials { address: String, user: String },

    #[error("SFTP key file {}: {problem}", path.display())]
    KeyFile { path: PathBuf, problem: String },

    #[error("{name:?} is not a plain file name: give a name without a folder")]
    FileName { name: String },

    #[error("SFTP host {host} could not be resolved ({detail}). {hint}")]
    UnresolvedHost { host: String, detail: String, hint: String },

    #[error("SFTP connection to {address} refused: is the server running? {hint}")]
    Refused { address: String, hint: String },

    #[error("SFTP server {address} cannot be reached ({detail}): check network, address and firewall")]
    Unreachable { address: String, detail: String },

    #[error(
        "SFTP server {address} did not answer within {seconds} s while {stage}: \
         check that it is an SSH server, the network and its load, or allow more time"
    )]
    Timeout { address: String, stage: &'static str, seconds: f64 },

    #[error(
        "SFTP login of {user} at {address} refused (tried {tried}; the server offers {offered}): \
         check user, password and key"
    )]
    AuthFailed { address: String, user: String, tried: String, offered: String },

    #[error(
        "host key of SFTP server {address} is unknown: {fingerprint} is not in {}; \
         if that is its fingerprint, add the key with: {command}", file.display()
    )]
    HostKeyUnknown { address: String, fingerprint: String, file: PathBuf, command: String },

    #[error(
        "host key of SFTP server {address} HAS CHANGED, which may be an attack: \
         expected {expected} ({}:{line}), offered {offered}; \
         if the server was set up again, remove that line", file.display()
    )]
    HostKeyChanged { address: String, expected: String, offered: String, file: PathBuf, line: usize },

    #[error(
        "host key {fingerprint} of SFTP server {address} is marked as revoked ({}:{line}): \
         have the server use another key", file.display()
    )]
    HostKeyRevoked { address: String, fingerprint: String, file: PathBuf, line: usize },

    #[error("known hosts file {} cannot be {action} ({detail}): check its path and permissions", file.display())]
    KnownHosts { file: PathBuf, action: &'static str, detail: String },

    #[error(
        "SFTP user {user} may not write to {path} on {address}: \
         give the user write permission there, or choose another remote path"
    )]
    PermissionDenied { address: String, user: String, path: String },

    #[error("{path} on SFTP server {address} is not a folder: choose another remote path")]
    NotAFolder { address: String, path: String },

    #[error(
        "SFTP server {address} failed to write {path} ({detail}): \
         probably its disk or the user's quota is full; free some space there"
    )]
    NoSpace { address: String, path: String, detail: String },

    #[error(
        "SFTP server {address} failed to {action} {path} ({detail}): \
         look into the server's log and folder"
    )]
    Rejected { address: String, action: &'static str, path: String, detail: String },

    #[error(
        "{path} on SFTP server {address} has {found} bytes instead of {expected}: \
         does something else write or move it there?"
    )]
    SizeMismatch { address: String, path: String, expected: u64, found: String },

    #[error("SFTP connection to {address} lost ({detail}): look into the server's log")]
    ConnectionLost { address: String, detail: String },

    #[error("SFTP server {address} does not follow the protocol ({detail}): is it an SFTP server?")]
    Protocol { address: String, detail: String },

    #[error("SFTP server {address} comes to no end ({detail}): look into the server's log and folder")]
    NoEnd { address: String, detail: String },

    #[error("SFTP: gave up after {seconds:.0} s without any success; last: {cause}")]
    GaveUp { seconds: f64, cause: Box<SftpError> },

    #[error("SFTP connections to {address} are closed")]
    Closed { address: String },
}

impl SftpError {
    /// Whether trying again is useless until somebody changes something: a login, a host key, a permission,
    /// the configuration. All else is tried again until `give_up_after`.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::UnresolvedHost { .. }
                | Self::Refused { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::NoSpace { .. }
                | Self::Rejected { .. }
                | Self::SizeMismatch { .. }
                | Self::ConnectionLost { .. }
                | Self::Protocol { .. }
        )
    }

    /// The cause in two or three words, for the line that logs that the server is away.
    pub(super) fn in_brief(&self) -> String {
        match self {
            Self::UnresolvedHost { .. } => "host name not resolved".to_owned(),
            Self::Refused { .. } => "connection refused".to_owned(),
            Self::Unreachable { detail, .. } => detail.clone(),
            Self::Timeout { stage, .. } => format!("no answer while {stage}"),
            Self::ConnectionLost { detail, .. } => format!("connection lost: {detail}"),
            other => other.to_string(),
        }
    }

    /// What helps a server that is not there.
    pub(super) fn hint(&self) -> Option<&str> {
        match self {
            Self::UnresolvedHost { hint, .. } | Self::Refused { hint, .. } => Some(hint),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_takes_one_line() {
        assert_eq!(one_line("Too many\r\nfailures\u{1b}[31m\n"), "Too many failures [31m");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), 200);
    }
}
