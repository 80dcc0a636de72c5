//! `cdr stats`: what records are like, against the laws that they should obey.

mod html;
mod map;
mod measure;
mod plot;
mod report;

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Context as _;
use cdr_model::stats::{Finding, Verdict};
use clap::{Args, ValueEnum};
use tracing::warn;

use self::measure::{Measured, Subject};
use crate::commands::context::{Context, blocking};
use crate::commands::signals::Signals;
use crate::config::{Flags, StatsOnly};
use crate::exit::{Exit, UsageError};
use crate::facts::{Columns, Layout};
use crate::output::print;
use crate::telemetry::{Count, Display, Gauge};

pub const EXAMPLES: &str = "\
Examples:
  cdr stats --profile realistic                the records of a day, generated and measured
  cdr stats --profile realistic --env dev --total-seconds 2419200 --subscribers 20000 --check
                                               four weeks, as in docs/realism.md; exit code 6 if a law is broken
  cdr stats --profile realistic --format html > stats.html
  cdr stats --parts 0..24 --format json | jq '.laws[] | select(.ok == false)'
  cdr stats --from output --profile realistic  the CSV files of a folder, which a run of such settings wrote
  cdr stats --from topics --profile realistic  what the topics hold
  cdr stats --from calls.csv --columns msisdn=caller,dest_nr=callee,start_time=date+time,call_duration_sec=length \\
            --time-format '%d/%m/%Y %H:%M:%S'  those of another generator

Laws of months, such as how many places somebody comes to know, need four weeks of records, and some need 50
records of each person: until then their verdict is \"few\". Laws of what records do not have are left out.";

/// `cdr stats`.
#[derive(Args)]
pub struct StatsArgs {
    /// What is measured: `generator` (the records of a run, generated), `topics`, or a CSV file or a folder of
    /// such
    #[arg(long, default_value = "generator", value_name = "SOURCE")]
    pub from: Source,

    /// The parts to generate and measure, counted from 0, the last one not included; without it, all parts
    #[arg(long, value_name = "FIRST..END", value_parser = parts)]
    pub parts: Option<Range<u64>>,

    /// Which columns records of another generator have, by name or, from 1, by number. A call has msisdn,
    /// start_time and call_duration_sec or end_time; a session has msisdn, event_datetime, up_bytes and
    /// down_bytes; dest_nr, tower_id and data_type may be missing. `A+B` puts two together, with a space between
    #[arg(long, value_name = "OURS=THEIRS,…", value_parser = Columns::parse)]
    pub columns: Option<Columns>,

    /// How times are written, as for strftime; without it, as in ISO 8601, or seconds since 1970
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,

    /// What stands between the columns of a file
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,

    /// The first line of a file is a record
    #[arg(long)]
    pub no_header: bool,

    /// Exit with code 6 if a law is not kept, or a record cannot be read
    #[arg(long)]
    pub check: bool,

    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: StatsFormat,

    #[command(flatten)]
    pub settings: Flags<StatsOnly>,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Generator,
    Topics,
    Path(PathBuf),
}

impl From<&str> for Source {
    fn from(text: &str) -> Source {
        match text {
            "generator" => Source::Generator,
            "topics" => Source::Topics,
            path => Source::Path(path.into()),
        }
    }
}

/// How `cdr stats` writes what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// Lines and bars for people
    Text,
    /// One JSON object
    Json,
    /// A page with plots, in one file
    Html,
}

fn parts(text: &str) -> Result<Range<u64>, &'static str> {
    let bounds = text.split_once("..").and_then(|(first, end)| {
        let (first, end) = (first.parse().ok()?, end.parse().ok()?);
        (first < end).then_some(first..end)
    });
    bounds.ok_or("write two numbers, the second one larger, as 0..24")
}

fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("write one character of ASCII; \\t is a tab"),
    }
}

impl StatsArgs {
    /// What of the arguments goes together.
    fn check(&self) -> Result<(), UsageError> {
        let generated = self.from == Source::Generator;
        let files = matches!(self.from, Source::Path(_));
        let refused = |is_given, flag, only| {
            let reason = format!("{flag} is {only}; --from says where records come from");
            if is_given { Err(UsageError(reason)) } else { Ok(()) }
        };
        refused(self.parts.is_some() && !generated, "--parts", "of a run that is generated")?;
        refused(self.columns.is_some() && generated, "--columns", "for files and topics")?;
        refused(self.time_format.is_some() && generated, "--time-format", "for files and topics")?;
        refused(self.delimiter.is_some() && !files, "--delimiter", "for files")?;
        refused(self.no_header && !files, "--no-header", "for files")
    }

    fn layout(&self) -> Layout {
        Layout {
            columns: self.columns.clone().unwrap_or_default(),
            time_format: self.time_format.clone(),
            delimiter: self.delimiter,
            headless: self.no_header,
        }
    }
}

/// Measures records, and prints what was found to standard output.
pub async fn execute(args: &StatsArgs, context: &Context) -> anyhow::Result<Exit> {
    args.check()?;
    let config = context.config(&args.settings.values)?;
    let signals = Signals::watch()?;
    let unit = match &args.from {
        Source::Generator | Source::Topics => "records",
        Source::Path(_) => "bytes",
    };
    let count = Count::new(unit);
    let display = Display::start(&config.log, Gauge::new(vec![count.clone()]), &context.terminal);
    let display = display.context("cannot show progress")?;
    let subject = Subject {
        layout: args.layout(),
        parts: args.parts.clone(),
        foreign: args.columns.is_some(),
        config,
        count,
        shutdown: signals.shutdown.clone(),
    };
    let from = args.from.clone();
    let measured = blocking("measuring", move || subject.measure(&from)).await;
    drop(display);
    if let Some(exit) = signals.exit() {
        return Ok(exit);
    }
    let measured = measured?.context("what was to be measured was not read to its end")?;
    measured.warnings.iter().for_each(|warning| warn!("{warning}"));
    measured.left_out.described.iter().for_each(|problem| warn!("{problem}"));
    let findings = measured.statistics.findings();
    print(&match args.format {
        StatsFormat::Text => report::text(&measured, &findings)?,
        StatsFormat::Html => html::page(&measured, &findings)?,
        StatsFormat::Json => serde_json::to_string_pretty(&report::json(&measured, &findings))? + "\n",
    })?;
    Ok(exit(args, &measured, &findings))
}

fn exit(args: &StatsArgs, measured: &Measured, findings: &[Finding]) -> Exit {
    let right =
        measured.left_out.is_empty() && !findings.iter().any(|one| one.verdict() == Verdict::Broken);
    if args.check && !right { Exit::Differs } else { Exit::Complete }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_two_numbers() {
        assert_eq!(parts("0..24"), Ok(0..24));
        for wrong in ["", "5", "5..", "..5", "5..5", "6..5", "-1..5", "a..b"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!([";", "\\t", "\t", "|"].map(delimiter), [Ok(b';'), Ok(b'\t'), Ok(b'\t'), Ok(b'|')]);
        assert!(["", ";;", "→"].map(delimiter).iter().all(Result::is_err));
    }
}
