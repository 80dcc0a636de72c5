//! `cdr sample`: some records on standard output.

use std::io::Write;

use cdr_model::{Generator, PartIndex, Plan, Shard, Stream};
use chrono::Utc;
use clap::{Args, ValueEnum};

use crate::commands::context::Context;
use crate::commands::named;
use crate::config::{DataOnly, Flags};
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::setup;

pub const EXAMPLES: &str = "\
Examples:
  cdr sample data                              ten data records as CSV
  cdr sample voice -n 3 --format json          three voice records as Kafka messages
  cdr sample data --part 85 --seed 7           from the 86th file of another seed";

/// `cdr sample`.
#[derive(Args)]
pub struct SampleArgs {
    /// Which records
    #[arg(value_parser = named(Stream::ALL, Stream::short_name))]
    pub stream: Stream,

    /// How many records
    #[arg(short = 'n', long, default_value_t = 10, value_name = "NUMBER")]
    pub count: u64,

    /// As in the files (csv) or as in the topics (json)
    #[arg(long, default_value = "csv", value_name = "FORMAT")]
    pub format: SampleFormat,

    /// The part to take them from, counted from 0
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub part: u64,

    #[command(flatten)]
    pub settings: Flags<DataOnly>,
}

/// How `cdr sample` writes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleFormat {
    /// As in the files, with a header line
    #[value(name = "csv")]
    File,
    /// As in the topics, one object a line
    #[value(name = "json")]
    Message,
}

/// Prints records from a part on, as files or topics have them.
pub fn execute(args: &SampleArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.without_log(&args.settings.values)?.config;
    let start = config.data.start.given().unwrap_or_else(|| Utc::now().naive_utc());
    let scenario = setup::scenario(&config, start);
    // A sample may lie anywhere, so the plan has no end but the calendar's.
    let plan = Plan::new(&scenario, Shard::WHOLE)?.without_end();
    let (generator, mut out) = (Generator::new(&scenario)?, Output::stdout());
    let (stream, files, messages) = (args.stream, config.file_format, config.records.message_format);
    let (mut left, mut index, last) = (args.count, PartIndex(args.part), plan.last());
    if index > last {
        let beyond = format!("--part {index} is beyond the calendar: parts go from 0 to {last}");
        return Err(UsageError(beyond).into());
    }
    let mut text = Vec::new();
    if args.format == SampleFormat::File {
        files.header(stream, &mut text);
    }
    while left > 0 && index <= last && !out.is_closed() {
        let part = plan.part(index);
        let count = u32::try_from(left).unwrap_or(u32::MAX).min(generator.count(stream, index));
        match args.format {
            SampleFormat::File => files.body(&generator, stream, &part, 0..count, &mut text),
            SampleFormat::Message => {
                messages.encode(&generator, stream, &part, 0..count, |message| {
                    text.extend_from_slice(message.value);
                    text.push(b'\n');
                });
            }
        }
        out.write_all(&text)?;
        text.clear();
        (left, index) = (left - u64::from(count), plan.after(index));
    }
    out.flush()?;
    Ok(Exit::Complete)
}
