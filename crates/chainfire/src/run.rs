//! One node, from its data directory to its listeners and back.
//!
//! ```text
//! LOCK, FORMAT -> listeners bound -> engine open -> peers, Raft group -> (new cluster: bootstrap, identity)
//!   -> loops -> doors serve -> (a restart: everything committed before is applied, see app/recovery.rs)
//! stop: leadership handed over -> doors drain -> loops end -> group -> peers -> engine
//! ```

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::response::IntoResponse as _;
use chainfire_engine::Engine;
use photon_raft::{ClusterId, Group, Role, Transport};
use photon_server::{Daemon, Listen, Metrics, Readiness};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Addresses, App, LeaderDesk, Machine, OUT_OF_SPACE, RECOVERING, REMOVED},
    config::{Cluster, Config, Listener},
    data_dir::DataDir,
    etcd, gateway, native, rest,
};

/// How long a new cluster of one may take to elect itself and write down its identity.
const BOOTSTRAP_WITHIN: Duration = Duration::from_secs(30);

/// How long [`start`] waits for a restarted node to apply what was committed before.
const RECOVER_WITHIN: Duration = Duration::from_secs(5);

/// How long handing leadership over may delay a stop.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

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

/// Starts a node; it serves when this returns. A node that was restarted without a quorum gets some seconds to find one
/// before that, while its listeners are open already.
///
/// # Errors
/// Those of [`open`].
pub async fn start(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
    let running = open(config, sockets).await?;
    let deadline = Instant::now() + RECOVER_WITHIN;
    if !running.app.recovered_by(deadline).await {
        tracing::warn!("started without a leader with a quorum");
    }
    Ok(running)
}

/// Starts a node; its listeners are open when this returns. What it can answer then depends on the others: see
/// `/readyz`.
///
/// # Errors
/// Settings that cannot be, an address in use, a data directory that is in use, of another format or
/// damaged; the text says what to do.
pub async fn open(config: Config, sockets: Sockets) -> anyhow::Result<Running> {
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
    let raft = photon_raft::Config {
        cluster: cluster_of(engine.clone()),
        ..config.raft_config(grpc, peer)
    };
    let group = Group::start(raft, machine, transport.clone(), Arc::clone(&desk) as _)
        .await
        .context("the Raft group did not start")?;
    desk.attach(group.clone());
    if config.cluster == Cluster::New {
        group
            .bootstrap()
            .await
            .context("the cluster was not made")?;
    }

    let daemon = Daemon::new("chainfire", env!("CARGO_PKG_VERSION"))
        .mode(config.auth.mode)
        .limits(config.http.clone())
        .also_listens("peer", peer);
    let app = App::new(
        config.clone(),
        Addresses { rest, grpc, peer },
        engine,
        group.clone(),
        desk,
        daemon.draining(),
    );
    app.start_loops();
    app.register_metrics(&daemon.metrics());
    // Of several members the log has the identity already, and they may need each other to apply it.
    if config.cluster == Cluster::New && app.members().len() <= 1 {
        app.ensure_identity(Instant::now() + BOOTSTRAP_WITHIN)
            .await
            .context("the new cluster has no identity yet")?;
    }

    let shutdown = CancellationToken::new();
    let daemon = listen(daemon, &app, rest_socket, grpc_socket, shutdown.clone())?;
    tracing::info!(node_id = config.node_id, %rest, %grpc, %peer, "chainfire listens");
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

/// The id that the members share once there is one: calls from and to nodes of another cluster are refused.
fn cluster_of(engine: Engine) -> ClusterId {
    let known = AtomicU64::new(0);
    ClusterId::new(move || match known.load(Ordering::Relaxed) {
        0 => {
            let id = engine.identity().cluster_id;
            known.store(id, Ordering::Relaxed);
            id
        }
        id => id,
    })
}

async fn open_engine(config: &Config) -> anyhow::Result<Engine> {
    let (dir, options) = (config.state_dir(), config.engine_options());
    let engine = tokio::task::spawn_blocking(move || Engine::open(&dir, options)).await??;
    Ok(engine)
}

fn listen(
    daemon: Daemon,
    app: &Arc<App>,
    rest_socket: TcpListener,
    grpc_socket: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<photon_server::Running> {
    let config = app.config();
    let on = |socket, listener: &Listener| Listen::bound(socket, listener.tls.clone());
    let metrics = daemon.metrics();
    let described = [photon_proto::FILE_DESCRIPTOR_SET];
    let reflection = photon_server::grpc::reflection(&described)?;
    let older = photon_server::grpc::reflection_v1alpha(&described)?;
    let routes = etcd::grpc(app)
        .add_service(native::service(Arc::clone(app)))
        .add_service(etcd::Gate::before(reflection, app, etcd::refuse))
        .add_service(etcd::Gate::before(older, app, etcd::refuse));
    let http = etcd::http(app)
        .merge(scrape(metrics, app))
        .merge(gateway::router(app, &daemon)?);
    let daemon = daemon
        .authenticator(Arc::new(rest::EtcdCredentials(Arc::clone(app))))
        .openapi(rest::openapi())
        .readiness(readiness(app))
        .rest(on(rest_socket, &config.rest), rest::router(Arc::clone(app)))
        .grpc_with_http(on(grpc_socket, &config.grpc), routes, http);
    Ok(daemon.start(shutdown)?)
}

/// `/metrics` on the client port, where etcd has it. Behind the same gate as everything there.
fn scrape(metrics: Metrics, app: &Arc<App>) -> axum::Router {
    let app = Arc::clone(app);
    let answer = move |request: axum::extract::Request| async move {
        if let Err(error) = etcd::admit(&app, request.headers(), request.extensions()).await {
            tracing::debug!(%error, "metrics refused");
            let refusal = "a client certificate or a token is required\n";
            return (http::StatusCode::UNAUTHORIZED, refusal).into_response();
        }
        let kind = photon_server::metrics::CONTENT_TYPE;
        ([(http::header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
    };
    axum::Router::new().route("/metrics", axum::routing::get(answer))
}

fn readiness(
    app: &Arc<App>,
) -> impl Fn() -> futures::future::BoxFuture<'static, Readiness> + Send + Sync + 'static {
    let app = Arc::clone(app);
    move || {
        let app = Arc::clone(&app);
        Box::pin(async move {
            if app.raft_status().role == Role::Removed {
                Readiness::NotReady(REMOVED.to_owned())
            } else if !app.is_recovered() {
                Readiness::NotReady(RECOVERING.to_owned())
            } else if !app.is_led() {
                Readiness::NotReady("no leader with a quorum is known".to_owned())
            } else if app.out_of_space() {
                // Reads, deletes and compaction go on, and no other member would serve better.
                Readiness::ReadyBut(OUT_OF_SPACE.to_owned())
            } else {
                Readiness::Ready
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

    /// Leadership goes to the voter that has the most of the log, so that no election has to time out. Once, and for
    /// a moment: a cluster that is being stopped has nobody to take it, and elects somebody anyway if it has.
    async fn hand_over(&self) {
        let Some(to) = self.group.successor() else {
            return;
        };
        let deadline = Instant::now() + HAND_OVER_WITHIN;
        match self.group.transfer_leadership(to, deadline).await {
            Ok(()) => tracing::info!(to, "leadership handed over"),
            Err(error) => tracing::warn!(to, %error, "could not hand leadership over"),
        }
    }
}
