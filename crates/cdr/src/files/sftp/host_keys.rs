//! Whether a server is the one it was: host keys against `known_hosts`.
//!
//! The file's format is OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"):
//! patterns, `[host]:port`, hashed names, `@revoked`. Lines for certificate
//! authorities are passed over, because no certificates are requested.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use russh::Preferred;
use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, HashAlg, PublicKey, parse_public_key_base64};

use super::config::{HostKeyPolicy, SftpConfig};
use super::error::SftpError;

const DEFAULT_PORT: u16 = 22;

/// What is known of one server's host keys, and what to do with unknown ones.
#[derive(Clone, Debug)]
pub(super) struct HostKeys {
    host: String,
    port: u16,
    address: String,
    file: PathBuf,
    policy: HostKeyPolicy,
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
    pub(super) fn new(config: &SftpConfig) -> Self {
        Self {
            host: config.host.to_lowercase(),
            port: config.port,
            address: config.address(),
            file: config.known_hosts.clone(),
            policy: config.host_key_policy,
        }
    }

    /// The kinds of host keys to request. Those on record come first: a server
    /// with several keys then shows the one that can be checked. RSA with SHA-1
    /// is not among them.
    pub(super) fn algorithms(&self) -> Result<Vec<Algorithm>, SftpError> {
        let text = self.read()?;
        let known = self.known(&text, self.port)?;
        let on_record = |algorithm: &Algorithm| {
            known.iter().any(|known| same_kind(&known.key.algorithm(), algorithm))
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = Preferred::DEFAULT
            .key
            .iter()
            .filter(|algorithm| !matches!(algorithm, Algorithm::Rsa { hash: None }))
            .cloned()
            .partition(on_record);
        first.extend(rest);
        Ok(first)
    }

    /// Accepts or refuses the key that the server has shown, and records it if
    /// it is new and may be recorded. Blocks on files.
    pub(super) fn check(&self, offered: &PublicKey) -> Result<Accepted, SftpError> {
        /// One check at a time, so that connections made at once do not all
        /// record the same key.
        static CHECKING: Mutex<()> = Mutex::new(());
        let _one = CHECKING.lock();
        if self.is_known(&self.read()?, offered)? {
            return Ok(Accepted::Known);
        }
        match self.policy {
            HostKeyPolicy::AcceptNew => self.record(offered),
            HostKeyPolicy::Strict => Err(SftpError::HostKeyUnknown {
                address: self.address.clone(),
                fingerprint: fingerprint(offered),
                file: self.file.clone(),
                command: format!(
                    "ssh-keyscan -p {} {} >> {}",
                    self.port,
                    self.host,
                    self.file.display()
                ),
            }),
        }
    }

    /// Whether `offered` is on record in `text`. An error when another key is,
    /// of whatever kind: a server that still had that one would have shown it.
    fn is_known(&self, text: &str, offered: &PublicKey) -> Result<bool, SftpError> {
        let known = self.known(text, self.port)?;
        let same = |known: &&Known| known.key.key_data() == offered.key_data();
        if let Some(revoked) = known.iter().filter(same).find(|known| known.revoked) {
            return Err(SftpError::HostKeyRevoked {
                address: self.address.clone(),
                fingerprint: fingerprint(offered),
                file: self.file.clone(),
                line: revoked.line,
            });
        }
        if known.iter().any(|known| same(&known)) {
            return Ok(true);
        }
        let kind = offered.algorithm();
        let mut others: Vec<_> = known.iter().filter(|known| !known.revoked).collect();
        others.sort_by_key(|known| !same_kind(&known.key.algorithm(), &kind));
        match others.first() {
            Some(expected) => Err(SftpError::HostKeyChanged {
                address: self.address.clone(),
                expected: fingerprint(&expected.key),
                offered: fingerprint(offered),
                file: self.file.clone(),
                line: expected.line,
            }),
            // As with ssh, the same key under the host's bare name will do.
            None if self.port != DEFAULT_PORT => {
                let bare = self.known(text, DEFAULT_PORT)?;
                Ok(bare.iter().any(|known| same(&known) && !known.revoked))
            }
            None => Ok(false),
        }
    }

    /// Adds the key to the file, unless another process has just done so.
    fn record(&self, offered: &PublicKey) -> Result<Accepted, SftpError> {
        let failed = |error: std::io::Error| self.file_error("written", &error);
        if let Some(folder) = self.file.parent() {
            create_private_folder(folder).map_err(failed)?;
        }
        let mut file = open_private(&self.file).map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        if self.is_known(&text, offered)? {
            return Ok(Accepted::Known);
        }
        let key = offered.to_openssh().map_err(std::io::Error::other);
        let line = format!("{} {}\n", self.name(self.port), key.map_err(failed)?.trim());
        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let entry = format!("{separator}{line}");
        file.write_all(entry.as_bytes()).map_err(failed)?;
        Ok(Accepted::New)
    }

    /// Logs that the key is new.
    pub(super) fn announce(&self, recorded: &PublicKey) {
        tracing::info!(
            "Accepted new host key of {}, {}, recorded in {}",
            self.address,
            fingerprint(recorded),
            self.file.display()
        );
    }

    /// All keys on record for the host at `port`.
    fn known(&self, text: &str, port: u16) -> Result<Vec<Known>, SftpError> {
        let name = self.name(port);
        let hashed = self.hashed_lines(text, port)?;
        let mut known = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let Some(entry) = Entry::parse(line) else {
                continue;
            };
            let ours = hashed.contains(&(index + 1)) || matches(entry.hosts, &name);
            if ours && let Ok(key) = parse_public_key_base64(entry.key) {
                known.push(Known { line: index + 1, key, revoked: entry.revoked });
            }
        }
        Ok(known)
    }

