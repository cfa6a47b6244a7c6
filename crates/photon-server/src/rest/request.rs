//! What the door knows about a request and a handler may want to.

use std::{convert::Infallible, time::Duration};

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio::time::Instant;
use uuid::Uuid;

/// The id of this request, ours, as in `meta.request_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// When the door gives up on this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// Used by extractors where no door stands in front, as in a handler's own tests.
const WITHOUT_DOOR: Duration = Duration::from_secs(30);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or_else(|| Self(Uuid::new_v4())))
    }
}

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or_else(|| Self(Instant::now() + WITHOUT_DOOR)))
    }
}
