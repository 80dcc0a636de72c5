//! What subscribers used, where they dwelt, and what towers carried.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use cdr_model::Micros;
use cdr_model::usage::{Hour, UsageType};
use serde_json::{Value, json};

use super::Shared;
use super::parameters::{self, Interval, Query, SUBSCRIBER_DAYS_MAX, TOWER_DAYS_MAX, day_begin};
use crate::processing::problem::Problem;
use crate::processing::statement::Statement;
use crate::processing::store::HourUsage;

/// Of the times in answers, which are UTC.
const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `GET /data_usage`.
pub(super) async fn data_usage(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(query.as_deref(), &["msisdn", "start_time", "end_time"])?;
    let (msisdn, interval) = (query.msisdn()?, query.times()?);
    let (first, behind) = interval.hours_of_days();
    let found = shared.reader.read(move |store| store.usage(msisdn, first, behind)).await?;
    Ok(Json(json!({
        "msisdn": msisdn.to_string(),
        "start_time": interval.from.format(TIME_FORMAT).to_string(),
        "end_time": interval.to.format(TIME_FORMAT).to_string(),
        "usage": periods(&interval, &found),
    })))
}

/// Hours → the days of data and the hours of calls that overlap the interval, each whole.
fn periods(interval: &Interval, found: &[HourUsage]) -> Vec<Value> {
    let (first, behind) = interval.hours();
    let mut totals: BTreeMap<(Hour, u8), (UsageType, u64)> = BTreeMap::new();
    for HourUsage { hour, usage_type, sums } in found {
        let (begin, amount) = match usage_type {
            UsageType::Data(_) => (day_begin(*hour), sums.bytes()),
            UsageType::Call(_) if (first..behind).contains(hour) => (*hour, sums.seconds),
            UsageType::Call(_) => continue,
        };
        totals.entry((begin, usage_type.number())).or_insert((*usage_type, 0)).1 += amount;
    }
    let whole = totals.into_iter().map(|((hour, _), (usage_type, total))| {
        json!({
            "category": usage_type.category(),
            "usage_type": usage_type.name(),
            "total": total,
            "measure": usage_type.measure(),
            "start_time": begin_text(hour.begin()),
        })
    });
    whole.collect()
}

/// Empty beyond the calendar, where no parameter leads.
fn begin_text(begin: Micros) -> String {
    begin.to_civil().map(|time| time.format(TIME_FORMAT).to_string()).unwrap_or_default()
}

/// `GET /usage/{msisdn}`.
pub(super) async fn days(
    State(shared): State<Shared>,
    msisdn: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Statement>, Problem> {
    let msisdn = parameters::msisdn(&text("msisdn", msisdn)?)?;
    let interval = Query::new(query.as_deref(), &["from", "to"])?.days(SUBSCRIBER_DAYS_MAX)?;
    let (first, behind) = interval.hours();
    let read = shared.reader.read(move |store| {
        Ok((store.usage(msisdn, first, behind)?, store.dwells(msisdn, first, behind)?))
    });
    let (found, dwells) = read.await?;
    let (from, to) = (interval.from.date(), interval.to.date());
    Ok(Json(Statement::of(msisdn, [from, to], &shared.tariff, &found, &dwells)))
}

/// `GET /towers/{id}/load`.
pub(super) async fn tower_load(
    State(shared): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let tower = parameters::tower(&text("id", id)?)?;
    let interval = Query::new(query.as_deref(), &["from", "to"])?.days(TOWER_DAYS_MAX)?;
    let (first, behind) = interval.quarters();
    let found = shared.reader.read(move |store| store.loads(tower, first, behind)).await?;
    let quarters = found.iter().map(|found| {
        json!({
            "start_time": begin_text(found.quarter.begin()),
            "sessions": found.load.sessions,
            "bytes": found.load.bytes,
            "calls": found.load.calls,
            "call_seconds": found.load.call_seconds,
        })
    });
    Ok(Json(json!({
        "tower_id": tower,
        "from": interval.from.date().to_string(),
        "to": interval.to.date().to_string(),
        "quarters": quarters.collect::<Vec<_>>(),
    })))
}

/// The value of a parameter of the path.
fn text(name: &str, found: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    found.map(|Path(text)| text).map_err(|_| Problem::parameter(name, format!("{name} is not UTF-8")))
}
