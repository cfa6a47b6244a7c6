//! A service that starts, from its sockets to its doors.
//!
//! ```text
//! listeners bound ──> (the service opens its store and what its use cases share) ──> doors serve, tasks go on, listed
//! ```

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::Router;
use photon_auth::Auth;
use photon_server::{Daemon, Listen, Metrics, Readiness, config::ListenConfig};
use photon_store::Store;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa::openapi::OpenApi;

use crate::{
    config::Common,
    running::{Parts, Running, Sockets, bound, process},
    store_change::readiness_over,
};

/// A service whose sockets are bound: an address in use is told before anything is done.
pub struct Starting {
    name: &'static str,
    version: &'static str,
    daemon: Daemon,
    rest: Door,
    grpc: Door,
}

/// A listener that is bound.
struct Door {
    socket: TcpListener,
    at: SocketAddr,
    config: ListenConfig,
}

/// What a service serves.
pub struct Doors {
    /// In the guide's style.
    pub rest: Router,
    /// On the same listener, in another style; what is to stand around it is put there by the daemon's `door`.
    pub beside: Option<Beside>,
    /// Every service behind its guard.
    pub grpc: tonic::service::Routes,
    /// What REST shows of itself.
    pub openapi: OpenApi,
    /// What the service says of its readiness, given what store and decisions allow.
    pub ready: Ready,
}

/// Makes the routes in another style.
pub type Beside = Box<dyn FnOnce(&Daemon) -> Router>;
/// Makes readiness what it is for this service.
pub type Ready = Box<dyn Fn(Readiness) -> Readiness + Send + Sync>;

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting")
            .field("name", &self.name)
            .field("rest", &self.rest.at)
            .field("grpc", &self.grpc.at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Starting {
    /// Binds what is not bound yet, of a configuration that can be. `name` is the service's in the log, in metrics, in the registry
    /// and in its own permissions.
    ///
    /// # Errors
    /// An address in use, or none of this machine's.
    pub async fn new(
        name: &'static str,
        version: &'static str,
        config: Common<'_>,
        sockets: Sockets,
    ) -> anyhow::Result<Self> {
        photon_server::main_with::install_crypto();
        Ok(Self {
            name,
            version,
            rest: Door::bound(sockets.rest, config.rest, "REST").await?,
            grpc: Door::bound(sockets.grpc, config.grpc, "gRPC").await?,
            daemon: Daemon::new(name, version)
                .mode(config.auth.mode)
                .limits(config.http.clone()),
        })
    }

    /// The metrics, to register more.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.daemon.metrics()
    }

    /// Where gRPC listens.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.at
    }

    /// Serves, and lists the process in the registry. `start_tasks` starts what goes on behind the doors.
    ///
    /// # Errors
    /// Certificates that cannot be read, doors that cannot be.
    pub fn serve<A>(
        self,
        app: Arc<A>,
        auth: &Auth,
        store: Store,
        doors: Doors,
        start_tasks: impl FnOnce(&Arc<A>, &TaskTracker, &CancellationToken),
    ) -> anyhow::Result<Running<A>> {
        let Self {
            name,
            version,
            daemon,
            rest,
            grpc,
        } = self;
        let process = process(
            name,
            version,
            (&rest.config, rest.at),
            (&grpc.config, grpc.at),
        );
        let (rest_address, grpc_address) = (rest.at, grpc.at);
        let (decides, known, ready) = (auth.clone(), store.clone(), doors.ready);
        let daemon = daemon
            .authenticator(auth.authenticator())
            .openapi(doors.openapi)
            .readiness(move || {
                let found = ready(readiness_over(name, &known, &decides));
                Box::pin(std::future::ready(found))
            });
        let shutdown = CancellationToken::new();
        let daemon = match doors.beside {
            Some(beside) => {
                let beside = beside(&daemon);
                daemon.rest_with(rest.listen(), doors.rest, beside)
            }
            None => daemon.rest(rest.listen(), doors.rest),
        };
        let daemon = daemon
            .grpc(grpc.listen(), doors.grpc)
            .start(shutdown.clone())?;
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        start_tasks(&app, &tasks, &end);
        tasks.spawn(process.announce(store, shutdown.child_token()));
        Ok(Running::new(Parts {
            name,
            app,
            daemon,
            shutdown,
            tasks,
            end,
            rest: rest_address,
            grpc: grpc_address,
        }))
    }
}

impl Door {
    /// The socket that is given, or one bound to the address.
    async fn bound(
        socket: Option<TcpListener>,
        config: &ListenConfig,
        name: &str,
    ) -> anyhow::Result<Self> {
        let socket = bound(socket, config.address, name).await?;
        Ok(Self {
            at: socket.local_addr()?,
            socket,
            config: config.clone(),
        })
    }

    fn listen(self) -> Listen {
        Listen::bound(self.socket, self.config.tls)
    }
}
