//! The usage API: what subscribers used and towers carried, over HTTP. `openapi.json` describes it.
//!
//! It reads the store over connections of its own, so that neither a slow question nor a batch that
//! is being stored holds the other up.

mod auth;
mod config;
mod parameters;
mod reader;
mod subscribers;
#[cfg(test)]
mod tests;
mod towers;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::auth::Credentials;
pub use self::config::ApiConfig;
use self::reader::Reader;
use super::probes::{self, Readiness};
use super::problem::Problem;
use super::store::StoreConfig;
use super::tariff::Tariff;
use crate::http;

/// The OpenAPI document, as it is served.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What the API answers from, and to whom.
#[derive(Clone)]
pub struct Api {
    store: StoreConfig,
    tariff: Tariff,
    credentials: Credentials,
    readiness: Readiness,
}

impl Api {
    /// The address among the settings is not used: `serve` takes a listener.
    pub fn new(store: StoreConfig, tariff: Tariff, settings: &ApiConfig, readiness: Readiness) -> Api {
        let credentials = Credentials::new(&settings.user, &settings.password);
        Api { store, tariff, credentials, readiness }
    }

    fn router(self) -> Router {
        let shared = Arc::new(Shared { reader: Reader::new(self.store), tariff: self.tariff });
        Router::new()
            .route("/data_usage", get(subscribers::data_usage))
            .route("/usage/{msisdn}", get(subscribers::days))
            .route("/towers/{id}/load", get(towers::load))
            .route_layer(middleware::map_response(keep_private))
            .route_layer(middleware::from_fn_with_state(self.credentials, auth::require))
            .with_state(shared)
            .merge(probes::routes(self.readiness))
            .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
            .fallback(async || Problem::NotFound)
            .method_not_allowed_fallback(async || Problem::Method)
            .layer(middleware::from_fn(log))
    }
}

/// What the handlers of usage share.
struct Shared {
    reader: Arc<Reader>,
    tariff: Tariff,
}

/// Serves the API until shutdown, and then, for some seconds, until the requests that have begun are
/// answered. What fails for a client fails for that client only.
pub async fn serve(listener: TcpListener, api: Api, shutdown: CancellationToken) {
    http::serve(listener, api.router(), http::Limits::default(), shutdown).await;
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
