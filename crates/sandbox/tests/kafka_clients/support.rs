//! Brokers, and programs to run against them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use cdr_sandbox::kafka::{Broker, Config};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No program here takes longer unless it hangs.
pub const TIMEOUT: Duration = Duration::from_secs(60);

const BROKER: &str = env!("CARGO_BIN_EXE_kafka-test-broker");

/// A broker in this process, with its data in a temporary folder.
pub struct Running {
    pub address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    data: TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::serve("127.0.0.1:0", tempfile::tempdir().unwrap()).await
    }

    async fn serve(address: &str, data: TempDir) -> Self {
        let broker = Broker::open(Config::new(data.path())).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async { broker.serve(listener, async { drop(stopped.await) }).await.unwrap() };
        Self { address, stop, serving: tokio::spawn(serve), data }
    }

    /// Bytes of the records of a topic's first partition, as they are on disk.
    pub fn topic_bytes(&self, topic: &str) -> u64 {
        let folder = self.data.path().join("topics").join(topic).join("0");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
        logs.map(|file| file.metadata().unwrap().len()).sum()
    }

    /// Ends the broker in good order, and starts another with the same data and address.
    pub async fn restart(self) -> Self {
        let Self { address, stop, serving, data } = self;
        stop.send(()).unwrap();
        timeout(TIMEOUT, serving).await.expect("the broker does not end").unwrap();
        Self::serve(&address, data).await
    }
}

/// A broker in a process of its own, which can be killed.
///
/// It listens on a loopback address that no client connects from: while it is away, its port can
/// neither be taken by a connection nor connect to itself.
pub struct Process {
    pub address: String,
    child: Child,
    folder: TempDir,
}

impl Process {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, address) = start_broker(folder.path(), "127.0.0.2:0").await;
        Self { address, child, folder }
    }

    /// Kills the broker in whatever it does, and starts another with the same data and address.
    pub async fn kill_and_restart(&mut self) {
        self.child.kill().await.unwrap();
        (self.child, _) = start_broker(self.folder.path(), &self.address).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("the broker's log:\n{log}");
        }
    }
}

async fn start_broker(folder: &Path, address: &str) -> (Child, String) {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(BROKER);
    command.arg(folder.join("data")).arg(address).env("NO_COLOR", "1").stderr(log);
    let (child, mut lines) = spawn_piped(&mut command);
    let address = next_line(&mut lines).await.expect("the broker does not start; see its log");
    (child, address)
}

/// A program that writes what it does to its standard output, line by line. Ends when it is dropped.
pub struct Program {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let name = name_of(command);
        let (child, lines) = spawn_piped(command);
        Self { name, child, lines }
    }

    /// The next line; `None` when the program has ended.
    pub async fn next(&mut self) -> Option<String> {
        next_line(&mut self.lines).await
    }

    /// Lines up to the first for which `wanted` holds, which comes last.
    pub async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
            if wanted(lines.last().unwrap()) {
                return lines;
            }
        }
        panic!("{} ended after {lines:#?}", self.name);
    }

    /// Kills the program in whatever it does.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Reads what is left, and expects a good end.
    pub async fn finish(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("it does not end").unwrap();
        assert!(status.success(), "{}: {status} after {lines:#?}", self.name);
        lines
    }
}

/// Its errors go to the test's.
fn spawn_piped(command: &mut Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    // The end of the input ends the broker, so it has one.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = spawn(command);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn spawn(command: &mut Command) -> Child {
    let install = "is it installed? scripts/install-test-services does that";
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}; {install}", name_of(command)))
}

fn name_of(command: &Command) -> String {
    format!("{:?}", command.as_std())
}

async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    timeout(TIMEOUT, lines.next_line()).await.expect("nothing more comes, and no end").unwrap()
}

/// Runs a program to its end with `input`; what it printed, if it went well.
pub async fn run(command: &mut Command, input: &str) -> String {
    let output = run_anyhow(command, input).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{printed}\n{errors}", name_of(command), output.status);
    printed
}

async fn run_anyhow(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().unwrap();
    let running = async {
        let write = async {
            // One that ends early has its reasons, which it prints.
            drop(stdin.write_all(input.as_bytes()).await);
            drop(stdin);
        };
        tokio::join!(write, child.wait_with_output()).1.unwrap()
    };
    timeout(TIMEOUT, running).await.unwrap_or_else(|_| panic!("{} hangs", name_of(command)))
}

/// A Python script of these tests, with the clients that are installed for it.
pub fn python(script: &str, function: &str, address: &str) -> Command {
    // The same folder as in scripts/lib/common.sh.
    let services = std::env::var_os("CDR_TEST_SERVICES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-services")),
        PathBuf::from,
    );
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka_clients"));
    let mut command = Command::new(services.join("venv/bin/python"));
    // It may be killed in the middle, so nothing waits in its buffers; and it leaves no files behind.
    command.args(["-u", "-B"]).arg(scripts.join(script)).args([function, address]);
    command
}
