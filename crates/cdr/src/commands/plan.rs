//! `cdr run --dry-run`: the plan, and nothing touched.

use std::fmt::Write;

use cdr_model::{Generator, PartIndex, Plan, Stream};

use crate::commands::run::{World, begin_now};
use crate::config::{Config, StartTime};
use crate::setup;
use crate::telemetry::units;

/// Parts whose files are generated to estimate the size of all.
const SAMPLED_PARTS: u64 = 4;

/// The plan of a run as text: parts, files, records, bytes, first and last window.
///
/// # Errors
/// A scenario that cannot be simulated.
pub fn describe(config: &Config) -> anyhow::Result<String> {
    let start = match config.data.start {
        StartTime::At(start) => start,
        StartTime::Now => begin_now(config)?,
    };
    let World { scenario, plan, .. } = World::new(config, start)?;
    let generator = Generator::new(&scenario)?;
    let (parts, lines) = (plan.parts(), u64::from(plan.line_count()));
    let sinks: Vec<_> = config.run.sinks.iter().map(|sink| sink.name()).collect();
    let mut text = String::new();
    let mut row = |name: &str, value: String| writeln!(text, "{name:<14} {value}");
    row("Run", config.run.name.clone())?;
    row("Shard", setup::run_id(config)?.shard.to_string())?;
    row("Delivers to", sinks.join(", "))?;
    row("Parts", format!("{} of {} s each", units::count(parts), plan.interval_s()))?;
    row("Files", units::count(2 * parts))?;
    let records = units::count(parts * lines);
    row("Records", format!("{records} {} + {records} {}", Stream::Data, Stream::Voice))?;
    let (files, messages) = bytes_per_part(config, &generator, &plan);
    let total = |bytes: u64| units::bytes(bytes * parts);
    row("Bytes", format!("about {} in files, {} in messages", total(files), total(messages)))?;
    if parts > 0 {
        row("First window", window(&plan, plan.first()))?;
        let last = plan.before(plan.end()).unwrap_or(plan.first());
        row("Last window", window(&plan, last))?;
    }
    if plan.is_endless() {
        row("Then", "part after part without end, at the wall clock's pace".to_owned())?;
    }
    text.push_str("Nothing was touched: this is a dry run.\n");
    Ok(text)
}

fn window(plan: &Plan, index: PartIndex) -> String {
    let part = plan.part(index);
    let [data, voice] = Stream::ALL.map(|stream| part.file_name(stream));
    format!("{} to {}: {data}, {voice}", part.start, part.end())
}

/// Mean bytes of a part's files and of its messages, from a few parts. At most a million records
/// are generated for it.
fn bytes_per_part(config: &Config, generator: &Generator, plan: &Plan) -> (u64, u64) {
    let line_end = setup::line_end(config);
    let sampled_lines = plan.line_count().min(100_000);
    let (mut headers, mut lines, mut messages, mut out) = (0, 0, 0, Vec::new());
    for stream in Stream::ALL {
        out.clear();
        Generator::csv_header(stream, line_end, &mut out);
        headers += out.len() as u64;
        for part in (0..SAMPLED_PARTS).map(|index| plan.part(PartIndex(index))) {
            out.clear();
            generator.csv_lines(stream, &part, 0..sampled_lines, line_end, &mut out);
            lines += out.len() as u64;
            generator.messages(stream, &part, 0..sampled_lines, |message| {
                messages += message.value.len() as u64;
            });
        }
    }
    let of_part =
        |bytes: u64| bytes * u64::from(plan.line_count()) / u64::from(sampled_lines) / SAMPLED_PARTS;
    (headers + of_part(lines), of_part(messages))
}
