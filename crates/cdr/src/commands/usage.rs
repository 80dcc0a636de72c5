//! `cdr usage`: who used what, as it was counted, or as it should have been.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context as _, ensure};
use cdr_model::usage::{Dwell, Hour, Sighting, Usage, UsageType, dwells};
use cdr_model::{Generator, Micros, PartIndex, Plan, Shard};
use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use serde_json::json;

use crate::commands::ReportFormat;
use crate::commands::context::Context;
use crate::config::{Config, Flags, UsageOnly};
use crate::exit::{Exit, UsageError};
use crate::output::print;
use crate::processing::message;
use crate::processing::statement::Statement;
use crate::processing::store::{Heavy, HourUsage, Store, StoreConfig};
use crate::setup;
use crate::telemetry::units;

pub const EXAMPLES: &str = "\
Examples:
  cdr usage                                    the heaviest subscribers and towers, as cdr process has counted
  cdr usage 27821234567                        a subscriber's days, with charges and dwells
  cdr usage 27821234567 --from 2024-01-02      from a day on
  cdr usage 27821234567 --expected             what the run's records come to, computed again from the seed
  cdr usage 27821234567 --format json | jq .total.charge";

/// `cdr usage`.
#[derive(Args)]
pub struct UsageArgs {
    /// The subscriber's number; without one, the heaviest are shown
    pub msisdn: Option<String>,

    /// The first day
    #[arg(long, value_name = "YYYY-MM-DD", requires = "msisdn", value_parser = day)]
    pub from: Option<NaiveDate>,

    /// The day behind the last
    #[arg(long, value_name = "YYYY-MM-DD", requires = "msisdn", value_parser = day)]
    pub to: Option<NaiveDate>,

    /// Compute what should have been counted from the run's settings, instead of querying the store
    #[arg(long)]
    pub expected: bool,

    /// How many of the heaviest
    #[arg(long, default_value_t = 5, value_name = "NUMBER", conflicts_with = "msisdn")]
    pub top: u32,

    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: ReportFormat,

    #[command(flatten)]
    pub settings: Flags<UsageOnly>,
}

fn day(text: &str) -> Result<NaiveDate, &'static str> {
    message::date(text).ok_or("write a day of the years 0 to 9999 as 2024-01-31")
}

/// Prints a subscriber's usage, or the heaviest subscribers and towers.
pub fn execute(args: &UsageArgs, context: &Context) -> anyhow::Result<Exit> {
    let loaded = context.without_log(&args.settings.values)?;
    print(&usage(args, &loaded.config)?)?;
    Ok(Exit::Complete)
}

fn usage(args: &UsageArgs, config: &Config) -> anyhow::Result<String> {
    let Some(msisdn) = &args.msisdn else {
        if args.expected {
            let whose = "whose usage is to be computed? Give a number: cdr usage 27821234567 --expected";
            return Err(UsageError(whose.to_owned()).into());
        }
        return heaviest_of(args, config);
    };
    let who = message::msisdn(msisdn).ok_or_else(|| {
        UsageError(format!("{msisdn:?} is no number of 1 to 15 digits that do not begin with 0"))
    })?;
    let wanted = hours(args)?;
    let (found, dwells) = match args.expected {
        true => expected(config, who, wanted)?,
        false => {
            let mut store = open(config)?;
            (store.usage(who, wanted.start, wanted.end)?, store.dwells(who, wanted.start, wanted.end)?)
        }
    };
    let hint = match args.expected {
        true => "Give the settings that the run had",
        false => "`cdr usage` shows who has; `cdr process` counts what is in the topics",
    };
    let days = days(args, &found);
    let days = days.with_context(|| format!("subscriber {who} has no usage there. {hint}"))?;
    let statement = Statement::of(who, days, &config.tariff, &found, &dwells);
    Ok(match args.format {
        ReportFormat::Text => statement.text(),
        ReportFormat::Json => serde_json::to_string_pretty(&statement)? + "\n",
    })
}

/// A query makes no file.
fn open(config: &Config) -> anyhow::Result<Store> {
    if let StoreConfig::File(path) = &config.process.store {
        ensure!(
            path.exists(),
            "there is no usage store {}. `cdr process` makes it; choose another with --store-path or STORE_URL",
            path.display()
        );
    }
    Ok(Store::open(&config.process.store)?)
}

