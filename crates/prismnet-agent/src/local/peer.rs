//! Connections to the socket, counted: those who may not ask are told so, but cannot use up what those need who may.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

/// The most connections of those who may ask.
const MOST: usize = 1024;
/// The most of all others.
const MOST_STRANGERS: usize = 16;
/// How long it waits when nobody can be let in.
const PAUSE: Duration = Duration::from_millis(100);

/// Who may ask: root, and these.
#[derive(Clone, Debug)]
pub struct Allowed(Arc<[u32]>);

impl Allowed {
    /// These beside root.
    #[must_use]
    pub fn new(uids: Vec<u32>) -> Self {
        Self(uids.into())
    }

    /// Whether the user may ask.
    #[must_use]
    pub fn has(&self, uid: u32) -> bool {
        uid == 0 || self.0.contains(&uid)
    }
}

/// Connections as they come; one too many is closed.
pub fn incoming(listener: UnixListener, allowed: Allowed) -> impl Stream<Item = io::Result<Peer>> {
    let known = Arc::new(Semaphore::new(MOST));
    let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
    UnixListenerStream::new(listener).filter_map(move |accepted| {
        let (known, strangers) = (Arc::clone(&known), Arc::clone(&strangers));
        let allowed = allowed.clone();
        async move {
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // No descriptors, for instance: that ends.
                    tracing::warn!(%error, "nobody is let in to the local socket");
                    tokio::time::sleep(PAUSE).await;
                    return None;
                }
            };
            let uid = stream.peer_cred().map(|found| found.uid());
            let is_known = uid.is_ok_and(|uid| allowed.has(uid));
            let places = if is_known { known } else { strangers };
            let place = places.try_acquire_owned().ok()?;
            Some(Ok(Peer {
                stream,
                _place: place,
            }))
        }
    })
}

/// A connection, and its place among those that there may be.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl Connected for Peer {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn one_too_many_is_closed_and_leaves_its_place_when_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let root = nix::unistd::geteuid().is_root();
        let most = if root { MOST } else { MOST_STRANGERS };
        let mut incoming = std::pin::pin!(incoming(listener, Allowed::new(Vec::new())));
        let mut open = Vec::new();
        for _ in 0..most {
            let near = UnixStream::connect(&path).await.unwrap();
            open.push((near, incoming.next().await.unwrap().unwrap()));
        }
        // Passed over, and closed, while there is no place; the next one has the place that became free.
        let mut surplus = UnixStream::connect(&path).await.unwrap();
        let passed = std::future::poll_fn(|context| {
            Poll::Ready(incoming.as_mut().poll_next(context).is_pending())
        });
        assert!(passed.await);
        let mut said = Vec::new();
        assert_eq!(surplus.read_to_end(&mut said).await.unwrap(), 0);
        open.pop();
        let after = UnixStream::connect(&path).await.unwrap();
        let _next = incoming.next().await.unwrap().unwrap();
        drop(after);
    }
}
