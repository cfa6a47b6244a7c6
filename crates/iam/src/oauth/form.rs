//! Requests as forms.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::header;
use photon_core::{Code, Error};
use photon_server::{RestError, rest::from_query};
use serde::de::DeserializeOwned;

/// `application/x-www-form-urlencoded`. Parameters that are not known are ignored, ones given twice refused (RFC 6749,
/// 3.2).
#[derive(Debug)]
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = RestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RestError> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let message = "the request must be application/x-www-form-urlencoded";
            return Err(Error::new(Code::UNSUPPORTED_MEDIA_TYPE, message).into());
        }
        let body = Bytes::from_request(request, state).await.map_err(|error| {
            let code = match error.status().as_u16() {
                413 => Code::PAYLOAD_TOO_LARGE,
                _ => Code::VALIDATION_ERROR,
            };
            Error::new(code, "the request could not be read whole").with_source(error)
        })?;
        let text = std::str::from_utf8(&body).map_err(|error| {
            Error::validation("body", "utf-8", "the request is not UTF-8").with_source(error)
        })?;
        Ok(Self(from_query(text)?))
    }
}

/// A parameter without a value counts as not there (RFC 6749, 3.2).
pub(super) fn given(parameter: Option<String>) -> Option<String> {
    parameter.filter(|text| !text.is_empty())
}
