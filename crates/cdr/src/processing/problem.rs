//! Refusals as problem details (RFC 9457).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A parameter that is missing, or is not as it must be.
    Parameter { name: String, detail: String },
    /// Credentials that are missing, or are not right.
    Unauthorized,
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, but not for this method.
    Method,
    /// The store does not answer. Why, is in the log.
    Store,
    /// The processor is not at work, for this reason.
    NotReady(&'static str),
}

impl Problem {
    pub fn parameter(name: &str, detail: impl Into<String>) -> Problem {
        Problem::Parameter { name: name.to_owned(), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        let again = Some((RETRY_AFTER, "5"));
        // The header names what to do about it.
        let (status, detail, header) = match &self {
            Problem::Parameter { detail, .. } => (StatusCode::BAD_REQUEST, detail.as_str(), None),
            Problem::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "give the user and password of the usage API (API_USER, API_PASSWORD)",
                Some((WWW_AUTHENTICATE, r#"Basic realm="cdr usage", charset="UTF-8""#)),
            ),
            Problem::NotFound => {
                (StatusCode::NOT_FOUND, "there is nothing at this path; see /openapi.json", None)
            }
            Problem::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "this resource is only read; see the header Allow",
                None,
            ),
            Problem::Store => (BUSY, "the usage store does not answer; try again later", again),
            Problem::NotReady(obstacle) => (BUSY, *obstacle, again),
        };
        let mut details = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Problem::Parameter { name, .. } = &self {
            details["parameter"] = json!(name);
        }
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, details.to_string()).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
