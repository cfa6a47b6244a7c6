//! What handlers of changes answer with.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use photon_server::rest::data_with_status;
use serde::Serialize;

use crate::{app::Done, idempotency::REPLAYED};

/// What was done, and whether it was done for an earlier request.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    status: StatusCode,
    done: Done<T>,
}

impl<T> Outcome<T> {
    /// 200.
    pub(crate) fn ok(done: Done<T>) -> Self {
        Self {
            status: StatusCode::OK,
            done,
        }
    }

    /// 201.
    pub(crate) fn created(done: Done<T>) -> Self {
        Self {
            status: StatusCode::CREATED,
            done,
        }
    }
}

impl<T: Serialize> IntoResponse for Outcome<T> {
    fn into_response(self) -> Response {
        let mut response = data_with_status(self.status, &self.done.value);
        if self.done.replayed {
            let name = HeaderName::from_static(REPLAYED);
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert(name, replayed);
        }
        response
    }
}
