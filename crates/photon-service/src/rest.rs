//! A service's routes, what stands around each, and what their handlers answer with.
//!
//! | module | what |
//! |---|---|
//! | `answer` | things with a revision, things that are gone |
//! | `if_match` | changes that are made only to what the caller has seen |
//! | `owner` | whose thing a path must mean |

mod answer;
mod if_match;
mod owner;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, middleware::from_fn_with_state};
use photon_auth::{Auth, rest::Routes};
use photon_server::rest::{Taken, refuse_surplus};
use utoipa::openapi::OpenApi;

pub use self::{
    answer::{Removed, Revised, removed},
    if_match::{EtagText, IfMatch, IfMatchHeader},
    owner::{IdText, OwnerQuery},
};

/// The routes behind their permissions, and behind what refuses queries and bodies that the document does not know. What else
/// stands around them (`/health`, 404, limits) is the daemon's.
///
/// # Errors
/// Routes that cannot be: a defect.
pub fn router<S: Clone + Send + Sync + 'static>(
    routes: Routes<S>,
    document: &OpenApi,
    auth: &Auth,
    state: S,
) -> anyhow::Result<Router> {
    let taken = Arc::new(Taken::of(document)?);
    let router = routes
        .into_router(auth)
        .context("the routes do not fit together")?;
    Ok(router
        .route_layer(from_fn_with_state(taken, refuse_surplus))
        .with_state(state))
}
