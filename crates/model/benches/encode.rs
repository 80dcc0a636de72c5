//! Records per second on one core, of each profile: generating alone, to CSV and to JSON; what it costs to
//! begin, by the number of subscribers; and rows per second of tpchgen-cli, a generator of tables, where it
//! is installed.
//!
//! `cargo bench -p cdr-model` measures; with `--test` (as `cargo test --benches` passes it) each
//! case runs once on a small part, so that the benchmark cannot rot.

use std::cmp::Ordering;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use cdr_model::{
    FileFormat, Generator, Habits, MessageFormat, Part, PartIndex, Plan, Profile, Record, Records,
    Scenario, ScenarioError, Shard, Stream,
};

const RECORDS: u32 = 1_000_000;

/// Rounds take turns, so that a machine whose speed drifts slows every case alike.
const ROUNDS: usize = 7;

const PROFILES: [(&str, Profile); 2] =
    [("uniform", Profile::Uniform), ("realistic", Profile::Realistic)];

const SUBSCRIBERS: [u32; 4] = [50_000, 1_000_000, 10_000_000, 100_000_000];

/// With a profile and a number of subscribers: measures one start and nothing else.
const START: &str = "--one-start";

type Case = (&'static str, Stream, fn(&Generator, Stream, &Part, &mut Vec<u8>));

const CASES: &[Case] = &[
    ("records alone", Stream::Data, records),
    ("to CSV", Stream::Data, csv),
    ("to JSON", Stream::Data, json),
    ("records alone", Stream::Voice, records),
    ("to CSV", Stream::Voice, csv),
    ("to JSON", Stream::Voice, json),
];

struct Seen;

impl Records for Seen {
    fn take<R: Record>(&mut self, record: &R) {
        black_box(*record);
    }
}

fn records(generator: &Generator, stream: Stream, part: &Part, _: &mut Vec<u8>) {
    generator.each(stream, part, 0..u32::MAX, &mut Seen);
}

fn csv(generator: &Generator, stream: Stream, part: &Part, out: &mut Vec<u8>) {
    FileFormat::default().body(generator, stream, part, 0..u32::MAX, out);
}

fn json(generator: &Generator, stream: Stream, part: &Part, out: &mut Vec<u8>) {
    MessageFormat::Json.encode(generator, stream, part, 0..u32::MAX, |message| {
        out.extend_from_slice(message.value);
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, START, name, subscribers] = &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let known = PROFILES.iter().find(|(known, _)| known == name);
        let (_, profile) = known.ok_or("no such profile")?;
        return Ok(start(*profile, subscribers.parse()?)?);
    }
    let short = arguments.iter().any(|argument| argument == "--test");
    let (records, rounds) = if short { (20_000, 1) } else { (RECORDS, ROUNDS) };
    speed("parts one after another", Scenario::default(), records, rounds, 1)?;
    // Far from each other, so that nothing is known of what comes before a part.
    let small = Scenario { line_count: 1_000, total_seconds: 1_000_000_000, ..Scenario::default() };
    speed("parts of 1,000 records, each alone", small, records, rounds, 9_973)?;
    starts(rounds)?;
    peer(records, rounds)
}

/// As many as a run has where nobody says how many.
fn subscribers(profile: Profile, scenario: &Scenario) -> u32 {
    match profile {
        Profile::Realistic => {
            scenario.subscribers.max(Habits::SUBSCRIBERS_FOR_RATE * scenario.lines_per_second)
        }
        _ => scenario.subscribers,
    }
}

/// A run of a profile, and what was measured of each case.
struct Measured {
    profile: &'static str,
    plan: Plan,
    generator: Generator,
    times: Vec<Vec<Duration>>,
    bytes: Vec<usize>,
}

impl Measured {
    fn new(
        (name, profile): (&'static str, Profile),
        scenario: &Scenario,
    ) -> Result<Self, ScenarioError> {
        let scenario =
            Scenario { profile, subscribers: subscribers(profile, scenario), ..scenario.clone() };
        Ok(Measured {
            profile: name,
            plan: Plan::new(&scenario, Shard::WHOLE)?,
            generator: Generator::new(&scenario)?,
            times: vec![Vec::new(); CASES.len()],
            bytes: vec![0; CASES.len()],
        })
    }

    /// A part of the run, which begins again behind its end.
    fn part(&self, index: u64) -> Part {
        self.plan.part(PartIndex(index % self.plan.files()))
    }
}

/// Every `step`th part, until there are enough records.
fn speed(
    what: &str,
    scenario: Scenario,
    records: u32,
    rounds: usize,
    step: u64,
) -> Result<(), ScenarioError> {
    let parts = u64::from(records / scenario.line_count);
    let mut profiles = Vec::new();
    for profile in PROFILES {
        profiles.push(Measured::new(profile, &scenario)?);
    }
    let mut out = Vec::with_capacity(1 << 20);
    for _ in 0..rounds {
        for (case, (_, stream, run)) in CASES.iter().enumerate() {
            for of in &mut profiles {
                let begin = Instant::now();
                for index in 0..parts {
                    out.clear();
                    run(&of.generator, *stream, &of.part(index * step), &mut out);
                    of.bytes[case] += black_box(out.len());
                }
                of.times[case].push(begin.elapsed());
            }
        }
    }
    println!("{what}");
    for (case, (name, stream, _)) in CASES.iter().enumerate() {
        let mut first = None;
        for of in &mut profiles {
            let count = |index| of.generator.count(*stream, of.part(index * step).index);
            let records = (0..parts).map(count).map(f64::from).sum::<f64>();
            let rate = records / median(&mut of.times[case]).as_secs_f64() / 1e6;
            let size = of.bytes[case] as f64 / (rounds as f64 * records);
            let ratio = rate / *first.get_or_insert(rate);
            let profile = of.profile;
            println!(
                "{stream:<9} {name:<14} {profile:<9} {rate:6.2} million records/s  {size:6.1} \
                 bytes/record  ratio {ratio:.2}"
            );
        }
    }
    Ok(())
}

/// How long it takes until the first part is there, and how much memory that needs: each in a process of
/// its own, since memory that was freed stays with a process.
fn starts(rounds: usize) -> std::io::Result<()> {
    println!("from nothing to the first part");
    for subscribers in SUBSCRIBERS {
        for (name, _) in PROFILES {
            let mut times = Vec::new();
            let mut memory = 0.0f64;
            for _ in 0..rounds {
                let mut child = Command::new(std::env::current_exe()?);
                let output = child.args([START, name, &subscribers.to_string()]).output()?;
                let text = String::from_utf8_lossy(&output.stdout);
                let mut values = text.split_whitespace().map(str::parse::<f64>);
                let (Some(Ok(seconds)), Some(Ok(bytes))) = (values.next(), values.next()) else {
                    return Err(std::io::Error::other(format!("{name}, {subscribers}: {text}")));
                };
                times.push(Duration::from_secs_f64(seconds));
                memory = memory.max(bytes / 1e6);
            }
            let time = median(&mut times).as_secs_f64() * 1e3;
            println!("{subscribers:>11} subscribers  {name:<9} {time:6.1} ms  {memory:5.1} MB");
        }
    }
    Ok(())
}

/// Prints the seconds that one start takes, and the most memory that it adds.
fn start(profile: Profile, subscribers: u32) -> Result<(), ScenarioError> {
    let (before, begin) = (most_memory(), Instant::now());
    let scenario = Scenario { profile, subscribers, ..Scenario::default() };
    let (plan, generator) = (Plan::new(&scenario, Shard::WHOLE)?, Generator::new(&scenario)?);
    for stream in [Stream::Data, Stream::Voice] {
        records(&generator, stream, &plan.part(PartIndex(0)), &mut Vec::new());
    }
    println!("{} {}", begin.elapsed().as_secs_f64(), most_memory() - before);
    Ok(())
}

/// The table `lineitem` of tpchgen-cli as CSV, with one thread, in turns with ours.
fn peer(records: u32, rounds: usize) -> Result<(), Box<dyn Error>> {
    println!("beside tpchgen-cli (cargo install tpchgen-cli)");
    let scenario = Scenario::default();
    let parts = u64::from(records / scenario.line_count);
    let ours: Result<Vec<_>, _> = PROFILES.iter().map(|of| Measured::new(*of, &scenario)).collect();
    let (ours, mut out) = (ours?, Vec::with_capacity(1 << 20));
    let mut rates = vec![Vec::new(); PROFILES.len() + 1];
    for _ in 0..rounds {
        let (Some((few, start)), Some((rows, time))) = (lineitem(1_000)?, lineitem(records)?) else {
            println!("it is not installed");
            return Ok(());
        };
        // Apart from its start, which takes most of a second.
        let time = time.saturating_sub(start).as_secs_f64();
        rates[PROFILES.len()].push(rows.saturating_sub(few) as f64 / time.max(1e-3));
        for (of, rates) in ours.iter().zip(&mut rates) {
            let (begin, mut rows) = (Instant::now(), 0);
            for index in 0..parts {
                out.clear();
                csv(&of.generator, Stream::Data, &of.part(index), &mut out);
                rows += lines(black_box(&out));
            }
            rates.push(rows as f64 / begin.elapsed().as_secs_f64());
        }
    }
    let names = PROFILES.iter().map(|(name, _)| format!("cdr_data {name}"));
    let rates: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    for (name, rate) in names.chain(["lineitem".to_owned()]).zip(&rates) {
        let ratio = rate / rates[PROFILES.len()];
        println!("{name:<24} {:6.2} million rows/s  ratio {ratio:.2}", rate / 1e6);
    }
    Ok(())
}

/// About so many rows: how many, and how long it takes; `None` if there is no such program.
fn lineitem(rows: u32) -> Result<Option<(usize, Duration)>, Box<dyn Error>> {
    // A scale of 1 has six million rows.
    let scale = (f64::from(rows) / 6e6).to_string();
    let arguments =
        ["csv", "--scale-factor", &scale, "--tables", "lineitem", "--num-threads", "1", "--stdout"];
    let begin = Instant::now();
    match Command::new("tpchgen-cli").args(arguments).output() {
        Ok(output) if output.status.success() => {
            let rows = lines(&output.stdout);
            Ok(Some((rows, begin.elapsed())))
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Bytes of memory that the process has had at most, where the system says so.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_unstable_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    values[values.len() / 2]
}
