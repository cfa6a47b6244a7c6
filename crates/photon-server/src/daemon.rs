//! A process with its listeners, from start to drain.
//!
//! ```text
//! new ──> rest / grpc listeners ──> start ──> Running ──(token cancelled)──> drain ──> done
//!                                     │                                       │
//!                 dev mode and certificates checked,         readiness false, systemd told, listeners closed,
//!                 systemd told READY                         streams told, requests finish or are cut off
//! ```

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use futures::future::BoxFuture;
use http::header;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use utoipa::openapi::OpenApi;

use crate::{
    auth::{Authenticator, CertificateAuthenticator},
    config::{LimitsConfig, Mode},
    door::Door,
    grpc,
    health::{Health, Readiness, ReadinessCheck},
    listen::{Listen, Server, Stop, TlsError},
    metrics::{self, Metrics},
    notify,
};

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Dev mode and a listener that others can reach.
    #[error(
        "auth.mode = \"dev\" lets everybody who can connect do everything, so it needs loopback addresses only; \
         the {listener} listener is on {address}. Use 127.0.0.1 or [::1], or auth.mode = \"enforce\""
    )]
    DevMode {
        /// Which listener.
        listener: String,
        /// Where it listens.
        address: SocketAddr,
    },
    /// Certificates.
    #[error("the {listener} listener")]
    Tls {
        /// Which listener.
        listener: &'static str,
        /// Why.
        source: TlsError,
    },
    /// The socket.
    #[error("the {listener} listener")]
    Socket {
        /// Which listener.
        listener: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file descriptor set that reflection cannot read.
    #[error(transparent)]
    Reflection(photon_core::Error),
}

/// A daemon that has not started.
pub struct Daemon {
    service: &'static str,
    version: &'static str,
    mode: Mode,
    limits: LimitsConfig,
    authenticator: Arc<dyn Authenticator>,
    metrics: Metrics,
    openapi: Option<OpenApi>,
    readiness: Option<ReadinessCheck>,
    descriptors: Vec<&'static [u8]>,
    others: Vec<(String, SocketAddr)>,
    rest: Vec<(Listen, Router, Option<Router>)>,
    grpc: Vec<(Listen, Routes, Option<Router>)>,
    draining: CancellationToken,
}

impl Daemon {
    /// A daemon without listeners, in enforce mode, with default limits and client certificates as
    /// credentials. `service` is the word in metric names, `version` what `/health` tells.
    #[must_use]
    pub fn new(service: &'static str, version: &'static str) -> Self {
        Self {
            service,
            version,
            mode: Mode::default(),
            limits: LimitsConfig::default(),
            authenticator: Arc::new(CertificateAuthenticator),
            metrics: Metrics::new(service),
            openapi: None,
            readiness: None,
            descriptors: Vec::new(),
            others: Vec::new(),
            rest: Vec::new(),
            grpc: Vec::new(),
            draining: CancellationToken::new(),
        }
    }

    /// Dev or enforce.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The limits of all listeners.
    #[must_use]
    pub fn limits(mut self, limits: LimitsConfig) -> Self {
        self.limits = limits;
        self
    }

