//! How fast usage is counted, as ratios of things that take turns in one run.
//!
//! 1. Messages read and summed up on one core; and the same stored in a SQLite file.
//! 2. `cdr process` from Kafka into SQLite, against kcat that only reads the same topics; and its
//!    memory.
//! 3. How long after a record was sent it is in the store, one record at a time.
//!
//! The last two need the brokers that `scripts/bench` starts; without KAFKA_BROKERS they are left out.
//!
//! `--quick` does one small round.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cdr::processing::message;
use cdr::processing::store::{Added, Batch, OffsetAdvance, Store, StoreConfig};
use cdr_model::usage::{Interaction, Load, Sums};
use cdr_model::{Generator, MessageFormat, PartIndex, Plan, Scenario, Shard, Stream};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Records that are stored at once, by default.
const BATCH: usize = 100_000;

fn main() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick" || argument == "--test");
    let rounds = if quick { 1 } else { 7 };
    let folder = tempfile::tempdir()?;
    one_core(folder.path(), if quick { 7_200 } else { 172_800 }, rounds)?;
    if env::var_os("KAFKA_BROKERS").is_some() {
        from_kafka(folder.path(), if quick { 7_200 } else { 172_800 }, rounds)?;
        freshness(folder.path(), if quick { 5 } else { 100 })?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The messages of a run, one after the other, with where each ends.
struct Messages {
    stream: Vec<Stream>,
    text: Vec<u8>,
    ends: Vec<usize>,
}

fn messages(seconds: u64) -> Result<Messages> {
    let scenario = Scenario { total_seconds: seconds, lines_per_second: 5, ..Scenario::default() };
    let (plan, generator) = (Plan::new(&scenario, Shard::WHOLE)?, Generator::new(&scenario)?);
    let mut all = Messages { stream: Vec::new(), text: Vec::new(), ends: Vec::new() };
    for part in 0..plan.files() {
        let part = plan.part(PartIndex(part));
        for stream in plan.streams() {
            let records = 0..generator.count(stream, part.index);
            MessageFormat::Json.encode(&generator, stream, &part, records, |message| {
                all.text.extend_from_slice(message.value);
                all.ends.push(all.text.len());
                all.stream.push(stream);
            });
        }
    }
    Ok(all)
}

fn one_core(folder: &Path, seconds: u64, rounds: usize) -> Result<()> {
    let messages = messages(seconds)?;
    let records = messages.ends.len();
    println!("1. {records} messages, one core, {rounds} rounds");
    let (mut summed, mut stored) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let begun = Instant::now();
        let mut sum = (0, 0);
        in_batches(&messages, |batch| {
            batch.sort_unstable_by_key(Interaction::key);
            for group in batch.chunk_by(|one, next| one.key() == next.key()) {
                sum.0 += Sums::of(group).records;
            }
            batch.sort_unstable_by_key(Interaction::load_key);
            for group in batch.chunk_by(|one, next| one.load_key() == next.load_key()) {
                let load = Load::of(group);
                sum.1 += load.sessions + load.calls;
            }
            Ok(())
        })?;
        ensure!(sum == (records as u64, records as u64), "{sum:?} were summed up");
        let took = begun.elapsed().as_secs_f64();
        let path = folder.join(format!("one-core-{round}.db"));
        let mut store = Store::open(&StoreConfig::File(path.clone()))?;
        let (begun, mut next) = (Instant::now(), None);
        in_batches(&messages, |batch| {
            let to = next.unwrap_or(0) + batch.len() as i64;
            let partition = ("bench".to_owned(), 0);
            let advance = OffsetAdvance { from: next, to, counted: batch.len() as u64, dead: 0 };
            let mut batch =
                Batch { advances: [(partition, advance)].into(), interactions: std::mem::take(batch) };
            ensure!(store.add(&mut batch)? == Added::Stored, "offset conflict");
            next = Some(to);
            Ok(())
        })?;
        if round > 0 {
            summed.push(took);
            stored.push(begun.elapsed().as_secs_f64());
        }
        drop(store);
        fs::remove_file(path)?;
    }
    let rate = |seconds: Vec<f64>| records as f64 / median(seconds) / 1e6;
    println!("  read and summed up                 {:6.2} million records/s", rate(summed));
    println!("  read, summed up, and in SQLite     {:6.2} million records/s\n", rate(stored));
    Ok(())
}

fn in_batches(
    messages: &Messages,
    mut each: impl FnMut(&mut Vec<Interaction>) -> Result<()>,
) -> Result<()> {
    let (mut batch, mut begin) = (Vec::with_capacity(BATCH), 0);
    for (&stream, &end) in messages.stream.iter().zip(&messages.ends) {
        batch.push(message::read(MessageFormat::Json, stream, &messages.text[begin..end])?);
        begin = end;
        if batch.len() == BATCH {
            each(&mut batch)?;
            batch.clear();
        }
    }
    each(&mut batch)
}

