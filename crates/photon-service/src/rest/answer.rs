//! What handlers answer with.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use photon_server::rest::{Data, data_with_status};
use serde::Serialize;
use utoipa::ToSchema;

/// A thing with its revision, which the `ETag` says too: what `If-Match` compares.
#[derive(Debug)]
pub struct Revised<T> {
    status: StatusCode,
    revision: i64,
    value: T,
}

impl<T> Revised<T> {
    /// 200.
    pub fn ok(revision: i64, value: T) -> Self {
        Self {
            status: StatusCode::OK,
            revision,
            value,
        }
    }

    /// 201.
    pub fn created(revision: i64, value: T) -> Self {
        Self {
            status: StatusCode::CREATED,
            revision,
            value,
        }
    }
}

impl<T: Serialize> IntoResponse for Revised<T> {
    fn into_response(self) -> Response {
        let mut response = data_with_status(self.status, &self.value);
        // A number between quotes is a header's value.
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.revision)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// A thing that is gone now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removed {
    id: String,
    #[schema(example = true)]
    deleted: bool,
    /// The store's revision from which it is gone.
    revision: i64,
}

/// Says that a thing is gone now.
pub fn removed(id: impl ToString, revision: i64) -> Data<Removed> {
    Data(Removed {
        id: id.to_string(),
        deleted: true,
        revision,
    })
}
