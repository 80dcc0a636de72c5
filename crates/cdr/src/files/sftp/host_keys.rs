//! Whether a server is the one it was: host keys against `known_hosts`.
//!
//! The file's format is OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): patterns, `[host]:port`, hashed
//! names, `@revoked`. Lines for certificate authorities are passed over, because no certificates are
//! requested.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::{Arc, Mutex};

use ring::hmac;
use russh::Preferred;
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, HashAlg, PublicKey, parse_public_key_base64};

use tracing::debug;

use super::config::{HostKeyPolicy, SftpConfig};
use super::error::SftpError;

const DEFAULT_PORT: u16 = 22;

/// What is known of one server's host keys, and what to do with unknown ones.
#[derive(Clone, Debug)]
pub(super) struct HostKeys {
    pub(super) config: Arc<SftpConfig>,
}

/// How it came that a key was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Known,
    New,
}

/// A key on record for the server.
struct Known {
    line: usize,
    key: PublicKey,
    revoked: bool,
}

impl HostKeys {
    /// The kinds of host keys to request. Those on record come first: a server with several keys then shows
    /// the one that can be checked. RSA with SHA-1 is not among them.
    pub(super) fn algorithms(&self) -> Result<Vec<Algorithm>, SftpError> {
        let known = self.known(&self.read()?, self.config.port)?;
        let is_new = |algorithm: &Algorithm| {
            !known.iter().any(|known| same_kind(&known.key.algorithm(), algorithm))
        };
        let mut algorithms = Preferred::DEFAULT.key.into_owned();
        algorithms.retain(|algorithm| !matches!(algorithm, Algorithm::Rsa { hash: None }));
        algorithms.sort_by_key(is_new);
        Ok(algorithms)
    }

    /// Accepts or refuses the key that the server has shown, and records it if it is new and may be
    /// recorded. Blocks on files.
    pub(super) fn check(&self, offered: &PublicKey) -> Result<Accepted, SftpError> {
        /// One check at a time, so that connections made at once do not all record the same key.
        static CHECKING: Mutex<()> = Mutex::new(());
        let _one = CHECKING.lock();
        if self.is_known(&self.read()?, offered)? {
            return Ok(Accepted::Known);
        }
        if self.config.host_key_policy == HostKeyPolicy::AcceptNew {
            return self.record(offered);
        }
        let file = self.config.known_hosts.clone();
        let (port, host) = (self.config.port, self.config.host.to_lowercase());
        Err(SftpError::HostKeyUnknown {
            address: self.config.address(),
            fingerprint: fingerprint(offered),
            command: format!("ssh-keyscan -p {port} {host} >> {}", file.display()),
            file,
        })
    }

    /// Whether `offered` is on record in `text`. An error when another key is, of whatever kind: a server
    /// that still had that one would have shown it.
    fn is_known(&self, text: &str, offered: &PublicKey) -> Result<bool, SftpError> {
        let known = self.known(text, self.config.port)?;
        let same = |known: &&Known| known.key.key_data() == offered.key_data();
        if let Some(revoked) = known.iter().filter(same).find(|known| known.revoked) {
            return Err(SftpError::HostKeyRevoked {
                address: self.config.address(),
                fingerprint: fingerprint(offered),
                file: self.config.known_hosts.clone(),
                line: revoked.line,
            });
        }
        if known.iter().any(|known| same(&known)) {
            return Ok(true);
        }
        let kind = offered.algorithm();
        let others = known.iter().filter(|known| !known.revoked);
        match others.min_by_key(|known| !same_kind(&known.key.algorithm(), &kind)) {
            Some(expected) => Err(SftpError::HostKeyChanged {
                address: self.config.address(),
                expected: fingerprint(&expected.key),
                offered: fingerprint(offered),
                file: self.config.known_hosts.clone(),
                line: expected.line,
            }),
            // As with ssh, the same key under the host's bare name will do.
            None if self.config.port != DEFAULT_PORT => {
                let bare = self.known(text, DEFAULT_PORT)?;
                Ok(bare.iter().any(|known| same(&known) && !known.revoked))
            }
            None => Ok(false),
        }
    }

