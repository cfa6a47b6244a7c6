//! Workers: they take keys from a queue, one turn at a time each.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use photon_core::Error;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::queue::{Queue, Turn};

/// When a key is to be looked at again, beside when it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only when it is added.
    WhenAdded,
    /// At once: others were faster, or there is more to do.
    Now,
    /// Not later than after this.
    Within(Duration),
}

impl Again {
    fn at(self) -> Option<Instant> {
        match self {
            Self::WhenAdded => None,
            Self::Now => Some(Instant::now()),
            Self::Within(pause) => Some(Instant::now() + pause),
        }
    }
}

/// Looks at keys of a queue with so many workers until it is stopped; then every turn is cut off, wherever it waits. A turn that
/// takes longer than `patience`, returns an error or panics has failed, and its key comes back after a pause.
pub async fn work<K, F, Fut>(
    queue: Queue<K>,
    workers: usize,
    patience: Duration,
    stop: CancellationToken,
    look: F,
) where
    K: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Again, Error>> + Send + 'static,
{
    let look = Arc::new(look);
    let mut turns: JoinSet<()> = JoinSet::new();
    loop {
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // A panic has ended its turn by dropping it, and is in the log.
            Some(_) = turns.join_next() => continue,
            turn = queue.next(), if turns.len() < workers => turn,
        };
        let looking = look(turn.key().clone());
        turns.spawn(take(turn, patience, looking));
    }
    turns.shutdown().await;
}

async fn take<K>(
    turn: Turn<K>,
    patience: Duration,
    looking: impl Future<Output = Result<Again, Error>>,
) where
    K: Clone + Eq + Hash + fmt::Display,
{
    match tokio::time::timeout(patience, looking).await {
        Ok(Ok(again)) => turn.done(again.at()),
        Ok(Err(error)) => {
            let causes = error.causes();
            tracing::warn!(key = %turn.key(), %error, causes, "it could not be done; trying again");
            turn.failed();
        }
        Err(_) => {
            tracing::warn!(key = %turn.key(), ?patience, "it took too long; trying again");
            turn.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::sync::atomic::{AtomicU32, Ordering};

    use parking_lot::Mutex;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs workers for some seconds of a paused clock.
    async fn run<Fut>(
        queue: &Queue<u32>,
        seconds: u32,
        look: impl Fn(u32) -> Fut + Send + Sync + 'static,
    ) where
        Fut: Future<Output = Result<Again, Error>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let working = tokio::spawn(work(queue.clone(), 4, 5 * SECOND, stop.clone(), look));
        tokio::time::sleep(seconds * SECOND).await;
        stop.cancel();
        tokio::time::timeout(SECOND, working)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_worker_a_key_and_not_more_than_there_are() {
        let queue = Queue::new();
        let now = Arc::new(Mutex::new(Vec::new()));
        let most = Arc::new(AtomicU32::new(0));
        (0..20).for_each(|key| queue.add(key));
        let (seen, largest, again) = (Arc::clone(&now), Arc::clone(&most), queue.clone());
        run(&queue, 60, move |key| {
            let (now, most) = (Arc::clone(&seen), Arc::clone(&largest));
            again.add(key % 7);
            async move {
                {
                    let mut now = now.lock();
                    assert!(!now.contains(&key), "{key} twice");
                    now.push(key);
                    most.fetch_max(u32::try_from(now.len()).unwrap(), Ordering::Relaxed);
                }
                tokio::time::sleep(SECOND / 10).await;
                now.lock().retain(|one| *one != key);
                Ok(Again::WhenAdded)
            }
        })
        .await;
        assert_eq!(most.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_panics_or_hangs_is_tried_again_and_holds_up_nobody() {
        let queue = Queue::new();
        (0..4).for_each(|key| queue.add(key));
        let counts: Arc<[AtomicU32; 4]> = Arc::default();
        let counted = Arc::clone(&counts);
        run(&queue, 60, move |key| {
            counted[key as usize].fetch_add(1, Ordering::Relaxed);
            async move {
                match key {
                    0 => Err(Error::unavailable("no")),
                    1 => panic!("a defect"),
                    2 => std::future::pending().await,
                    _ => Ok(Again::Within(SECOND)),
                }
            }
        })
        .await;
        let counts = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert!(counts[0] > 5 && counts[0] < 20, "{counts:?}");
        assert!(counts[1] > 5 && counts[1] < 20, "{counts:?}");
        assert!(counts[2] > 3, "{counts:?}");
        assert!(counts[3] > 50, "{counts:?}");
    }
}
