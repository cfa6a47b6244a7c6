//! Order statistics over the live keys: how many lie in a range, in O(log n) instead of a walk.
//!
//! A B+tree that stores, beside each child, how many keys are below it. Keys of a leaf lie packed in one buffer:
//! a million keys of 30 bytes take about 45 MB, where a `BTreeSet<Box<[u8]>>` takes about 70 MB and cannot count.
//!
//! ```text
//!  Inner { children: [(first key of the child, count, child)] }
//!  Leaf  { bytes: key‖key‖key…, ends: [u32] }
//! ```
//! Invariants: no leaf or inner node is empty except the root leaf; a leaf holds at most [`LEAF`] keys;
//! a child's separator is <= its first key and > every key of the child before it.

use crate::span::Span;

/// Keys in a leaf before it splits.
const LEAF: usize = 128;
/// Children of an inner node before it splits.
const FAN: usize = 64;

/// The set of live keys.
#[derive(Debug, Default)]
pub(crate) struct LiveKeys {
    root: Node,
}

#[derive(Debug)]
enum Node {
    Leaf(Leaf),
    Inner(Vec<Child>),
}

#[derive(Debug)]
struct Child {
    separator: Box<[u8]>,
    count: usize,
    node: Box<Node>,
}

#[derive(Debug, Default)]
struct Leaf {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Leaf::default())
    }
}

impl LiveKeys {
    /// All keys.
    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    /// Adds a key; false if it was there.
    pub(crate) fn insert(&mut self, key: &[u8]) -> bool {
        let (added, split) = self.root.insert(key);
        if let Some(right) = split {
            let left = std::mem::take(&mut self.root);
            self.root = Node::Inner(vec![
                Child {
                    separator: Box::default(),
                    count: left.len(),
                    node: Box::new(left),
                },
                right,
            ]);
        }
        added
    }

    /// Takes a key out; false if it was not there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let removed = self.root.remove(key);
        // A root with one child is a level too many.
        while let Node::Inner(children) = &mut self.root {
            match children.len() {
                0 => self.root = Node::default(),
                1 => {
                    if let Some(only) = children.pop() {
                        self.root = *only.node;
                    }
                }
                _ => break,
            }
        }
        removed
    }

    /// How many keys are smaller than `key`.
    pub(crate) fn rank(&self, key: &[u8]) -> usize {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return before + leaf.search(key).unwrap_or_else(|place| place);
                }
                Node::Inner(children) => {
                    let at = child_of(children, key);
                    before += children[..at]
                        .iter()
                        .map(|child| child.count)
                        .sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// Whether the key is live.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.search(key).is_ok(),
                Node::Inner(children) => node = &children[child_of(children, key)].node,
            }
        }
    }

    /// How many keys are in the span.
    pub(crate) fn count(&self, span: &Span<'_>) -> usize {
        match span {
            Span::Point(key) => usize::from(self.contains(key)),
            Span::Range { .. } if span.is_empty() => 0,
            Span::Range { start, end } => {
                let upper = end.map_or_else(|| self.len(), |end| self.rank(end));
                upper - self.rank(start)
            }
        }
    }
}

/// The child a key belongs to: the last one whose separator is not above it.
fn child_of(children: &[Child], key: &[u8]) -> usize {
    children
        .partition_point(|child| &*child.separator <= key)
        .saturating_sub(1)
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.ends.len(),
            Self::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// Whether the key was new, and the right half if the node had to split.
    fn insert(&mut self, key: &[u8]) -> (bool, Option<Child>) {
        match self {
            Self::Leaf(leaf) => match leaf.search(key) {
                Ok(_) => (false, None),
                Err(at) => {
                    leaf.insert(at, key);
                    (true, leaf.split_if_full())
                }
            },
            Self::Inner(children) => {
                let at = child_of(children, key);
                let (added, split) = children[at].node.insert(key);
                children[at].count += usize::from(added);
                if let Some(right) = split {
                    children[at].count -= right.count;
                    children.insert(at + 1, right);
                }
                (added, split_if_full(children))
            }
        }
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        match self {
            Self::Leaf(leaf) => match leaf.search(key) {
                Ok(at) => {
                    leaf.remove(at);
                    true
                }
                Err(_) => false,
            },
            Self::Inner(children) => {
                let at = child_of(children, key);
                if !children[at].node.remove(key) {
                    return false;
                }
                children[at].count -= 1;
                if children[at].count == 0 {
                    children.remove(at);
                } else {
                    merge_if_small(children, at);
                }
                true
            }
        }
    }
}

fn split_if_full(children: &mut Vec<Child>) -> Option<Child> {
    if children.len() <= FAN {
        return None;
    }
    // Keys often arrive in ascending order: leave the left half fuller, it gets no more of them.
    let right = children.split_off(FAN * 3 / 4);
    Some(Child {
        separator: right[0].separator.clone(),
        count: right.iter().map(|child| child.count).sum(),
        node: Box::new(Node::Inner(right)),
    })
}

/// Joins a leaf that has become small with a neighbour, so that deleted ranges give their memory back.
fn merge_if_small(children: &mut Vec<Child>, at: usize) {
    if children[at].count > LEAF / 4 || children.len() < 2 {
        return;
    }
    let left = at.saturating_sub(1);
    if children[left].count + children[left + 1].count > LEAF * 3 / 4 {
        return;
    }
    // Both are leaves or both are inner: all leaves are on one level.
    if !matches!(*children[left].node, Node::Leaf(_)) {
        return;
    }
    let right = children.remove(left + 1);
    if let (Node::Leaf(into), Node::Leaf(from)) = (&mut *children[left].node, *right.node) {
        into.append(&from);
        children[left].count += right.count;
    }
}

