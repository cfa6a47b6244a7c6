//! The leader's clock for leases: when each one ends.
//!
//! The log knows which leases exist and for how long they were granted; only the leader measures time, so
//! that members with different clocks cannot disagree. Everything here is a pure function of what it is told,
//! the time included: `now` is the time since any fixed point of a monotonic clock.
//!
//! ```text
//!  promote: every lease starts again at its full (or checkpointed) time to live
//!     granted / keep_alive push the end back -> expired names what to revoke -> revoked forgets it
//!     checkpoints names the remaining times worth writing down, for the next leader
//!  demote: nothing expires here any more
//! ```
//!
//! Both queues are heaps whose entries are corrected when they come up instead of when a lease is renewed: a
//! keep-alive costs one hash lookup, whatever the number of leases.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Duration,
};

use crate::{
    error::EtcdError,
    lease::{LeaseInfo, MAX_LEASE_TTL},
};

/// How the clock behaves.
#[derive(Clone, Debug)]
pub struct LessorOptions {
    /// How often the remaining time of a longer lease is written down.
    pub checkpoint_interval: Duration,
    /// An expired lease that is still there after this long is named again.
    pub retry_interval: Duration,
    /// A new leader spreads ends that coincide, so that at most this many fall into a second.
    pub max_ends_per_second: usize,
}

impl Default for LessorOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(300),
            retry_interval: Duration::from_secs(3),
            // Three quarters of etcd's 1000 revokes per second: room for leases granted meanwhile.
            max_ends_per_second: 750,
        }
    }
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The lease lives for its full time again.
    Renewed {
        /// That time, in seconds.
        ttl: i64,
        /// A shorter remaining time is written down; the caller proposes to set it to 0, or a next leader
        /// would start the lease with it.
        clear_checkpoint: bool,
    },
    /// Its time is over but it is not revoked yet: the caller waits for that ([`Lessor::revoked`]) and then
    /// answers as for a missing one, or tries again if the leader changes.
    Expired,
    /// There is no such lease.
    Missing,
    /// This member is not the leader.
    NotLeader,
}

