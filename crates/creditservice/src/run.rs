//! One process, from its configuration to its listeners and back.
//!
//! ```text
//! listeners bound -> store answers -> follows what IAM publishes -> doors serve, shards are taken over
//! stop: doors drain -> shards are given up -> tasks end
//! ```
//!
//! Any number of processes over one store are one service: what they know is in the store.

use std::{net::SocketAddr, sync::Arc};

use photon_server::Readiness;
pub use photon_service::Sockets;
use photon_service::{Doors, Starting, store_change};
use photon_store::Seen;

use crate::{app::App, config::Config, rest, shard::Shards};

/// The service's name in the log, in metrics and in its own permissions.
pub(crate) const SERVICE: &str = "creditservice";

/// A service that serves.
pub type Running = photon_service::Running<App>;

/// Starts the service; it serves when this returns.
///
/// # Errors
/// Settings that cannot be, an address in use, a store that does not answer; the text says what to do.
pub async fn start(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
    photon_server::ServiceConfig::validate(&config)?;
    let version = env!("CARGO_PKG_VERSION");
    let starting = Starting::new(SERVICE, version, config.common(), sockets).await?;
    let advertised = advertised(&config, starting.grpc_address());
    let app = Arc::new(App::open(Arc::new(config), starting.metrics(), advertised).await?);
    let shards = app.shards.clone();
    let doors = Doors {
        rest: rest::router(&app)?,
        beside: None,
        grpc: crate::grpc::routes(&app)?,
        openapi: rest::openapi(),
        ready: Box::new(move |readiness| ready(readiness, &shards)),
    };
    let (auth, store) = (app.auth.clone(), app.shards.store().clone());
    starting.serve(app, &auth, store, doors, App::start_tasks)
}

/// Where other processes of this service reach this one.
fn advertised(config: &Config, grpc: SocketAddr) -> String {
    let scheme = if config.grpc.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let own = || format!("{scheme}://{grpc}");
    config.shards.advertise.clone().unwrap_or_else(own)
}

/// Every shard must have an owner, too.
fn ready(readiness: Readiness, shards: &Shards) -> Readiness {
    match readiness {
        Readiness::Ready | Readiness::ReadyBut(_) if shards.vacant() > 0 => {
            Readiness::NotReady("not every shard of the ledger has an owner".to_owned())
        }
        readiness => readiness,
    }
}

/// Says for all processes that the store is accepted as it is now, after it was restored or replaced.
///
/// # Errors
/// A store that does not answer, or does not take it.
pub async fn accept_store(config: &Config) -> anyhow::Result<Seen> {
    store_change::accept_store(config.store.options()?, SERVICE).await
}
