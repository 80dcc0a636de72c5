//! What the SFTP sink needs to know of its server.

use std::path::PathBuf;
use std::time::Duration;

use super::error::SftpError;
use crate::secret::Secret;
use crate::settings::{
    ConfigError, Resolved, choice, is_host, nested, path, seconds, secret, settings, switch, text,
    whole, word,
};

choice! {
    /// What to do with a host key that `known_hosts` does not have. A key that
    /// differs from a recorded one is always refused.
    HostKeyPolicy {
        /// Record it, and log it.
        AcceptNew = "accept-new",
        /// Refuse it.
        Strict = "strict",
    }
}

choice! {
    /// How a file comes to stand under its name.
    UploadMode {
        /// Written under a temporary name, checked, then renamed: who sees `NAME` sees
        /// all of it.
        Rename = "rename",
        /// Written as `NAME` at once, for servers or users without renaming.
        Direct = "direct",
    }
}

settings! {
    /// Where and how to upload. Passwords are secrets: `Debug` prints `***`.
    pub struct SftpConfig in "sftp" {
        /// SFTP server
        pub host: String = text("SFTP_HOST", "a host name or address", is_host)
            .value("HOST").dev_prod("localhost", "sftp"),
        /// port of the SFTP server
        pub port: u16 = whole("SFTP_PORT", 1..=65_535).value("PORT").dev_prod("10022", "22"),
        /// user at the SFTP server
        pub user: String =
            text("SFTP_USER", "a user name", |_| true).value("NAME").default("cdr_data"),
        /// Also answers keyboard-interactive prompts when the server refuses
        /// the method `password`.
        pub password: Option<Secret> = nested(password),
        /// private key to sign in with: OpenSSH, PEM or PKCS#8
        pub key_file: Option<PathBuf> = path("SFTP_KEY_FILE").value("FILE").optional(),
        /// passphrase of the private key
        pub key_passphrase: Option<Secret> = secret("SFTP_KEY_PASSPHRASE").optional(),
        /// sign in with the keys of the SSH agent at SSH_AUTH_SOCK
        pub use_agent: bool = switch("SFTP_AGENT"),
        /// folder on the server; relative to the user's home there
        pub remote_path: String =
            text("SFTP_REMOTE_PATH", "a path on the server", |_| true).value("PATH").default("."),
        /// known host keys; without HOME: known_hosts in the working folder
        pub known_hosts: PathBuf =
            path("SFTP_KNOWN_HOSTS").value("FILE").in_home("~/.ssh/known_hosts", "known_hosts"),
        /// whether to accept a server that is not known yet; a changed key never is
        pub host_key_policy: HostKeyPolicy =
            word("SFTP_HOST_KEY_POLICY", HostKeyPolicy::NAMES, HostKeyPolicy::from_name)
                .value("POLICY").default("accept-new"),
        /// upload under a temporary name and rename, or directly under the final name
        pub upload_mode: UploadMode =
            word("SFTP_UPLOAD_MODE", UploadMode::NAMES, UploadMode::from_name)
                .value("MODE").default("rename"),
        /// have the server write each file to its disk before it gets its name, where it can
        pub fsync: bool = switch("SFTP_FSYNC").default("true"),
        /// connections to the server
        pub connections: usize = whole("SFTP_CONNECTIONS", 1..=64).default("2"),
        /// files uploaded at once, over all connections
        pub in_flight: usize = whole("SFTP_IN_FLIGHT", 1..=256).default("16"),
        /// how long to wait for a connection and sign-in, in seconds
        pub connect_timeout: Duration = seconds("SFTP_CONNECT_TIMEOUT_SECONDS", 1..=600).default("10"),
        /// how long to wait for an answer, in seconds
        pub request_timeout: Duration =
            seconds("SFTP_REQUEST_TIMEOUT_SECONDS", 1..=3_600).default("30"),
        /// idle time after which a keepalive is sent, in seconds
        pub keepalive: Duration = seconds("SFTP_KEEPALIVE_SECONDS", 1..=3_600).default("15"),
        /// how long to keep trying an unreachable server, in seconds
        pub give_up_after: Duration = seconds("SFTP_GIVE_UP_SECONDS", 1..=604_800).default("300"),
        /// A sentence on what helps when the server is not there.
        pub start_hint: String = nested(start_hint),
    }
}

settings! {
    /// The two ways to give a password.
    pub struct PasswordSettings in "sftp" {
        /// password at the SFTP server
        pub password: Option<Secret> = secret("SFTP_PASSWORD").optional().default("password"),
        /// file that holds the password; an end of line after it is removed
        pub password_file: Option<PathBuf> = path("SFTP_PASSWORD_FILE").value("FILE").optional(),
    }
}

/// The password file is only set where it won over the password.
fn password(settings: PasswordSettings, values: &Resolved) -> Result<Option<Secret>, ConfigError> {
    let Some(path) = settings.password_file else { return Ok(settings.password) };
    let from = format!("{} from {}", path.display(), values.value("sftp.password_file")?.origin);
    let text = (values.read_file)(&path).map_err(|error| {
        ConfigError::reading(format!("sftp.password_file: cannot read {from}"), error)
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        return Err(ConfigError::new(format!("sftp.password_file: {from} is empty")));
    }
    Ok(Some(Secret::new(password)))
}

/// The environment's own server is that of the Compose file; of another one nobody here knows how it is
/// started.
fn start_hint((): (), values: &Resolved) -> Result<String, ConfigError> {
    let hint = match values.is_default("sftp.host") && values.is_default("sftp.port") {
        true => "Start it with: docker-compose up -d sftp",
        false => "Check SFTP_HOST and SFTP_PORT",
    };
    Ok(hint.to_owned())
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

    /// The remote folder: absolute, or relative to the login folder; `.` is that itself.
    pub(super) fn folder(&self) -> &str {
        match self.remote_path.trim_end_matches('/') {
            "" if self.remote_path.is_empty() => ".",
            "" => "/",
            trimmed => trimmed,
        }
    }

    /// The path of the file `name` in the remote folder.
    pub(super) fn path(&self, name: &str) -> String {
        match self.folder() {
            "." => name.to_owned(),
            "/" => format!("/{name}"),
            folder => format!("{folder}/{name}"),
        }
    }

    pub(super) fn lost(&self, detail: String) -> SftpError {
        SftpError::ConnectionLost { address: self.address(), detail }
    }

    pub(super) fn protocol(&self, detail: String) -> SftpError {
        SftpError::Protocol { address: self.address(), detail }
    }
}
