//! Which watchers want to hear about a key, without asking every watcher.
//!
//! Single keys live in a hash table. Ranges live in an interval tree: a treap ordered by
//! (start, end) in which every node knows the furthest end below it (Cormen et al., "Introduction
//! to Algorithms", interval trees; Seidel and Aragon, "Randomized Search Trees"). Finding the k ranges
//! around a key visits O(k log n) nodes at worst. Watchers of the same range share a node.

use std::{cmp::Ordering, collections::HashMap};

use bytes::Bytes;

use super::spec::{KeyRange, RangeEnd};

/// Identifies a watcher inside the hub; never reused.
pub(super) type WatcherKey = u64;

#[derive(Debug, Default)]
pub(super) struct Matcher {
    single: HashMap<Bytes, Vec<WatcherKey>>,
    ranges: RangeTree,
}

impl Matcher {
    pub(super) fn insert(&mut self, range: &KeyRange, watcher: WatcherKey) {
        let watchers = match &range.end {
            RangeEnd::Single => self.single.entry(range.start.clone()).or_default(),
            end => self.ranges.entry(&range.start, end),
        };
        watchers.push(watcher);
    }

    pub(super) fn remove(&mut self, range: &KeyRange, watcher: WatcherKey) {
        if range.end == RangeEnd::Single {
            if let Some(watchers) = self.single.get_mut(&range.start) {
                watchers.retain(|w| *w != watcher);
                if watchers.is_empty() {
                    self.single.remove(&range.start);
                }
            }
        } else {
            self.ranges.remove(&range.start, &range.end, watcher);
        }
    }

    /// Calls `found` once for every watcher of `key`.
    pub(super) fn each(&self, key: &[u8], mut found: impl FnMut(WatcherKey)) {
        if let Some(watchers) = self.single.get(key) {
            watchers.iter().copied().for_each(&mut found);
        }
        self.ranges.stab(key, &mut found);
    }
}

/// A range's end that sorts behind every key when it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End(Option<Bytes>);

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|end| end.as_ref() > key)
    }
}

impl Ord for End {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    /// The furthest end in this subtree.
    furthest: End,
    /// Heap order of the treap; random, so the tree stays shallow whatever the keys.
    priority: u64,
    watchers: Vec<WatcherKey>,
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
}

type Tree = Option<Box<Node>>;

#[derive(Debug, Default)]
struct RangeTree {
    root: Tree,
}

impl RangeTree {
    /// The watchers of exactly this range, which is added if it is new.
    fn entry(&mut self, start: &Bytes, end: &RangeEnd) -> &mut Vec<WatcherKey> {
        let end = End::from(end);
        if !contains(&self.root, start, &end) {
            let (left, right) = split(self.root.take(), start, &end);
            let node = Box::new(Node {
                start: start.clone(),
                end: end.clone(),
                furthest: end.clone(),
                priority: rand::random(),
                watchers: Vec::new(),
                left: None,
                right: None,
            });
            self.root = merge(merge(left, Some(node)), right);
        }
        watchers(&mut self.root, start, &end)
    }

    fn remove(&mut self, start: &Bytes, end: &RangeEnd, watcher: WatcherKey) {
        remove(&mut self.root, start, &End::from(end), watcher);
    }

    fn stab(&self, key: &[u8], found: &mut impl FnMut(WatcherKey)) {
        stab(&self.root, key, found);
    }
}

impl From<&RangeEnd> for End {
    fn from(end: &RangeEnd) -> Self {
        match end {
            RangeEnd::Before(end) => Self(Some(end.clone())),
            RangeEnd::Single | RangeEnd::Open => Self(None),
        }
    }
}

fn order(node: &Node, start: &Bytes, end: &End) -> Ordering {
    start.cmp(&node.start).then_with(|| end.cmp(&node.end))
}

fn contains(tree: &Tree, start: &Bytes, end: &End) -> bool {
    let mut tree = tree;
    while let Some(node) = tree {
        tree = match order(node, start, end) {
            Ordering::Less => &node.left,
            Ordering::Greater => &node.right,
            Ordering::Equal => return true,
        };
    }
    false
}

#[expect(
    clippy::expect_used,
    reason = "called only for a range that entry() has just made sure is there"
)]
fn watchers<'a>(tree: &'a mut Tree, start: &Bytes, end: &End) -> &'a mut Vec<WatcherKey> {
    let node = tree.as_mut().expect("the range is in the tree");
    match order(node, start, end) {
        Ordering::Less => watchers(&mut node.left, start, end),
        Ordering::Greater => watchers(&mut node.right, start, end),
        Ordering::Equal => &mut node.watchers,
    }
}

