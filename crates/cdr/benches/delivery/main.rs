//! How fast a run delivers, as ratios of things that take turns in one run.
//!
//! Needs the services whose addresses `scripts/services` writes; `scripts/bench` starts them:
//!
//! 1. Kafka, exactly once, against the same client and settings without transactions.
//! 2. Uploads of 1,728 files of 108 kB, against OpenSSH's `sftp` with `put`.
//! 3. The prod job to both destinations, against each alone; and its memory.
//! 4. Starting at the first part of a run, and continuing at its millionth.
//! 5. How long after its time a record is visible to a reader of committed records, at real time.
//! 6. `cdr verify` of both topics, against kcat reading the same.
//!
//! What was uploaded stays until `scripts/bench` removes it all: for some minutes, ext4 does not give
//! the inode of a removed file to a new one, and looks at each before it finds another. A server that
//! has to do so takes three times as long.
//!
//! `--quick` does one small round of each, `--only kafka` (or `sftp`, `job`, `start`, `pace`,
//! `verify`) one of them.

mod baselines;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cdr::config::{self, FlagValues};
use cdr::delivery::checkpoint::LocalCheckpoint;
use cdr::delivery::cursors::FileCursors;
use cdr::delivery::index::IndexFile;
use cdr::delivery::lease::Lease;
use cdr::delivery::pace::{Pace, SimulatedClock};
use cdr::delivery::records::{Probe, RecordDelivery, RecordsConfig, RunAtKafka, RunId};
use cdr::kafka::KafkaConfig;
use cdr::telemetry::Counters;
use cdr_model::progress::{Cursors, KAFKA, Parameters, RecordCursor, SinkTargets};
use cdr_model::{
    FileFormat, Generator, MessageFormat, Micros, PerStream, Plan, Scenario, Shard, Stream,
};
use tokio_util::sync::CancellationToken;

use self::baselines::{OpenSsh, Reader, upload, without_transactions};

fn main() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let services = PathBuf::from(variable("SERVICES_DIR")?);
    let folder = services.join("bench");
    fs::create_dir_all(&folder)?;
    let bench = Bench { folder, quick, rounds: if quick { 1 } else { 7 } };
    let only = env::args().skip_while(|argument| argument != "--only").nth(1);
    let wanted = |section: &str| only.as_deref().is_none_or(|only| only == section);
    if wanted("kafka") {
        bench.kafka()?;
    }
    if wanted("sftp") {
        bench.sftp()?;
    }
    if wanted("job") {
        bench.both()?;
    }
    if wanted("start") {
        bench.start()?;
    }
    if wanted("pace") {
        bench.pace()?;
    }
    if wanted("verify") {
        bench.verify()?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run scripts/bench"))
}

struct Bench {
    folder: PathBuf,
    quick: bool,
    rounds: usize,
}

/// The times of two or more things that took turns.
struct Turns {
    names: Vec<&'static str>,
    seconds: Vec<Vec<f64>>,
}