fn from_kafka(folder: &Path, seconds: u64, rounds: usize) -> Result<()> {
    let records = 2 * 5 * seconds;
    println!("2. {records} records from topics of their own into SQLite, {rounds} rounds");
    let topics = ["bench_counted", "bench_counted_voice"];
    let cdr = |subcommand: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdr"));
        command.arg(subcommand).current_dir(folder).args(["--env", "prod", "-q"]);
        command.args(["--topic-data", topics[0], "--topic-voice", topics[1]]);
        command
    };
    let mut run = cdr("run");
    run.args(["--sinks", "kafka", "--run-name", "counted", "--index-file", "counted", "--restart"]);
    run.args(["--total-seconds", &seconds.to_string()]);
    ended(&mut run)?;
    let brokers = env::var("KAFKA_BROKERS").context("KAFKA_BROKERS")?;
    let (mut counted, mut read, mut memory) = (Vec::new(), Vec::new(), 0);
    for round in 0..=rounds {
        let begun = Instant::now();
        let mut process = cdr("process");
        process.args(["--until-end", "--store-path", &format!("{round}.db"), "--metrics-port", "0"]);
        process.args(["--api-port", "0", "--process-group", &format!("bench-{round}")]);
        memory = memory.max(peak_memory(&mut process)?);
        let took = begun.elapsed();
        check(&folder.join(format!("{round}.db")), records)?;
        let begun = Instant::now();
        for topic in topics {
            let mut command = Command::new("kcat");
            command.args(["-q", "-b", &brokers, "-C", "-t", topic, "-o", "beginning", "-e"]);
            command.args(["-X", "isolation.level=read_committed"]).stdout(Stdio::null());
            ensure!(command.status()?.success(), "kcat failed");
        }
        if round > 0 {
            counted.push(took.as_secs_f64());
            read.push(begun.elapsed().as_secs_f64());
        }
    }
    let ratio = median(read.iter().zip(&counted).map(|(read, counted)| read / counted).collect());
    for (name, seconds) in [("cdr process", counted), ("kcat, one topic after the other", read)] {
        let median = median(seconds);
        println!("  {name:<34} {median:7.2} s  {:>10.0} records/s", records as f64 / median);
    }
    println!("  cdr process counts {ratio:.2} times as fast as kcat only reads (goal: 0.5 or more)");
    println!("  its memory at most: {} MB (goal: 256 or less)", memory / 1_000);
    Ok(())
}

fn freshness(folder: &Path, count: usize) -> Result<()> {
    println!("\n3. {count} records, one at a time, each sent when the last one is stored");
    let (topic, path) = ("bench_fresh", folder.join("fresh.db"));
    let brokers = env::var("KAFKA_BROKERS").context("KAFKA_BROKERS")?;
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create()?;
    let messages = messages(3_600)?;
    let counted = |store: &mut Store| -> Result<u64> {
        Ok(store.committed()?.values().map(|at| at.counted).sum())
    };
    let wait_for = |store: &mut Store, wanted: u64| -> Result<()> {
        let begun = Instant::now();
        while counted(store)? < wanted {
            ensure!(begun.elapsed() < Duration::from_secs(60), "record {wanted} is not counted");
            pause(Duration::from_millis(1));
        }
        Ok(())
    };
    let mut process = Command::new(env!("CARGO_BIN_EXE_cdr"));
    process.args(["process", "-q", "--store-path"]).arg(&path).args(["--topic-data", topic]);
    process.args(["--topic-voice", "bench_fresh_voice", "--metrics-port", "0", "--api-port", "0"]);
    let (mut processor, mut store) = (process.spawn()?, Store::open(&StoreConfig::File(path))?);
    let mut took_ms = Vec::new();
    let mut begin = 0;
    for (number, &end) in (0..=count as u64).zip(&messages.ends) {
        let value = &messages.text[begin..end];
        begin = end;
        let begun = Instant::now();
        producer.send(BaseRecord::<(), _>::to(topic).payload(value)).map_err(|(error, _)| error)?;
        producer.flush(Duration::from_secs(60))?;
        wait_for(&mut store, number + 1)?;
        // The first one waits until the processor knows its partitions.
        if number > 0 {
            took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Command::new("kill").arg(processor.id().to_string()).status()?;
    processor.wait()?;
    let slowest = took_ms.iter().copied().fold(0.0, f64::max);
    println!("  in the store {:.0} ms after it was sent (slowest: {slowest:.0} ms)", median(took_ms));
    Ok(())
}

fn ended(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs a command to its end; gives the most memory that it had at once, in kB.
fn peak_memory(command: &mut Command) -> Result<u64> {
    let mut child = command.stderr(Stdio::inherit()).spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(found.unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "{command:?}: {ended}");
            return Ok(peak);
        }
        pause(Duration::from_millis(20));
    }
}

fn check(path: &Path, records: u64) -> Result<()> {
    let mut store = Store::open(&StoreConfig::File(path.to_owned()))?;
    let counted: u64 = store.committed()?.values().map(|at| at.counted).sum();
    ensure!(counted == records, "{counted} records were counted");
    drop(store);
    Ok(fs::remove_file(path)?)
}

#[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
