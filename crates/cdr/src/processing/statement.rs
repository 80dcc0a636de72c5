//! A subscriber's usage by day, with charges and dwells: what the API answers, and `cdr usage` prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cdr_model::usage::{Dwell, Sums, UsageType};
use chrono::NaiveDate;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::store::HourUsage;
use super::tariff::{Charge, Tariff};
use crate::telemetry::units;

/// A subscriber's days from a date to before another.
#[derive(Debug, Serialize)]
pub struct Statement {
    msisdn: String,
    from: String,
    to: String,
    days: Vec<Day>,
    total: Total,
    dwells: Vec<DwellAt>,
}

#[derive(Debug, Serialize)]
struct Day {
    date: String,
    #[serde(flatten)]
    total: Total,
    usage: Vec<TypeUsage>,
}

/// Over all types, with what it costs: summed first, rounded once.
#[derive(Debug, Default, Serialize)]
struct Total {
    records: u64,
    up_bytes: u64,
    down_bytes: u64,
    calls: u64,
    call_seconds: u64,
    charge: Charge,
}

#[derive(Debug)]
struct TypeUsage(UsageType, Sums);

impl Serialize for TypeUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TypeUsage(of, Sums { records, up_bytes, down_bytes, seconds }) = self;
        let mut usage = json!({ "category": of.category(), "usage_type": of.name() });
        match of {
            UsageType::Data(_) => {
                usage["records"] = json!(records);
                usage["up_bytes"] = json!(up_bytes);
                usage["down_bytes"] = json!(down_bytes);
            }
            UsageType::Call(_) => {
                usage["calls"] = json!(records);
                usage["call_seconds"] = json!(seconds);
            }
        }
        usage.serialize(serializer)
    }
}

#[derive(Debug, Serialize)]
struct DwellAt {
    tower_id: u32,
    start_time: String,
    end_time: String,
    interactions: u64,
}

impl Statement {
    /// Of usage in the order of hours.
    pub fn of(
        msisdn: u64,
        [from, to]: [NaiveDate; 2],
        tariff: &Tariff,
        found: &[HourUsage],
        dwells: &[Dwell],
    ) -> Statement {
        let dwells = dwells.iter().map(|dwell| DwellAt {
            tower_id: dwell.tower,
            start_time: dwell.start.to_string(),
            end_time: dwell.end.to_string(),
            interactions: dwell.interactions,
        });
        Statement {
            msisdn: msisdn.to_string(),
            from: from.to_string(),
            to: to.to_string(),
            days: by_day(tariff, found),
            total: Total::of(tariff, found.iter().map(|found| (found.usage_type, found.sums))),
            dwells: dwells.collect(),
        }
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let mut text =
            format!("Subscriber {}, from {} to before {}\n\n", self.msisdn, self.from, self.to);
        row(&mut text, ["DAY", "TYPE", "RECORDS", "UP", "DOWN", "CALL TIME", "ZAR", "WAK"]);
        for day in &self.days {
            for TypeUsage(of, sums) in &day.usage {
                let (what, records) = (of.to_string(), units::count(sums.records));
                let [up, down, seconds] = match of {
                    UsageType::Data(_) => {
                        [units::bytes(sums.up_bytes), units::bytes(sums.down_bytes), String::new()]
                    }
                    UsageType::Call(_) => [String::new(), String::new(), call_time(sums.seconds)],
                };
                row(&mut text, [&day.date, &what, &records, &up, &down, &seconds, "", ""]);
            }
            day.total.row(&mut text, &day.date);
        }
        self.total.row(&mut text, "in all");
        for dwell in &self.dwells {
            let DwellAt { tower_id, start_time, end_time, interactions } = dwell;
            let count = units::count(*interactions);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "At tower {tower_id} from {start_time} to {end_time}: {count} interactions"
            );
        }
        text
    }
}

/// The texts of a row, of which numbers stand to the right.
fn row(text: &mut String, [day, what, records, up, down, seconds, zar, wak]: [&str; 8]) {
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}",
        format!(
            "  {day:<10}  {what:<16} {records:>8} {up:>10} {down:>10} {seconds:>12} {zar:>10} {wak:>10}"
        )
        .trim_end()
    );
}

/// The days that have usage.
fn by_day(tariff: &Tariff, found: &[HourUsage]) -> Vec<Day> {
    let days = found.chunk_by(|one, next| one.hour.day() == next.hour.day());
    days.filter_map(|hours| {
        let date = hours.first()?.hour.begin().to_civil()?.date().to_string();
        let mut by_type: BTreeMap<u8, (UsageType, Sums)> = BTreeMap::new();
        for HourUsage { usage_type, sums, .. } in hours {
            by_type.entry(usage_type.number()).or_insert((*usage_type, Sums::default())).1 += *sums;
        }
        let usage = by_type.values().map(|&(of, sums)| TypeUsage(of, sums)).collect();
        Some(Day { date, total: Total::of(tariff, by_type.into_values()), usage })
    })
    .collect()
}

impl Total {
    fn of(tariff: &Tariff, usage: impl Iterator<Item = (UsageType, Sums)>) -> Total {
        let mut total = Total::default();
        for (usage_type, sums) in usage {
            total.records += sums.records;
            total.up_bytes += sums.up_bytes;
            total.down_bytes += sums.down_bytes;
            total.call_seconds += sums.seconds;
            if let UsageType::Call(_) = usage_type {
                total.calls += sums.records;
            }
        }
        total.charge = tariff.charge(total.up_bytes + total.down_bytes, total.call_seconds);
        total
    }

    fn row(&self, text: &mut String, what: &str) {
        let Total { records, up_bytes, down_bytes, call_seconds, charge, .. } = self;
        row(
            text,
            [
                what,
                "all",
                &units::count(*records),
                &units::bytes(*up_bytes),
                &units::bytes(*down_bytes),
                &call_time(*call_seconds),
                &charge.zar.to_string(),
                &charge.wak.to_string(),
            ],
        );
    }
}

/// `1 h 2 min`, `5 s`
fn call_time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => units::duration(std::time::Duration::from_secs(seconds)),
    }
}