impl Turns {
    fn new(names: &[&'static str]) -> Self {
        Turns { names: names.to_vec(), seconds: vec![Vec::new(); names.len()] }
    }

    fn add(&mut self, which: usize, time: Duration) {
        self.seconds[which].push(time.as_secs_f64());
    }

    fn median(&self, which: usize) -> f64 {
        median(self.seconds[which].clone())
    }

    /// The median of the ratios of turns that stood side by side.
    fn ratio(&self, over: usize, under: usize) -> f64 {
        let pairs = self.seconds[over].iter().zip(&self.seconds[under]);
        median(pairs.map(|(over, under)| over / under).collect())
    }

    fn print(&self, amount: f64, unit: &str) {
        for (which, name) in self.names.iter().enumerate() {
            let median = self.median(which);
            println!("  {name:<34} {median:7.2} s  {:>10.0} {unit}/s", amount / median);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Bench {
    fn kafka(&self) -> Result<()> {
        let scenario = Scenario {
            lines_per_second: 5,
            total_seconds: if self.quick { 4_000 } else { 172_800 },
            ..Scenario::default()
        };
        let plan = Plan::new(&scenario, Shard::WHOLE)?;
        let generator = Arc::new(Generator::new(&scenario)?);
        let (config, topics) = (self.config()?.kafka, topics());
        let records: u64 = plan.streams().map(|stream| plan.records(stream)).sum();
        println!("1. Kafka, {records} records in each turn, {} rounds", self.rounds);
        let mut turns = Turns::new(&["exactly once", "without transactions"]);
        for round in 0..=self.rounds {
            // Who goes first finds other caches and queues than who goes second.
            let plain_first = round % 2 == 1;
            let plain = || without_transactions(&config, &topics, &plan, &generator);
            let before = plain_first.then(plain).transpose()?;
            let once = self.exactly_once(&config, &scenario, &plan, &generator, round)?;
            let plain = before.map_or_else(plain, Ok)?;
            if round > 0 {
                turns.add(0, once);
                turns.add(1, plain);
            }
        }
        turns.print(records as f64, "records");
        println!("  exactly once is {:.2} times as fast (goal: 0.95 or more)\n", turns.ratio(1, 0));
        Ok(())
    }

    fn brokers(&self) -> Result<String> {
        Ok(self.config()?.kafka.brokers.clone())
    }

    /// The default settings, with the services' addresses from the environment.
    fn config(&self) -> Result<config::Config> {
        let mut config = config::load(&FlagValues::default())?.config;
        config.sftp.known_hosts = self.folder.join("known_hosts");
        Ok(config)
    }

    fn exactly_once(
        &self,
        kafka: &Arc<KafkaConfig>,
        scenario: &Scenario,
        plan: &Plan,
        generator: &Arc<Generator>,
        round: usize,
    ) -> Result<Duration> {
        let runtime = tokio::runtime::Runtime::new()?;
        let id = RunId { name: format!("bench-{round}"), shard: Shard::WHOLE };
        let records = RecordsConfig { topics: topics(), ..self.config()?.records.as_ref().clone() };
        let (kafka, records, shutdown) = (kafka.clone(), Arc::new(records), CancellationToken::new());
        let run = RunAtKafka { kafka, records, id, shutdown: shutdown.clone() };
        let whole = plan.clone();
        let opening = runtime.spawn_blocking(move || {
            let (producer, state) = Probe::open(run)?.0.fence()?;
            anyhow::Ok((producer.prepare(&whole)?, state))
        });
        let (ready, state) = runtime.block_on(opening)??;
        let cursors = Cursors { records: Some(RecordCursor::at(plan.first())), ..Cursors::default() };
        let parameters = Parameters::new(scenario, FileFormat::default(), MessageFormat::default());
        let targets = SinkTargets::from([(KAFKA.to_owned(), KAFKA.to_owned())]);
        let progress = ready.new_progress(parameters, targets.clone(), &state, cursors, 0);
        let counters = Arc::new(Counters::new(plan.parts(), plan.streams().count(), &targets));
        let index = IndexFile::lock(&self.folder.join("bench.dat"), Shard::WHOLE)?;
        let delivery = RecordDelivery {
            ready,
            plan: plan.clone(),
            generator: generator.clone(),
            format: MessageFormat::default(),
            clock: Arc::new(SimulatedClock::new(Pace::Max, plan, Micros(0))),
            files: Arc::new(FileCursors::default()),
            lease: Arc::new(Lease::default()),
            shutdown,
            counters: counters.clone(),
            checkpoint: LocalCheckpoint::new(plan.clone(), targets, index, counters),
            progress,
            recorded: state.progress,
        };
        let begun = Instant::now();
        let progress = delivery.run()?;
        ensure!(progress.finished, "the run was not finished");
        Ok(begun.elapsed())
    }

    fn sftp(&self) -> Result<()> {
        let (count, bytes) = (if self.quick { 64 } else { 1_728 }, 108_000);
        let config = self.config()?;
        let root = PathBuf::from(variable("SFTP_ROOT")?);
        let sftp = OpenSsh::prepare(&self.folder, count, bytes)?;
        println!("2. SFTP, {count} files of {bytes} bytes in each turn, {} rounds", self.rounds);
        let mut turns = Turns::new(&["cdr", "OpenSSH's sftp, put"]);
        let runtime = tokio::runtime::Runtime::new()?;
        for round in 0..=self.rounds {
            let folders = ["cdr", "openssh"].map(|who| format!("bench-{who}-{round}"));
            let mut settings = config.sftp.clone();
            settings.remote_path.clone_from(&folders[0]);
            let contents = vec![b'x'; bytes];
            let ours = runtime.block_on(upload(settings, count, contents))?;
            let theirs = sftp.put(&folders[1])?;
            for folder in folders {
                let found = fs::read_dir(root.join(&folder))?.count();
                ensure!(found == count, "{found} files in {folder}");
            }
            if round > 0 {
                turns.add(0, ours);
                turns.add(1, theirs);
            }
        }
        turns.print(count as f64, "files");
        println!("  cdr is {:.2} times as fast (goal: 1.5 or more)\n", turns.ratio(1, 0));
        Ok(())
    }

    fn both(&self) -> Result<()> {
        println!("3. The prod job, {} rounds; times without start-up", self.rounds);
        let names = ["to SFTP and Kafka, exactly once", "to Kafka alone", "to SFTP alone"];
        let sinks = ["sftp,kafka", "kafka", "sftp"];
        let mut turns = Turns::new(&names);
        let mut memory_mb: f64 = 0.0;
        for round in 0..=self.rounds {
            for (which, sinks) in sinks.iter().enumerate() {
                let (time, peak_mb) = self.job(sinks, round)?;
                memory_mb = memory_mb.max(peak_mb);
                if round > 0 {
                    turns.add(which, time);
                }
            }
        }
        turns.print(if self.quick { 72_000.0 } else { 1_728_000.0 }, "records");
        let slower = if turns.median(1) > turns.median(2) { 1 } else { 2 };
        let ratio = turns.ratio(0, slower);
        println!("  both take {ratio:.2} times the time of the slower alone (goal: 1.3 or less)");
        println!("  peak memory of cdr: {memory_mb:.0} MB (goal: 128 or less)");
        Ok(())
    }

    fn start(&self) -> Result<()> {
        println!("\n4. Start-up: the whole process, which delivers two files, {} rounds", self.rounds);
        let mut turns = Turns::new(&["a new run", "a run at its millionth part"]);
        for _ in 0..=self.rounds {
            turns.add(0, self.one_part("200", None)?);
            turns.add(1, self.one_part("200000000", Some("999998"))?);
        }
        for (which, name) in turns.names.iter().enumerate() {
            println!("  {name:<34} {:7.3} s (goal: 0.1 or less)", turns.median(which));
        }
        Ok(())
    }

    fn pace(&self) -> Result<()> {
        let (seconds, rate) = (if self.quick { 3 } else { 30 }, 100);
        println!("\n5. Pace: {rate} records a second and stream for {seconds} s, at real time");
        // The first run makes the topics, so that the reader is there before the second begins.
        ensure!(self.paced("paced-before", 1, rate).spawn()?.wait()?.success(), "cdr run failed");
        let reader = Reader::at_the_end(&self.brokers()?, &["bench_paced", "bench_paced_voice"])?;
        let mut run =
            self.paced("paced", seconds, rate).args(["--start", "now", "--pace", "realtime"]).spawn()?;
        let mut late_ms = Vec::new();
        let expected = 2 * seconds * rate;
        let deadline = Instant::now() + Duration::from_secs(seconds as u64 + 60);
        while late_ms.len() < expected && Instant::now() < deadline {
            late_ms.extend(reader.next_late_ms()?);
        }
        ensure!(run.wait()?.success(), "cdr run failed");
        ensure!(late_ms.len() == expected, "{} of {expected} records came", late_ms.len());
        late_ms.sort_by(f64::total_cmp);
        let quantile = |share: f64| late_ms[(share * (expected - 1) as f64) as usize];
        println!(
            "  a record is visible after {:.0} ms (median), {:.0} ms (99 of 100), {:.0} ms (the last one)",
            quantile(0.5),
            quantile(0.99),
            quantile(1.0)
        );
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        let seconds = if self.quick { 7_200 } else { 172_800 };
        let records = 2 * 5 * seconds;
        println!(
            "\n6. Verification of {records} records in topics of their own, {} rounds",
            self.rounds
        );
        let run = |arguments: &[&str]| -> Result<Duration> {
            let begun = Instant::now();
            let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
            command.args(arguments).args([
                "--env",
                "prod",
                "--sinks",
                "kafka",
                "--run-name",
                "verified",
                "-q",
            ]);
            command.args(["--topic-data", "bench_verified", "--topic-voice", "bench_verified_voice"]);
            command.args(["--index-file", "verified", "--total-seconds", &seconds.to_string()]);
            let output = command.current_dir(&self.folder).output()?;
            ensure!(
                output.status.success(),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(begun.elapsed())
        };
        run(&["run", "--restart"])?;
        let brokers = self.brokers()?;
        let mut turns = Turns::new(&["cdr verify", "kcat, one topic after the other"]);
        for round in 0..=self.rounds {
            let verified = run(&["verify"])?;
            let begun = Instant::now();
            for topic in ["bench_verified", "bench_verified_voice"] {
                let mut command = Command::new("kcat");
                command.args(["-q", "-b", &brokers, "-C", "-t", topic, "-o", "beginning", "-e"]);
                let output = command.args(["-X", "isolation.level=read_committed"]).output()?;
                let lines = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
                ensure!(lines == records / 2, "kcat has read {lines} records of {topic}");
            }
            if round > 0 {
                turns.add(0, verified);
                turns.add(1, begun.elapsed());
            }
        }
        turns.print(records as f64, "records");
        println!(
            "  cdr verify is {:.2} times as fast as kcat, which compares nothing",
            turns.ratio(1, 0)
        );
        Ok(())
    }

    /// A run to topics of its own, to which it comes as a run of its own.
    fn paced(&self, name: &str, seconds: usize, rate: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        command
            .args(["run", "--restart", "--sinks", "kafka", "--run-name", name, "--index-file", name])
            .args(["--topic-data", "bench_paced", "--topic-voice", "bench_paced_voice", "-q"])
            .args(["--total-seconds", &seconds.to_string(), "--lines-per-second", &rate.to_string()])
            .args(["--line-count", &rate.to_string()])
            .current_dir(&self.folder);
        command
    }

    /// Delivers one part to a local folder, the one behind `done` or the first.
    fn one_part(&self, total_seconds: &str, done: Option<&str>) -> Result<Duration> {
        let folder = self.folder.join("start");
        fs::create_dir_all(&folder)?;
        if let Some(done) = done {
            fs::write(folder.join("idx_data.dat"), format!("{done}\n"))?;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        command.args(["run", "--env", "prod", "--sinks", "directory", "--total-seconds", total_seconds]);
        let begun = Instant::now();
        let output = command.current_dir(&folder).output()?;
        let time = begun.elapsed();
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cdr run failed:\n{log}");
        let found = fs::read_dir(folder.join("output"))?.count();
        ensure!(found == 2, "{found} files instead of 2:\n{log}");
        fs::remove_dir_all(&folder)?;
        Ok(time)
    }

    /// One run of the program: the time it reports, and its peak memory in MB.
    fn job(&self, sinks: &str, round: usize) -> Result<(Duration, f64)> {
        let name = format!("bench-{}-{round}", sinks.replace(',', "-"));
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder)?;
        let seconds = if self.quick { "7200" } else { "172800" };
        let output = Command::new("/usr/bin/env")
            .arg("python3")
            .args(["-c", MEASURE, env!("CARGO_BIN_EXE_cdr"), "run", "--restart", "--env", "prod"])
            .args(["--sinks", sinks, "--run-name", &name, "--total-seconds", seconds])
            .args(["--topic-data", "bench_data", "--topic-voice", "bench_voice"])
            .args(["--sftp-remote-path", &name, "--sftp-known-hosts", "../known_hosts"])
            .current_dir(&folder)
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cdr run failed:\n{log}");
        let found = log.split("MB in ").nth(1).and_then(|rest| rest.split(':').next());
        let (number, unit) =
            found.and_then(|found| found.split_once(' ')).context("no time in the log")?;
        let unit_s = if unit == "ms" { 1e-3 } else { 1.0 };
        let seconds = number.parse::<f64>()? * unit_s;
        let peak_kb: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
        Ok((Duration::from_secs_f64(seconds), peak_kb / 1_000.0))
    }
}

/// Runs its arguments and prints their peak resident memory in kilobytes.
const MEASURE: &str = "import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)";

/// Topics of the benchmark's own.
fn topics() -> PerStream<String> {
    PerStream::from_fn(|stream: Stream| format!("bench_{}", stream.short_name()))
}
