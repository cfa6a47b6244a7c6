//! What keys a user may read and write: the union of all permissions of all roles, as disjoint intervals.

use bytes::Bytes;
use photon_proto::authpb::{Permission, permission::Type};

/// Keys from `start` up to `end` (nothing: without end).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

/// Disjoint intervals that do not touch, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<Interval>);

/// The keys a request names, in etcd's convention: an empty range end is the key alone, `\0` is no end.
fn interval(key: &[u8], range_end: &[u8]) -> Interval {
    let end = match range_end {
        b"" => {
            let mut next = key.to_vec();
            next.push(0); // the first key behind `key`
            Some(next)
        }
        b"\0" => None,
        end => Some(end.to_vec()),
    };
    Interval {
        start: key.to_vec(),
        end,
    }
}

/// Whether an end lies at or behind another.
fn reaches(end: Option<&Vec<u8>>, other: Option<&Vec<u8>>) -> bool {
    match (end, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(end), Some(other)) => end >= other,
    }
}

impl Intervals {
    fn merge(mut all: Vec<Interval>) -> Self {
        all.sort_unstable_by(|a, b| a.start.cmp(&b.start));
        let mut merged: Vec<Interval> = Vec::new();
        for next in all {
            match merged.last_mut() {
                Some(last) if reaches(last.end.as_ref(), Some(&next.start)) => {
                    if !reaches(last.end.as_ref(), next.end.as_ref()) {
                        last.end = next.end;
                    }
                }
                _ => merged.push(next),
            }
        }
        Self(merged)
    }

    /// Whether every key the request names is in here. An empty range (`range_end <= key`) is in the interval
    /// around its key if its end is behind that interval's start, as in etcd.
    pub(super) fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        let wanted = interval(key, range_end);
        let after = self.0.partition_point(|i| i.start.as_slice() <= key);
        let Some(found) = after.checked_sub(1).map(|index| &self.0[index]) else {
            return false;
        };
        found.end.as_ref().is_none_or(|end| end.as_slice() > key)
            && reaches(found.end.as_ref(), wanted.end.as_ref())
            && wanted.end.is_none_or(|end| end > found.start)
    }
}

/// A user's permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Permissions {
    pub(super) read: Intervals,
    pub(super) write: Intervals,
}

impl Permissions {
    pub(super) fn unite<'a>(permissions: impl IntoIterator<Item = &'a Permission>) -> Self {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for permission in permissions {
            let interval = interval(&permission.key, &permission.range_end);
            match Type::try_from(permission.perm_type) {
                Ok(Type::Read) => read.push(interval),
                Ok(Type::Write) => write.push(interval),
                Ok(Type::Readwrite) => {
                    read.push(interval.clone());
                    write.push(interval);
                }
                // A kind this version does not know grants nothing.
                Err(_) => {}
            }
        }
        Self {
            read: Intervals::merge(read),
            write: Intervals::merge(write),
        }
    }
}

