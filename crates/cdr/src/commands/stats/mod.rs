//! `cdr stats`: what records are like, against the laws that they should obey.

mod html;

use std::fmt::Write as _;
use std::ops::Range;

use cdr_model::stats::{Finding, Histogram, Known, Statistics};
use cdr_model::{Generator, PartIndex, Plan, Scenario, Shard};
use chrono::Utc;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::commands::context::Context;
use crate::config::{DataOnly, Flags};
use crate::exit::{Exit, UsageError};
use crate::output::print;
use crate::setup;
use crate::telemetry::units;

pub const EXAMPLES: &str = "\
Examples:
  cdr stats --profile realistic                the records of a day, generated and measured
  cdr stats --profile realistic --env dev --total-seconds 2419200 --subscribers 20000 --check
                                               four weeks, as in docs/realism.md; exit code 6 if a law is broken
  cdr stats --profile realistic --format html > stats.html
  cdr stats --parts 0..24 --format json | jq '.laws[] | select(.ok | not)'

Laws of months, such as how many places somebody comes to know, need weeks of records. Those of weekends
need a Saturday and a Sunday.";

/// `cdr stats`.
#[derive(Args)]
pub struct StatsArgs {
    /// The parts to measure, counted from 0, the last one not included; without it, all parts
    #[arg(long, value_name = "FIRST..END", value_parser = parts)]
    pub parts: Option<Range<u64>>,

    /// Exit with code 6 if a law is not kept
    #[arg(long)]
    pub check: bool,

    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: StatsFormat,

    #[command(flatten)]
    pub settings: Flags<DataOnly>,
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

/// Measures the records of a run, as its settings generate them.
pub fn execute(args: &StatsArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.without_log(&args.settings.values)?.config;
    let start = config.data.start.given().unwrap_or_else(|| Utc::now().naive_utc());
    let scenario = setup::scenario(&config, start);
    let statistics = measure(&scenario, args.parts.clone())?;
    let findings = statistics.findings();
    print(&match args.format {
        StatsFormat::Text => text(&statistics, &findings)?,
        StatsFormat::Html => html::page(&statistics, &findings)?,
        StatsFormat::Json => serde_json::to_string_pretty(&report(&statistics, &findings))? + "\n",
    })?;
    match args.check && !findings.iter().all(Finding::is_met) {
        true => Ok(Exit::Differs),
        false => Ok(Exit::Complete),
    }
}

fn measure(scenario: &Scenario, parts: Option<Range<u64>>) -> anyhow::Result<Statistics> {
    let (plan, generator) = (Plan::new(scenario, Shard::WHOLE)?, Generator::new(scenario)?);
    let parts = parts.unwrap_or(0..plan.files());
    if parts.end > plan.files() {
        let beyond = format!(
            "--parts {}..{} goes beyond the run, which has {} parts; end it there, or raise TOTAL_SECONDS",
            parts.start,
            parts.end,
            plan.files()
        );
        return Err(UsageError(beyond).into());
    }
    let window = [parts.start, parts.end].map(|part| plan.part(PartIndex(part)).start);
    let mut statistics = Statistics::new(Known::of(scenario, &generator, window));
    for index in parts {
        for stream in plan.streams() {
            generator.facts(stream, &plan.part(PartIndex(index)), |fact| statistics.take(&fact));
        }
    }
    Ok(statistics)
}

fn report(statistics: &Statistics, findings: &[Finding]) -> Value {
    let law = |finding: &Finding| {
        let bound = |bound: f64| bound.is_finite().then_some(bound);
        json!({
            "law": finding.law,
            "found": finding.found,
            "least": bound(finding.target[0]),
            "most": bound(finding.target[1]),
            "ok": finding.is_met(),
            "source": finding.source,
        })
    };
    let bars = |Histogram { what, bars }: Histogram| {
        let bars = bars.into_iter().map(|(of, records)| json!({ "of": of, "records": records }));
        json!({ "what": what, "bars": bars.collect::<Vec<_>>() })
    };
    json!({
        "records": statistics.records(),
        "people_sampled_one_of": statistics.one_of(),
        "laws": findings.iter().map(law).collect::<Vec<_>>(),
        "histograms": statistics.histograms().into_iter().map(bars).collect::<Vec<_>>(),
    })
}

fn text(statistics: &Statistics, findings: &[Finding]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{}\n\n{}", extent(statistics), Finding::heading())?;
    for finding in findings {
        writeln!(text, "{finding}")?;
    }
    writeln!(text, "\n{}", kept(findings))?;
    for histogram in statistics.histograms() {
        bars(&mut text, &histogram)?;
    }
    Ok(text)
}

/// How much was looked at.
fn extent(statistics: &Statistics) -> String {
    let records = units::count(statistics.records());
    match statistics.one_of() {
        1 => format!("{records} records."),
        people => format!("{records} records. Of people, one of {people} was looked at."),
    }
}

fn kept(findings: &[Finding]) -> String {
    let met = findings.iter().filter(|finding| finding.is_met()).count();
    format!("{met} of {} laws are kept.", findings.len())
}

/// Columns of the longest bar.
const WIDTH: u64 = 50;

fn bars(text: &mut String, histogram: &Histogram) -> std::fmt::Result {
    let most = histogram.bars.iter().map(|(_, records)| *records).max().unwrap_or(0).max(1);
    let all: u64 = histogram.bars.iter().map(|(_, records)| *records).sum();
    writeln!(text, "\n{}", histogram.what)?;
    for (of, records) in &histogram.bars {
        let bar = "█".repeat((records * WIDTH).div_ceil(most) as usize);
        let share = *records as f64 / all.max(1) as f64 * 100.0;
        writeln!(text, "  {of:>9} {share:>5.1} % {bar}")?;
    }
    Ok(())
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
    fn bars_are_as_long_as_there_are_records() {
        let mut text = String::new();
        let histogram = Histogram { what: "calls", bars: vec![("a".into(), 3), ("b".into(), 1)] };
        bars(&mut text, &histogram).unwrap();
        let lengths: Vec<_> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [0, 0, 50, 17]);
        assert!(text.contains("75.0 %"), "{text}");
    }
}
