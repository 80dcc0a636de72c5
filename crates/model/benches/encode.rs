//! Records per second on one core: generating alone, and generating to CSV and to JSON.
//!
//! `cargo bench -p cdr-model` measures; with `--test` (as `cargo test --benches` passes it) each
//! case runs once on a small part, so that the benchmark cannot rot.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cdr_model::{
    FileFormat, Generator, MessageFormat, Part, PartIndex, Plan, Record, Records, Scenario, Shard,
    Stream,
};

const RECORDS: u32 = 1_000_000;

/// Rounds take turns, so that a machine whose speed drifts slows every case alike.
const ROUNDS: usize = 7;

type Case = (&'static str, Stream, fn(&Generator, Stream, &Part, &mut Vec<u8>));

const CASES: &[Case] = &[
    ("records alone", Stream::Data, records),
    ("to CSV", Stream::Data, csv),
    ("to JSON", Stream::Data, json),
    ("to CSV", Stream::Voice, csv),
    ("to JSON", Stream::Voice, json),
];

struct Seen;

impl Records for Seen {
    fn take<R: Record>(&mut self, record: &R) {
        black_box(*record);
    }
}

fn records(generator: &Generator, _: Stream, part: &Part, _: &mut Vec<u8>) {
    generator.each(Stream::Data, part, 0..u32::MAX, &mut Seen);
}

fn csv(generator: &Generator, stream: Stream, part: &Part, out: &mut Vec<u8>) {
    FileFormat::default().body(generator, stream, part, 0..u32::MAX, out);
}

fn json(generator: &Generator, stream: Stream, part: &Part, out: &mut Vec<u8>) {
    MessageFormat::Json.encode(generator, stream, part, 0..u32::MAX, |message| {
        out.extend_from_slice(message.value);
    });
}

fn main() -> Result<(), cdr_model::ScenarioError> {
    let short = std::env::args().any(|argument| argument == "--test");
    let scenario = Scenario::default();
    let generator = Generator::new(&scenario)?;
    let plan = Plan::new(&scenario, Shard::WHOLE)?;
    let (parts, rounds) = if short { (2, 1) } else { (u64::from(RECORDS / plan.count_max()), ROUNDS) };
    let mut out = Vec::with_capacity(1 << 20);
    let mut times = vec![Vec::new(); CASES.len()];
    let mut bytes = vec![0; CASES.len()];
    for _ in 0..rounds {
        for (case, (_, stream, run)) in CASES.iter().enumerate() {
            let begin = Instant::now();
            for index in 0..parts {
                out.clear();
                run(&generator, *stream, &plan.part(PartIndex(index)), &mut out);
                bytes[case] += black_box(out.len());
            }
            times[case].push(begin.elapsed());
        }
    }
    let records = parts * u64::from(plan.count_max());
    for (case, (name, stream, _)) in CASES.iter().enumerate() {
        let median = median(&mut times[case]);
        let rate = records as f64 / median.as_secs_f64() / 1e6;
        let size = bytes[case] as f64 / (rounds as u64 * records) as f64;
        println!("{stream:<9} {name:<14} {rate:6.2} million records/s  {size:6.1} bytes/record");
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
