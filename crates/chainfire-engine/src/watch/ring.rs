//! The most recent revisions in memory, for watchers that are a little behind.

use std::{collections::VecDeque, sync::Arc};

use super::shared::Revision;

/// Revisions `from..`, without a gap, bounded by number and bytes.
#[derive(Debug)]
pub(super) struct Ring {
    /// The ring holds every event of this revision and later ones.
    from: i64,
    revisions: VecDeque<Arc<Revision>>,
    bytes: usize,
    max_revisions: usize,
    max_bytes: usize,
}

impl Ring {
    /// Empty; what comes next is `from` or later.
    pub(super) fn new(from: i64, max_revisions: usize, max_bytes: usize) -> Self {
        Self {
            from,
            revisions: VecDeque::new(),
            bytes: 0,
            max_revisions,
            max_bytes,
        }
    }

    /// Forgets everything; what comes next is `from` or later.
    pub(super) fn reset(&mut self, from: i64) {
        self.revisions.clear();
        self.bytes = 0;
        self.from = from;
    }

    pub(super) fn push(&mut self, revision: Arc<Revision>) {
        self.bytes += revision.size;
        self.revisions.push_back(revision);
        while self.revisions.len() > self.max_revisions || self.bytes > self.max_bytes {
            let Some(oldest) = self.revisions.pop_front() else {
                break;
            };
            self.bytes -= oldest.size;
            self.from = oldest.revision + 1;
        }
    }

    /// Whether all events from `revision` on are here.
    pub(super) fn covers(&self, revision: i64) -> bool {
        revision >= self.from
    }

    /// Up to `max_revisions` revisions or `max_bytes` (never less than one revision), from `from` on,
    /// and the first revision that was left out, if one was.
    pub(super) fn read(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> (Vec<Arc<Revision>>, Option<i64>) {
        let first = self.revisions.partition_point(|r| r.revision < from);
        let mut taken = Vec::new();
        let mut bytes = 0;
        for revision in self.revisions.range(first..) {
            if taken.len() >= max_revisions || (bytes >= max_bytes && !taken.is_empty()) {
                return (taken, Some(revision.revision));
            }
            bytes += revision.size;
            taken.push(Arc::clone(revision));
        }
        (taken, None)
    }

    pub(super) fn len(&self) -> usize {
        self.revisions.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::events::RevisionEvents;

    fn empty(revision: i64) -> Arc<Revision> {
        Arc::new(Revision::from(RevisionEvents {
            revision,
            events: Vec::new(),
        }))
    }

    fn numbers(revisions: &[Arc<Revision>]) -> Vec<i64> {
        revisions.iter().map(|r| r.revision).collect()
    }

    #[test]
    fn keeps_the_newest_within_both_bounds() {
        let mut ring = Ring::new(2, 3, usize::MAX);
        for revision in 2..=6 {
            ring.push(empty(revision));
        }
        assert!(!ring.covers(3));
        assert!(ring.covers(4));
        assert_eq!(numbers(&ring.read(4, 10, usize::MAX).0), [4, 5, 6]);

        let size = empty(1).size;
        let mut ring = Ring::new(2, 100, 2 * size);
        for revision in 2..=6 {
            ring.push(empty(revision));
            assert!(ring.bytes() <= 2 * size);
        }
        assert_eq!(ring.len(), 2);
        assert!(ring.covers(5) && !ring.covers(4));
    }

    #[test]
    fn a_revision_larger_than_the_ring_leaves_it_empty_but_truthful() {
        let mut ring = Ring::new(2, 3, 10);
        ring.push(empty(2));
        assert_eq!(ring.len(), 0);
        assert!(!ring.covers(2));
        assert!(ring.covers(3));
    }

    #[test]
    fn reads_stop_at_the_limits_and_say_where() {
        let mut ring = Ring::new(2, 100, usize::MAX);
        for revision in [2, 3, 7, 8] {
            ring.push(empty(revision));
        }
        let (taken, next) = ring.read(3, 2, usize::MAX);
        assert_eq!((numbers(&taken), next), (vec![3, 7], Some(8)));
        let (taken, next) = ring.read(3, 100, 1);
        assert_eq!((numbers(&taken), next), (vec![3], Some(7)));
        assert_eq!(ring.read(9, 100, 1).1, None);
    }
}
