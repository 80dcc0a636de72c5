//! `cdr sample`: some records on standard output.

use std::io::{self, Write};

use cdr_model::{Generator, PartIndex, Plan, Shard, Stream};
use chrono::Utc;

use crate::cli::{SampleArgs, SampleFormat, SampleStream};
use crate::config::{Config, StartTime};
use crate::setup;

/// Prints records from a part on, as files or topics have them.
///
/// # Errors
/// A scenario that cannot be simulated, or standard output that is closed.
pub fn print(args: &SampleArgs, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    let start = match config.data.start {
        StartTime::At(start) => start,
        StartTime::Now => Utc::now().naive_utc(),
    };
    let scenario = setup::scenario(config, start)?;
    // A sample may lie anywhere, so the plan has no end.
    let plan = Plan::new(&scenario, Shard::WHOLE)?.without_end();
    let generator = Generator::new(&scenario)?;
    let stream = match args.stream {
        SampleStream::Data => Stream::Data,
        SampleStream::Voice => Stream::Voice,
    };
    if args.format == SampleFormat::Csv {
        writeln!(out, "{}", stream.fields().join(","))?;
    }
    let (mut left, mut index) = (args.count, PartIndex(args.part));
    let mut text = Vec::new();
    while left > 0 {
        let part = plan.part(index);
        let lines = u32::try_from(left).unwrap_or(u32::MAX).min(part.line_count);
        text.clear();
        match args.format {
            SampleFormat::Csv => {
                generator.csv_lines(stream, &part, 0..lines, setup::line_end(config), &mut text);
            }
            SampleFormat::Json => generator.messages(stream, &part, 0..lines, |message| {
                text.extend_from_slice(message.value);
                text.push(b'\n');
            }),
        }
        out.write_all(&text)?;
        (left, index) = (left - u64::from(lines), plan.after(index));
    }
    Ok(out.flush()?)
}

/// Whether printing ended because nobody reads any more, as with `| head`.
pub fn reader_left(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
