//! Routes that take nothing.

use axum::{
    body::Body,
    extract::{FromRequest as _, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::Json;

/// What a route reads that takes nothing: whatever is given is unknown, and refused by its name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A middleware for routes that take no body: refuses its first field by its name, so that one sent to the wrong route is
/// not taken for heeded. An absent body and `{}` pass.
///
/// ```ignore
/// Router::new().route("/jobs", get(jobs)).route_layer(axum::middleware::from_fn(refuse_body))
/// ```
pub async fn refuse_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match Json::<Nothing>::from_request(Request::new(body), &()).await {
        Ok(Json(Nothing {})) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(error) => error.into_response(),
    }
}
