//! One process, from its configuration to its listeners and back.
//!
//! ```text
//! listeners bound -> store answers -> follows what it publishes itself -> signing keys -> doors serve
//! stop: doors drain -> tasks end
//! ```
//!
//! Any number of processes over one store are one service: what they know is in the store.

use std::sync::Arc;

use photon_server::{Bodies, Daemon};
pub use photon_service::Sockets;
use photon_service::{Doors, Starting, store_change};
use photon_store::Seen;

use crate::{
    app::App,
    config::Config,
    oauth::{self, OAuthFace},
    rest,
};

/// The service's name in the log, in metrics and in its own permissions.
pub(crate) const SERVICE: &str = "iam";

/// A service that serves.
pub type Running = photon_service::Running<App>;

/// Starts the service; it serves when this returns.
///
/// # Errors
/// Settings that cannot be, an address in use, a store that does not answer, in enforce mode a missing first start; the
/// text says what to do.
pub async fn start(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
    photon_server::ServiceConfig::validate(&config)?;
    let version = env!("CARGO_PKG_VERSION");
    let starting = Starting::new(SERVICE, version, config.common(), sockets).await?;
    let app = Arc::new(App::open(Arc::new(config), starting.metrics()).await?);
    let oauth = oauth::router(&app)?;
    let beside = |daemon: &Daemon| {
        let door = daemon.door("oauth").face(OAuthFace);
        door.bodies(Bodies::Any).wrap(oauth)
    };
    let doors = Doors {
        rest: rest::router(&app)?,
        beside: Some(Box::new(beside)),
        grpc: crate::grpc::routes(&app)?,
        openapi: rest::openapi(),
        ready: Box::new(std::convert::identity),
    };
    let (auth, store) = (app.auth.clone(), app.store.clone());
    starting.serve(app, &auth, store, doors, App::start_tasks)
}

/// Says for all processes that the store is accepted as it is now, after it was restored or replaced.
///
/// # Errors
/// A store that does not answer, or does not take it.
pub async fn accept_store(config: &Config) -> anyhow::Result<Seen> {
    store_change::accept_store(config.store.options()?, SERVICE).await
}