/// The hours of the wanted days; all, where no days are given.
fn hours(args: &UsageArgs) -> anyhow::Result<Range<Hour>> {
    let begin = |date: NaiveDate| Hour::of(Micros::from_civil(date.and_time(NaiveTime::MIN)));
    if let (Some(from), Some(to)) = (args.from, args.to) {
        ensure!(from < to, "--to {to} is not later than --from {from}");
    }
    Ok(args.from.map_or(Hour(i32::MIN), begin)..args.to.map_or(Hour(i32::MAX), begin))
}

/// The wanted days; where none are given, those that have usage.
fn days(args: &UsageArgs, found: &[HourUsage]) -> Option<[NaiveDate; 2]> {
    let date = |hour: Hour| hour.begin().to_civil().map(|time| time.date());
    let (first, last) = (date(found.first()?.hour)?, date(found.last()?.hour)?);
    Some([args.from.unwrap_or(first), args.to.or_else(|| last.succ_opt())?])
}

/// What the run's records come to, computed again.
fn expected(
    config: &Config,
    who: u64,
    wanted: Range<Hour>,
) -> anyhow::Result<(Vec<HourUsage>, Vec<Dwell>)> {
    let start = config.data.start.given();
    let start =
        start.context("of a run that began \"now\" nothing can be computed; set START to its time")?;
    let scenario = setup::scenario(config, start);
    let (plan, generator) = (Plan::new(&scenario, Shard::WHOLE)?, Generator::new(&scenario)?);
    let (mut usage, mut sightings) = (Usage::default(), Vec::new());
    for part in 0..plan.files() {
        let part = plan.part(PartIndex(part));
        for stream in plan.streams() {
            generator.interactions(stream, &part, |one| {
                if one.msisdn == who && wanted.contains(&Hour::of(one.time)) {
                    usage.add(&one);
                    sightings.push(Sighting { time: one.time, tower: one.tower });
                }
            });
        }
    }
    let found = usage.sums.into_iter().filter_map(|(key, sums)| {
        let usage_type = UsageType::from_number(key.usage_type)?;
        Some(HourUsage { hour: key.hour, usage_type, sums })
    });
    Ok((found.collect(), dwells(&mut sightings)))
}

fn heaviest_of(args: &UsageArgs, config: &Config) -> anyhow::Result<String> {
    let mut store = open(config)?;
    if args.format == ReportFormat::Text {
        return Ok(heaviest(&mut store, args.top)?.0);
    }
    let rows = |rows: Vec<Heavy>, id: &str| -> Vec<_> {
        let row = |Heavy { id: value, bytes, seconds, records }: Heavy| json!({ id: value.to_string(), "bytes": bytes, "call_seconds": seconds, "records": records });
        rows.into_iter().map(row).collect()
    };
    let subscribers = rows(store.heaviest_subscribers(args.top)?, "msisdn");
    let towers = rows(store.heaviest_towers(args.top)?, "tower_id");
    Ok(serde_json::to_string_pretty(&json!({ "subscribers": subscribers, "towers": towers }))? + "\n")
}

/// The heaviest subscribers and towers as a table, and the first subscriber.
pub(super) fn heaviest(store: &mut Store, count: u32) -> anyhow::Result<(String, Option<u64>)> {
    let (subscribers, towers) = (store.heaviest_subscribers(count)?, store.heaviest_towers(count)?);
    let first = subscribers.first().map(|heavy| heavy.id);
    let mut text = String::new();
    table(&mut text, "SUBSCRIBER", &subscribers)?;
    text.push('\n');
    table(&mut text, "TOWER", &towers)?;
    Ok((text, first))
}

fn table(text: &mut String, what: &str, rows: &[Heavy]) -> std::fmt::Result {
    writeln!(text, "  {what:<16} {:>12} {:>14} {:>9}", "DATA", "CALL SECONDS", "RECORDS")?;
    for Heavy { id, bytes, seconds, records } in rows {
        let (bytes, seconds, records) =
            (units::bytes(*bytes), units::count(*seconds), units::count(*records));
        writeln!(text, "  {id:<16} {bytes:>12} {seconds:>14} {records:>9}")?;
    }
    Ok(())
}
