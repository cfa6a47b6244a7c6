//! One node, from its data directory to its listeners and back.
//!
//! ```text
//! LOCK, FORMAT -> listeners bound -> engine open -> peers, Raft group -> (new cluster: bootstrap, identity)
//!   -> loops -> doors serve
//! stop: leadership handed over -> doors drain -> loops end -> group -> peers -> engine
//! ```

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use chainfire_engine::Engine;
use photon_raft::{Group, Role, Transport};
use photon_server::{Daemon, Listen, Metrics, Readiness};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Addresses, App, LeaderDesk, Machine},
    config::{Cluster, Config, Listener},
    data_dir::DataDir,
    etcd, gateway, native, rest,
};

/// How long a new cluster of one may take to elect itself and write down its identity.
const BOOTSTRAP_WITHIN: Duration = Duration::from_secs(30);

/// How long a restarted node applies what it knows to be committed before it serves.
const RECOVER_WITHIN: Duration = Duration::from_secs(5);

/// How long handing leadership over may delay a stop.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);

/// Sockets that are bound already; those that are not are bound as configured.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For REST.
    pub rest: Option<TcpListener>,
    /// For etcd and native gRPC.
    pub grpc: Option<TcpListener>,
    /// For other members.
    pub peer: Option<TcpListener>,
}

/// A node that serves.
pub struct Running {
    app: Arc<App>,
    group: Group<Machine>,
    transport: Transport,
    daemon: photon_server::Running,
    shutdown: CancellationToken,
    /// Held until everything else is gone.
    data_dir: DataDir,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses = self.app.addresses();
        f.debug_struct("Running")
            .field("addresses", &addresses)
            .finish_non_exhaustive()
    }
}

