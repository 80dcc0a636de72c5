//! What the SSH layer calls: for the server's host key, and at the end of a connection.

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKeyOrCertificate;

use super::error::SftpError;
use super::host_keys::{Accepted, HostKeys};
use super::session::CloseReason;

/// The SSH layer's callbacks.
pub(super) struct Client {
    pub host_keys: HostKeys,
    pub close_reason: CloseReason,
}

/// Why the SSH layer gave up.
#[derive(Debug)]
pub(super) enum ClientError {
    Ssh(russh::Error),
    HostKey(Box<SftpError>),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let host_keys = self.host_keys.clone();
        let key = offered.public_key();
        let check = tokio::task::spawn_blocking(move || host_keys.check(&key));
        let checked = check.await.map_err(|error| russh::Error::IO(error.into()))?;
        match checked {
            Ok(Accepted::Known) => {}
            Ok(Accepted::New) => self.host_keys.announce(&offered.public_key()),
            Err(error) => return Err(ClientError::HostKey(Box::new(error))),
        }
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let words = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => info.message.clone(),
            DisconnectReason::Error(ClientError::Ssh(error)) => error.to_string(),
            DisconnectReason::Error(ClientError::HostKey(error)) => error.to_string(),
        };
        // Only the first reason counts.
        let _ = self.close_reason.set(words);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}
