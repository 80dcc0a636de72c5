//! Refusals as problem details (RFC 9457).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

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
    NotReady(String),
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl Problem {
    pub fn parameter(name: &str, detail: impl Into<String>) -> Problem {
        Problem::Parameter { name: name.to_owned(), detail: detail.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Problem::Parameter { .. } => StatusCode::BAD_REQUEST,
            Problem::Unauthorized => StatusCode::UNAUTHORIZED,
            Problem::NotFound => StatusCode::NOT_FOUND,
            Problem::Method => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Store | Problem::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn detail(&self) -> &str {
        match self {
            Problem::Parameter { detail, .. } | Problem::NotReady(detail) => detail,
            Problem::Unauthorized => {
                "give the user and password of the usage API (API_USER, API_PASSWORD)"
            }
            Problem::NotFound => "there is nothing at this path; see /openapi.json",
            Problem::Method => "this resource is only read; see the header Allow",
            Problem::Store => "the usage store does not answer; try again later",
        }
    }

    /// The header that names what to do about it.
    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Problem::Unauthorized => {
                Some((WWW_AUTHENTICATE, r#"Basic realm="cdr usage", charset="UTF-8""#))
            }
            Problem::Store | Problem::NotReady(_) => Some((RETRY_AFTER, "5")),
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let details = Details {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.detail(),
            parameter: match &self {
                Problem::Parameter { name, .. } => Some(name),
                _ => None,
            },
        };
        // Text and numbers can always be written.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, body).into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
        }
        response
    }
}
