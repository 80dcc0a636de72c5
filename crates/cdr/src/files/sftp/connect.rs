//! From a host name to an SFTP session: resolve, connect, check the host key, log in, start the subsystem.

use std::borrow::Cow;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelMsg, Disconnect, Preferred, SshId, cipher};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::auth::Login;
use super::client::{Client, ClientError};
use super::config::SftpConfig;
use super::error::SftpError;
use super::host_keys::HostKeys;
use super::session::{CloseReason, Session};

/// Messages from the server that may wait for the session to read them.
const INCOMING_MESSAGES: usize = 256;
/// What one read from the socket takes at most. Replies are small and come in groups; without a buffer each
/// would cost two system calls.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// Makes connections to one server, all alike.
pub(super) struct Connector {
    pub(super) config: Arc<SftpConfig>,
    pub(super) login: Login,
    /// Whether the remote folder is made when it is missing.
    writable: bool,
}

/// A connection on which files can be uploaded.
pub(super) struct Connection {
    pub(super) session: Session,
    ssh: Handle<Client>,
}

impl Connection {
    /// Whether the connection cannot be used any more.
    pub(super) fn is_lost(&self) -> bool {
        self.ssh.is_closed() || self.session.is_lost()
    }

    /// Disconnects from the server.
    pub(super) async fn close(&self) {
        // It may have gone already.
        let _ = self.ssh.disconnect(Disconnect::ByApplication, "done", "en").await;
    }
}

impl Connector {
    pub(super) fn new(config: &SftpConfig, writable: bool) -> Result<Self, SftpError> {
        let config = Arc::new(config.clone());
        Ok(Self { login: Login::new(&config)?, config, writable })
    }

    /// Makes one attempt, within the configured time.
    pub(super) async fn connect(&self) -> Result<Connection, SftpError> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let stream = self.reach(deadline).await?;
        let close_reason = CloseReason::default();
        let mut ssh =
            self.within(deadline, "exchanging keys", self.shake_hands(stream, &close_reason)).await?;
        self.within(deadline, "logging in", self.login.run(&mut ssh)).await?;
        let session = self.start(&ssh, close_reason);
        let session = self.within(deadline, "starting SFTP", session).await?;
        if self.writable {
            session.ensure_folder().await?;
        }
        Ok(Connection { session, ssh })
    }

    /// Connects to the first of the host's addresses that answers.
    async fn reach(&self, deadline: Instant) -> Result<TcpStream, SftpError> {
        let resolving = async {
            let found = tokio::net::lookup_host((self.config.host.as_str(), self.config.port)).await;
            let found = found.map(Iterator::collect::<Vec<_>>);
            found.map_err(|error| self.unresolved(error.to_string()))
        };
        let addresses = self.within(deadline, "resolving its name", resolving).await?;
        let mut last = self.unresolved("it has no address".to_owned());
        for (index, address) in addresses.iter().enumerate() {
            // A share of the time for each, so that one that swallows packets does not keep the others from
            // being tried.
            let share = (addresses.len() - index) as u32;
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / share;
            match self.within(until, "connecting", self.open(*address)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, address: SocketAddr) -> Result<TcpStream, SftpError> {
        let opened = TcpStream::connect(address).await.and_then(|stream| {
            // Requests must not wait for the acknowledgement of earlier ones.
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        opened.map_err(|error| {
            let address = self.config.address();
            if error.kind() == ErrorKind::ConnectionRefused {
                return SftpError::Refused { address, hint: self.config.start_hint.clone() };
            }
            SftpError::Unreachable { address, detail: error.to_string() }
        })
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        close_reason: &CloseReason,
    ) -> Result<Handle<Client>, SftpError> {
        let host_keys = HostKeys { config: Arc::clone(&self.config) };
        let config = Arc::new(self.ssh_config(&host_keys)?);
        let stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        let client = Client { host_keys, close_reason: Arc::clone(close_reason) };
        let shaken = client::connect_stream(config, stream, client).await;
        shaken.map_err(|error| match error {
            ClientError::HostKey(error) => *error,
            ClientError::Ssh(error) => self.broken(&error),
        })
    }

    async fn start(
        &self,
        ssh: &Handle<Client>,
        close_reason: CloseReason,
    ) -> Result<Session, SftpError> {
        let broken = |error: russh::Error| self.broken(&error);
        let mut channel = ssh.channel_open_session().await.map_err(broken)?;
        channel.request_subsystem(true, "sftp").await.map_err(broken)?;
        if !is_granted(&mut channel).await {
            return Err(self.config.protocol("it refuses the SFTP subsystem".to_owned()));
        }
        Session::start(channel, Arc::clone(&self.config), close_reason).await
    }

    fn ssh_config(&self, host_keys: &HostKeys) -> Result<client::Config, SftpError> {
        let keepalive = Some(self.config.keepalive).filter(|interval| !interval.is_zero());
        let id = concat!("SSH-2.0-cdr_", env!("CARGO_PKG_VERSION"));
        Ok(client::Config {
            client_id: SshId::Standard(Cow::Borrowed(id)),
            channel_buffer_size: INCOMING_MESSAGES,
            preferred: Preferred {
                key: Cow::Owned(host_keys.algorithms()?),
                cipher: Cow::Borrowed(ciphers()),
                ..Preferred::DEFAULT
            },
            keepalive_interval: keepalive,
            // The answers to keepalives count as activity. What this catches is a write that never ends,
            // during which no keepalive is sent.
            inactivity_timeout: keepalive.map(|interval| interval * 4 + self.config.request_timeout),
            ..client::Config::default()
        })
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        stage: &'static str,
        work: impl Future<Output = Result<T, SftpError>>,
    ) -> Result<T, SftpError> {
        let done = timeout_at(deadline, work).await;
        done.unwrap_or_else(|_| {
            let (address, limit) = (self.config.address(), self.config.connect_timeout);
            Err(SftpError::Timeout { address, stage, seconds: limit.as_secs_f64() })
        })
    }

    fn unresolved(&self, detail: String) -> SftpError {
        let (host, hint) = (self.config.host.clone(), self.config.start_hint.clone());
        SftpError::UnresolvedHost { host, detail, hint }
    }

    fn broken(&self, error: &russh::Error) -> SftpError {
        match error {
            russh::Error::NoCommonAlgo { .. } | russh::Error::Version => {
                self.config.protocol(error.to_string())
            }
            russh::Error::HUP | russh::Error::Disconnect => {
                self.config.lost("closed by the server before the login".to_owned())
            }
            _ => self.config.lost(error.to_string()),
        }
    }
}

async fn is_granted(channel: &mut Channel<Msg>) -> bool {
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Success => return true,
            ChannelMsg::Failure | ChannelMsg::Close => return false,
            _ => {}
        }
    }
    false
}

/// The ciphers to offer, fastest first. AES-GCM is several times as fast as ChaCha20 in OpenSSH's server
/// where the processor has AES instructions, as all but small ones have; the server's is the slower side.
fn ciphers() -> &'static [cipher::Name] {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has_aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    if has_aes {
        const {
            &[
                cipher::AES_128_GCM,
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]
        }
    } else {
        Preferred::DEFAULT.cipher.as_ref()
    }
}
