//! The usage API: what subscribers used and towers carried, over HTTP. `openapi.json` describes it.
//!
//! It reads the store over connections of its own, so that neither a slow question nor a batch that
//! is being stored holds the other up.

mod answers;
mod auth;
mod config;
mod parameters;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tracing::debug;

use self::auth::Credentials;
pub use self::config::ApiConfig;
use self::reader::Reader;
use super::probes::{self, Readiness};
use super::problem::Problem;
use super::store::StoreConfig;
use super::tariff::Tariff;

/// The OpenAPI document, as it is served.
pub const OPENAPI: &str = include_str!("openapi.json");

/// The API, which answers from a store of its own. The address among the settings is not used.
pub fn router(store: StoreConfig, tariff: Tariff, settings: &ApiConfig, readiness: Readiness) -> Router {
    let shared = Shared { reader: Arc::new(Reader::new(store)), tariff };
    let credentials = Credentials::new(&settings.user, &settings.password);
    Router::new()
        .route("/data_usage", get(answers::data_usage))
        .route("/usage/{msisdn}", get(answers::days))
        .route("/towers/{id}/load", get(answers::tower_load))
        .route_layer(middleware::map_response(keep_private))
        .route_layer(middleware::from_fn_with_state(credentials, auth::require))
        .with_state(shared)
        .merge(probes::routes(readiness))
        .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::Method)
        .layer(middleware::from_fn(log))
}

/// What the handlers of usage share.
#[derive(Clone)]
struct Shared {
    reader: Arc<Reader>,
    tariff: Tariff,
}

/// Usage is about people, and it changes: nobody on the way is to keep it.
async fn keep_private(response: Response) -> ([(HeaderName, HeaderValue); 1], Response) {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], response)
}

/// Logs the route rather than the path, which may name a subscriber.
async fn log(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (method, begun) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    let (route, status) = (route.as_deref().unwrap_or("(no route)"), response.status().as_u16());
    debug!("usage API: {method} {route} {status} in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    response
}
