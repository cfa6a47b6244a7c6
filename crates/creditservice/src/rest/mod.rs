//! REST: what the doors of all resources share, and all their routes.
//!
//! Thin doors: each reads its request, calls its use case, renders the answer; `photon-server` puts the guide's envelope
//! around it. Each resource has its own, in its `rest.rs`.
//!
//! | module | what |
//! |---|---|
//! | `answer` | changes, and that they were made before |
//! | `envelope` | what stands around every answer, and the failures, for the document |
//! | `schema` | ids, amounts and texts, for the document |
//! | `surplus` | refuses queries and bodies that a route does not take |
//! | `builtin` | what the daemon answers itself, for the document only |

mod answer;
mod builtin;
mod envelope;
mod openapi;
pub(crate) mod schema;
mod surplus;

use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, middleware::from_fn_with_state};
use photon_auth::rest::{Declared, Routes};

pub(crate) use self::{
    answer::Outcome,
    envelope::{Envelope, ErrorEnvelope, Failure},
};
use crate::app::App;
pub use openapi::openapi;

/// Every route. What stands around them (`/health`, 404, limits) is the daemon's.
///
/// # Errors
/// Routes that cannot be: a defect.
pub(crate) fn router(app: &Arc<App>) -> anyhow::Result<Router> {
    let taken = Arc::new(surplus::Taken::of(&openapi())?);
    let router = routes()
        .into_router(&app.auth)
        .context("the routes do not fit together")?;
    Ok(router
        .route_layer(from_fn_with_state(taken, surplus::refuse))
        .with_state(Arc::clone(app)))
}

/// The routes with the permissions they need.
fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .merge(crate::wallet::rest::routes())
        .merge(crate::transaction::rest::routes())
        .merge(crate::statement::rest::routes())
        .merge(crate::reservation::rest::routes())
        .merge(crate::quota::rest::routes())
        .merge(crate::price::rest::routes())
}

/// What each route needs, for tests that try them all.
#[must_use]
pub fn declared() -> Vec<Declared> {
    routes().declared().to_vec()
}
