//! REST: the guide's paths and, in the same style, everything else the store can do.
//!
//! Thin doors: each reads its request, calls [`App`](crate::app::App), renders the answer; `photon-server` puts
//! the envelope around it.
//!
//! | module | routes |
//! |---|---|
//! | `kv`, `key` | `/api/v1/kv`, `/api/v1/kv/{key}`, `…/put`, `…/delete` |
//! | `txn` | `/api/v1/txn` |
//! | `watch` | `/api/v1/watch` |
//! | `lease` | `/api/v1/leases…` |
//! | `cluster` | `/api/v1/cluster/…` |
//! | `maintenance` | `/api/v1/compact`, `/api/v1/snapshot` |
//!
//! Shared with the native door (`crate::native`): `error` (etcd's refusals in the suite's words), `scan` (paged
//! lists), `changes` (watches), `encoding` (values as text), `size` (how much one answer holds).

pub(crate) mod asking;
pub(crate) mod changes;
pub(crate) mod cluster;
pub(crate) mod encoding;
pub(crate) mod error;
mod item;
mod key;
mod kv;
mod lease;
mod maintenance;
mod openapi;
pub(crate) mod scan;
mod size;
mod txn;
mod watch;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn,
    routing::{delete, get, post},
};
use photon_server::rest::{refuse_body, refuse_query};

pub use self::{asking::EtcdCredentials, openapi::openapi};
use crate::app::App;

/// Every route below `/api/v1/`. What stands around them (`/health`, 404, limits) is the daemon's.
pub fn router(app: Arc<App>) -> Router {
    let bodies = with_body().route_layer(from_fn(refuse_query));
    let bare = bare().route_layer(from_fn(refuse_query));
    with_query()
        .merge(bare)
        .route_layer(from_fn(refuse_body))
        .merge(bodies)
        .with_state(app)
}

/// Routes whose query says how.
fn with_query() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/kv", get(kv::list))
        .route("/api/v1/kv/{*key}", get(kv::get))
        .route("/api/v1/watch", get(watch::watch))
}

/// Routes whose path says it all.
fn bare() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/cluster/status", get(cluster::status))
        .route("/api/v1/cluster/members", get(cluster::members))
        .route("/api/v1/cluster/members/{id}", delete(cluster::remove))
        .route(
            "/api/v1/cluster/members/{id}/promote",
            post(cluster::promote),
        )
        .route("/api/v1/leases", get(lease::list))
        .route("/api/v1/leases/{id}", get(lease::get).delete(lease::revoke))
        .route("/api/v1/leases/{id}/keepalive", post(lease::keep_alive))
        .route("/api/v1/snapshot", get(maintenance::snapshot))
}

/// Routes that take a body; of those below a key it is the action that does.
fn with_body() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/cluster/members", post(cluster::add))
        .route("/api/v1/cluster/leader", post(cluster::transfer))
        // The rest of the path is the key, slashes and all, so these two are one resource.
        .route("/api/v1/kv/", get(kv::no_key).post(kv::no_key))
        .route(
            "/api/v1/kv/{*key}",
            post(kv::change).fallback(kv::wrong_method),
        )
        .route("/api/v1/txn", post(txn::txn))
        .route("/api/v1/leases", post(lease::grant))
        .route("/api/v1/compact", post(maintenance::compact))
}
