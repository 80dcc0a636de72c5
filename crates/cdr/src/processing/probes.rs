//! Whether the processor lives and is ready, for those who watch over it.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::problem::Problem;

/// What keeps the processor from its work, if anything does: its group has assigned its partitions, and
/// brokers and store answer. Anybody may read it: it holds no secret. Clones are about the same processor.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Option<&'static str>>>);

impl Readiness {
    /// Of a processor that is starting, and is not ready yet.
    pub fn starting() -> Readiness {
        Readiness(Arc::new(watch::Sender::new(Some("the stream processor is starting"))))
    }

    pub fn set(&self, obstacle: Option<&'static str>) {
        self.0.send_replace(obstacle);
    }
}

/// The liveness and the readiness probe.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || ready(&readiness)))
}

fn ready(readiness: &Readiness) -> Response {
    match *readiness.0.borrow() {
        None => "ready\n".into_response(),
        Some(obstacle) => Problem::NotReady(obstacle).into_response(),
    }
}