    /// Who finds the callers of REST requests.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = authenticator;
        self
    }

    /// What `/openapi.json` shows.
    #[must_use]
    pub fn openapi(mut self, openapi: OpenApi) -> Self {
        self.openapi = Some(openapi);
        self
    }

    /// Whether the service can do its work; asked about once a second and by `/health`.
    #[must_use]
    pub fn readiness(
        mut self,
        check: impl Fn() -> BoxFuture<'static, Readiness> + Send + Sync + 'static,
    ) -> Self {
        self.readiness = Some(Arc::new(check));
        self
    }

    /// An encoded file descriptor set for gRPC reflection.
    #[must_use]
    pub fn reflect(mut self, file_descriptor_set: &'static [u8]) -> Self {
        self.descriptors.push(file_descriptor_set);
        self
    }

    /// A listener that the service runs itself and that counts for dev mode, such as the one for peers.
    #[must_use]
    pub fn also_listens(mut self, name: impl Into<String>, address: SocketAddr) -> Self {
        self.others.push((name.into(), address));
        self
    }

    /// Uses a registry made earlier, as by a service that counts before it has a daemon.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The metrics, to register more.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Cancelled when the drain begins; long streams end themselves on it.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// A door with this daemon's mode, limits, authenticator and metrics. Set those first.
    #[must_use]
    pub fn door(&self, name: &'static str) -> Door {
        Door::new(name, self.mode, self.limits.clone(), &self.metrics)
            .authenticator(Arc::clone(&self.authenticator))
    }

    /// A REST listener in the guide's style. Health, metrics and OpenAPI routes are added.
    #[must_use]
    pub fn rest(mut self, listen: Listen, router: Router) -> Self {
        self.rest.push((listen, router, None));
        self
    }

    /// [`Daemon::rest`] that answers routes of another style too. Those come as they are: put a [`Daemon::door`] with
    /// their face around them.
    #[must_use]
    pub fn rest_with(mut self, listen: Listen, router: Router, others: Router) -> Self {
        self.rest.push((listen, router, Some(others)));
        self
    }

    /// A gRPC listener. Health and reflection are added.
    #[must_use]
    pub fn grpc(mut self, listen: Listen, routes: Routes) -> Self {
        self.grpc.push((listen, routes, None));
        self
    }

    /// A gRPC listener that answers plain HTTP routes too. They come as they are: put a [`Daemon::door`]
    /// around them.
    #[must_use]
    pub fn grpc_with_http(mut self, listen: Listen, routes: Routes, http: Router) -> Self {
        self.grpc.push((listen, routes, Some(http)));
        self
    }

    /// Starts serving; cancelling `shutdown` begins the drain.
    pub fn start(mut self, shutdown: CancellationToken) -> Result<Running, StartError> {
        let health = Health::new(self.service, self.version, self.readiness.take());
        let tasks = TaskTracker::new();
        let stop = Stop {
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
        };

        let mut servers = Vec::new();
        let (mut rest, mut grpc) = (Vec::new(), Vec::new());
        for (listen, router, others) in std::mem::take(&mut self.rest) {
            rest.push(self.check("REST", &listen)?);
            let router = self.door("rest").wrap(self.built_in(&health).merge(router));
            // What answers for paths that nobody has is that of the router merged last.
            let router = others.unwrap_or_default().merge(router);
            servers.push(self.server("rest", listen, router)?);
        }
        for (listen, routes, http) in std::mem::take(&mut self.grpc) {
            grpc.push(self.check("gRPC", &listen)?);
            let (reporter, service) = tonic_health::server::health_reporter();
            tasks.spawn(grpc::follow_health(reporter, health.watch()));
            let routes = grpc::with_reflection(routes.add_service(service), &self.descriptors)
                .map_err(StartError::Reflection)?;
            servers.push(self.server("grpc", listen, grpc::router(routes, http))?);
        }
        for (listener, address) in &self.others {
            check_mode(self.mode, listener, *address)?;
        }

        for server in servers {
            tasks.spawn(server.run(tasks.clone(), stop.clone()));
        }
        tasks.spawn(health.clone().follow(stop.drain.clone()));
        tasks.spawn(notify::watchdog(stop.drain.clone()));
        notify::ready();
        tracing::info!(service = self.service, version = self.version, ?rest, ?grpc, mode = ?self.mode, "serving");
        let drain = drain(
            shutdown,
            health,
            stop,
            self.draining,
            tasks,
            self.limits.drain_timeout(),
        );
        Ok(Running {
            rest,
            grpc,
            done: tokio::spawn(drain),
        })
    }

    /// [`Daemon::start`] and [`Running::wait`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        self.start(shutdown)?.wait().await;
        Ok(())
    }

    fn check(&self, listener: &'static str, listen: &Listen) -> Result<SocketAddr, StartError> {
        let address = listen
            .address()
            .map_err(|source| StartError::Socket { listener, source })?;
        check_mode(self.mode, listener, address)?;
        if self.mode == Mode::Enforce && !listen.is_encrypted() {
            tracing::warn!(listener, %address, "not encrypted: no client can prove who it is by certificate");
        }
        Ok(address)
    }

    fn server(
        &self,
        name: &'static str,
        listen: Listen,
        router: Router,
    ) -> Result<Server, StartError> {
        Server::new(
            name,
            listen,
            router,
            &self.limits,
            self.metrics.listener(name),
        )
        .map_err(|source| StartError::Tls {
            listener: name,
            source,
        })
    }

    /// The routes that every REST listener has.
    fn built_in(&self, health: &Health) -> Router {
        let metrics = self.metrics.clone();
        let mut router = health.routes().route(
            "/metrics",
            get(move || async move {
                (
                    [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
                    metrics.encode(),
                )
            }),
        );
        if let Some(openapi) = self.openapi.clone() {
            let openapi = Arc::new(openapi);
            router = router.route(
                "/openapi.json",
                get(move || async move { axum::Json(openapi) }),
            );
        }
        router
    }
}

/// Refuses dev mode on an address that others can reach.
pub fn check_mode(mode: Mode, listener: &str, address: SocketAddr) -> Result<(), StartError> {
    if mode == Mode::Dev && !address.ip().to_canonical().is_loopback() {
        return Err(StartError::DevMode {
            listener: listener.to_owned(),
            address,
        });
    }
    Ok(())
}

/// Waits for the order to stop, then ends everything within the limit.
async fn drain(
    shutdown: CancellationToken,
    health: Health,
    stop: Stop,
    draining: CancellationToken,
    tasks: TaskTracker,
    limit: Duration,
) {
    shutdown.cancelled().await;
    tracing::info!(limit_ms = limit.as_millis(), "draining");
    notify::stopping();
    health.drain();
    draining.cancel();
    stop.drain.cancel();
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(
            tasks = tasks.len(),
            "cutting off what has not finished in time"
        );
    }
    stop.kill.cancel();
    tasks.wait().await;
    tracing::info!("drained");
}

/// A daemon that serves.
#[derive(Debug)]
pub struct Running {
    rest: Vec<SocketAddr>,
    grpc: Vec<SocketAddr>,
    done: JoinHandle<()>,
}

impl Running {
    /// The addresses of the REST listeners, in the order they were added.
    #[must_use]
    pub fn rest_addresses(&self) -> &[SocketAddr] {
        &self.rest
    }

    /// The addresses of the gRPC listeners, in the order they were added.
    #[must_use]
    pub fn grpc_addresses(&self) -> &[SocketAddr] {
        &self.grpc
    }

    /// Returns when the daemon has been told to stop and has drained.
    pub async fn wait(self) {
        if let Err(error) = self.done.await {
            tracing::error!(%error, "the drain failed");
        }
    }
}
