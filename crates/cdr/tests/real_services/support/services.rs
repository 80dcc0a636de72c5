//! The services that the tests run against, from `scripts/services`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::process::Process;

/// Three Kafka brokers, an OpenSSH server, and a PostgreSQL server.
pub struct Services {
    dir: PathBuf,
    variables: BTreeMap<String, String>,
}

/// A script of the project's.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

impl Services {
    /// Those that every test uses, and leaves running.
    pub fn shared() -> &'static Services {
        static SHARED: LazyLock<Services> = LazyLock::new(Services::start);
        &SHARED
    }

    /// Others, which one test at a time may disturb.
    pub fn fragile() -> Fragile {
        static FRAGILE: LazyLock<Services> = LazyLock::new(Services::start);
        static TURN: Mutex<()> = Mutex::new(());
        // Whoever fails puts right what it disturbed.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Fragile { services: &FRAGILE, _turn: turn }
    }

    fn start() -> Services {
        let dir = tempfile::Builder::new().prefix("cdr-services-").tempdir().expect("a folder").keep();
        remove_after_us(&dir);
        let us = std::process::id().to_string();
        run("start", &dir, &["--postgres", "--parent", &us]);
        let text = fs::read_to_string(dir.join("services.env")).expect("services.env");
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Services { dir, variables }
    }

    /// A value of `services.env`.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("services.env has no {name}"))
    }

    pub fn brokers(&self) -> &str {
        self.variable("KAFKA_BROKERS")
    }

    /// Where uploaded files are on this machine's disk.
    pub fn sftp_root(&self) -> &Path {
        Path::new(self.variable("SFTP_ROOT"))
    }

    /// Mounts a small file system at a folder below the services' own, with options of mount(8).
    pub fn mount(&self, folder: &Path, options: &str) -> Mounted<'_> {
        let folder = folder.strip_prefix(&self.dir).expect("a folder of the services");
        let mounted = Mounted { dir: &self.dir, folder: folder.display().to_string() };
        run("mount", &self.dir, &[&mounted.folder, options]);
        mounted
    }

    /// A new folder for a test's own files; it goes with the services.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.join("tests").join(name);
        fs::create_dir_all(folder.parent().expect("has one")).expect("the folder can be made");
        fs::create_dir(&folder).expect("no other test has this name");
        folder
    }
}

fn run(verb: &str, dir: &Path, arguments: &[&str]) {
    let mut command = Command::new(script("services"));
    command.arg(verb).arg(dir).args(arguments);
    Process::start(command, None).end().expect(0);
}

/// Statics are never dropped, so a process of its own stops the services when this one has ended,
/// however it ended, and removes their folder.
fn remove_after_us(dir: &Path) {
    let us = std::process::id().to_string();
    let mut waiting = Command::new("python3");
    waiting.arg(script("lib/when-process-ends.py")).arg(us);
    waiting.args(["bash", "-c", r#""$0" stop "$1"; rm -rf "$1""#]).arg(script("services")).arg(dir);
    // In a process group of its own, Ctrl-C does not reach it.
    waiting.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[expect(clippy::zombie_processes, reason = "it outlives this process, which is what it is for")]
    waiting.spawn().expect("python3 runs");
}

/// Services that one test has for itself, to disturb them.
pub struct Fragile {
    pub services: &'static Services,
    _turn: MutexGuard<'static, ()>,
}

/// A disturbance that ends when this is dropped.
pub struct Disturbance<'a> {
    dir: &'a Path,
    undo: Vec<(&'static str, Vec<&'static str>)>,
}

impl Fragile {
    /// Halts all brokers with their connections open, as machines that hang.
    pub fn pause_brokers(&self) -> Disturbance<'_> {
        self.brokers("pause-broker", "resume-broker", &["1", "2", "3"])
    }

    /// Ends all brokers without warning.
    pub fn kill_brokers(&self) -> Disturbance<'_> {
        self.brokers("kill-broker", "start-broker", &["1", "2", "3"])
    }

    /// Ends one broker without warning.
    pub fn kill_broker(&self, number: &'static str) -> Disturbance<'_> {
        self.brokers("kill-broker", "start-broker", &[number])
    }

    /// Ends the SFTP server and its connections without warning.
    pub fn stop_sftp(&self) -> Disturbance<'_> {
        let disturbance = Disturbance { dir: &self.services.dir, undo: vec![("start-sftp", vec![])] };
        run("stop-sftp", &self.services.dir, &[]);
        disturbance
    }

    /// Halts the SFTP server and its connections, which stay open.
    pub fn pause_sftp(&self) -> Disturbance<'_> {
        run("pause-sftp", &self.services.dir, &[]);
        Disturbance { dir: &self.services.dir, undo: vec![("resume-sftp", vec![])] }
    }

    /// Ends PostgreSQL as a crash would.
    pub fn stop_postgres(&self) -> Disturbance<'_> {
        run("stop-postgres", &self.services.dir, &[]);
        Disturbance { dir: &self.services.dir, undo: vec![("start-postgres", vec![])] }
    }

    fn brokers(&self, verb: &str, undo: &'static str, numbers: &[&'static str]) -> Disturbance<'_> {
        let mut disturbance = Disturbance { dir: &self.services.dir, undo: vec![] };
        for &number in numbers {
            run(verb, &self.services.dir, &[number]);
            disturbance.undo.push((undo, vec![number]));
        }
        disturbance
    }
}

/// A file system that is unmounted when this is dropped.
pub struct Mounted<'a> {
    dir: &'a Path,
    folder: String,
}

impl Mounted<'_> {
    /// Changes options of mount(8).
    pub fn change(&self, options: &str) {
        run("remount", self.dir, &[&self.folder, options]);
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("unmount", self.dir, &[&self.folder]);
    }
}

impl Disturbance<'_> {
    /// Puts it right.
    pub fn end(self) {}
}

impl Drop for Disturbance<'_> {
    fn drop(&mut self) {
        for (verb, arguments) in &self.undo {
            run(verb, self.dir, arguments);
        }
    }
}
