//! Pauses between attempts: exponential with full jitter.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// Growing random pauses.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    longest: Duration,
}

impl Backoff {
    /// For contention: other writers are quick.
    pub(crate) fn contention() -> Self {
        Self {
            ceiling: Duration::from_millis(2),
            longest: Duration::from_millis(200),
        }
    }

    /// For a server that does not answer.
    pub(crate) fn outage() -> Self {
        Self {
            ceiling: Duration::from_millis(20),
            longest: Duration::from_secs(2),
        }
    }

    /// Full jitter: anything up to a ceiling that doubles, so that clients that failed together do not come back
    /// together.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = rand::rng().random_range(Duration::ZERO..=self.ceiling);
        self.ceiling = (self.ceiling * 2).min(self.longest);
        pause
    }

    /// Pauses, but not past `end`. Whether there is time left for another attempt.
    pub(crate) async fn pause_until(&mut self, end: Instant) -> bool {
        let wake = Instant::now() + self.next();
        if wake >= end {
            return false;
        }
        tokio::time::sleep_until(wake).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_below_a_growing_ceiling() {
        let mut backoff = Backoff::outage();
        let mut ceiling = Duration::from_millis(20);
        for _ in 0..20 {
            assert!(backoff.next() <= ceiling);
            ceiling = (ceiling * 2).min(Duration::from_secs(2));
        }
    }
}
