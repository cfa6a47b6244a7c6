//! Records of keys go when nobody needs them any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use photon_store::idempotency::{Idempotency, MOST_SWEPT};
use tokio_util::sync::CancellationToken;

use super::KEPT_FOR;
use crate::options::Clock;

/// How often old records are looked for.
const EVERY: Duration = Duration::from_secs(60);
/// Batches of one round: a service that makes more than 800 things a second by key all day long is not followed.
const BATCHES: usize = 1000;

/// Looks for old records, once there are routes that make some.
pub(crate) struct Sweeper {
    pub(crate) records: Idempotency,
    pub(crate) clock: Clock,
    pub(crate) needed: Arc<AtomicBool>,
}

impl Sweeper {
    /// Sweeps every now and then until asked to stop. Every process does; none minds the others.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            if !self.needed.load(Ordering::Relaxed) {
                continue;
            }
            let round = forget_old(&self.records, (self.clock)());
            match stop.run_until_cancelled(round).await {
                Some(Ok(0)) => {}
                Some(Ok(records)) => tracing::debug!(records, "old idempotency keys forgotten"),
                Some(Err(error)) => {
                    tracing::warn!(%error, "old idempotency keys cannot be forgotten; trying again later");
                }
                None => return,
            }
        }
    }
}

/// Forgets what is older than [`KEPT_FOR`] at a time, and says how many records.
pub(crate) async fn forget_old(
    records: &Idempotency,
    now: Timestamp,
) -> photon_store::Result<usize> {
    let kept_for = SignedDuration::try_from(KEPT_FOR).unwrap_or(SignedDuration::MAX);
    let before = now.checked_sub(kept_for).unwrap_or(Timestamp::MIN);
    let mut swept = 0;
    for _ in 0..BATCHES {
        let batch = records.sweep(before).await?;
        swept += batch;
        if batch < MOST_SWEPT {
            break;
        }
    }
    Ok(swept)
}
