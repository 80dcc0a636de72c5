//! What towers carried.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;

use super::Shared;
use super::parameters::{self, Query, TOWER_DAYS_MAX};
use super::subscribers::{TIME_FORMAT, text};
use crate::processing::problem::Problem;
use crate::processing::store::QuarterLoad;

/// The answer of `/towers/{id}/load`.
#[derive(Debug, Serialize)]
pub(super) struct TowerLoad {
    tower_id: u32,
    from: String,
    to: String,
    quarters: Vec<Quarter>,
}

/// A quarter of an hour.
#[derive(Debug, Serialize)]
struct Quarter {
    start_time: String,
    sessions: u64,
    bytes: u64,
    calls: u64,
    call_seconds: u64,
}

/// `GET /towers/{id}/load`.
pub(super) async fn load(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<TowerLoad>, Problem> {
    let tower = parameters::tower(&text("id", id)?)?;
    let interval = Query::new(query.as_deref(), &["from", "to"])?.days(TOWER_DAYS_MAX)?;
    let (first, behind) = interval.quarters();
    let found = shared.reader.read(move |store| store.loads(tower, first, behind)).await?;
    Ok(Json(TowerLoad {
        tower_id: tower,
        from: interval.from.date().to_string(),
        to: interval.to.date().to_string(),
        quarters: found.into_iter().filter_map(quarter).collect(),
    }))
}

/// `None` beyond the calendar, where no parameter leads.
fn quarter(found: QuarterLoad) -> Option<Quarter> {
    let begin = found.quarter.begin().to_civil()?;
    Some(Quarter {
        start_time: begin.format(TIME_FORMAT).to_string(),
        sessions: found.load.sessions,
        bytes: found.load.bytes,
        calls: found.load.calls,
        call_seconds: found.load.call_seconds,
    })
}
