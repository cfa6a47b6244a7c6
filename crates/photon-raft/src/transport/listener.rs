//! Accepts peers: bounded in number, TLS handshakes bounded in time, garbage dropped.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use photon_proto::photon::raft::v1::peer_server::PeerServer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::Connected};

use super::{Groups, MESSAGE_LIMIT, server::Dispatch, tls::Credentials};

const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Credentials>>,
    groups: Groups,
    stop: CancellationToken,
) {
    let (ready, incoming) = mpsc::channel::<io::Result<Connection>>(16);
    let accepting = tokio::spawn(accept(listener, tls, ready, stop.clone()));
    let service = PeerServer::new(Dispatch::new(groups))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(usize::MAX);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(4096)
        .add_service(service)
        .serve_with_incoming(ReceiverStream::new(incoming));
    tokio::select! {
        // Dropping the server would leave its connections running; they watch `stop` themselves.
        () = stop.cancelled() => {}
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the peer listener ended");
        }
    }
    accepting.abort();
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Credentials>>,
    ready: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = limit.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that broke at once: neither ends the listener.
                tracing::warn!(%error, "cannot accept a peer");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
        }
        let (tls, ready, stop) = (tls.clone(), ready.clone(), stop.clone());
        tokio::spawn(async move {
            match secure(stream, tls).await {
                Ok(stream) => {
                    let closed = Box::pin(stop.cancelled_owned());
                    // The server has ended if nobody receives.
                    drop(
                        ready
                            .send(Ok(Connection {
                                stream,
                                closed,
                                _permit: permit,
                            }))
                            .await,
                    );
                }
                Err(error) => tracing::warn!(%error, %peer, "refused a peer connection"),
            }
        });
    }
}

async fn secure(stream: TcpStream, tls: Option<Arc<Credentials>>) -> io::Result<Stream> {
    let Some(tls) = tls else {
        return Ok(Stream::Plain(stream));
    };
    let acceptor = tls.acceptor();
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.tls.accept(stream)).await??;
    if !acceptor.is_peer(stream.get_ref().1.peer_certificates()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "its certificate is not a peer's",
        ));
    }
    Ok(Stream::Tls(Box::new(stream)))
}

/// One accepted connection; counts against the limit while it lives, and ends with the transport.
struct Connection {
    stream: Stream,
    closed: Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
