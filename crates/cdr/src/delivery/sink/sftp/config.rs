//! What the SFTP sink needs to know of its server.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// Where and how to upload. Passwords are secrets: `Debug` prints `***`.
#[derive(Clone, Debug)]
pub struct SftpConfig {
    /// Name or address of the server, without port or brackets.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Also answers keyboard-interactive prompts when the server refuses
    /// the method `password`.
    pub password: Option<Secret>,
    /// Private key in OpenSSH, PEM or PKCS#8 format.
    pub key_file: Option<PathBuf>,
    pub key_passphrase: Option<Secret>,
    /// Whether to ask the ssh-agent at `SSH_AUTH_SOCK` for keys first.
    pub use_agent: bool,
    /// Host keys in OpenSSH's format; the file may be missing.
    pub known_hosts: PathBuf,
    pub host_key_policy: HostKeyPolicy,
    /// Folder for the files: absolute, or relative to the login folder, which
    /// is `.` itself.
    pub remote_path: String,
    pub upload_mode: UploadMode,
    /// Connections held at most; at least 1. More are opened only when the
    /// others have an upload in progress.
    pub connections: usize,
    /// For everything until the login is complete, per attempt.
    pub connect_timeout: Duration,
    /// A connection on which requests wait and nothing arrives for this long
    /// counts as lost.
    pub request_timeout: Duration,
    /// After this long without traffic, ask the server for a sign of life.
    /// Zero never asks.
    pub keepalive: Duration,
    /// How long to try without any success before an upload fails.
    pub give_up_after: Duration,
}

/// What to do with a host key that `known_hosts` does not have. A key that
/// differs from a recorded one is always refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Record it, and tell.
    #[default]
    AcceptNew,
    /// Refuse it.
    Strict,
}

/// How a file comes to stand under its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadMode {
    /// Written under a temporary name, checked, then renamed: who sees `NAME` sees
    /// all of it.
    #[default]
    Rename,
    /// Written as `NAME` at once, for servers or users without renaming.
    Direct,
}

impl SftpConfig {
    /// `HOST:PORT` as people write it; with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
