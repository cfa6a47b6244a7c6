//! Which seconds of a meter were counted: few, long stretches.

use serde::{Deserialize, Serialize};

use super::Interval;

/// How an interval lies to what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// None of it was counted.
    New,
    /// All of it was.
    Counted,
    /// Some of it was.
    Partly,
}

/// Stretches `[start, end)`, ascending, not touching each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Covered(Vec<(i64, i64)>);

impl Covered {
    /// How many stretches there may be: 64 gaps.
    pub(crate) const MAX_STRETCHES: usize = 65;

    pub(crate) fn overlap(&self, interval: Interval) -> Overlap {
        let (start, end) = interval.into();
        // The first stretch that ends after the interval begins is the only one that could contain it.
        let first = self.0.partition_point(|stretch| stretch.1 <= start);
        match self.0.get(first) {
            Some(stretch) if stretch.0 <= start && end <= stretch.1 => Overlap::Counted,
            Some(stretch) if stretch.0 < end => Overlap::Partly,
            _ => Overlap::New,
        }
    }

    /// Counts an interval of which nothing was counted.
    pub(crate) fn add(&mut self, interval: Interval) {
        let (mut start, mut end) = interval.into();
        let mut at = self.0.partition_point(|stretch| stretch.1 < start);
        if self.0.get(at).is_some_and(|stretch| stretch.1 == start) {
            start = self.0.remove(at).0;
        }
        if self.0.get(at).is_some_and(|stretch| stretch.0 == end) {
            end = self.0.remove(at).1;
        }
        at = at.min(self.0.len());
        self.0.insert(at, (start, end));
    }

    pub(crate) fn stretches(&self) -> usize {
        self.0.len()
    }

    /// The second after the last one counted.
    pub(crate) fn end(&self) -> i64 {
        self.0.last().map_or(0, |stretch| stretch.1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        Interval::new(start, end).unwrap()
    }

    #[test]
    fn stretches_join() {
        let mut covered = Covered::default();
        covered.add(interval(10, 20));
        covered.add(interval(30, 40));
        assert_eq!(covered.0, [(10, 20), (30, 40)]);
        for (asked, overlap) in [
            ((0, 10), Overlap::New),
            ((20, 30), Overlap::New),
            ((40, 41), Overlap::New),
            ((10, 20), Overlap::Counted),
            ((12, 13), Overlap::Counted),
            ((0, 11), Overlap::Partly),
            ((19, 21), Overlap::Partly),
            ((10, 40), Overlap::Partly),
            ((0, 50), Overlap::Partly),
        ] {
            assert_eq!(
                covered.overlap(interval(asked.0, asked.1)),
                overlap,
                "{asked:?}"
            );
        }
        covered.add(interval(20, 30));
        assert_eq!(covered.0, [(10, 40)]);
        covered.add(interval(0, 5));
        covered.add(interval(5, 10));
        covered.add(interval(50, 60));
        assert_eq!(covered.0, [(0, 40), (50, 60)]);
        assert_eq!((covered.stretches(), covered.end()), (2, 60));
    }

    /// Against a set of seconds, over every pair of intervals of a small line in many orders.
    #[test]
    fn it_is_a_set_of_seconds() {
        let all: Vec<(i64, i64)> = (0..6)
            .flat_map(|start| (start + 1..=6).map(move |end| (start, end)))
            .collect();
        for step in 1..all.len() {
            let mut covered = Covered::default();
            let mut seconds = std::collections::BTreeSet::new();
            for turn in 0..all.len() {
                let (start, end) = all[turn * step % all.len()];
                let counted = (start..end).filter(|s| seconds.contains(s)).count();
                let expected = match counted {
                    0 => Overlap::New,
                    n if n == usize::try_from(end - start).unwrap() => Overlap::Counted,
                    _ => Overlap::Partly,
                };
                assert_eq!(covered.overlap(interval(start, end)), expected);
                if expected == Overlap::New {
                    covered.add(interval(start, end));
                    seconds.extend(start..end);
                }
            }
        }
    }
}
