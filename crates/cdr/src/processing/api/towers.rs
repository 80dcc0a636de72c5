//! What towers carried.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};

use super::Shared;
use super::parameters::{self, Query, TOWER_DAYS_MAX};
use super::subscribers::{begin_text, text};
use crate::processing::problem::Problem;

/// `GET /towers/{id}/load`.
pub(super) async fn load(
    State(shared): State<Arc<Shared>>,
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
