//! REST: what the doors of all resources share, and all their routes.
//!
//! Thin doors: each reads its request, calls its use case, renders the answer; `photon-server` puts the guide's envelope
//! around it. Each resource has its own, in its `rest.rs`.
//!
//! | module | what |
//! |---|---|
//! | `schema` | ids, principals, scopes, permissions and conditions, for the document |

mod openapi;
pub(crate) mod schema;

use std::sync::Arc;

use axum::Router;
use photon_auth::rest::{Declared, Routes};

pub(crate) use photon_server::rest::{Envelope, ErrorEnvelope};
pub(crate) use photon_service::{
    openapi::Failure,
    rest::{IfMatch, IfMatchHeader, Removed, Revised, removed},
};

use crate::app::App;
pub use openapi::openapi;

/// Every route in the guide's style. What stands around them (`/health`, 404, limits) is the daemon's.
///
/// # Errors
/// Routes that cannot be: a defect.
pub(crate) fn router(app: &Arc<App>) -> anyhow::Result<Router> {
    photon_service::rest::router(routes(), &openapi(), &app.auth, Arc::clone(app))
}

/// The routes with the permissions they need.
fn routes() -> Routes<Arc<App>> {
    let routes = Routes::new()
        .merge(crate::org::rest::routes())
        .merge(crate::project::rest::routes())
        .merge(crate::user::rest::routes())
        .merge(crate::group::rest::routes())
        .merge(crate::service_account::rest::routes())
        .merge(crate::role::rest::routes())
        .merge(crate::binding::rest::routes())
        .merge(crate::deny_rule::rest::routes());
    let routes = crate::token::routes(routes);
    let routes = crate::credential::routes(routes);
    let routes = crate::signing::routes(routes);
    let routes = crate::wellknown::routes(routes);
    let routes = crate::access::routes(routes);
    let routes = crate::audit::routes(routes);
    crate::pki::routes(routes)
}

/// What each route needs, for tests that try them all.
#[must_use]
pub fn declared() -> Vec<Declared> {
    routes().declared().to_vec()
}
