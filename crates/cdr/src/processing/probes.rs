//! Whether the processor lives and is ready, for those who watch over it.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::problem::Problem;

/// Whether the processor is at work. Clones are about the same processor.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Option<String>>>);

impl Readiness {
    /// Of a processor that is starting, and is not ready yet.
    pub fn starting() -> Readiness {
        Readiness(Arc::new(watch::Sender::new(Some("the stream processor is starting".to_owned()))))
    }

    /// Its group has assigned its partitions, and brokers and store answer.
    pub fn set_ready(&self) {
        self.0.send_replace(None);
    }

    /// It cannot work, for a reason that anybody may read: it holds no secret.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.0.send_replace(Some(reason.into()));
    }

    fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

/// The liveness and the readiness probe.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || ready(&readiness)))
}

fn ready(readiness: &Readiness) -> Response {
    match readiness.reason() {
        None => "ready\n".into_response(),
        Some(reason) => Problem::NotReady(reason).into_response(),
    }
}
