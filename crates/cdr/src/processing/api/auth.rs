//! HTTP basic authentication (RFC 7617).

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::processing::problem::Problem;
use crate::secret::Secret;

/// The digest of `user:password`: digests are compared, because comparing the texts would show
/// whether their lengths are the same. A user has no colon, so that both are in it.
#[derive(Clone)]
pub(super) struct Credentials([u8; 32]);

impl Credentials {
    pub fn new(user: &str, password: &Secret) -> Credentials {
        Credentials(digest(format!("{user}:{}", password.expose()).as_bytes()))
    }

    /// The time this takes shows nothing of how much is right.
    fn are_in(&self, headers: &HeaderMap) -> bool {
        given(headers).is_some_and(|given| bool::from(digest(&given).ct_eq(&self.0)))
    }
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The header's content, if there is one of the right form.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    scheme.eq_ignore_ascii_case("basic").then(|| Base64::decode_vec(token).ok()).flatten()
}

/// Lets only those pass who know the credentials.
pub(super) async fn require(
    State(credentials): State<Credentials>,
    request: Request,
    next: Next,
) -> Response {
    match credentials.are_in(request.headers()) {
        true => next.run(request).await,
        false => Problem::Unauthorized.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, is_right: bool) {
        let credentials = Credentials::new("cdr", &Secret::new("pass:wörd"));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        assert_eq!(credentials.are_in(&headers), is_right, "{header}");
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", Base64::encode_string(text.as_bytes()))
    }

    #[test]
    fn user_and_password_must_both_be_right() {
        check(&basic("cdr:pass:wörd"), true);
        for wrong in
            ["", ":", "cdr", "cdr:", "cdr:pass", "cdr:pass:wörd ", "Cdr:pass:wörd", ":pass:wörd"]
        {
            check(&basic(wrong), false);
        }
    }

    #[test]
    fn the_scheme_is_of_any_case_and_no_other() {
        let right = basic("cdr:pass:wörd");
        check(&right.replace("Basic ", "bASIC  "), true);
        for wrong in ["", "Basic", "Basic ", "Basic ***", "Basic Y2Ry=", "Basic \u{ff}"] {
            check(wrong, false);
        }
        check(&right.replace("Basic", "Bearer"), false);
        check(&right.replace("Basic ", ""), false);
    }

    #[test]
    fn nothing_is_not_right() {
        let credentials = Credentials::new("", &Secret::new(""));
        assert!(!credentials.are_in(&HeaderMap::new()));
    }
}