    /// The numbers, from 1, of the lines whose hashed name is the server's. The
    /// SSH library compares the hashes; it numbers the lines without counting
    /// those that begin with `#`.
    fn hashed_lines(&self, text: &str, port: u16) -> Result<HashSet<usize>, SftpError> {
        if !text.contains("|1|") {
            return Ok(HashSet::new());
        }
        let numbers: Vec<usize> = (text.lines().enumerate())
            .filter(|(_, line)| !line.starts_with('#'))
            .map(|(index, _)| index + 1)
            .collect();
        let found = known_host_keys_path(&self.host, port, &self.file);
        let found = found.map_err(|error| self.file_error("understood", &error))?;
        Ok(found
            .into_iter()
            .filter_map(|(counted, _)| numbers.get(counted.checked_sub(1)?).copied())
            .collect())
    }

    /// The server's name in the file.
    fn name(&self, port: u16) -> Cow<'_, str> {
        if port == DEFAULT_PORT {
            Cow::Borrowed(&self.host)
        } else {
            Cow::Owned(format!("[{}]:{port}", self.host))
        }
    }

    fn read(&self) -> Result<String, SftpError> {
        match fs::read_to_string(&self.file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(self.file_error("read", &error)),
        }
    }

    fn file_error(&self, action: &'static str, error: &dyn std::error::Error) -> SftpError {
        SftpError::KnownHosts { file: self.file.clone(), action, detail: error.to_string() }
    }
}

/// A line that names hosts and their key.
struct Entry<'a> {
    hosts: &'a str,
    key: &'a str,
    revoked: bool,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace().peekable();
        let revoked = match fields.next_if(|field| field.starts_with('@')) {
            None => false,
            Some("@revoked") => true,
            Some(_) => return None,
        };
        let hosts = fields.next().filter(|hosts| !hosts.starts_with('#'))?;
        let _kind = fields.next()?;
        Some(Self { hosts, key: fields.next()?, revoked })
    }
}

/// Whether a comma-separated list of patterns names the host. A pattern after
/// `!` excludes the hosts it names.
fn matches(patterns: &str, name: &str) -> bool {
    let mut matched = false;
    for pattern in patterns.to_lowercase().split(',') {
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

fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
