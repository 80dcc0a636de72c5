//! `cdr run --dry-run`: the plan, and nothing touched.

use std::fmt::Write;

use cdr_model::{Generator, PartIndex, Plan};

use crate::config::Config;
use crate::setup::{RunPlan, begin_now};
use crate::telemetry::units;

/// Parts whose files are generated to estimate the size of all.
const SAMPLED_PARTS: u64 = 4;

/// Records of each stream that are generated of a sampled part, at most.
const SAMPLED_RECORDS: u32 = 100_000;

/// The plan of a run as text: parts, files, records, bytes, first and last window.
pub fn describe(config: &Config) -> anyhow::Result<String> {
    let start = config.data.start.given().map_or_else(|| begin_now(config), Ok)?;
    let RunPlan { scenario, plan, .. } = RunPlan::new(config, start)?;
    let generator = Generator::new(&scenario)?;
    let (parts, streams) = (plan.parts(), plan.streams().count() as u64);
    let sinks: Vec<_> = config.run.sinks.iter().map(|sink| sink.name()).collect();
    let mut text = String::new();
    let mut row = |name: &str, value: String| writeln!(text, "{name:<14} {value}");
    row("Run", config.run.name.clone())?;
    row("Shard", config.run.shard.to_string())?;
    row("Delivers to", sinks.join(", "))?;
    row("Parts", format!("{} of {} s each", units::count(parts), plan.interval_s()))?;
    row("Files", units::count(streams * parts))?;
    let records = plan.streams().map(|of| format!("{} {of}", units::count(plan.records(of))));
    row("Records", records.collect::<Vec<_>>().join(" + "))?;
    let (files, messages) = bytes(config, &generator, &plan);
    row(
        "Bytes",
        format!("about {} in files, {} in messages", units::bytes(files), units::bytes(messages)),
    )?;
    if parts > 0 {
        row("First window", window(config, &plan, plan.first()))?;
        let last = plan.before(plan.end()).unwrap_or(plan.first());
        row("Last window", window(config, &plan, last))?;
    }
    if plan.is_endless() {
        row("Then", "part after part without end, at the wall clock's pace".to_owned())?;
    }
    text.push_str("Nothing was touched: this is a dry run.\n");
    Ok(text)
}

fn window(config: &Config, plan: &Plan, index: PartIndex) -> String {
    let (part, format) = (plan.part(index), config.file_format);
    let files: Vec<_> = plan.streams().map(|stream| part.file_name(stream, format)).collect();
    format!("{} to {}: {}", part.start, part.end(), files.join(", "))
}

/// Bytes of all files and of all messages, as a few parts have them.
fn bytes(config: &Config, generator: &Generator, plan: &Plan) -> (u64, u64) {
    let (files, messages) = (config.file_format, config.records.message_format);
    let (mut in_files, mut in_messages, mut out) = (0, 0, Vec::new());
    for stream in plan.streams() {
        let (mut sampled, mut of_files, mut of_messages) = (0, 0, 0);
        for part in (0..SAMPLED_PARTS.min(plan.files())).map(|index| plan.part(PartIndex(index))) {
            let range = 0..generator.count(stream, part.index).min(SAMPLED_RECORDS);
            sampled += u64::from(range.end);
            out.clear();
            files.body(generator, stream, &part, range.clone(), &mut out);
            of_files += out.len() as u64;
            messages.encode(generator, stream, &part, range, |message| {
                of_messages += message.value.len() as u64;
            });
        }
        let of_all = |bytes: u64| {
            let all = u128::from(bytes) * u128::from(plan.records(stream));
            (all / u128::from(sampled.max(1))) as u64
        };
        out.clear();
        files.header(stream, &mut out);
        files.footer(stream, &mut out);
        in_files += of_all(of_files) + out.len() as u64 * plan.parts();
        in_messages += of_all(of_messages);
    }
    (in_files, in_messages)
}
