//! One process, from its configuration to its listeners and back.
//!
//! ```text
//! listeners bound -> store answers -> follows what IAM publishes -> doors serve
//! stop: doors drain -> tasks end
//! ```
//!
//! Any number of processes over one store are one service: what they know is in the store.

use std::sync::Arc;

use futures::future::BoxFuture;
use photon_server::{Bodies, Daemon, Listen, Readiness};
pub use photon_service::Sockets;
use photon_service::{Parts, bound, process, store_change};
use photon_store::Seen;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{app::App, config::Config, rest};

/// The service's name in the log, in metrics and in its own permissions.
pub(crate) const SERVICE: &str = "plasmavmc";

/// A service that serves.
pub type Running = photon_service::Running<App>;

/// Starts the service; it serves when this returns.
///
/// # Errors
/// Settings that cannot be, an address in use, a store that does not answer; the text says what to do.
pub async fn start(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
    photon_server::ServiceConfig::validate(&config)?;
    photon_server::main_with::install_crypto();
    let rest_socket = bound(sockets.rest, config.rest.address, "REST").await?;
    let grpc_socket = bound(sockets.grpc, config.grpc.address, "gRPC").await?;
    let (rest, grpc) = (rest_socket.local_addr()?, grpc_socket.local_addr()?);

    let daemon = Daemon::new(SERVICE, env!("CARGO_PKG_VERSION"))
        .mode(config.auth.mode)
        .limits(config.http.clone());
    let app = Arc::new(App::open(Arc::new(config), daemon.metrics()).await?);

    let shutdown = CancellationToken::new();
    let daemon = daemon
        .authenticator(app.auth.authenticator())
        .openapi(rest::openapi())
        .readiness(readiness(&app));
    // Set up after the authenticator: a door takes the daemon's as it is then.
    let door = daemon
        .door("data")
        .bodies(Bodies::Any)
        .limits(app.config.images.limits(&app.config.http));
    let data = door.wrap(rest::data_router(&app)?);
    let running = daemon
        .rest_with(
            Listen::bound(rest_socket, app.config.rest.tls.clone()),
            rest::router(&app)?,
            data,
        )
        .grpc(
            Listen::bound(grpc_socket, app.config.grpc.tls.clone()),
            crate::grpc::routes(&app)?,
        )
        .start(shutdown.clone())?;
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    app.start_tasks(&tasks, &end);
    // Before the doors drain: who looks at a console would hold them open.
    let (consoles, stopping) = (app.consoles.clone(), shutdown.child_token());
    tasks.spawn(async move {
        stopping.cancelled().await;
        consoles.end();
    });
    let version = env!("CARGO_PKG_VERSION");
    let listeners = (&app.config.rest, &app.config.grpc);
    let process = process(SERVICE, version, (listeners.0, rest), (listeners.1, grpc));
    tasks.spawn(process.announce(app.store.clone(), shutdown.child_token()));
    Ok(Running::new(Parts {
        name: SERVICE,
        app,
        daemon: running,
        shutdown,
        end,
        tasks,
        rest,
        grpc,
    }))
}

/// Says for all processes that the store is accepted as it is now, after it was restored or replaced.
///
/// # Errors
/// A store that does not answer, or does not take it.
pub async fn accept_store(config: &Config) -> anyhow::Result<Seen> {
    photon_server::main_with::install_crypto();
    store_change::accept_store(config.store.options()?, SERVICE).await
}

fn readiness(app: &Arc<App>) -> impl Fn() -> BoxFuture<'static, Readiness> + Send + Sync + 'static {
    let (store, auth) = (app.store.clone(), app.auth.clone());
    move || {
        let found = store_change::readiness_over(SERVICE, &store, &auth);
        Box::pin(std::future::ready(found))
    }
}
