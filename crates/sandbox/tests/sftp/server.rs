//! A server in a temporary folder.

use std::path::PathBuf;
use std::time::Duration;

use cdr_sandbox::fault::Faults;
use cdr_sandbox::sftp::{Config, Operation, Server};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes long; what takes longer hangs.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Running {
    pub port: u16,
    pub faults: Faults<Operation>,
    pub fingerprint: String,
    /// As it stands in `known_hosts`, after the server's name.
    pub host_key: String,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("root"), folder.path().join("host_key"));
        change(&mut config);
        let server = Server::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (faults, fingerprint) = (server.faults(), server.host_key_fingerprint());
        let host_key = server.host_key().to_openssh().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
        Self { port, faults, fingerprint, host_key, folder, stop, serving }
    }

    /// A path in the folder that clients see.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// A path beside the folder that clients see.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the server, and waits until it has ended; the files stay until the folder is dropped.
    pub async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        timeout(TIMEOUT, self.serving).await.expect("the server does not end").unwrap();
        self.folder
    }
}