fn remove(tree: &mut Tree, start: &Bytes, end: &End, watcher: WatcherKey) {
    let Some(node) = tree else { return };
    match order(node, start, end) {
        Ordering::Less => remove(&mut node.left, start, end, watcher),
        Ordering::Greater => remove(&mut node.right, start, end, watcher),
        Ordering::Equal => {
            node.watchers.retain(|w| *w != watcher);
            if node.watchers.is_empty() {
                let (left, right) = (node.left.take(), node.right.take());
                *tree = merge(left, right);
                return;
            }
        }
    }
    update(node);
}

fn stab(tree: &Tree, key: &[u8], found: &mut impl FnMut(WatcherKey)) {
    let Some(node) = tree else { return };
    if !node.furthest.is_after(key) {
        return;
    }
    stab(&node.left, key, found);
    if node.start.as_ref() <= key {
        if node.end.is_after(key) {
            node.watchers.iter().copied().for_each(&mut *found);
        }
        stab(&node.right, key, found);
    }
}

/// Everything before (start, end), and the rest.
fn split(tree: Tree, start: &Bytes, end: &End) -> (Tree, Tree) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    if order(&node, start, end) == Ordering::Greater {
        let (left, right) = split(node.right.take(), start, end);
        node.right = left;
        update(&mut node);
        (Some(node), right)
    } else {
        let (left, right) = split(node.left.take(), start, end);
        node.left = right;
        update(&mut node);
        (left, Some(node))
    }
}

/// Joins two trees of which the first lies wholly before the second.
fn merge(left: Tree, right: Tree) -> Tree {
    match (left, right) {
        (tree, None) | (None, tree) => tree,
        (Some(mut left), Some(mut right)) => {
            if left.priority >= right.priority {
                left.right = merge(left.right.take(), Some(right));
                update(&mut left);
                Some(left)
            } else {
                right.left = merge(Some(left), right.left.take());
                update(&mut right);
                Some(right)
            }
        }
    }
}

fn update(node: &mut Node) {
    let mut furthest = &node.end;
    for child in [&node.left, &node.right].into_iter().flatten() {
        furthest = furthest.max(&child.furthest);
    }
    if *furthest != node.furthest {
        node.furthest = furthest.clone();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn range(key: &str, end: &str) -> Option<KeyRange> {
        KeyRange::parse(
            &Bytes::copy_from_slice(key.as_bytes()),
            &Bytes::copy_from_slice(end.as_bytes()),
        )
    }

    fn hits(matcher: &Matcher, key: &[u8]) -> Vec<WatcherKey> {
        let mut hits = Vec::new();
        matcher.each(key, |w| hits.push(w));
        hits.sort_unstable();
        hits
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_watcher(
            ranges in prop::collection::vec(("[a-d\\x00]{0,3}", "[a-d\\x00]{0,3}"), 0..60),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
            keys in prop::collection::vec("[a-d\\x00]{1,3}", 1..30),
        ) {
            let mut matcher = Matcher::default();
            let mut model: Vec<(WatcherKey, KeyRange)> = Vec::new();
            for (id, (key, end)) in ranges.iter().enumerate() {
                if let Some(range) = range(key, end) {
                    matcher.insert(&range, id as u64);
                    model.push((id as u64, range));
                }
            }
            for index in removed {
                if !model.is_empty() {
                    let (id, range) = model.remove(index.index(model.len()));
                    matcher.remove(&range, id);
                }
            }
            for key in keys {
                let expected: Vec<_> = model.iter()
                    .filter(|(_, range)| range.contains(key.as_bytes()))
                    .map(|(id, _)| *id)
                    .collect();
                prop_assert_eq!(hits(&matcher, key.as_bytes()), expected);
            }
            for (id, range) in model {
                matcher.remove(&range, id);
            }
            prop_assert!(matcher.single.is_empty() && matcher.ranges.root.is_none());
        }
    }

    /// The depth stays logarithmic for keys that arrive in order, the worst case of a plain tree.
    #[test]
    fn ten_thousand_ranges_in_order_stay_shallow() {
        fn depth(tree: &Tree) -> usize {
            tree.as_ref()
                .map_or(0, |n| 1 + depth(&n.left).max(depth(&n.right)))
        }
        let mut matcher = Matcher::default();
        for id in 0..10_000u64 {
            let range = range(&format!("/k/{id:05}/"), &format!("/k/{id:05}0")).unwrap();
            matcher.insert(&range, id);
        }
        assert!(
            depth(&matcher.ranges.root) < 60,
            "treap of 10,000 is about 30 deep"
        );
        assert_eq!(hits(&matcher, b"/k/07777/x"), [7777]);
        assert_eq!(hits(&matcher, b"/k/zzz"), [] as [u64; 0]);
    }
}
