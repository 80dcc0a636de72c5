//! What one test works with: a run of its own, with its own topics, folders and files.

use std::path::{Path, PathBuf};
use std::process::Command;

use cdr_model::{FileFormat, Generator, PartIndex, Plan, Scenario, Shard, Stream};

use super::names::Names;
use super::process::{Ended, Process};
use super::services::Services;

/// The names and the size of a run.
pub struct Scene {
    pub services: &'static Services,
    pub name: &'static str,
    /// The run's working folder and home.
    pub folder: PathBuf,
    pub scenario: Scenario,
    /// Of data, voice and progress.
    pub topics: [String; 3],
}

impl Scene {
    /// A run of `parts` parts, each of `lines` records a stream.
    pub fn new(name: &'static str, parts: u64, lines: u32) -> Scene {
        Scene::at(Services::shared(), name, parts, lines)
    }

    /// The same at other services than the shared ones.
    pub fn at(services: &'static Services, name: &'static str, parts: u64, lines: u32) -> Scene {
        // At one record a second, a part lasts as many seconds as it has records.
        let total_seconds = parts * u64::from(lines);
        let scenario = Scenario { total_seconds, line_count: lines, ..Scenario::default() };
        let topics = ["data", "voice", "progress"].map(|topic| format!("{name}-{topic}"));
        Scene { services, name, folder: services.folder(name), scenario, topics }
    }

    /// The development run of the data contract, and the topics it names.
    pub fn dev(name: &'static str) -> Scene {
        let topics = ["cdr_data", "cdr_voice", "cdr_progress"].map(str::to_owned);
        Scene { topics, scenario: Scenario::default(), ..Scene::new(name, 1, 1) }
    }

    /// `cdr run`, set up for this scene and nothing else.
    pub fn run(&self) -> Job {
        self.job("run")
    }

    /// `cdr verify`, for the same run.
    pub fn verify(&self) -> Job {
        self.job("verify")
    }

    /// `cdr process`, for the same topics, with a group of its own; on free ports.
    pub fn process(&self) -> Job {
        let job = self.job("process").with("PROCESS_GROUP", self.name).with("API_PORT", 0);
        job.with("METRICS_PORT", 0).with("TOPIC_DEAD_LETTER", format!("{}-dead", self.name))
    }

    /// `cdr usage` of a subscriber, as JSON.
    pub fn usage(&self, msisdn: &str) -> Job {
        self.job("usage").flag("--format").flag("json").flag(msisdn)
    }

    fn job(&self, subcommand: &str) -> Job {
        let Scene { services, scenario, topics: [data, voice, progress], .. } = self;
        let command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        let mut job = Job { command };
        job.command.current_dir(&self.folder).env_clear().arg(subcommand);
        let path = std::env::var("PATH").expect("there is a PATH");
        job.with("PATH", path)
            .with("HOME", self.folder.display())
            // What makes it a development run.
            .with("USER", "tester")
            .with("RUN_NAME", self.name)
            .with("TOTAL_SECONDS", scenario.total_seconds)
            .with("LINE_COUNT", scenario.line_count)
            .with("TOPIC_DATA", data)
            .with("TOPIC_VOICE", voice)
            .with("TOPIC_PROGRESS", progress)
            .with("KAFKA_BROKERS", services.brokers())
            .with("SFTP_HOST", services.variable("SFTP_HOST"))
            .with("SFTP_PORT", services.variable("SFTP_PORT"))
            .with("SFTP_REMOTE_PATH", self.name)
    }

    /// The same at a pace of so many parts a second, committed ten times a second: the run lasts for
    /// seconds on any machine, and has many places in which it can be stopped.
    pub fn run_at(&self, parts_per_second: u64) -> Job {
        let factor = parts_per_second * self.plan(Shard::WHOLE).interval_s();
        self.run().with("PACE", format!("{factor}x")).with("KAFKA_TRANSACTION_MS", 100)
    }

    pub fn topic(&self, stream: Stream) -> &str {
        &self.topics[stream as usize]
    }

    pub fn progress_topic(&self) -> &str {
        &self.topics[2]
    }

    /// Where the run's uploads are on this machine's disk.
    pub fn uploads(&self) -> PathBuf {
        self.services.sftp_root().join(self.name)
    }

    pub fn index_file(&self) -> PathBuf {
        self.folder.join("idx_data.dat")
    }

    /// The part that the index file names.
    pub fn index(&self) -> Option<u64> {
        index_in(&self.index_file())
    }

    pub fn generator(&self) -> Generator {
        Generator::new(&self.scenario).expect("a valid scenario")
    }

    pub fn plan(&self, shard: Shard) -> Plan {
        Plan::new(&self.scenario, shard).expect("a valid scenario")
    }

    /// Parts of the whole run.
    pub fn parts(&self) -> u64 {
        self.plan(Shard::WHOLE).files()
    }

    /// Names and contents of a part's two files.
    pub fn files_of(&self, generator: &Generator, index: u64) -> [(String, Vec<u8>); 2] {
        let part = self.plan(Shard::WHOLE).part(PartIndex(index));
        [Stream::Data, Stream::Voice].map(|stream| {
            let (mut content, format) = (Vec::new(), FileFormat::default());
            format.file(generator, stream, &part, &mut content);
            (part.file_name(stream, format), content)
        })
    }
}

/// The part that an index file names; `None` where there is no file.
pub fn index_in(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().parse().expect("the index file is always whole"))
}

/// A command line of `cdr` and its environment.
pub struct Job {
    command: Command,
}

impl Job {
    /// Adds an environment variable, or replaces it.
    pub fn with(mut self, variable: &str, value: impl ToString) -> Self {
        self.command.env(variable, value.to_string());
        self
    }

    /// Adds a flag, or a flag's value.
    pub fn flag(mut self, flag: &str) -> Self {
        self.command.arg(flag);
        self
    }

    /// Lets it know host names of the test's own.
    pub fn knowing(self, names: &Names) -> Self {
        Job { command: names.known_to(&self.command) }
    }

    pub fn start(self) -> Process {
        Process::start(self.command, None)
    }

    /// Starts it and waits for its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }
}
