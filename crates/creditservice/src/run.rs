//! One process, from its configuration to its listeners and back.
//!
//! ```text
//! listeners bound -> store answers -> follows what IAM publishes -> doors serve, shards are taken over
//! stop: doors drain -> shards are given up -> tasks end
//! ```
//!
//! Any number of processes over one store are one service: what they know is in the store.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::future::BoxFuture;
use photon_server::{Daemon, Listen, Readiness, config::ListenConfig};
use photon_store::registry::Process;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{app::App, config::Config, rest};

/// The service's name in the log, in metrics and in its own permissions.
pub(crate) const SERVICE: &str = "creditservice";

/// How long the shards may take to be given up.
const TASKS_END_WITHIN: Duration = Duration::from_secs(10);

/// Sockets that are bound already; those that are not are bound as configured.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For REST.
    pub rest: Option<TcpListener>,
    /// For gRPC.
    pub grpc: Option<TcpListener>,
}

/// A service that serves.
pub struct Running {
    app: Arc<App>,
    daemon: photon_server::Running,
    /// Begins the drain of the doors.
    shutdown: CancellationToken,
    /// Ends what goes on behind them.
    end: CancellationToken,
    tasks: TaskTracker,
    rest: SocketAddr,
    grpc: SocketAddr,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("rest", &self.rest)
            .field("grpc", &self.grpc)
            .finish_non_exhaustive()
    }
}

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
    let advertised = advertised(&config, grpc);
    let app = Arc::new(App::open(Arc::new(config), daemon.metrics(), advertised).await?);

    let shutdown = CancellationToken::new();
    let daemon = daemon
        .authenticator(app.auth.authenticator())
        .openapi(rest::openapi())
        .readiness(readiness(&app));
    let running = daemon
        .rest(
            Listen::bound(rest_socket, app.config.rest.tls.clone()),
            rest::router(&app)?,
        )
        .grpc(
            Listen::bound(grpc_socket, app.config.grpc.tls.clone()),
            crate::grpc::routes(&app)?,
        )
        .start(shutdown.clone())?;
    let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
    app.start_tasks(&tasks, &end);
    let process = process(&app.config, rest, grpc);
    tasks.spawn(process.announce(app.shards.store().clone(), shutdown.child_token()));
    tasks.close();
    tracing::info!(%rest, %grpc, "creditservice listens");
    Ok(Running {
        app,
        daemon: running,
        shutdown,
        end,
        tasks,
        rest,
        grpc,
    })
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

/// As what this process is listed in the registry.
fn process(config: &Config, rest: SocketAddr, grpc: SocketAddr) -> Process {
    let scheme = |listener: &ListenConfig| match listener.tls {
        Some(_) => "https",
        None => "http",
    };
    Process::new(SERVICE, env!("CARGO_PKG_VERSION"))
        .listening("rest", scheme(&config.rest), rest)
        .listening("grpc", scheme(&config.grpc), grpc)
}

async fn bound(
    socket: Option<TcpListener>,
    address: SocketAddr,
    name: &str,
) -> anyhow::Result<TcpListener> {
    match socket {
        Some(socket) => Ok(socket),
        None => TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} ({name})")),
    }
}

/// Ready as long as decisions can be made and every shard has an owner; says so when the store is silent.
fn readiness(app: &Arc<App>) -> impl Fn() -> BoxFuture<'static, Readiness> + Send + Sync + 'static {
    let (auth, shards) = (app.auth.clone(), app.shards.clone());
    move || {
        let readiness = if auth.check_fresh().is_err() {
            Readiness::NotReady("the store was not heard of for too long".to_owned())
        } else if shards.vacant() > 0 {
            Readiness::NotReady("not every shard of the ledger has an owner".to_owned())
        } else if let Some(since) = auth.silent_since() {
            // The same words while it lasts: each change is logged.
            Readiness::ReadyBut(format!("the store does not answer since {since}"))
        } else {
            Readiness::Ready
        };
        Box::pin(std::future::ready(readiness))
    }
}

impl Running {
    /// The use cases, for tests and tools in the same process.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where REST listens.
    #[must_use]
    pub fn rest_address(&self) -> SocketAddr {
        self.rest
    }

    /// Where gRPC listens.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Serves until `stop` is cancelled, then stops in order.
    pub async fn run_until(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stop().await;
    }

    /// Lets requests finish, gives the shards up, and ends everything, within the drain limit and a few seconds.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.daemon.wait().await;
        self.end.cancel();
        if tokio::time::timeout(TASKS_END_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("shards are left to their lease that could not be given up in time");
        }
        tracing::info!("creditservice stopped");
    }
}
