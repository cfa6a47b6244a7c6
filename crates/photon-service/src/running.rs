//! A service that serves, from its sockets to its end.
//!
//! ```text
//! stop: doors drain -> tasks end
//! ```

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use photon_auth::Auth;
use photon_server::{Readiness, config::ListenConfig};
use photon_store::registry::Process;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long the tasks behind the doors may take to end.
const TASKS_END_WITHIN: Duration = Duration::from_secs(10);

/// Sockets that are bound already; those that are not are bound as configured.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For REST.
    pub rest: Option<TcpListener>,
    /// For gRPC.
    pub grpc: Option<TcpListener>,
}

/// A service that serves; `A` is what its use cases share.
pub struct Running<A> {
    parts: Parts<A>,
}

/// What a service that serves is made of.
pub struct Parts<A> {
    /// Its name.
    pub name: &'static str,
    /// The use cases.
    pub app: Arc<A>,
    /// The doors.
    pub daemon: photon_server::Running,
    /// Lets the doors drain.
    pub shutdown: CancellationToken,
    /// What goes on behind them.
    pub tasks: TaskTracker,
    /// Ends that, when the doors are closed.
    pub end: CancellationToken,
    /// Where REST listens.
    pub rest: SocketAddr,
    /// Where gRPC listens.
    pub grpc: SocketAddr,
}

impl<A> fmt::Debug for Parts<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("name", &self.name)
            .field("rest", &self.rest)
            .field("grpc", &self.grpc)
            .finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for Running<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Running").field(&self.parts).finish()
    }
}

impl<A> Running<A> {
    /// Of parts that work already.
    #[must_use]
    pub fn new(parts: Parts<A>) -> Self {
        parts.tasks.close();
        tracing::info!(rest = %parts.rest, grpc = %parts.grpc, "{} listens", parts.name);
        Self { parts }
    }

    /// The use cases, for tests and tools in the same process.
    #[must_use]
    pub fn app(&self) -> &Arc<A> {
        &self.parts.app
    }

    /// Where REST listens.
    #[must_use]
    pub fn rest_address(&self) -> SocketAddr {
        self.parts.rest
    }

    /// Where gRPC listens.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.parts.grpc
    }

    /// Serves until `stop` is cancelled, then stops in order.
    pub async fn run_until(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stop().await;
    }

    /// Lets requests finish and ends everything, within the drain limit and a few seconds.
    pub async fn stop(self) {
        let Parts {
            name,
            daemon,
            shutdown,
            tasks,
            end,
            ..
        } = self.parts;
        shutdown.cancel();
        daemon.wait().await;
        end.cancel();
        if tokio::time::timeout(TASKS_END_WITHIN, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("tasks are cut off that have not ended in time");
        }
        tracing::info!("{name} stopped");
    }
}

/// The socket that is given, or one bound to the address.
///
/// # Errors
/// An address in use, or none of this machine's; `name` says whose.
pub async fn bound(
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

/// As what a process is listed in the registry: each listener by its configuration and where it listens.
#[must_use]
pub fn process(
    name: &str,
    version: &str,
    rest: (&ListenConfig, SocketAddr),
    grpc: (&ListenConfig, SocketAddr),
) -> Process {
    let scheme = |listener: &ListenConfig| match listener.tls {
        Some(_) => "https",
        None => "http",
    };
    Process::new(name, version)
        .listening("rest", scheme(rest.0), rest.1)
        .listening("grpc", scheme(grpc.0), grpc.1)
}

/// Ready as long as decisions can be made; says so when the store they come from is silent.
#[must_use]
pub fn readiness(auth: &Auth) -> Readiness {
    match auth.check_fresh() {
        // The same words while it lasts: each change is logged.
        Ok(()) => auth.silent_since().map_or(Readiness::Ready, |since| {
            Readiness::ReadyBut(format!("the store does not answer since {since}"))
        }),
        Err(_) => Readiness::NotReady("the store was not heard of for too long".to_owned()),
    }
}
