//! REST: what the doors of all resources share, and all their routes.
//!
//! Thin doors: each reads its request, calls its use case, renders the answer; `photon-server` puts the guide's envelope
//! around it. Each resource has its own, in its `rest.rs`.

pub(crate) mod count;
mod openapi;
pub(crate) mod schema;

use std::sync::Arc;

use axum::Router;
use photon_auth::rest::{Declared, Routes};

use crate::app::App;
pub use openapi::openapi;

/// Every route. What stands around them (`/health`, 404, limits) is the daemon's.
///
/// # Errors
/// Routes that cannot be: a defect.
pub(crate) fn router(app: &Arc<App>) -> anyhow::Result<Router> {
    photon_service::rest::router(routes(), &openapi(), &app.auth, Arc::clone(app))
}

/// The routes that take and give bytes. They need a door of their own: other bodies than JSON, larger and slower ones.
///
/// # Errors
/// Routes that cannot be: a defect.
pub(crate) fn data_router(app: &Arc<App>) -> anyhow::Result<Router> {
    let routes = crate::image::data::routes();
    photon_service::rest::router(routes, &openapi(), &app.auth, Arc::clone(app))
}

/// The routes with the permissions they need.
fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .merge(crate::vm::rest::routes())
        .merge(crate::console::rest::routes())
        .merge(crate::image::rest::routes())
        .merge(crate::snapshot::rest::routes())
        .merge(crate::volume::rest::routes())
        .merge(crate::pool::rest::routes())
        .merge(crate::host::rest::routes())
        .merge(crate::operation::rest::routes())
}

/// What each route needs, for tests that try them all.
#[must_use]
pub fn declared() -> Vec<Declared> {
    let all = routes().merge(crate::image::data::routes());
    all.declared().to_vec()
}
