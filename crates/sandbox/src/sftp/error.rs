//! Why a server cannot be.

use std::io;
use std::path::PathBuf;

/// Why a server cannot be opened. Each has its cause in its own text, and no source that would repeat it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder for the files is not one, or cannot be made or opened.
    #[error("the folder for SFTP, {folder}, cannot be used: {error}; name another, or make it writable",
        folder = .folder.display())]
    Root { folder: PathBuf, error: io::Error },
    /// The server's key cannot be read or made.
    #[error("the SFTP server's key file {file} cannot be {action}: {error}; \
        name another, or make it and its folder accessible", file = .file.display())]
    HostKeyFile { file: PathBuf, action: &'static str, error: io::Error },
    /// Others than the owner may read the server's key.
    #[error("the SFTP server's key file {file} is open to others (mode {mode:03o}); \
        if it is still a secret, run: chmod 600 {file}", file = .file.display())]
    HostKeyExposed { file: PathBuf, mode: u32 },
    /// What is in the file is not a private key without a passphrase, in OpenSSH's format.
    #[error("the SFTP server's key file {file} holds no usable key: {detail}; \
        remove it to have a new one made, which clients will warn of", file = .file.display())]
    HostKeyInvalid { file: PathBuf, detail: String },
    /// The keys to log in with cannot be read.
    #[error("the keys to log in to the SFTP server with cannot be read from {file}: {detail}; \
        it should have lines like those of ~/.ssh/id_ed25519.pub, without options", file = .file.display())]
    AuthorizedKeys { file: PathBuf, detail: String },
    /// Nobody could log in.
    #[error("nobody can log in to the SFTP server: give it a password, or keys to accept")]
    NoLogin,
}
