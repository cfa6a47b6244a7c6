//! REST: what the doors of all resources share, and all their routes.
//!
//! Thin doors: each reads its request, calls its use case, renders the answer; `photon-server` puts the guide's envelope
//! around it. Each resource has its own, in its `rest.rs`.
//!
//! | module | what |
//! |---|---|
//! | `given` | members that are there, be it with nothing |
//! | `path` | ids, and what is none |
//! | `schema` | ids, blocks, addresses and texts, for the document |

mod given;
mod openapi;
mod path;
pub(crate) mod schema;

use std::sync::Arc;

use axum::Router;
use photon_auth::rest::{Declared, Routes};

pub(crate) use photon_server::rest::Envelope;
pub(crate) use photon_service::{
    openapi::Failure,
    rest::{IfMatch, IfMatchHeader, OwnerQuery, Removed, Revised, removed},
};

pub(crate) use self::{given::given, path::Path};
use crate::app::App;
pub use openapi::openapi;

/// Every route. What stands around them (`/health`, 404, limits) is the daemon's.
///
/// # Errors
/// Routes that cannot be: a defect.
pub(crate) fn router(app: &Arc<App>) -> anyhow::Result<Router> {
    photon_service::rest::router(routes(), &openapi(), &app.auth, Arc::clone(app))
}

/// The routes with the permissions they need.
fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .merge(crate::vpc::rest::routes())
        .merge(crate::subnet::rest::routes())
        .merge(crate::port::rest::routes())
        .merge(crate::group::rest::routes())
        .merge(crate::rule::rest::routes())
        .merge(crate::route::rest::routes())
        .merge(crate::external::rest::routes())
        .merge(crate::floating::rest::routes())
}

/// What each route needs, for tests that try them all.
#[must_use]
pub fn declared() -> Vec<Declared> {
    routes().declared().to_vec()
}
