//! Faces: how success and errors are written.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use photon_core::Error;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::rest::status_of;

/// What every answer says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// The request's id.
    pub request_id: Uuid,
    /// When it was answered.
    pub timestamp: Timestamp,
}

/// How a router's answers look.
pub trait Face: Send + Sync + 'static {
    /// An answer with content; `json` is one JSON value.
    fn data(&self, status: StatusCode, json: &[u8], meta: &Meta) -> Response;
    /// An error.
    fn error(&self, error: &Error, meta: &Meta) -> Response;
}

/// The REST guide's envelope: `{data, meta}` and `{error, meta}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuideFace;

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    error: ErrorBody<'a>,
    meta: MetaBody,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    details: Option<&'a Value>,
}

#[derive(Serialize)]
struct MetaBody {
    request_id: Uuid,
    timestamp: String,
}

impl MetaBody {
    fn of(meta: &Meta) -> Self {
        Self {
            request_id: meta.request_id,
            timestamp: rfc3339(meta.timestamp),
        }
    }
}

/// RFC 3339, UTC, whole seconds, `Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Face for GuideFace {
    fn data(&self, status: StatusCode, json: &[u8], meta: &Meta) -> Response {
        // The content is JSON already; it is put into the envelope as it is.
        let meta = serde_json::to_vec(&MetaBody::of(meta)).unwrap_or_default();
        let mut body = Vec::with_capacity(json.len() + meta.len() + 20);
        body.extend_from_slice(b"{\"data\":");
        body.extend_from_slice(json);
        body.extend_from_slice(b",\"meta\":");
        body.extend_from_slice(&meta);
        body.push(b'}');
        json_response(status, body)
    }

    fn error(&self, error: &Error, meta: &Meta) -> Response {
        let envelope = ErrorEnvelope {
            error: ErrorBody {
                code: error.code().name,
                message: error.message(),
                details: error.details(),
            },
            meta: MetaBody::of(meta),
        };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        json_response(status_of(error.code()), body)
    }
}

/// A response with a JSON body.
pub fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, Body::from(body)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn timestamps_have_whole_seconds() {
        let time: Timestamp = "2025-12-12T08:30:00.987654321Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2025-12-12T08:30:00Z");
    }
}
