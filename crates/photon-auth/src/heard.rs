//! How much of what IAM publishes has been heard, and when.
//!
//! Freshness is counted from when the store was asked, not from when its answer came: an answer may have waited in a
//! buffer while the process stood still.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use photon_core::{Code, Error};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// How long a waiter waits for news before it has the store asked again; and the least time between two questions,
/// however many wait.
const ASK_AGAIN: Duration = Duration::from_millis(25);

/// Written by the one who follows the store, read by every request.
#[derive(Debug)]
pub(crate) struct Heard {
    origin: Instant,
    /// Milliseconds from `origin` to the moment up to which everything is known; `u64::MAX` before the first.
    current_ms: AtomicU64,
    /// The same moment by the clock on the wall, in seconds: for people.
    current_at: AtomicI64,
    connected: AtomicBool,
    revision: watch::Sender<i64>,
    ask: Notify,
    /// The store is not asked again before. Read and written by the one who follows.
    ask_from: Mutex<Instant>,
}

impl Default for Heard {
    fn default() -> Self {
        let origin = Instant::now();
        Self {
            origin,
            current_ms: AtomicU64::new(u64::MAX),
            current_at: AtomicI64::new(0),
            connected: AtomicBool::new(false),
            revision: watch::Sender::new(0),
            ask: Notify::new(),
            ask_from: Mutex::new(origin),
        }
    }
}

impl Heard {
    /// Everything up to `revision`, and everything that had happened by `current`, is decided by.
    pub(crate) fn told(&self, revision: Option<i64>, current: Option<Instant>) {
        if let Some(current) = current {
            let since = current.saturating_duration_since(self.origin);
            let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1);
            // Only when it moves: counted again, the same moment might be a second off.
            if self.current_ms.swap(ms, Ordering::AcqRel) != ms {
                let age = i64::try_from(current.elapsed().as_secs()).unwrap_or(i64::MAX);
                let at = Timestamp::now().as_second().saturating_sub(age);
                self.current_at.store(at, Ordering::Release);
            }
        }
        // Also without a new revision: who waits for freshness looks again.
        self.revision.send_modify(|known| {
            *known = revision.map_or(*known, |revision| revision.max(*known));
        });
    }

    /// Begins again at a revision that may be lower: the store has changed and was accepted.
    pub(crate) fn restarted(&self, revision: i64) {
        self.revision.send_modify(|known| *known = revision);
    }

    pub(crate) fn connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Release);
    }

    /// Ends when somebody wants the store to be asked how far it is, no more often than every [`ASK_AGAIN`]: whoever
    /// waits for what does not come asks again with every answer. Nothing is lost if the future is dropped.
    pub(crate) async fn asked(&self) {
        let from = *self.ask_from.lock();
        tokio::time::sleep_until(from).await;
        self.ask.notified().await;
        *self.ask_from.lock() = Instant::now() + ASK_AGAIN;
    }

    pub(crate) fn revision(&self) -> i64 {
        *self.revision.borrow()
    }

    /// How old what is known may be; `None` before anything is.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        match self.current_ms.load(Ordering::Acquire) {
            u64::MAX => None,
            ms => Some(
                self.origin
                    .elapsed()
                    .saturating_sub(Duration::from_millis(ms)),
            ),
        }
    }

    /// Since when nothing is heard, if no watch stands or what is known is older than `usual`.
    pub(crate) fn silent_since(&self, usual: Duration) -> Option<Timestamp> {
        let late = self.staleness().is_none_or(|staleness| staleness > usual);
        if self.connected.load(Ordering::Acquire) && !late {
            return None;
        }
        Timestamp::from_second(self.current_at.load(Ordering::Acquire)).ok()
    }

    /// Waits until there was a first snapshot and a watch stands.
    pub(crate) async fn begun(&self, deadline: Instant) -> bool {
        let begun = || self.staleness().is_some() && self.connected.load(Ordering::Acquire);
        self.wait_until(deadline, begun).await.is_ok()
    }

    /// Waits until everything up to a revision is decided by.
    pub(crate) async fn wait_for(&self, revision: i64, deadline: Instant) -> Result<(), Error> {
        self.wait_until(deadline, || self.revision() >= revision)
            .await
            .map_err(|Late| {
                let text = format!("revision {revision} has not been heard of here in time");
                Error::new(Code::UNAVAILABLE, text)
            })
    }

    /// Waits until everything that has happened by now is known. Not when nobody is there to say so.
    pub(crate) async fn catch_up(&self, patience: Duration) -> bool {
        if !self.connected.load(Ordering::Acquire) {
            return false;
        }
        let begun = Instant::now();
        let since = begun.saturating_duration_since(self.origin).as_millis();
        let known = || {
            let current = self.current_ms.load(Ordering::Acquire);
            current != u64::MAX && u128::from(current) >= since
        };
        self.wait_until(begun + patience, known).await.is_ok()
    }

    async fn wait_until(&self, deadline: Instant, reached: impl Fn() -> bool) -> Result<(), Late> {
        let mut changes = self.revision.subscribe();
        loop {
            changes.mark_unchanged();
            if reached() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Late);
            }
            self.ask.notify_one();
            // Whether there was news or not, look again. The sender lives as long as `self`.
            let _ = tokio::time::timeout_at(deadline.min(now + ASK_AGAIN), changes.changed()).await;
        }
    }
}

