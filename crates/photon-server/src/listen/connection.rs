//! One connection: HTTP/1 or h2, whichever the client begins with.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc};

use axum::{Router, extract::Request, response::Response};
use http::Version;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::activity::{Activity, CountedBody, Heard, Verdict};
use crate::{
    config::LimitsConfig,
    peer::{CertificateIdentity, Peer},
};

/// h2 flow control: enough for a watch or a range at full speed over a long line.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    router: Router,
    protocol: auto::Builder<TokioExecutor>,
    limits: LimitsConfig,
    requests: Counter,
}

impl Connections {
    pub(super) fn new(router: Router, limits: &LimitsConfig, requests: Counter) -> Self {
        let mut protocol = auto::Builder::new(TokioExecutor::new());
        // The time of a head is kept by `Activity`, which also covers h2 and the time before either.
        protocol
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None);
        protocol
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .keep_alive_interval(limits.keepalive_interval())
            .keep_alive_timeout(limits.keepalive_timeout())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let router = router.with_state(());
        Self(Arc::new(Shared {
            router,
            protocol,
            limits: limits.clone(),
            requests,
        }))
    }

    /// Serves until the client leaves, is too slow or idle, or the drain has let its requests finish.
    pub(super) async fn serve<S>(
        self,
        stream: S,
        addr: SocketAddr,
        certificate: Option<CertificateIdentity>,
        drain: CancellationToken,
    ) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Shared {
            router,
            protocol,
            limits,
            requests,
        } = &*self.0;
        let activity = Activity::new();
        let peer = Peer {
            addr,
            certificate: certificate.map(Arc::new),
        };
        let service = service_fn(|mut request: Request<Incoming>| {
            let in_flight = activity.begin(request.version() == Version::HTTP_2);
            requests.inc();
            request.extensions_mut().insert(peer.clone());
            let answer = router.clone().call(request);
            async move {
                let answer: Response = answer.await?;
                Ok::<_, Infallible>(answer.map(|inner| CountedBody {
                    inner,
                    _in_flight: in_flight,
                }))
            }
        });
        let stream = Heard {
            stream,
            activity: Arc::clone(&activity),
        };
        // What becomes of a connection that is upgraded is its handler's: its limits, and its end.
        let mut connection =
            pin!(protocol.serve_connection_with_upgrades(TokioIo::new(stream), service));

        let (header_timeout, idle_timeout) = (limits.header_timeout(), limits.idle_timeout());
        let mut timer = pin!(tokio::time::sleep(header_timeout.min(idle_timeout)));
        let mut closing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended.map_err(|error| error.to_string()),
                () = drain.cancelled(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut timer => match activity.judge(header_timeout, idle_timeout) {
                    Verdict::Wait(time) => timer.as_mut().reset(tokio::time::Instant::now() + time),
                    Verdict::Stalled => return Err("the client takes nothing of its answer".to_owned()),
                    Verdict::SlowHead => return Err("the request's head took too long".to_owned()),
                    Verdict::Idle if closing => return Ok(()),
                    Verdict::Idle => {
                        // h2 clients are told first (GOAWAY), so that a request on its way is not lost.
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        timer.as_mut().reset(tokio::time::Instant::now() + header_timeout);
                    }
                },
            }
        }
    }
}