/// Starts a node; it serves when this returns.
///
/// # Errors
/// Settings that cannot be, an address in use, a data directory that is in use, of another format or
/// damaged; the text says what to do.
pub async fn start(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
    config.validate()?;
    photon_server::main_with::install_crypto();
    let data_dir = DataDir::open(&config.data_dir)?;
    let rest_socket = bound(sockets.rest, config.rest.address, "REST").await?;
    let grpc_socket = bound(sockets.grpc, config.grpc.address, "gRPC").await?;
    let peer_socket = bound(sockets.peer, config.peer.address, "peer").await?;
    let (rest, grpc) = (rest_socket.local_addr()?, grpc_socket.local_addr()?);
    let peer = peer_socket.local_addr()?;

    let engine = open_engine(&config).await?;
    let desk = LeaderDesk::new(engine.clone());
    let machine = Arc::new(Machine::new(engine.clone(), Arc::clone(&desk)));
    let transport = Transport::bind(peer_socket, config.peer.tls()?)?;
    let group = Group::start(
        config.raft_config(grpc, peer),
        machine,
        transport.clone(),
        Arc::clone(&desk) as _,
    )
    .await
    .context("the Raft group did not start")?;
    desk.attach(group.clone());
    if config.cluster == Cluster::New {
        group
            .bootstrap()
            .await
            .context("the cluster was not made")?;
    }
    if let Err(error) = group.recovered(Instant::now() + RECOVER_WITHIN).await {
        tracing::warn!(%error, "serving before everything committed earlier is applied");
    }

    let daemon = Daemon::new("chainfire", env!("CARGO_PKG_VERSION"))
        .mode(config.auth.mode)
        .limits(config.http.clone())
        .also_listens("peer", peer)
        .reflect(photon_proto::FILE_DESCRIPTOR_SET);
    let app = App::new(
        config.clone(),
        Addresses { rest, grpc, peer },
        engine,
        group.clone(),
        desk,
        daemon.draining(),
    );
    app.start_loops();
    if config.cluster == Cluster::New {
        app.ensure_identity(Instant::now() + BOOTSTRAP_WITHIN)
            .await
            .context("the new cluster has no identity yet")?;
    }

    let shutdown = CancellationToken::new();
    let daemon = serve(daemon, &app, rest_socket, grpc_socket, shutdown.clone())?;
    tracing::info!(node_id = config.node_id, %rest, %grpc, %peer, "chainfire serves");
    Ok(Running {
        app,
        group,
        transport,
        daemon,
        shutdown,
        data_dir,
    })
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

async fn open_engine(config: &Config) -> anyhow::Result<Engine> {
    let (dir, options) = (config.state_dir(), config.engine_options());
    let engine = tokio::task::spawn_blocking(move || Engine::open(&dir, options)).await??;
    Ok(engine)
}

fn serve(
    daemon: Daemon,
    app: &Arc<App>,
    rest_socket: TcpListener,
    grpc_socket: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<photon_server::Running> {
    let config = app.config();
    let listen = |socket, listener: &Listener| Listen::bound(socket, listener.tls.clone());
    let metrics = daemon.metrics();
    let routes = etcd::grpc(app).add_service(native::service(Arc::clone(app)));
    let http = etcd::http(app)
        .merge(scrape(metrics))
        .merge(gateway::router(app, &daemon)?);
    let daemon = daemon
        .authenticator(Arc::new(rest::EtcdCredentials(Arc::clone(app))))
        .openapi(rest::openapi())
        .readiness(readiness(app))
        .rest(
            listen(rest_socket, &config.rest),
            rest::router(Arc::clone(app)),
        )
        .grpc_with_http(listen(grpc_socket, &config.grpc), routes, http);
    Ok(daemon.start(shutdown)?)
}

/// `/metrics` on the client port, where etcd has it.
fn scrape(metrics: Metrics) -> axum::Router {
    axum::Router::new().route(
        "/metrics",
        axum::routing::get(move || async move {
            let kind = photon_server::metrics::CONTENT_TYPE;
            ([(http::header::CONTENT_TYPE, kind)], metrics.encode())
        }),
    )
}

fn readiness(
    app: &Arc<App>,
) -> impl Fn() -> futures::future::BoxFuture<'static, Readiness> + Send + Sync + 'static {
    let app = Arc::clone(app);
    move || {
        let app = Arc::clone(&app);
        Box::pin(async move {
            if app.has_leader() {
                Readiness::Ready
            } else {
                Readiness::NotReady("no leader with a quorum is known".to_owned())
            }
        })
    }
}

impl Running {
    /// The use cases, for tests and tools in the same process.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where REST listens.
    pub fn rest_address(&self) -> SocketAddr {
        self.app.addresses().rest
    }

    /// Where etcd v3 and native gRPC listen.
    pub fn grpc_address(&self) -> SocketAddr {
        self.app.addresses().grpc
    }

    /// Where other members reach this node.
    pub fn peer_address(&self) -> SocketAddr {
        self.app.addresses().peer
    }

    /// Serves until `stop` is cancelled, then stops in order.
    pub async fn run_until(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stop().await;
    }

    /// Hands leadership over, lets requests finish, and closes everything. Ends within the drain limit and
    /// a few seconds.
    pub async fn stop(self) {
        self.hand_over().await;
        self.shutdown.cancel();
        self.daemon.wait().await;
        self.app.join_loops().await;
        self.group.shutdown().await;
        self.transport.shutdown().await;
        self.app.desk().detach();
        drop(self.app);
        drop(self.data_dir);
        tracing::info!("chainfire stopped");
    }

    /// Leadership goes to the voter whose turn is next, so that no election has to time out.
    async fn hand_over(&self) {
        let status = self.app.raft_status();
        if status.role != Role::Leader {
            return;
        }
        let voters = status.members.iter().filter(|member| !member.learner);
        let others = voters
            .map(|member| member.node_id)
            .filter(|id| *id != status.node_id);
        for to in others {
            let deadline = Instant::now() + HAND_OVER_WITHIN;
            match self.group.transfer_leadership(to, deadline).await {
                Ok(()) => {
                    tracing::info!(to, "leadership handed over");
                    return;
                }
                Err(error) => tracing::warn!(to, %error, "could not hand leadership over"),
            }
        }
    }
}
