//! How OAuth's endpoints answer: JSON objects as they are, errors as in RFC 6749, 5.2.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use photon_core::{Code, Error};
use photon_server::{
    Face,
    face::{Meta, json_response},
    rest::status_of,
};
use serde_json::{Value, json};

/// The face of `/oauth2/…`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OAuthFace;

impl Face for OAuthFace {
    fn data(&self, status: StatusCode, json: &[u8], _meta: &Meta) -> Response {
        uncached(json_response(status, json.to_vec()))
    }

    fn error(&self, error: &Error, _meta: &Meta) -> Response {
        let body = json!({ "error": code_of(error), "error_description": described(error) });
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = uncached(json_response(status_of(error.code()), body));
        let headers = response.headers_mut();
        if error.code() == Code::UNAUTHENTICATED {
            let how = HeaderValue::from_static("Basic realm=\"photoncloud\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        if let Some(seconds) = detail(error, "retry_after_seconds").and_then(Value::as_u64) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn detail<'a>(error: &'a Error, name: &str) -> Option<&'a Value> {
    error.details()?.get(name)
}

fn code_of(error: &Error) -> &str {
    if let Some(Value::String(code)) = detail(error, "oauth") {
        return code;
    }
    match error.code() {
        Code::UNAUTHENTICATED => "invalid_client",
        Code::FORBIDDEN => "access_denied",
        code if code.retryable => "temporarily_unavailable",
        code if code.http >= 500 => "server_error",
        _ => "invalid_request",
    }
}

/// The characters that RFC 6749 lets stand in a description.
fn described(error: &Error) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let printable = error.message().chars();
    printable
        .map(|c| if allowed(c) { c } else { '\'' })
        .collect()
}

fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn errors_have_the_standards_codes() {
        for (error, code) in [
            (super::super::refuse("invalid_grant", ""), "invalid_grant"),
            (Error::required("grant_type"), "invalid_request"),
            (Error::unauthenticated(""), "invalid_client"),
            (Error::forbidden(""), "access_denied"),
            (
                Error::new(Code::RATE_LIMITED, ""),
                "temporarily_unavailable",
            ),
            (Error::unavailable(""), "temporarily_unavailable"),
            (Error::internal("x"), "server_error"),
            (Error::not_found("path"), "invalid_request"),
        ] {
            assert_eq!(code_of(&error), code);
        }
        let odd = super::super::refuse("invalid_scope", "no \"é\\\n");
        assert_eq!(described(&odd), "no ''''");
    }
}