    /// Adds the key to the file, unless another process has just done so.
    fn record(&self, offered: &PublicKey) -> Result<Accepted, SftpError> {
        let failed = |error: io::Error| self.file_error("written", &error);
        let path = &self.config.known_hosts;
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        if self.is_known(&text, offered)? {
            return Ok(Accepted::Known);
        }
        let key = offered.to_openssh().map_err(io::Error::other).map_err(failed)?;
        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let entry = format!("{separator}{} {}\n", self.name(self.config.port), key.trim());
        file.write_all(entry.as_bytes()).map_err(failed)?;
        Ok(Accepted::New)
    }

    /// Logs that the key is new.
    pub(super) fn announce(&self, recorded: &PublicKey) {
        tracing::info!(
            "Accepted new host key of {}, {}, recorded in {}",
            self.config.address(),
            fingerprint(recorded),
            self.config.known_hosts.display()
        );
    }

    /// All keys on record for the host at `port`.
    fn known(&self, text: &str, port: u16) -> Result<Vec<Known>, SftpError> {
        let name = self.name(port);
        let mut known = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (hosts, _kind, key) = (fields.next(), fields.next(), fields.next());
            if let (None | Some("@revoked"), Some(hosts), Some(key)) = (marker, hosts, key)
                && matches(hosts, &name)
            {
                let revoked = marker.is_some();
                match parse_public_key_base64(key) {
                    Ok(key) => known.push(Known { line: index + 1, key, revoked }),
                    // Which key must not be accepted, nobody knows.
                    Err(error) if revoked => return Err(self.file_error("understood", &error)),
                    // As ssh does.
                    Err(error) => debug!("line {} of known hosts is passed over: {error}", index + 1),
                }
            }
        }
        Ok(known)
    }

    /// The server's name in the file.
    fn name(&self, port: u16) -> String {
        let host = self.config.host.to_lowercase();
        if port == DEFAULT_PORT { host } else { format!("[{host}]:{port}") }
    }

    fn read(&self) -> Result<String, SftpError> {
        match fs::read_to_string(&self.config.known_hosts) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| self.file_error("read", &error)),
        }
    }

    fn file_error(&self, action: &'static str, error: &dyn std::error::Error) -> SftpError {
        let file = self.config.known_hosts.clone();
        SftpError::KnownHosts { file, action, detail: error.to_string() }
    }
}

/// Whether what stands first on a line names the host: a hashed name, or a comma-separated list of
/// patterns. A pattern after `!` excludes the hosts it names; `#` begins a comment.
fn matches(hosts: &str, name: &str) -> bool {
    if let Ok(HostPatterns::HashedName { salt, hash }) = hosts.parse() {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        return hmac::verify(&key, name.as_bytes(), &hash).is_ok();
    }
    let mut matched = false;
    for pattern in hosts.to_lowercase().split(',').filter(|_| !hosts.starts_with('#')) {
        match pattern.strip_prefix('!') {
            Some(excluded) if is_like(excluded.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= is_like(pattern.as_bytes(), name.as_bytes()),
        }
    }
    matched
}

/// Whether `name` fits a pattern with `*` for any text and `?` for any letter.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            is_like(rest, name) || name.split_first().is_some_and(|(_, name)| is_like(pattern, name))
        }
        (Some((b'?', pattern)), Some((_, name))) => is_like(pattern, name),
        (Some((a, pattern)), Some((b, name))) if a == b => is_like(pattern, name),
        _ => false,
    }
}

/// RSA keys are one kind, whatever the hash they sign with.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

/// As `ssh-keygen -l` prints it: `SHA256:...`.
fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
