//! What a handler leaves of a request's body.
//!
//! An HTTP/1 connection that is closed while its client still sends breaks, and the answer is lost with it. So the
//! door lends the body to the handler, takes back what was not read, and throws it away before it answers.

use std::{
    io::{
        self,
        ErrorKind::{InvalidData, InvalidInput},
    },
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, header};
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

use super::content_length;

/// The largest unread body that is read to its end.
const LINGER_BYTES: u64 = 64 << 20;

/// Where a body comes back to.
pub(super) struct Unread {
    body: Arc<Mutex<Option<Body>>>,
    /// Whether it ended before it was whole.
    is_cut: Arc<AtomicBool>,
    /// Whether its rest will come without being asked for, and is not beyond any mistake.
    comes: bool,
}

impl Unread {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let announced = content_length(headers).unwrap_or_default();
        Self {
            body: Arc::default(),
            is_cut: Arc::default(),
            comes: announced <= LINGER_BYTES && !headers.contains_key(header::EXPECT),
        }
    }

    /// The body for a handler; what is left of it comes back here when the handler lets go of it.
    pub(super) fn lend(&self, body: Body) -> Body {
        Body::new(Lent {
            body: Some(body),
            back: Arc::clone(&self.body),
            is_cut: Arc::clone(&self.is_cut),
        })
    }

    /// Whether the client left before all of it had come, as far as anybody has read.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Reads what came back and throws it away. Whoever takes longer than `patience`, or sends without end, loses
    /// the answer.
    pub(super) async fn discard(&self, patience: Duration) {
        let Some(body) = self.body.lock().take() else {
            return;
        };
        if !self.comes || patience.is_zero() {
            return;
        }
        let mut chunks = body.into_data_stream();
        let discard = async {
            let mut read = 0;
            while let Some(Ok(chunk)) = chunks.next().await {
                read += chunk.len() as u64;
                if read > LINGER_BYTES {
                    return;
                }
            }
        };
        let _read = tokio::time::timeout(patience, discard).await;
    }
}

/// A body that goes back unless it has been read to its end.
struct Lent {
    body: Option<Body>,
    back: Arc<Mutex<Option<Body>>>,
    is_cut: Arc<AtomicBool>,
}

/// Whether the connection ended, and not only what came over it is nonsense.
fn is_end(error: &axum::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return !matches!(error.kind(), InvalidInput | InvalidData);
        }
        next = cause.source();
    }
    false
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled
            && is_end(error)
        {
            self.is_cut.store(true, Ordering::Relaxed);
        }
        // After its end or an error there is nothing to throw away.
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            *self.back.lock() = self.body.take();
        }
    }
}
