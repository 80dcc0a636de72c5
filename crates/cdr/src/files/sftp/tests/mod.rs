//! The sink against servers that work, that fail, and that go away.

mod host_keys;
mod login;
mod loss;
#[cfg(feature = "real-services")]
mod openssh;
mod proxy;
mod server;
mod slow;
mod uploads;
mod wire;

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::task::JoinSet;

use self::server::{PASSWORD, Server, USER};
use super::{HostKeyPolicy, SftpConfig, SftpError, SftpSink, UploadMode};
use crate::files::temporary::final_name;
use crate::files::{FileSink, FileSinkError, PublishCondition, Unconditional};
use crate::secret::Secret;

/// A configuration for a server of these tests. `home` holds `known_hosts`.
fn config(port: u16, home: &TempDir) -> SftpConfig {
    SftpConfig {
        host: "127.0.0.1".to_owned(),
        port,
        user: USER.to_owned(),
        password: Some(Secret::new(PASSWORD.to_owned())),
        key_file: None,
        key_passphrase: None,
        use_agent: false,
        known_hosts: home.path().join("ssh/known_hosts"),
        host_key_policy: HostKeyPolicy::AcceptNew,
        remote_path: ".".to_owned(),
        upload_mode: UploadMode::Rename,
        fsync: true,
        in_flight: 4,
        connections: 2,
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
        keepalive: Duration::from_secs(5),
        give_up_after: Duration::from_secs(30),
        start_hint: "Start it.".to_owned(),
    }
}

/// What a sink does, with its own errors.
impl SftpSink {
    async fn connect(&self) -> Result<(), SftpError> {
        own(self.open().await)
    }

    async fn put(
        &self,
        name: &str,
        content: &[u8],
        condition: &dyn PublishCondition,
    ) -> Result<u64, SftpError> {
        own(FileSink::put(self, name, Arc::new(content.to_vec()), condition).await)
    }
}

fn own<T>(outcome: Result<T, FileSinkError>) -> Result<T, SftpError> {
    outcome.map_err(|error| match error {
        FileSinkError::Sftp(error) => error,
        other => panic!("{other}"),
    })
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Fails a test that hangs.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(60), work).await;
    done.expect("the test took longer than a minute")
}

/// The content of the file with this number: differs in all places.
fn content(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + place / 251 + number * 7) as u8).collect()
}

/// Uploads files of `length` bytes numbered as `numbers`, all at once.
async fn put_all(
    store: &SftpSink,
    numbers: std::ops::Range<usize>,
    length: usize,
) -> Vec<Result<u64, SftpError>> {
    let uploads = numbers.map(|number| async move {
        let content = content(number, length);
        store.put(&format!("{number}.csv"), &content, &Unconditional).await
    });
    join_all(uploads).await
}

/// Sees that the files, and nothing else, are there with their content.
fn check_files(server: &Server, numbers: std::ops::Range<usize>, length: usize) {
    check_folder(server.root.path(), numbers, length);
}

/// The same for a folder; what attempts over lost connections left behind does not count.
fn check_folder(folder: &Path, numbers: std::ops::Range<usize>, length: usize) {
    for number in numbers.clone() {
        let found = std::fs::read(folder.join(format!("{number}.csv"))).unwrap();
        assert!(found == content(number, length), "content of {number}.csv");
    }
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let count = names.filter(|name| final_name(name).is_none()).count();
    assert_eq!(count, numbers.len());
}

/// The log of this thread's tasks, from the call on.
fn capture_log() -> (Log, tracing::subscriber::DefaultGuard) {
    /// While there is a single subscriber, a log statement that another thread
    /// reaches first, without it, is taken for one that nobody wants to see.
    static ANOTHER: OnceLock<tracing::Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| {
        let ignoring = tracing_subscriber::fmt().with_writer(std::io::sink);
        tracing::Dispatch::new(ignoring.finish())
    });
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines that contain `text`.
    fn lines_with(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
