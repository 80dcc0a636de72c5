//! The usage API: what subscribers used and towers carried, over HTTP. `openapi.json` describes it.
//!
//! It reads the store over connections of its own, so that neither a slow question nor a batch that
//! is being stored holds the other up.

mod auth;
mod parameters;
mod problem;
mod reader;
mod subscribers;
#[cfg(test)]
mod tests;
mod towers;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::debug;

use self::auth::Credentials;
use self::problem::Problem;
use self::reader::Reader;
use super::http;
use super::store::StoreConfig;
use super::tariff::Tariff;
use crate::config::ApiSettings;

/// The OpenAPI document, as it is served.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Whether the processor is at work. Clones are about the same processor.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Option<String>>>);

impl Readiness {
    /// Of a processor that is starting, and is not ready yet.
    pub fn starting() -> Readiness {
        Readiness(Arc::new(watch::Sender::new(Some("the stream processor is starting".to_owned()))))
    }

    /// Its group has told it its partitions, and brokers and store answer.
    pub fn set_ready(&self) {
        self.0.send_replace(None);
    }

    /// It cannot work, for a reason that anybody may read: it holds no secret.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.0.send_replace(Some(reason.into()));
    }

    /// Why it is not ready; `None` if it is.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

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
    pub fn new(store: StoreConfig, tariff: Tariff, settings: &ApiSettings, readiness: Readiness) -> Api {
        let credentials = Credentials::new(&settings.user, &settings.password);
        Api { store, tariff, credentials, readiness }
    }

    fn router(self) -> Router {
        let shared = Arc::new(Shared { reader: Reader::new(self.store), tariff: self.tariff });
        let readiness = self.readiness;
        Router::new()
            .route("/data_usage", get(subscribers::data_usage))
            .route("/usage/{msisdn}", get(subscribers::days))
            .route("/towers/{id}/load", get(towers::load))
            .route_layer(middleware::map_response(keep_private))
            .route_layer(middleware::from_fn_with_state(self.credentials, auth::require))
            .with_state(shared)
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(async move || ready(&readiness)))
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

/// Serves the API until `shutdown` is there, and then, for some seconds, until the requests that have
/// begun are answered.
///
/// # Errors
/// None today: what fails for a client fails for that client only.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    http::serve(listener, api.router(), http::Limits::default(), shutdown).await;
    Ok(())
}

fn ready(readiness: &Readiness) -> Response {
    match readiness.reason() {
        None => "ready\n".into_response(),
        Some(reason) => Problem::NotReady(reason).into_response(),
    }
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
