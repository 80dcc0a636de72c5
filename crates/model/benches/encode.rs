//! Records per second on one core, of each profile: generating alone, to CSV and to JSON; and what it
//! costs to begin, by the number of subscribers.
//!
//! `cargo bench -p cdr-model` measures; with `--test` (as `cargo test --benches` passes it) each
//! case runs once on a small part, so that the benchmark cannot rot.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cdr_model::{
    FileFormat, Generator, MessageFormat, Part, PartIndex, Plan, Profile, Record, Records, Scenario,
    ScenarioError, Shard, Stream,
};

const RECORDS: u32 = 1_000_000;

/// Rounds take turns, so that a machine whose speed drifts slows every case alike.
const ROUNDS: usize = 7;

const PROFILES: [(&str, Profile); 2] =
    [("uniform", Profile::Uniform), ("realistic", Profile::Realistic)];

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

fn main() -> Result<(), ScenarioError> {
    let short = std::env::args().any(|argument| argument == "--test");
    let (records, rounds) = if short { (20_000, 1) } else { (RECORDS, ROUNDS) };
    speed("parts one after another", Scenario::default(), records, rounds, 1)?;
    // Far from each other, so that nothing is known of what comes before a part.
    let small = Scenario { line_count: 1_000, total_seconds: 1_000_000_000, ..Scenario::default() };
    speed("parts of 1,000 records, each alone", small, records, rounds, 9_973)?;
    starts(rounds)
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
        let scenario = Scenario { profile, ..scenario.clone() };
        Ok(Measured {
            profile: name,
            plan: Plan::new(&scenario, Shard::WHOLE)?,
            generator: Generator::new(&scenario)?,
            times: vec![Vec::new(); CASES.len()],
            bytes: vec![0; CASES.len()],
        })
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
                    let part = PartIndex(index * step % of.plan.files());
                    run(&of.generator, *stream, &of.plan.part(part), &mut out);
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
            let count = |index| of.generator.count(*stream, PartIndex(index * step % of.plan.files()));
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

/// How long it takes until the first record, and how much memory that needs.
fn starts(rounds: usize) -> Result<(), ScenarioError> {
    println!("from nothing to the first part");
    for subscribers in [50_000, 1_000_000, 10_000_000, 100_000_000] {
        for (name, profile) in PROFILES {
            let scenario = Scenario { profile, subscribers, ..Scenario::default() };
            let mut times = Vec::new();
            let before = resident();
            let mut after = before;
            for _ in 0..rounds {
                let begin = Instant::now();
                let generator = Generator::new(&scenario)?;
                let plan = Plan::new(&scenario, Shard::WHOLE)?;
                for stream in [Stream::Data, Stream::Voice] {
                    records(&generator, stream, &plan.part(PartIndex(0)), &mut Vec::new());
                }
                times.push(begin.elapsed());
                after = after.max(resident());
            }
            let time = median(&mut times).as_secs_f64() * 1e3;
            let memory = (after - before) as f64 / 1e6;
            println!("{subscribers:>11} subscribers  {name:<9} {time:6.1} ms  {memory:5.1} MB");
        }
    }
    Ok(())
}

/// Bytes of memory that the process has, where the system says so.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
