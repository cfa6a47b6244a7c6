//! What a REST handler takes and returns.
//!
//! ```ignore
//! async fn get(Path(id): Path<VmId>, Query(options): Query<Options>) -> RestResult<Vm> {
//!     Ok(Data(service.get(id, options).await?))
//! }
//! ```
//!
//! Answers carry their content as an [`Outcome`] in the response's extensions; the [`crate::Door`] renders it
//! with its [`crate::Face`]. A handler must therefore stand behind a door.

pub mod builtin;
mod envelope;
mod escapes;
mod json;
mod nothing;
mod path;
mod query;
mod range;
mod request;
mod surplus;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use photon_core::{Code, Error};
use serde::Serialize;

pub use envelope::{Envelope, ErrorBody, ErrorEnvelope, Meta};
pub use escapes::unescape;
pub use json::{Json, from_json, whole_body};
pub use nothing::{Nothing, refuse_body};
pub use path::Path;
pub use query::{Query, from_query, refuse_query};
pub use request::{Deadline, RequestId};
pub use surplus::{Taken, refuse_surplus};

/// The result of most handlers.
pub type RestResult<T> = Result<Data<T>, RestError>;

/// 200 with this content.
#[derive(Clone, Copy, Debug)]
pub struct Data<T>(pub T);

/// 201 with this content.
#[derive(Clone, Copy, Debug)]
pub struct Created<T>(pub T);

/// An error on its way out of a handler.
#[derive(Debug)]
pub struct RestError(pub Error);

impl From<Error> for RestError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// What a handler has to say, before it is rendered.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Content, as JSON.
    Data(Bytes),
    /// An error.
    Error(Arc<Error>),
}

impl Outcome {
    pub(crate) fn respond(self, status: StatusCode) -> Response {
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An answer with any status whose content is rendered like [`Data`].
pub fn data_with_status<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => Outcome::Data(json.into()).respond(status),
        Err(error) => RestError(Error::internal(error)).into_response(),
    }
}

/// An answer with any status and content that is JSON already.
pub fn json_with_status(status: StatusCode, json: Bytes) -> Response {
    Outcome::Data(json).respond(status)
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        data_with_status(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        data_with_status(StatusCode::CREATED, &self.0)
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let status = status_of(self.0.code());
        Outcome::Error(Arc::new(self.0)).respond(status)
    }
}

/// The HTTP status of a code.
#[must_use]
pub fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
