//! Listeners: accept, encrypt, and serve HTTP/1 and h2 with limits.

mod activity;
mod connection;
mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{LimitsConfig, ListenConfig, TlsConfig},
    metrics::ListenerMetrics,
};
use connection::Connections;
use tls::Tls;
pub use tls::{TlsError, Usage, check_member, check_tls};

/// A bound socket and how to speak on it.
#[derive(Debug)]
pub struct Listen {
    socket: TcpListener,
    tls: Option<TlsConfig>,
}

impl Listen {
    /// Binds what the configuration says.
    pub async fn bind(config: &ListenConfig) -> io::Result<Self> {
        let socket = TcpListener::bind(config.address).await.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {}: {error}", config.address),
            )
        })?;
        Ok(Self {
            socket,
            tls: config.tls.clone(),
        })
    }

    /// Takes a socket that is bound already.
    #[must_use]
    pub fn bound(socket: TcpListener, tls: Option<TlsConfig>) -> Self {
        Self { socket, tls }
    }

    /// Takes a socket of the standard library, as tests bind them.
    pub fn from_std(socket: std::net::TcpListener, tls: Option<TlsConfig>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(socket)?,
            tls,
        })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}

/// When a listener stops, and how.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Accept no more, finish what is in flight.
    pub(crate) drain: CancellationToken,
    /// Drop what is still there.
    pub(crate) kill: CancellationToken,
}

/// A listener ready to run: its certificates have been read.
pub(crate) struct Server {
    name: &'static str,
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    slots: Arc<Semaphore>,
    limits: LimitsConfig,
    metrics: ListenerMetrics,
    connections: Connections,
}

impl Server {
    pub(crate) fn new(
        name: &'static str,
        listen: Listen,
        router: Router,
        limits: &LimitsConfig,
        metrics: ListenerMetrics,
    ) -> Result<Self, TlsError> {
        let tls = listen.tls.map(Tls::load).transpose()?.map(Arc::new);
        Ok(Self {
            name,
            socket: listen.socket,
            tls,
            slots: Arc::new(Semaphore::new(limits.max_connections)),
            connections: Connections::new(router, limits, metrics.requests.clone()),
            limits: limits.clone(),
            metrics,
        })
    }

    /// Accepts until drained; the connections go on in the tracker.
    pub(crate) async fn run(self, tasks: TaskTracker, stop: Stop) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.drain.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, addr)) => self.accept(stream, addr, &tasks, &stop),
                Err(error) => self.cannot_accept(&error).await,
            }
        }
    }

    fn accept(&self, stream: TcpStream, addr: SocketAddr, tasks: &TaskTracker, stop: &Stop) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.metrics.refused.inc();
            tracing::debug!(listener = self.name, %addr, "connection refused: too many are open");
            return;
        };
        self.metrics.accepted.inc();
        self.metrics.open.inc();
        // Fails only on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let tls = self.tls.clone();
        let connections = self.connections.clone();
        let handshake_timeout = self.limits.header_timeout();
        let open = self.metrics.open.clone();
        let (name, stop) = (self.name, stop.clone());
        tasks.spawn(async move {
            let kill = stop.kill.clone();
            let work = serve(
                stream,
                addr,
                tls,
                handshake_timeout,
                connections,
                stop.drain,
            );
            if let Some(Err(error)) = kill.run_until_cancelled(work).await {
                tracing::debug!(listener = name, %addr, error, "connection ended with an error");
            }
            open.dec();
            drop(slot);
        });
    }

    /// Out of descriptors or memory: accepting again at once would only spin.
    async fn cannot_accept(&self, error: &io::Error) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
        ) {
            return;
        }
        tracing::warn!(listener = self.name, %error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn serve(
    stream: TcpStream,
    addr: SocketAddr,
    tls: Option<Arc<Tls>>,
    handshake_timeout: Duration,
    connections: Connections,
    drain: CancellationToken,
) -> Result<(), String> {
    let Some(tls) = tls else {
        return connections.serve(stream, addr, None, drain).await;
    };
    let handshake = tokio::time::timeout(handshake_timeout, tls.accept(stream));
    let accepted = tokio::select! {
        () = drain.cancelled() => return Ok(()),
        accepted = handshake => accepted,
    };
    match accepted {
        Err(_) => Err("the TLS handshake took too long".to_owned()),
        Ok(Err(error)) => Err(format!("the TLS handshake failed: {error}")),
        Ok(Ok((stream, certificate))) => connections.serve(stream, addr, certificate, drain).await,
    }
}
