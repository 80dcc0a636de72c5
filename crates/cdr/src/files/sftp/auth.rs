//! Logging in: ssh-agent, key file, password, in this order, as configured.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Interactive};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;

use super::client::Client;
use super::config::SftpConfig;
use super::error::SftpError;
use crate::secret::Secret;

/// Rounds of questions to answer with the password at most: a server may prompt again and again.
const INTERACTIVE_ROUNDS_MAX: usize = 4;

/// What the user has to log in with.
pub(super) struct Login {
    config: Arc<SftpConfig>,
    key: Option<Arc<PrivateKey>>,
    /// Where the ssh-agent is, if the environment names it.
    pub(super) agent: Option<OsString>,
}

impl Login {
    /// Reads and decrypts the key file, if there is one.
    pub(super) fn new(config: &Arc<SftpConfig>) -> Result<Self, SftpError> {
        if config.password.is_none() && config.key_file.is_none() && !config.use_agent {
            let (address, user) = (config.address(), config.user.clone());
            return Err(SftpError::NoCredentials { address, user });
        }
        let key = config.key_file.as_deref();
        let key = key.map(|path| load_key(path, config.key_passphrase.as_ref()));
        Ok(Self {
            config: Arc::clone(config),
            key: key.transpose()?.map(Arc::new),
            agent: std::env::var_os("SSH_AUTH_SOCK"),
        })
    }

    /// Logs in on a fresh connection.
    pub(super) async fn run(&self, ssh: &mut Handle<Client>) -> Result<(), SftpError> {
        let mut attempts = Attempts { login: self, ssh, tried: Vec::new(), offered: None };
        match attempts.all().await {
            Ok(true) => Ok(()),
            // A server ends the connection after too many refusals.
            Ok(false) | Err(_) if attempts.offered.is_some() => Err(attempts.refused()),
            Ok(false) => Err(self.config.lost("the server ended the login".to_owned())),
            Err(error) => Err(self.config.lost(error.to_string())),
        }
    }

    /// The agent, and the keys that it holds.
    async fn identities(&self) -> Result<(AgentClient<UnixStream>, Vec<PublicKey>), keys::Error> {
        let path = self.agent.as_ref().ok_or(keys::Error::EnvVar("SSH_AUTH_SOCK"))?;
        let mut agent = AgentClient::connect_uds(path).await?;
        let identities = agent.request_identities().await?.into_iter();
        let keys = identities.filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, .. } => Some(key),
            AgentIdentity::Certificate { .. } => None,
        });
        Ok((agent, keys.collect()))
    }
}

/// One login under way.
struct Attempts<'a> {
    login: &'a Login,
    ssh: &'a mut Handle<Client>,
    /// What was tried, for the error.
    tried: Vec<String>,
    /// The methods that the server offered; nothing before the first refusal.
    offered: Option<MethodSet>,
}

