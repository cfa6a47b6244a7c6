//! Whether anything happens on a connection, and since when nothing does.
//!
//! hyper's own header timeout also runs while a kept-alive HTTP/1 connection is idle, and h2 has none. Here
//! one lazy timer serves both protocols: a request touches a few atomics and never the timer.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// What one connection is doing. Times are in milliseconds since it was opened.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// When the last request ended.
    quiet_since: AtomicU64,
    /// When the first byte arrived after that, plus one; 0: none has.
    heard_at: AtomicU64,
    served_any: AtomicBool,
    /// When the client stopped taking what it asked for, plus one; 0: it takes it.
    blocked_at: AtomicU64,
    /// h2 frames without a request (pings, settings) are no request head.
    is_h2: AtomicBool,
}

/// What the timer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again after this long.
    Wait(Duration),
    /// Nothing for too long.
    Idle,
    /// A request's head has begun and does not end.
    SlowHead,
    /// The client takes nothing of its answer.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            served_any: AtomicBool::new(false),
            blocked_at: AtomicU64::new(0),
            is_h2: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn begin(self: &Arc<Self>, is_h2: bool) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.served_any.store(true, Relaxed);
        self.is_h2.store(is_h2, Relaxed);
        InFlight(Arc::clone(self))
    }

    fn heard(&self) {
        if self.in_flight.load(Relaxed) == 0 && self.heard_at.load(Relaxed) == 0 {
            self.heard_at.store(self.now() + 1, Relaxed);
        }
    }

    fn wrote<T>(&self, polled: &Poll<T>) {
        match (polled, self.blocked_at.load(Relaxed)) {
            (Poll::Pending, 0) => self.blocked_at.store(self.now() + 1, Relaxed),
            (Poll::Ready(_), 1..) => self.blocked_at.store(0, Relaxed),
            _ => {}
        }
    }

    pub(super) fn judge(&self, header_timeout: Duration, idle_timeout: Duration) -> Verdict {
        let now = self.now();
        let left = |since: u64, limit: Duration| {
            limit
                .checked_sub(Duration::from_millis(now.saturating_sub(since)))
                .filter(|left| !left.is_zero())
        };
        let look_again = header_timeout.min(idle_timeout);
        if let blocked @ 1.. = self.blocked_at.load(Relaxed) {
            return match left(blocked - 1, idle_timeout) {
                Some(time) => Verdict::Wait(time.min(look_again)),
                None => Verdict::Stalled,
            };
        }
        if self.in_flight.load(Relaxed) > 0 {
            return Verdict::Wait(look_again);
        }
        // A new connection owes its first request as quickly as a head that has begun.
        let first = !self.served_any.load(Relaxed);
        let heard = self.heard_at.load(Relaxed);
        let head = match heard {
            _ if first => left(0, header_timeout),
            0 => Some(header_timeout),
            _ if self.is_h2.load(Relaxed) => Some(header_timeout),
            at => left(at - 1, header_timeout),
        };
        let Some(head) = head else {
            return Verdict::SlowHead;
        };
        match left(self.quiet_since.load(Relaxed), idle_timeout) {
            Some(idle) => Verdict::Wait(head.min(idle)),
            None => Verdict::Idle,
        }
    }
}

/// A request that has begun and whose answer is not sent yet.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.quiet_since.store(activity.now(), Relaxed);
        activity.heard_at.store(0, Relaxed);
        activity.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An answer's body; the request is in flight until it is gone.
pub(super) struct CountedBody {
    pub(super) inner: Body,
    pub(super) _in_flight: InFlight,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that reports when bytes arrive.
pub(super) struct Heard<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.heard();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.wrote(&polled);
        polled
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.wrote(&polled);
        polled
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(300);

    fn after(seconds: u64) -> impl Future<Output = ()> {
        tokio::time::advance(Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_owes_a_request() {
        let activity = Activity::new();
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Wait(HEAD));
        after(9).await;
        activity.heard();
        assert_eq!(
            activity.judge(HEAD, IDLE),
            Verdict::Wait(Duration::from_secs(1))
        );
        after(1).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::SlowHead);
    }

    #[tokio::test(start_paused = true)]
    async fn later_heads_are_timed_from_their_first_byte() {
        let activity = Activity::new();
        drop(activity.begin(false));
        after(100).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Wait(HEAD));
        activity.heard();
        after(4).await;
        activity.heard();
        assert_eq!(
            activity.judge(HEAD, IDLE),
            Verdict::Wait(Duration::from_secs(6))
        );
        after(6).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::SlowHead);
        // The request made it after all.
        let request = activity.begin(false);
        after(1000).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Wait(HEAD));
        drop(request);
        after(299).await;
        assert_eq!(
            activity.judge(HEAD, IDLE),
            Verdict::Wait(Duration::from_secs(1))
        );
        after(1).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_on_h2_are_no_slow_head_and_no_request() {
        let activity = Activity::new();
        drop(activity.begin(true));
        for _ in 0..29 {
            after(10).await;
            activity.heard();
            assert_eq!(activity.judge(HEAD, IDLE), Verdict::Wait(HEAD));
        }
        after(10).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes() {
        let activity = Activity::new();
        let _request = activity.begin(false);
        after(100).await;
        activity.wrote(&Poll::<()>::Pending);
        after(299).await;
        activity.wrote(&Poll::<()>::Pending);
        assert_eq!(
            activity.judge(HEAD, IDLE),
            Verdict::Wait(Duration::from_secs(1))
        );
        activity.wrote(&Poll::Ready(()));
        after(299).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Wait(HEAD));
        activity.wrote(&Poll::<()>::Pending);
        after(300).await;
        assert_eq!(activity.judge(HEAD, IDLE), Verdict::Stalled);
    }
}