/// Whether a permission names any keys: a key, and an end behind it, none, or `\0`.
pub(super) fn is_valid_range(key: &Bytes, range_end: &Bytes) -> bool {
    !key.is_empty() && (range_end.is_empty() || range_end.as_ref() == b"\0" || key < range_end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn permission(kind: Type, key: &[u8], range_end: &[u8]) -> Permission {
        Permission {
            perm_type: kind.into(),
            key: Bytes::copy_from_slice(key),
            range_end: Bytes::copy_from_slice(range_end),
        }
    }

    fn named(key: &[u8], range_end: &[u8], candidate: &[u8]) -> bool {
        match range_end {
            b"" => candidate == key,
            b"\0" => candidate >= key,
            end => candidate >= key && candidate < end,
        }
    }

    /// All keys over {a, b, c} (and `\0`) up to three bytes: every boundary the strategies below can make,
    /// and a key right behind each.
    fn universe() -> Vec<Vec<u8>> {
        let mut keys = vec![vec![]];
        let mut last = keys.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|k| {
                    b"\0abc".iter().map(move |b| {
                        let mut k: Vec<u8> = k.clone();
                        k.push(*b);
                        k
                    })
                })
                .collect();
            keys.extend(last.clone());
        }
        keys.remove(0);
        keys
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"abc".to_vec()), 1..3)
    }

    fn end() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![Just(vec![]), Just(vec![0]), key()]
    }

    proptest! {
        #[test]
        fn covers_what_every_single_key_would_be_allowed(
            granted in prop::collection::vec((0..3i32, key(), end()), 0..6),
            wanted in prop::collection::vec((key(), end()), 1..20),
        ) {
            let permissions: Vec<_> = granted.iter()
                .filter(|(_, key, end)| is_valid_range(&Bytes::copy_from_slice(key), &Bytes::copy_from_slice(end)))
                .map(|(kind, key, end)| permission(Type::try_from(*kind).unwrap(), key, end))
                .collect();
            let united = Permissions::unite(&permissions);
            let allowed = |kind: Type, candidate: &[u8]| permissions.iter().any(|p| {
                let it = Type::try_from(p.perm_type).unwrap();
                (it == kind || it == Type::Readwrite) && named(&p.key, &p.range_end, candidate)
            });
            let universe = universe();
            for (key, end) in &wanted {
                // An empty range names no key; what that means is tested below.
                if !is_valid_range(&Bytes::copy_from_slice(key), &Bytes::copy_from_slice(end)) {
                    continue;
                }
                for (kind, intervals) in [(Type::Read, &united.read), (Type::Write, &united.write)] {
                    let every = universe.iter()
                        .filter(|k| named(key, end, k))
                        .all(|k| allowed(kind, k));
                    prop_assert_eq!(intervals.cover(key, end), every, "{:?} {:?} {:?}", kind, key, end);
                }
            }
        }
    }

    #[test]
    fn neighbours_unite_and_gaps_stay() {
        let united = Permissions::unite(&[
            permission(Type::Read, b"a", b"c"),
            permission(Type::Readwrite, b"c", b"e"),
            permission(Type::Write, b"x", b"\0"),
        ]);
        assert!(united.read.cover(b"a", b"e"));
        assert!(united.read.cover(b"d\xff", b""));
        assert!(!united.read.cover(b"a", b"e\0"));
        assert!(!united.read.cover(b"e", b""));
        assert!(!united.write.cover(b"a", b""));
        assert!(united.write.cover(b"x", b"\0"));
        assert!(united.write.cover(b"zzz", b"\0"));
        assert!(!united.write.cover(b"w", b"\0"));
        assert!(!united.read.cover(b"a", b"\0"), "no end is not within one");
    }

    #[test]
    fn an_open_permission_from_the_first_key_covers_everything() {
        let united = Permissions::unite(&[permission(Type::Read, b"\0", b"\0")]);
        assert!(united.read.cover(b"\0", b"\0"));
        assert!(united.read.cover(b"a", b""));
    }

    #[test]
    fn an_empty_range_needs_the_interval_around_its_key() {
        let united = Permissions::unite(&[permission(Type::Read, b"b", b"y")]);
        assert!(united.read.cover(b"m", b"c"));
        assert!(!united.read.cover(b"m", b"a"));
        assert!(!united.read.cover(b"z", b"c"));
    }

    #[test]
    fn ranges_a_permission_may_not_have() {
        let valid = |key: &'static [u8], end: &'static [u8]| {
            is_valid_range(&Bytes::from_static(key), &Bytes::from_static(end))
        };
        assert!(valid(b"a", b"") && valid(b"a", b"b") && valid(b"a", b"\0") && valid(b"\0", b"\0"));
        assert!(!valid(b"", b"") && !valid(b"", b"\0") && !valid(b"b", b"a") && !valid(b"a", b"a"));
    }
}