struct Late;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn staleness_counts_from_the_question() {
        let heard = Heard::default();
        assert_eq!(heard.staleness(), None);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(7)).await;
        heard.told(Some(1), Some(asked));
        assert_eq!(heard.staleness(), Some(Duration::from_secs(7)));
        // Events alone say nothing about what else there is.
        heard.told(Some(2), None);
        assert_eq!(heard.staleness(), Some(Duration::from_secs(7)));
        assert_eq!(heard.revision(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_asks_the_store_and_ends_with_the_revision_or_its_deadline() {
        let heard = Arc::new(Heard::default());
        let deadline = Instant::now() + Duration::from_secs(1);
        let late = heard.wait_for(5, deadline).await.unwrap_err();
        assert_eq!(late.code(), Code::UNAVAILABLE);
        assert!(Instant::now() >= deadline);

        let waiting = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                heard
                    .wait_for(5, Instant::now() + Duration::from_secs(60))
                    .await
            }
        });
        heard.asked().await;
        heard.told(Some(4), None);
        assert!(!waiting.is_finished());
        heard.told(Some(5), None);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_makes_no_storm_of_questions() {
        const FAR_TOO_MANY: u32 = 1000;
        let heard = Arc::new(Heard::default());
        let begun = Instant::now();
        let store = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                let mut questions = 0;
                while questions < FAR_TOO_MANY && begun.elapsed() < Duration::from_secs(1) {
                    heard.asked().await;
                    questions += 1;
                    heard.told(Some(1), Some(Instant::now()));
                }
                questions
            }
        });
        let deadline = begun + Duration::from_secs(2);
        let waiting = (0..10).map(|_| heard.wait_for(5, deadline));
        for waited in futures::future::join_all(waiting).await {
            assert_eq!(waited.unwrap_err().code(), Code::UNAVAILABLE);
        }
        let questions = store.await.unwrap();
        assert!((2..=41).contains(&questions), "{questions}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_store_that_is_away() {
        let heard = Arc::new(Heard::default());
        let before = Instant::now();
        assert!(!heard.catch_up(Duration::from_secs(1)).await);
        assert_eq!(Instant::now(), before);

        heard.connected(true);
        assert!(!heard.catch_up(Duration::from_secs(1)).await);
        let waiting = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move { heard.catch_up(Duration::from_secs(60)).await }
        });
        heard.asked().await;
        tokio::time::advance(Duration::from_millis(5)).await;
        // What was asked before the wait began does not end it.
        heard.told(None, Some(before));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        heard.told(None, Some(Instant::now()));
        assert!(waiting.await.unwrap());
    }
}