#[derive(Debug)]
struct Clock {
    ttl: i64,
    ends: Duration,
    /// Where its live entry in the heap of ends stands; an id can be granted again, and an entry of
    /// the earlier lease must not count.
    queued: Duration,
    /// A remaining time is written down in the log.
    checkpointed: bool,
    /// Where its live entry in the heap of checkpoints stands, if it has one.
    checkpoint_due: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub struct Lessor {
    options: LessorOptions,
    leading: bool,
    leases: HashMap<i64, Clock>,
    /// One entry per lease: a time at or before its end, or when to name it again.
    ends: BinaryHeap<Reverse<(Duration, i64)>>,
    checkpoints: BinaryHeap<Reverse<(Duration, i64)>>,
}

/// The time to live a lease is granted for: what was asked, but at least `min` seconds.
///
/// # Errors
/// `LEASE_TTL_TOO_LARGE` above 9,000,000,000 s.
pub fn grant_ttl(requested: i64, min: i64) -> Result<i64, EtcdError> {
    if requested > MAX_LEASE_TTL {
        return Err(EtcdError::LEASE_TTL_TOO_LARGE);
    }
    Ok(requested.max(min))
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

impl Lessor {
    /// A clock that stands still until [`Lessor::promote`].
    #[must_use]
    pub fn new(options: LessorOptions) -> Self {
        Self {
            options,
            leading: false,
            leases: HashMap::new(),
            ends: BinaryHeap::new(),
            checkpoints: BinaryHeap::new(),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leading
    }

    /// This member leads from `now` on, with these leases. Each gets `extend` (an election timeout) and its
    /// remaining time if one is written down, else its full time; where too many would end within a second
    /// the later ones are pushed back, never forward.
    pub fn promote(
        &mut self,
        now: Duration,
        extend: Duration,
        leases: impl IntoIterator<Item = LeaseInfo>,
    ) {
        self.demote();
        self.leading = true;
        let mut ends: Vec<(Duration, LeaseInfo)> = leases
            .into_iter()
            .map(|lease| {
                let left = if lease.remaining > 0 {
                    lease.remaining.min(lease.ttl)
                } else {
                    lease.ttl
                };
                (now + extend + seconds(left), lease)
            })
            .collect();
        ends.sort_unstable_by_key(|(ends, lease)| (*ends, lease.id));
        spread(&mut ends, self.options.max_ends_per_second);
        for (ends, lease) in ends {
            self.add(now, &lease, ends);
        }
    }

    /// This member leads no longer.
    pub fn demote(&mut self) {
        self.leading = false;
        self.leases.clear();
        self.ends.clear();
        self.checkpoints.clear();
    }

    /// A lease of `ttl` seconds was granted.
    pub fn granted(&mut self, now: Duration, id: i64, ttl: i64) {
        if self.leading {
            let lease = LeaseInfo {
                id,
                ttl,
                remaining: 0,
            };
            self.add(now, &lease, now + seconds(ttl));
        }
    }

    /// A lease was revoked.
    pub fn revoked(&mut self, id: i64) {
        self.leases.remove(&id);
        self.sweep();
    }

    /// Throws out what the heaps hold of leases that are gone, once that is most of it: leases that are
    /// granted for years and revoked at once must not pile up.
    fn sweep(&mut self) {
        let limit = 2 * self.leases.len() + 1024;
        if self.ends.len() > limit {
            self.ends.retain(|Reverse((at, id))| {
                self.leases.get(id).is_some_and(|lease| lease.queued == *at)
            });
        }
        if self.checkpoints.len() > limit {
            self.checkpoints.retain(|Reverse((at, id))| {
                let lease = self.leases.get(id);
                lease.is_some_and(|lease| lease.checkpoint_due == Some(*at))
            });
        }
    }

    /// A remaining time was written down (0: cleared).
    pub fn checkpointed(&mut self, id: i64, remaining: i64) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.checkpointed = remaining > 0;
        }
    }

    /// Renews a lease. The caller must have proved its leadership after it received the request.
    pub fn keep_alive(&mut self, now: Duration, id: i64) -> KeepAlive {
        if !self.leading {
            return KeepAlive::NotLeader;
        }
        let Some(lease) = self.leases.get_mut(&id) else {
            return KeepAlive::Missing;
        };
        if lease.ends <= now {
            return KeepAlive::Expired;
        }
        lease.ends = now + seconds(lease.ttl);
        KeepAlive::Renewed {
            ttl: lease.ttl,
            clear_checkpoint: std::mem::take(&mut lease.checkpointed),
        }
    }

    /// Whole seconds a lease has left, 0 when its time is over. Nothing when it is missing or this member
    /// does not lead.
    #[must_use]
    pub fn remaining(&self, now: Duration, id: i64) -> Option<i64> {
        let left = self.leases.get(&id)?.ends.saturating_sub(now);
        Some(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
    }

    /// Up to `max` leases whose time is over, the longest overdue first. Each is named again after the retry
    /// interval unless it was revoked. The caller limits the rate by `max` and must prove its leadership
    /// before it acts.
    pub fn expired(&mut self, now: Duration, max: usize) -> Vec<i64> {
        let mut expired = Vec::new();
        while expired.len() < max {
            let Some(&Reverse((at, id))) = self.ends.peek() else {
                break;
            };
            if at > now {
                break;
            }
            self.ends.pop();
            let Some(lease) = self.leases.get_mut(&id) else {
                continue;
            };
            if lease.queued != at {
                continue;
            }
            lease.queued = if lease.ends > at {
                lease.ends // it was renewed; it may still be due, but in its turn
            } else {
                expired.push(id);
                now + self.options.retry_interval
            };
            self.ends.push(Reverse((lease.queued, id)));
        }
        expired
    }

    /// When [`Lessor::expired`] or [`Lessor::checkpoints`] may next have something to say.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let first = |heap: &BinaryHeap<Reverse<(Duration, i64)>>| heap.peek().map(|e| e.0.0);
        match (first(&self.ends), first(&self.checkpoints)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// Up to `max` leases with the whole seconds (rounded up) they have left, of those that are due for
    /// a checkpoint and not at their full time. Each comes up again after the checkpoint interval.
    pub fn checkpoints(&mut self, now: Duration, max: usize) -> Vec<(i64, i64)> {
        let mut due = Vec::new();
        while due.len() < max {
            let Some(&Reverse((at, id))) = self.checkpoints.peek() else {
                break;
            };
            if at > now {
                break;
            }
            self.checkpoints.pop();
            let Some(lease) = self.leases.get_mut(&id) else {
                continue;
            };
            // An entry of an earlier lease with the same id.
            if lease.checkpoint_due != Some(at) {
                continue;
            }
            let left = lease.ends.saturating_sub(now);
            if left.is_zero() {
                lease.checkpoint_due = None;
                continue;
            }
            let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX)
                + i64::from(left.subsec_nanos() > 0);
            let next = now + self.options.checkpoint_interval;
            lease.checkpoint_due = Some(next);
            self.checkpoints.push(Reverse((next, id)));
            if left < lease.ttl {
                due.push((id, left));
            }
        }
        due
    }

    fn add(&mut self, now: Duration, lease: &LeaseInfo, ends: Duration) {
        let interval = self.options.checkpoint_interval;
        let due = (seconds(lease.ttl) > interval).then(|| now + interval);
        if let Some(due) = due {
            self.checkpoints.push(Reverse((due, lease.id)));
        }
        self.ends.push(Reverse((ends, lease.id)));
        self.leases.insert(
            lease.id,
            Clock {
                ttl: lease.ttl,
                ends,
                queued: ends,
                checkpointed: lease.remaining > 0,
                checkpoint_due: due,
            },
        );
    }
}

/// Pushes ends (ascending) back until any `rate + 1` of them in a row span a second or more.
fn spread(ends: &mut [(Duration, LeaseInfo)], rate: usize) {
    let rate = rate.max(1);
    let mut recent: VecDeque<Duration> = VecDeque::with_capacity(rate);
    for (end, _) in ends {
        if recent.len() == rate
            && let Some(first) = recent.pop_front()
        {
            *end = (*end).max(first + Duration::from_secs(1));
        }
        recent.push_back(*end);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(id: i64, ttl: i64, remaining: i64) -> LeaseInfo {
        LeaseInfo { id, ttl, remaining }
    }

    fn leading(leases: impl IntoIterator<Item = LeaseInfo>) -> Lessor {
        let mut lessor = Lessor::new(LessorOptions::default());
        lessor.promote(at(0), Duration::ZERO, leases);
        lessor
    }

    #[test]
    fn a_time_to_live_is_raised_to_the_minimum_and_refused_above_the_maximum() {
        assert_eq!(grant_ttl(0, 2), Ok(2));
        assert_eq!(grant_ttl(-5, 2), Ok(2));
        assert_eq!(grant_ttl(60, 2), Ok(60));
        assert_eq!(grant_ttl(9_000_000_000, 2), Ok(9_000_000_000));
        assert_eq!(
            grant_ttl(9_000_000_001, 2),
            Err(EtcdError::LEASE_TTL_TOO_LARGE)
        );
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_once_and_is_named_again_until_revoked() {
        let mut lessor = leading([]);
        lessor.granted(at(0), 7, 10);
        assert_eq!(lessor.expired(at(9), 10), [] as [i64; 0]);
        assert_eq!(lessor.remaining(at(4), 7), Some(6));
        assert_eq!(lessor.expired(at(10), 10), [7]);
        assert_eq!(lessor.expired(at(12), 10), [] as [i64; 0]);
        assert_eq!(lessor.expired(at(13), 10), [7], "the revoke was lost");
        assert_eq!(lessor.keep_alive(at(13), 7), KeepAlive::Expired);
        lessor.revoked(7);
        assert_eq!(lessor.keep_alive(at(13), 7), KeepAlive::Missing);
        assert_eq!(lessor.expired(at(99), 10), [] as [i64; 0]);
        assert_eq!(lessor.remaining(at(99), 7), None);
    }

    #[test]
    fn renewing_pushes_the_end_back_and_asks_to_clear_a_checkpoint_once() {
        let mut lessor = leading([lease(1, 1000, 50)]);
        assert_eq!(lessor.remaining(at(0), 1), Some(50));
        let renewed = |clear_checkpoint| KeepAlive::Renewed {
            ttl: 1000,
            clear_checkpoint,
        };
        assert_eq!(lessor.keep_alive(at(49), 1), renewed(true));
        assert_eq!(lessor.keep_alive(at(50), 1), renewed(false));
        lessor.checkpointed(1, 700);
        assert_eq!(lessor.keep_alive(at(51), 1), renewed(true));
        assert_eq!(lessor.expired(at(1050), 10), [] as [i64; 0]);
        assert_eq!(lessor.expired(at(1051), 10), [1]);
    }

    #[test]
    fn nothing_happens_on_a_member_that_does_not_lead() {
        let mut lessor = Lessor::new(LessorOptions::default());
        lessor.granted(at(0), 1, 5);
        assert_eq!(lessor.keep_alive(at(0), 1), KeepAlive::NotLeader);
        lessor.promote(at(0), at(1), [lease(1, 5, 0)]);
        assert_eq!(lessor.remaining(at(0), 1), Some(6), "extended by a second");
        lessor.demote();
        assert_eq!(lessor.expired(at(100), 10), [] as [i64; 0]);
        assert_eq!(lessor.keep_alive(at(0), 1), KeepAlive::NotLeader);
    }

    #[test]
    fn checkpoints_come_every_interval_for_long_leases_only() {
        let mut lessor = leading([lease(1, 300, 0), lease(2, 2000, 0)]);
        assert_eq!(lessor.checkpoints(at(299), 10), []);
        assert_eq!(lessor.checkpoints(at(300), 10), [(2, 1700)]);
        assert_eq!(lessor.checkpoints(at(599), 10), []);
        lessor.keep_alive(at(600), 2);
        assert_eq!(lessor.checkpoints(at(600), 10), [], "at its full time");
        assert_eq!(lessor.checkpoints(at(900), 10), [(2, 1700)]);
        lessor.revoked(2);
        lessor.granted(at(950), 2, 2000);
        assert_eq!(lessor.checkpoints(at(1200), 10), [], "of the old lease");
        assert_eq!(lessor.checkpoints(at(1250), 10), [(2, 1700)]);
    }

    #[test]
    fn a_new_leader_spreads_a_pile_of_leases() {
        let mut lessor = leading((0..10_000).map(|id| lease(id, 60, 0)));
        let mut total = 0;
        for second in 60..=120 {
            let expired = lessor.expired(at(second), usize::MAX);
            for id in &expired {
                lessor.revoked(*id);
            }
            assert!(expired.len() <= 750, "{} in a second", expired.len());
            total += expired.len();
        }
        assert_eq!(total, 10_000);
    }

    #[test]
    fn a_million_leases_are_renewed_and_expire_in_order() {
        let mut lessor = leading((0..1_000_000).map(|id| lease(id, 1000 + id % 1000, 0)));
        for id in (0..1_000_000).filter(|id| id % 10 != 0) {
            lessor.keep_alive(at(900), id);
        }
        let expired = lessor.expired(at(1899), usize::MAX);
        assert!(
            expired.iter().all(|id| id % 10 == 0),
            "the others were renewed"
        );
        assert!(expired.len() > 50_000, "{}", expired.len());
        assert!(lessor.ends.len() <= 1_000_000, "one entry for each");
    }

    #[test]
    fn leases_that_are_gone_leave_nothing_behind() {
        let mut lessor = leading([lease(-1, 10, 0)]);
        for id in 0..10_000 {
            lessor.granted(at(0), id, MAX_LEASE_TTL);
            lessor.granted(at(0), -2, 400);
            lessor.revoked(id);
            lessor.revoked(-2);
            assert!(lessor.ends.len() < 1100 && lessor.checkpoints.len() < 1100);
        }
        assert_eq!(lessor.expired(at(10), 5), [-1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grant(i64, i64),
        KeepAlive(i64),
        Revoke(i64),
        Pass(u64),
        Expire(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0..6i64;
        prop_oneof![
            (id.clone(), 1..20i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
            id.clone().prop_map(Step::KeepAlive),
            id.prop_map(Step::Revoke),
            (1..8u64).prop_map(Step::Pass),
            (1..4usize).prop_map(Step::Expire),
        ]
    }

    proptest! {
        /// Against a table of ends: never early, nobody forgotten, the longest overdue first.
        #[test]
        fn agrees_with_a_table_of_ends(steps in prop::collection::vec(step(), 1..120)) {
            let mut lessor = leading([]);
            let mut now = 0;
            let mut table: BTreeMap<i64, (i64, u64)> = BTreeMap::new(); // ttl, end
            for step in steps {
                match step {
                    Step::Grant(id, ttl) => if let std::collections::btree_map::Entry::Vacant(entry) = table.entry(id) {
                        entry.insert((ttl, now + ttl as u64));
                        lessor.granted(at(now), id, ttl);
                    },
                    Step::KeepAlive(id) => {
                        let expected = match table.get_mut(&id) {
                            None => KeepAlive::Missing,
                            Some((_, end)) if *end <= now => KeepAlive::Expired,
                            Some((ttl, end)) => {
                                *end = now + *ttl as u64;
                                KeepAlive::Renewed { ttl: *ttl, clear_checkpoint: false }
                            }
                        };
                        prop_assert_eq!(lessor.keep_alive(at(now), id), expected);
                    }
                    Step::Revoke(id) => {
                        table.remove(&id);
                        lessor.revoked(id);
                    }
                    Step::Pass(seconds) => now += seconds,
                    Step::Expire(max) => {
                        let named = lessor.expired(at(now), max);
                        prop_assert!(named.len() <= max);
                        for id in &named {
                            prop_assert!(table[id].1 <= now);
                        }
                        for id in named {
                            table.remove(&id);
                            lessor.revoked(id);
                        }
                    }
                }
                for (id, (_, end)) in &table {
                    prop_assert_eq!(lessor.remaining(at(now), *id), Some(end.saturating_sub(now) as i64));
                }
            }
            // Everything left is named in the end, in order.
            let ids = lessor.expired(at(now + 1000), usize::MAX);
            let ends: Vec<_> = ids.iter().map(|id| table[id].1).collect();
            prop_assert_eq!(ids.len(), table.len());
            prop_assert!(ends.is_sorted());
        }

        #[test]
        fn spreading_keeps_the_order_and_the_rate(
            offsets in prop::collection::vec(0..5000u64, 0..300),
            rate in 1..20usize,
        ) {
            let mut ends: Vec<_> = offsets.iter().map(|ms| (Duration::from_millis(*ms), lease(0, 1, 0))).collect();
            ends.sort_by_key(|(end, _)| *end);
            let before = ends.clone();
            spread(&mut ends, rate);
            for (new, old) in ends.iter().zip(&before) {
                prop_assert!(new.0 >= old.0);
            }
            for pair in ends.windows(2) {
                prop_assert!(pair[0].0 <= pair[1].0);
            }
            for window in ends.windows(rate + 1) {
                prop_assert!(window[rate].0 - window[0].0 >= at(1));
            }
        }
    }
}