impl Attempts<'_> {
    async fn all(&mut self) -> Result<bool, russh::Error> {
        if self.login.config.use_agent && self.may(MethodKind::PublicKey) && self.agent().await? {
            return Ok(true);
        }
        if let Some(key) = self.login.key.clone()
            && self.may(MethodKind::PublicKey)
            && self.key(key).await?
        {
            return Ok(true);
        }
        let Some(password) = &self.login.config.password else { return self.nothing().await };
        if self.may(MethodKind::Password) && self.password(password).await? {
            return Ok(true);
        }
        // Where the server takes plain passwords, this one was wrong, and to try it in another way would
        // only count as another failure.
        let instead = !self.offers(MethodKind::Password);
        Ok(instead && self.offers(MethodKind::KeyboardInteractive) && self.interactive(password).await?)
    }

    async fn agent(&mut self) -> Result<bool, russh::Error> {
        let (mut agent, keys) = match self.login.identities().await {
            Ok(found) => found,
            Err(error) => {
                self.tried.push(format!("ssh-agent ({error})"));
                return Ok(false);
            }
        };
        if keys.is_empty() {
            self.tried.push("ssh-agent (it holds no keys)".to_owned());
        }
        for key in keys {
            self.tried.push(format!("ssh-agent key {}", describe(&key)));
            let hash = self.rsa_hash(&key).await?;
            let user = &self.login.config.user;
            match self.ssh.authenticate_publickey_with(user, key, hash, &mut agent).await {
                Ok(result) if self.note(&result) => return Ok(true),
                Ok(_) => {}
                Err(error) => self.tried.push(format!("(ssh-agent: {error})")),
            }
            if !self.may(MethodKind::PublicKey) {
                break;
            }
        }
        Ok(false)
    }

    async fn key(&mut self, key: Arc<PrivateKey>) -> Result<bool, russh::Error> {
        let public = key.public_key();
        self.tried.push(format!("key file {}", describe(public)));
        let hash = self.rsa_hash(public).await?;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let result = self.ssh.authenticate_publickey(&self.login.config.user, key).await?;
        Ok(self.note(&result))
    }

    async fn password(&mut self, password: &Secret) -> Result<bool, russh::Error> {
        self.tried.push("password".to_owned());
        let user = &self.login.config.user;
        let result = self.ssh.authenticate_password(user, password.expose()).await?;
        Ok(self.note(&result))
    }

    /// Answers each question with the password.
    async fn interactive(&mut self, password: &Secret) -> Result<bool, russh::Error> {
        self.tried.push("keyboard-interactive".to_owned());
        let user = &self.login.config.user;
        let mut response = self.ssh.authenticate_keyboard_interactive_start(user, None).await?;
        for _ in 0..INTERACTIVE_ROUNDS_MAX {
            let prompts = match response {
                Interactive::InfoRequest { prompts, .. } => prompts,
                Interactive::Success => return Ok(true),
                Interactive::Failure { remaining_methods, .. } => {
                    self.offered = Some(remaining_methods);
                    return Ok(false);
                }
            };
            let answers = vec![password.expose().to_owned(); prompts.len()];
            response = self.ssh.authenticate_keyboard_interactive_respond(answers).await?;
        }
        Ok(matches!(response, Interactive::Success))
    }

    /// Queries what the server offers, when there was nothing to try. A server that lets everybody in does so
    /// here.
    async fn nothing(&mut self) -> Result<bool, russh::Error> {
        if self.offered.is_some() || self.ssh.is_closed() {
            return Ok(false);
        }
        let result = self.ssh.authenticate_none(&self.login.config.user).await?;
        Ok(self.note(&result))
    }

    /// Whether the login is complete; keeps what the server offers if not.
    fn note(&mut self, result: &AuthResult) -> bool {
        // The end of the connection comes as an empty list, which is not what the server offers.
        if let AuthResult::Failure { remaining_methods, .. } = result
            && !self.ssh.is_closed()
        {
            self.offered = Some(remaining_methods.clone());
        }
        result.success()
    }

    /// Whether there is a point in trying `method`.
    fn may(&self, method: MethodKind) -> bool {
        !self.ssh.is_closed() && (self.offered.is_none() || self.offers(method))
    }

    fn offers(&self, method: MethodKind) -> bool {
        let offered = self.offered.as_ref();
        !self.ssh.is_closed() && offered.is_some_and(|offered| offered.contains(&method))
    }

    /// The hash an RSA key signs with: the best the server names, and never SHA-1. Other keys need none.
    async fn rsa_hash(&self, key: &PublicKey) -> Result<Option<HashAlg>, russh::Error> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let best = self.ssh.best_supported_rsa_hash().await?;
        Ok(Some(best.flatten().unwrap_or(HashAlg::Sha512)))
    }

    fn refused(&self) -> SftpError {
        let offered: Vec<&str> =
            (self.offered.iter()).flat_map(|methods| methods.iter().map(<&str>::from)).collect();
        SftpError::AuthFailed {
            address: self.login.config.address(),
            user: self.login.config.user.clone(),
            tried: self.tried.join(", "),
            offered: if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") },
        }
    }
}

const MISSING_PASSPHRASE: &str = "is encrypted and no passphrase is configured: set the key passphrase";

fn load_key(path: &Path, passphrase: Option<&Secret>) -> Result<PrivateKey, SftpError> {
    let error = |problem: String| SftpError::KeyFile { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path)
        .map_err(|cause| error(format!("cannot be read ({cause}): check path and permissions")))?;
    let decoded = keys::decode_secret_key(&text, passphrase.map(Secret::expose));
    decoded.map_err(|cause| match (is_encrypted(&text), passphrase) {
        (true, None) => error(MISSING_PASSPHRASE.to_owned()),
        (true, Some(_)) => error("cannot be decrypted: the configured passphrase is wrong".to_owned()),
        (false, _) => error(format!(
            "holds no private key that can be used ({cause}): \
             give one in OpenSSH format, as ssh-keygen makes it"
        )),
    })
}

/// Whether the key in `text` needs a passphrase. PEM and PKCS#8 show it in a line of text, OpenSSH's format
/// within.
fn is_encrypted(text: &str) -> bool {
    text.contains("ENCRYPTED")
        || matches!(keys::decode_secret_key(text, None), Err(keys::Error::KeyIsEncrypted))
}

/// What distinguishes a key from others, and may be shown.
fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}
