//! Processes that a test starts: what they print is kept, every wait has a bound, and none outlives
//! its test.

use std::io::{self, BufRead, BufReader, PipeReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before its test fails. A machine that is busy with other work needs
/// a multiple of the usual seconds.
pub const LIMIT: Duration = Duration::from_secs(180);

/// How often a condition is looked at that nobody announces, such as a file's being there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process whose output, of both kinds, is read line by line. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    over: bool,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, pipe: PipeReader) {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = line.expect("the pipe can be read");
            self.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.changed.notify_all();
        }
        self.lock().over = true;
        self.changed.notify_all();
    }
}

impl Process {
    /// Starts it without input. Standard output is kept with the errors, unless `stdout` is where
    /// else it goes.
    pub fn start(mut command: Command, stdout: Option<Stdio>) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let (reader, writer) = io::pipe().expect("a pipe");
        let stdout = stdout.unwrap_or_else(|| writer.try_clone().expect("a pipe").into());
        command.stdin(Stdio::null()).stdout(stdout).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        // It holds the writing ends; as long as it does, the reader sees no end.
        drop(command);
        let output = Arc::new(Output::default());
        let keeper = output.clone();
        thread::spawn(move || keeper.read(reader));
        Process { name, child, output }
    }

    /// Waits until a line holds `text`, and gives that line.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_lines(text, 1)
    }

    /// Waits until `count` lines hold `text`, and gives the last of them.
    pub fn wait_for_lines(&self, text: &str, count: usize) -> String {
        self.wait(&format!("{count} lines with {text:?}"), |state| {
            state.lines.iter().filter(|line| line.contains(text)).nth(count - 1).cloned()
        })
    }

    /// Its last line.
    pub fn last_line(&self) -> String {
        self.output.lock().lines.last().cloned().unwrap_or_default()
    }

    /// Waits until `condition` holds, which it must before the process ends.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            let state = self.output.lock();
            if state.over || begun.elapsed() > LIMIT {
                self.fail(state, what);
            }
            drop(self.output.changed.wait_timeout(state, LOOK_EVERY));
        }
    }

    fn wait<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut state = self.output.lock();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let left = LIMIT.saturating_sub(begun.elapsed());
            if state.over || left.is_zero() {
                self.fail(state, what);
            }
            let waited = self.output.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fail(&self, state: MutexGuard<'_, State>, what: &str) -> ! {
        let (lines, over) = (state.lines.join("\n"), state.over);
        drop(state);
        let how = if over { "ended before" } else { "took too long until" };
        panic!("{} {how} {what}; its log:\n{lines}\n", self.name);
    }

    /// Sends a signal by its name: `TERM`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("bash");
        kill.args(["-c", r#"kill -s "$0" "$1""#, name, &self.child.id().to_string()]);
        assert!(kill.status().expect("bash runs").success(), "{} has ended already", self.name);
    }

    /// Waits until it has stopped, as `STOP` makes it do.
    pub fn wait_until_halted(&self) {
        let status = format!("/proc/{}/status", self.child.id());
        self.wait_until("it is halted", || {
            let status = std::fs::read_to_string(&status).expect("it has not ended");
            status.lines().any(|line| line.starts_with("State:\tT"))
        });
    }

    /// Ends it as the loss of the machine would.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("the process is ours");
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let lines = self.wait("its end", |state| state.over.then(|| state.lines.clone()));
        let status = self.child.wait().expect("the process is ours");
        Ended { name: self.name.clone(), status, lines }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of a process.
pub struct Ended {
    name: String,
    pub status: ExitStatus,
    pub lines: Vec<String>,
}

impl Ended {
    /// Fails unless it ended with this exit code.
    pub fn expect(self, code: i32) -> Ended {
        let Ended { name, status, lines } = &self;
        let log = lines.join("\n");
        assert_eq!(status.code(), Some(code), "{name} ended with {status}; its log:\n{log}\n");
        self
    }

    /// The only line that holds `text`.
    pub fn line(&self, text: &str) -> &str {
        let mut found = self.lines.iter().filter(|line| line.contains(text));
        match (found.next(), found.next()) {
            (Some(line), None) => line,
            (first, _) => {
                let number = if first.is_none() { "no" } else { "more than one" };
                panic!("{number} line with {text:?} in:\n{}\n", self.lines.join("\n"))
            }
        }
    }

    /// How many lines hold `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(text)).count()
    }
}
