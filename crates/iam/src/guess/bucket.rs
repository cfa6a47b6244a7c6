//! Token buckets by key, as one number each: when the bucket will be full again (GCRA, ITU-T I.371).

use std::{
    borrow::Borrow,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use parking_lot::Mutex;

/// How fast buckets fill, and how large they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Time for one.
    interval: Duration,
    /// Time for all.
    whole: Duration,
}

impl Rate {
    /// `burst` at once, then `per_minute`. Zeros count as one.
    pub(super) fn new(burst: u32, per_minute: u32) -> Self {
        let interval = Duration::from_secs(60) / per_minute.max(1);
        Self {
            interval,
            whole: interval.saturating_mul(burst.max(1)),
        }
    }
}

/// Buckets, as many as are remembered.
#[derive(Debug)]
pub(super) struct Buckets<K: Hash + Eq + Send + Sync + 'static> {
    rate: Rate,
    full_at: Cache<K, Arc<Mutex<Instant>>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    pub(super) fn new(rate: Rate, most: u64) -> Self {
        let full_at = Cache::builder()
            .max_capacity(most)
            // By then it is full whatever it was.
            .time_to_idle(rate.whole.max(Duration::from_secs(60)))
            .build();
        Self { rate, full_at }
    }

    /// Takes one, or says how long there will be none.
    pub(super) fn take<Q>(&self, key: &Q, now: Instant) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned + ?Sized,
        Q::Owned: Into<K>,
    {
        let bucket = match self.full_at.get(key) {
            Some(bucket) => bucket,
            None => self
                .full_at
                .get_with(key.to_owned().into(), || Arc::new(Mutex::new(now))),
        };
        let mut full_at = bucket.lock();
        let then = (*full_at).max(now) + self.rate.interval;
        let missing = then
            .saturating_duration_since(now)
            .saturating_sub(self.rate.whole);
        if !missing.is_zero() {
            return Err(missing);
        }
        *full_at = then;
        Ok(())
    }

    /// Puts one back.
    pub(super) fn give_back<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(bucket) = self.full_at.get(key) {
            let mut full_at = bucket.lock();
            if let Some(earlier) = full_at.checked_sub(self.rate.interval) {
                *full_at = earlier;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets: Buckets<Box<str>> = Buckets::new(Rate::new(2, 6), 10);
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(buckets.take("a", now), Ok(()));
        assert_eq!(buckets.take("a", now), Ok(()));
        assert_eq!(buckets.take("a", now), Err(Duration::from_secs(10)));
        assert_eq!(buckets.take("a", after(4)), Err(Duration::from_secs(6)));
        assert_eq!(buckets.take("a", after(10)), Ok(()));
        assert_eq!(buckets.take("a", after(10)), Err(Duration::from_secs(10)));
        buckets.give_back("a");
        assert_eq!(buckets.take("a", after(10)), Ok(()));
        // Never more than it holds.
        assert_eq!(buckets.take("a", after(1000)), Ok(()));
        assert_eq!(buckets.take("a", after(1000)), Ok(()));
        assert!(buckets.take("a", after(1000)).is_err());
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let buckets: Buckets<Box<str>> = Buckets::new(Rate::new(1, 1), 10);
        let now = Instant::now();
        for n in 0..1000 {
            let _ = buckets.take(n.to_string().as_str(), now);
        }
        buckets.full_at.run_pending_tasks();
        assert!(buckets.full_at.entry_count() <= 10);
    }
}