impl Leaf {
    fn start(&self, at: usize) -> usize {
        if at == 0 {
            0
        } else {
            self.ends[at - 1] as usize
        }
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a leaf holds at most 128 keys of a request's size, far below 4 GiB"
    )]
    fn insert(&mut self, at: usize, key: &[u8]) {
        let start = self.start(at);
        // Grow by an eighth instead of doubling: there are thousands of leaves.
        if self.bytes.capacity() - self.bytes.len() < key.len() {
            self.bytes.reserve_exact(key.len() + self.bytes.len() / 8);
        }
        self.bytes.splice(start..start, key.iter().copied());
        for end in &mut self.ends[at..] {
            *end += key.len() as u32;
        }
        if self.ends.len() == self.ends.capacity() {
            self.ends.reserve_exact(1 + self.ends.len() / 8);
        }
        self.ends.insert(at, (start + key.len()) as u32);
    }

    #[expect(clippy::cast_possible_truncation, reason = "as in insert")]
    fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends[at] as usize);
        self.bytes.drain(start..end);
        self.ends.remove(at);
        for later in &mut self.ends[at..] {
            *later -= (end - start) as u32;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "as in insert")]
    fn append(&mut self, other: &Self) {
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + offset));
    }

    #[expect(clippy::cast_possible_truncation, reason = "as in insert")]
    fn split_if_full(&mut self) -> Option<Child> {
        if self.ends.len() <= LEAF {
            return None;
        }
        let at = LEAF * 3 / 4;
        let middle = self.start(at);
        let right = Self {
            bytes: self.bytes[middle..].to_vec(),
            ends: self.ends[at..]
                .iter()
                .map(|end| end - middle as u32)
                .collect(),
        };
        self.bytes.truncate(middle);
        self.ends.truncate(at);
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        Some(Child {
            separator: right.key(0).into(),
            count: right.ends.len(),
            node: Box::new(Node::Leaf(right)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0u8), Just(0xFF), 0u8..6], 0..5)
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Vec<u8>),
        Remove(Vec<u8>),
        RemoveMany(Vec<u8>, usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        vec(
            prop_oneof![
                8 => key().prop_map(Op::Insert),
                3 => key().prop_map(Op::Remove),
                1 => (key(), 0usize..400).prop_map(|(key, n)| Op::RemoveMany(key, n)),
            ],
            0..1500,
        )
    }

    fn check(live: &LiveKeys, model: &BTreeSet<Vec<u8>>, probes: &[(Vec<u8>, Vec<u8>)]) {
        assert_eq!(live.len(), model.len());
        for (start, end) in probes {
            assert_eq!(live.contains(start), model.contains(start));
            assert_eq!(live.rank(start), model.range(..start.clone()).count());
            let to_end = live.count(&Span::Range { start, end: None });
            assert_eq!(to_end, model.range(start.clone()..).count());
            let expected = if start < end {
                model.range(start.clone()..end.clone()).count()
            } else {
                0
            };
            let counted = live.count(&Span::Range {
                start,
                end: Some(end),
            });
            assert_eq!(counted, expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn counts_like_a_btree_set(ops in ops(), probes in vec((key(), key()), 1..20)) {
            let (mut live, mut model) = (LiveKeys::default(), BTreeSet::new());
            for op in ops {
                match op {
                    Op::Insert(key) => prop_assert_eq!(live.insert(&key), model.insert(key)),
                    Op::Remove(key) => prop_assert_eq!(live.remove(&key), model.remove(&key)),
                    Op::RemoveMany(from, n) => {
                        let some: Vec<_> = model.range(from..).take(n).cloned().collect();
                        for key in some {
                            prop_assert!(live.remove(&key));
                            model.remove(&key);
                        }
                    }
                }
            }
            check(&live, &model, &probes);
        }
    }

    fn bytes_held(node: &Node) -> usize {
        match node {
            Node::Leaf(leaf) => leaf.bytes.capacity() + leaf.ends.capacity() * 4,
            Node::Inner(children) => children
                .iter()
                .map(|child| {
                    size_of::<Child>()
                        + size_of::<Node>()
                        + child.separator.len()
                        + bytes_held(&child.node)
                })
                .sum(),
        }
    }

    #[test]
    fn a_hundred_thousand_keys_stay_small_and_are_given_back() {
        for ascending in [true, false] {
            let mut live = LiveKeys::default();
            let name = |n: u64| {
                format!(
                    "/registry/pods/default/{:08}",
                    if ascending {
                        n
                    } else {
                        n.wrapping_mul(0x9E37_79B9) % 100_000_000
                    }
                )
            };
            for n in 0..100_000 {
                live.insert(name(n).as_bytes());
            }
            let per_key = bytes_held(&live.root) / live.len();
            assert!(
                per_key < 60,
                "{per_key} bytes for a key of 31, ascending: {ascending}"
            );
            for n in 0..100_000 {
                live.remove(name(n).as_bytes());
            }
            assert_eq!(live.len(), 0);
            assert!(bytes_held(&live.root) < 10_000);
        }
    }
}
