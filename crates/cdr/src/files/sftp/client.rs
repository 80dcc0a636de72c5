//! What the SSH layer calls: for the server's host key, and at the end of a connection.

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKeyOrCertificate;

use super::error::SftpError;
use super::host_keys::{Accepted, HostKeys};
use super::session::CloseReason;

pub(super) struct Client {
    pub(super) host_keys: HostKeys,
    pub(super) close_reason: CloseReason,
}

/// Why the SSH layer gave up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    #[error(transparent)]
    HostKey(Box<SftpError>),
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let (host_keys, key) = (self.host_keys.clone(), offered.public_key());
        let check = tokio::task::spawn_blocking(move || host_keys.check(&key));
        match check.await.map_err(|error| russh::Error::IO(error.into()))? {
            Ok(Accepted::Known) => {}
            Ok(Accepted::New) => self.host_keys.announce(&offered.public_key()),
            Err(error) => return Err(ClientError::HostKey(Box::new(error))),
        }
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let (words, outcome) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message, Ok(())),
            DisconnectReason::Error(error) => (error.to_string(), Err(error)),
        };
        // Only the first reason counts.
        let _ = self.close_reason.set(words);
        outcome
    }
}
