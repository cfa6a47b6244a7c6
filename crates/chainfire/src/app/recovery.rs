//! After a restart: until everything this node's log holds is applied, its state may be older than what it showed
//! before, and what is committed is only known again when a leader with a quorum says so.
//!
//! ```text
//!  start ──> not recovered ──(a quorum confirms the log, and it is applied)──> recovered, for good
//!                 │
//!        listeners are open; local reads wait, then answer `no leader`; /readyz says why
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chainfire_engine::EtcdError;
use tokio::{sync::watch, time::Instant};

use super::{App, TICK};

/// How long one attempt may take; there is always another.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Whether local reads show at least what they showed before the restart.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Asked on every local read, so no lock.
    done: AtomicBool,
    news: watch::Sender<bool>,
}

impl Recovery {
    pub(super) fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            news: watch::Sender::new(false),
        }
    }
}

impl App {
    /// Whether everything that was committed before the start is applied.
    pub fn is_recovered(&self) -> bool {
        self.recovery.done.load(Ordering::Acquire)
    }

    /// Returns when a local read shows no older state than before a restart.
    ///
    /// # Errors
    /// No leader with a quorum has confirmed what is committed by the deadline of a request.
    pub(crate) async fn recovered(&self) -> Result<(), EtcdError> {
        if self.is_recovered() || self.recovered_by(self.deadline()).await {
            Ok(())
        } else {
            Err(EtcdError::NO_LEADER)
        }
    }

    /// Whether that was so at the deadline.
    pub(crate) async fn recovered_by(&self, deadline: Instant) -> bool {
        let mut news = self.recovery.news.subscribe();
        let done = news.wait_for(|done| *done);
        matches!(tokio::time::timeout_at(deadline, done).await, Ok(Ok(_)))
    }
}

/// Runs until the node has recovered or stops.
pub(super) async fn recover(app: Arc<App>) {
    loop {
        let deadline = Instant::now() + ATTEMPT;
        let recovered = tokio::select! {
            () = app.stop.cancelled() => return,
            recovered = app.group.recovered(deadline) => recovered.is_ok(),
            // On a follower that is written to all the time the log is always a little ahead of what is committed;
            // a read index covers everything acknowledged until now, which is as good.
            Ok(()) = app.group.read_index(deadline) => true,
        };
        if recovered {
            app.recovery.done.store(true, Ordering::Release);
            app.recovery.news.send_replace(true);
            return;
        }
        tracing::warn!(
            "still without a leader with a quorum: what was committed before the start is not known"
        );
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}
