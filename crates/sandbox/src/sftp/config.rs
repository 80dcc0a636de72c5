//! What a server is to be like.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::keys::PublicKey;

use super::error::Error;

/// The port to listen on if there is no reason for another.
pub const DEFAULT_PORT: u16 = 10022;

/// What a server is to be like. Begin with [`Config::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that clients see as `/`. It is made if it is missing.
    pub root: PathBuf,
    /// Where the server's private key is kept. It is made on first use, with its folder.
    pub host_key_file: PathBuf,
    /// The only name to log in with; `cdr_data` unless changed.
    pub user: String,
    /// The password to log in with; `password` unless changed. Without one, only keys log in.
    pub password: Option<Password>,
    /// The keys to log in with; none unless changed.
    pub authorized_keys: Vec<PublicKey>,
    pub limits: Limits,
}

/// How much clients may take. Beyond that, the memory for the requests and answers of one connection is
/// below 48 MiB whatever its client does, and mostly below 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, logged in or not. More are closed as they come. 64 unless changed.
    pub connections: usize,
    /// SFTP sessions at once on one connection. 8 unless changed.
    pub sessions: usize,
    /// Files and folders that one connection may hold open. 256 unless changed.
    pub handles: usize,
    /// Logins that one connection may try in vain. The question for the methods there are, with which
    /// most clients begin, is one. 6 unless changed.
    pub login_attempts: usize,
    /// The time from the connection to the login. 60 s unless changed.
    pub login_time: Duration,
    /// How long answers may wait for a client that sends ever more requests, but takes no answers. One
    /// that requests nothing may take its time. 30 s unless changed.
    pub stall_time: Duration,
}

impl Config {
    /// A server for `root` with everything else as usual; the fields document that.
    pub fn new(root: impl Into<PathBuf>, host_key_file: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            host_key_file: host_key_file.into(),
            user: "cdr_data".to_owned(),
            password: Some(Password::new("password")),
            authorized_keys: Vec::new(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            sessions: 8,
            handles: 256,
            login_attempts: 6,
            login_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(30),
        }
    }
}

/// A password that does not show when it is printed.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self::new(password)
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self::new(password)
    }
}

/// Reads public keys from a file as OpenSSH's `authorized_keys`: one in each line, with empty lines and
/// those that begin with `#` passed over.
///
/// # Errors
///
/// [`Error::AuthorizedKeys`] when the file cannot be read, or has a line that is not a key. Options
/// before a key are such a line: they restrict what it may do, and are not understood here.
pub fn read_authorized_keys(file: &Path) -> Result<Vec<PublicKey>, Error> {
    let failed = |detail: String| Error::AuthorizedKeys { file: file.to_owned(), detail };
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let key = PublicKey::from_openssh(line);
            key.map_err(|error| failed(format!("line {} is not a public key: {error}", index + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ someone@somewhere";

    fn read(text: &str) -> Result<Vec<PublicKey>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, text).unwrap();
        read_authorized_keys(&file)
            .map_err(|error| error.to_string().replace(&*folder.path().to_string_lossy(), ""))
    }

    #[test]
    fn a_password_does_not_show() {
        let config = Config { password: Some("secret!".into()), ..Config::new("r", "k") };
        assert!(!format!("{config:?}").contains("secret!"));
    }

    #[test]
    fn keys_are_read_line_by_line() {
        let keys = read(&format!("# people\n\n{KEY}\n  {KEY}\n")).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].comment().as_str_lossy(), "someone@somewhere");
    }

    #[test]
    fn a_restricted_key_is_refused_instead_of_unrestricted() {
        let error = read(&format!("{KEY}\nfrom=\"10.0.0.1\" {KEY}\n")).unwrap_err();
        assert!(error.contains("/keys") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_authorized_keys(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
