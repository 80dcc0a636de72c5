//! Servers in this process, and processes that deliver to them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use cdr_sandbox::fault::Faults;
use cdr_sandbox::{kafka, sftp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take before its test fails, also on a machine with other work to do.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often a condition is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Both servers, and a folder for them and for those who use them.
pub struct Sandbox {
    pub folder: TempDir,
    pub sftp: Faults<sftp::Operation>,
    pub kafka: Faults<kafka::ApiKey>,
    ports: [u16; 2],
    /// Dropped to end them.
    stop: Vec<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends last.
    runtime: Runtime,
}

impl Sandbox {
    pub fn start() -> Sandbox {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let settings = sftp::Config::new(folder.path().join("sftp"), folder.path().join("host_key"));
        let server = sftp::Server::open(settings).expect("an SFTP server");
        let settings = kafka::Config::new(folder.path().join("kafka"));
        let broker = kafka::Broker::open(settings).expect("a broker");
        let (sftp_faults, kafka_faults) = (server.faults(), broker.faults());
        let listen = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let listeners = [listen(), listen()];
        let ports = listeners.each_ref().map(|listener| listener.local_addr().expect("a port").port());
        let [of_sftp, of_kafka] = listeners;
        let ((stop_sftp, sftp_stops), (stop_kafka, kafka_stops)) =
            (oneshot::channel(), oneshot::channel());
        let tasks = vec![
            runtime.spawn(async move { server.serve(of_sftp, async { drop(sftp_stops.await) }).await }),
            runtime.spawn(async move {
                let served = broker.serve(of_kafka, async { drop(kafka_stops.await) }).await;
                served.expect("the broker serves");
            }),
        ];
        Sandbox {
            folder,
            sftp: sftp_faults,
            kafka: kafka_faults,
            ports,
            stop: vec![stop_sftp, stop_kafka],
            tasks,
            runtime,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `cdr` with a subcommand, for a job of 40 parts in 16 transactions.
    fn cdr(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        let [sftp, kafka] = self.ports;
        command
            .arg(subcommand)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("CDR_ENV", "dev")
            .env("TOTAL_SECONDS", "8000")
            .env("LINE_COUNT", "200")
            .env("KAFKA_TRANSACTION_RECORDS", "1000")
            .env("SFTP_HOST", "127.0.0.1")
            .env("SFTP_PORT", sftp.to_string())
            .env("SFTP_KNOWN_HOSTS", self.path("known_hosts"))
            .env("KAFKA_BROKERS", format!("127.0.0.1:{kafka}"))
            .env("PROGRESS", "lines");
        command
    }

    /// The job, to be started.
    pub fn run(&self) -> Job {
        Job { command: self.cdr("run"), folder: self.folder.path().to_owned() }
    }

    /// The stream processor, to be started. It stores after every so many messages.
    pub fn process(&self, batch: usize) -> Job {
        let mut command = self.cdr("process");
        command.env("PROCESS_BATCH_RECORDS", batch.to_string());
        command.env("API_PORT", "0").env("METRICS_PORT", "0");
        Job { command, folder: self.folder.path().to_owned() }
    }

    /// Ends the broker; its clients are on their own from now on.
    pub fn stop_broker(&mut self) {
        self.stop.truncate(1);
    }

    /// Where the broker listens.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    pub fn start_run(&self) -> Running {
        self.run().start("run.log")
    }

    /// Fails unless all was delivered, once.
    pub fn verify(&self, what: &str) {
        self.verify_with(what, &[]);
    }

    /// What `cdr verify` reports of a run with some settings; fails unless all is right.
    pub fn verified(&self, what: &str, variables: &[(&str, &str)]) -> String {
        let output = self.cdr("verify").envs(variables.iter().copied()).output();
        let output = output.expect("cdr verify starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{what}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The same for a run with some other settings.
    pub fn verify_with(&self, what: &str, variables: &[(&str, &str)]) {
        let text = self.verified(what, variables);
        for line in [
            "Run cdr, 40 parts: finished",
            "topic cdr_data: 8,000 of 8,000 records\n",
            "topic cdr_voice: 8,000 of 8,000 records\n",
            ": 80 of 80 right\n",
            "All is right",
        ] {
            assert!(text.contains(line), "{what}: no {line:?} in:\n{text}");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.clear();
        for task in self.tasks.drain(..) {
            let ended = self.runtime.block_on(async { tokio::time::timeout(LIMIT, task).await });
            if !std::thread::panicking() {
                ended.expect("a server ends in time").expect("a server ends well");
            }
        }
    }
}

/// A command line of `cdr run` and its environment.
pub struct Job {
    command: Command,
    folder: PathBuf,
}

impl Job {
    /// Sets an environment variable.
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.command.env(variable, value);
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts it; its log goes to a file.
    pub fn start(mut self, log: &str) -> Running {
        let log = self.folder.join(log);
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Running { child: self.command.spawn().expect("cdr starts"), log }
    }
}

/// A job that is at work; it does not outlive the test.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits until something has come about; fails when the job ends before.
    pub fn wait_until(&mut self, what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().expect("its state is known");
            assert!(ended.is_none() || condition(), "{what}: the job ended before: {}", self.log());
            assert!(begun.elapsed() < LIMIT, "{what} does not come about: {}", self.log());
            pause();
        }
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }

    pub fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        command.args([&format!("-{name}"), &self.child.id().to_string()]);
        assert!(command.status().expect("kill starts").success(), "SIG{name}");
    }

    /// Halts it, and waits until it is.
    pub fn halt(&mut self) {
        self.signal("STOP");
        let begun = Instant::now();
        while !self.is_halted() {
            assert!(begun.elapsed() < LIMIT, "SIGSTOP does not halt it");
            pause();
        }
    }

    /// Whether it is halted, which it is a moment after SIGSTOP was sent.
    pub fn is_halted(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        state.is_ok_and(|state| state.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")))
    }

    /// Waits for its end, and fails unless that is by this exit code; gives the log.
    pub fn fails(mut self, code: i32) -> String {
        let status = self.end("the job");
        assert_eq!(status.code(), Some(code), "{}", self.log());
        self.log()
    }

    /// Its log file.
    pub fn path(&self) -> &Path {
        &self.log
    }

    /// Sends it SIGTERM, and fails unless it does so well.
    pub fn terminate(mut self) {
        self.signal("TERM");
        let status = self.end("SIGTERM");
        assert_eq!(status.code(), Some(143), "{}", self.log());
    }

    /// Waits for its end, and fails unless that is good.
    pub fn complete(mut self, what: &str) {
        let status = self.end(what);
        assert!(status.success(), "{what}: {status}: {}", self.log());
    }

    fn end(&mut self, what: &str) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state is known") {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: the job does not end: {}", self.log());
            pause();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, mostly.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Before a condition is looked at again.
#[expect(clippy::disallowed_methods, reason = "nothing else runs in the test's thread")]
pub fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// `cdr` in a folder, with a clean environment.
pub fn cdr(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
    command.args(arguments.split_whitespace()).current_dir(folder);
    command.env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}

/// Standard output of a command that must have ended well.
pub fn out(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}\n{err}", output.status);
    out.into_owned()
}
