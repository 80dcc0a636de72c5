//! `cdr usage`: who used what, as it was counted, or as it should have been.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context, bail, ensure};
use cdr_model::usage::{Hour, Interaction, Stay, Usage, UsageType, Visit, stays};
use cdr_model::{Generator, Micros, PartIndex, Plan, Shard, Stream};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::json;

use crate::cli::{ReportFormat, UsageArgs};
use crate::config::{Config, StartTime};
use crate::processing::message;
use crate::processing::statement::Statement;
use crate::processing::store::{Heavy, HourUsage, Store};
use crate::setup;
use crate::telemetry::units;

/// Prints a subscriber's usage, or the heaviest subscribers and towers.
///
/// # Errors
/// A number or dates that cannot be, and a store that cannot be read.
pub fn usage(args: &UsageArgs, config: &Config) -> anyhow::Result<String> {
    let Some(msisdn) = &args.msisdn else {
        ensure!(
            !args.expected,
            "whose usage is to be computed? Give a number: cdr usage 27821234567 --expected"
        );
        return heaviest_of(args, config);
    };
    let who = message::msisdn(msisdn).with_context(|| {
        format!("{msisdn:?} is no number of 1 to 15 digits that do not begin with 0")
    })?;
    let wanted = hours(args)?;
    let (found, stays) = match args.expected {
        true => expected(config, who, wanted)?,
        false => {
            let mut store = open(config)?;
            (store.usage(who, wanted.start, wanted.end)?, store.stays(who, wanted.start, wanted.end)?)
        }
    };
    let Some(days) = days(args, &found) else {
        bail!("subscriber {who} has no usage there{}", hint(args));
    };
    let statement = Statement::of(who, days, &config.tariff, &found, &stays);
    Ok(match args.format {
        ReportFormat::Text => statement.text(),
        ReportFormat::Json => serde_json::to_string_pretty(&statement)? + "\n",
    })
}

fn hint(args: &UsageArgs) -> &'static str {
    match args.expected {
        true => ". Give the settings that the run had",
        false => ". `cdr usage` shows who has; `cdr process` counts what is in the topics",
    }
}

/// A file is not made by asking for it.
fn open(config: &Config) -> anyhow::Result<Store> {
    if let crate::processing::store::StoreConfig::File(path) = &config.process.store {
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

/// What the run's records come to, computed anew.
fn expected(
    config: &Config,
    who: u64,
    wanted: Range<Hour>,
) -> anyhow::Result<(Vec<HourUsage>, Vec<Stay>)> {
    let start: NaiveDateTime = match config.data.start {
        StartTime::At(start) => start,
        StartTime::Now => {
            bail!("of a run that began \"now\" nothing can be computed; set START to its time")
        }
    };
    let scenario = setup::scenario(config, start)?;
    let (plan, generator) = (Plan::new(&scenario, Shard::WHOLE)?, Generator::new(&scenario)?);
    let is_wanted = |one: &Interaction| one.msisdn == who && wanted.contains(&Hour::of(one.time));
    let (mut usage, mut visits) = (Usage::default(), Vec::new());
    for part in 0..plan.files() {
        let part = plan.part(PartIndex(part));
        for stream in Stream::ALL {
            for one in generator.interactions(stream, &part).filter(is_wanted) {
                usage.add(&one);
                visits.push(Visit { time: one.time, tower: one.tower });
            }
        }
    }
    let found = usage.sums.into_iter().filter_map(|(key, sums)| {
        let usage_type = UsageType::from_number(key.usage_type)?;
        Some(HourUsage { hour: key.hour, usage_type, sums })
    });
    Ok((found.collect(), stays(&mut visits)))
}

fn heaviest_of(args: &UsageArgs, config: &Config) -> anyhow::Result<String> {
    let mut store = open(config)?;
    if args.format == ReportFormat::Text {
        return Ok(heaviest(&mut store, args.top)?.0);
    }
    let rows = |rows: Vec<Heavy>, id: &str| -> Vec<_> {
        let row = |heavy: &Heavy| json!({ id: heavy.id.to_string(), "bytes": heavy.bytes, "call_seconds": heavy.seconds, "records": heavy.records });
        rows.iter().map(row).collect()
    };
    let subscribers = rows(store.heaviest_subscribers(args.top)?, "msisdn");
    let towers = rows(store.heaviest_towers(args.top)?, "tower_id");
    Ok(serde_json::to_string_pretty(&json!({ "subscribers": subscribers, "towers": towers }))? + "\n")
}

/// The heaviest subscribers and towers as a table, and the first subscriber.
///
/// # Errors
/// A store that fails.
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
