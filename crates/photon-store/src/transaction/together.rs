//! Several transactions as one, where nobody can tell the difference from one after the other.
//!
//! Transactions go together if none of them writes a key that another one writes or requires something of: then each
//! finds of its own keys what it would find alone, and whether the others happen does not matter to it. If one of them is
//! refused all are, but [`super::Found::broken`] says of each whether it would have been; what is left can go again.

use std::collections::{BTreeSet, HashSet};

use super::{Requirement, Transaction, Write};

/// What a store takes in one transaction, of which etcd's own limits are the smallest: 128 compares, 128 operations in
/// each branch, 1.5 MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Requirements; the guard of the store's identity is counted here already.
    pub(crate) requirements: usize,
    /// Writes.
    pub(crate) writes: usize,
    /// Keys and values, in bytes.
    pub(crate) bytes: usize,
}

impl Room {
    /// All of it. Of the bytes a third of what etcd takes: larger ones hold up those behind them.
    pub(crate) const ALL: Self = Self {
        requirements: 127,
        writes: 128,
        bytes: 512 << 10,
    };
}

/// Transactions that go together.
#[derive(Debug)]
pub(crate) struct Together<'a> {
    /// What is left.
    room: Room,
    /// Taken from it with every transaction, by whoever adds to each.
    each: Room,
    requirements: HashSet<&'a Requirement>,
    required: HashSet<&'a str>,
    /// Below which nothing may be.
    empty: Vec<&'a str>,
    written: BTreeSet<&'a str>,
    members: usize,
    /// Nothing goes with what is there.
    closed: bool,
}

impl<'a> Together<'a> {
    /// None yet. Each takes `each` of the room beside its own.
    pub(crate) fn new(room: Room, each: Room) -> Self {
        Self {
            room,
            each,
            requirements: HashSet::new(),
            required: HashSet::new(),
            empty: Vec::new(),
            written: BTreeSet::new(),
            members: 0,
            closed: false,
        }
    }

    /// Whether another one cannot fit, however small.
    pub(crate) fn is_full(&self) -> bool {
        self.closed
            || self.room.requirements < self.each.requirements
            || self.room.writes < self.each.writes
            || self.room.bytes < self.each.bytes
    }

    /// Takes a transaction in if it goes with those that are in already; the first one always does.
    pub(crate) fn takes(&mut self, one: &'a Transaction) -> bool {
        let need = self.need(one);
        let fits = need.requirements <= self.room.requirements
            && need.writes <= self.room.writes
            && need.bytes <= self.room.bytes;
        // One that writes a key twice is refused by the store; the others are not to be refused with it.
        let mut own: HashSet<&str> = HashSet::new();
        let sound = one.writes.iter().all(|write| own.insert(write.key()));
        if self.members == 0 {
            self.closed = !(fits && sound);
        } else if self.is_full() || !fits || !sound || self.touches(one) {
            return false;
        }
        self.room.requirements = self.room.requirements.saturating_sub(need.requirements);
        self.room.writes = self.room.writes.saturating_sub(need.writes);
        self.room.bytes = self.room.bytes.saturating_sub(need.bytes);
        self.members += 1;
        for requirement in &one.requirements {
            self.requirements.insert(requirement);
            match requirement {
                Requirement::Empty(prefix) => self.empty.push(prefix),
                other => {
                    self.required.insert(other.key());
                }
            }
        }
        self.written.extend(own);
        true
    }

    fn need(&self, one: &Transaction) -> Room {
        let new = |requirement: &&Requirement| !self.requirements.contains(*requirement);
        let bytes = |write: &Write| match write {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete(key) => key.len(),
        };
        Room {
            requirements: one.requirements.iter().filter(new).count() + self.each.requirements,
            writes: one.writes.len() + self.each.writes,
            bytes: one.writes.iter().map(bytes).sum::<usize>() + self.each.bytes,
        }
    }

    /// Whether it and those that are in have to do with each other.
    fn touches(&self, one: &Transaction) -> bool {
        let disturbs = one.writes.iter().map(Write::key).any(|key| {
            self.written.contains(key)
                || self.required.contains(key)
                || self.empty.iter().any(|prefix| key.starts_with(prefix))
        });
        let disturbed = one.requirements.iter().any(|requirement| {
            let key = requirement.key();
            match requirement {
                Requirement::Empty(_) => {
                    let next = self.written.range(key..).next();
                    next.is_some_and(|written| written.starts_with(key))
                }
                _ => self.written.contains(key),
            }
        });
        disturbs || disturbed
    }
}

impl Transaction {
    /// Takes in what another one requires and writes; it is up to the caller whether they go [`Together`].
    pub(crate) fn join(&mut self, other: &Self) {
        for requirement in &other.requirements {
            self.require(requirement.clone());
        }
        self.writes.extend(other.writes.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NOTHING: Room = Room {
        requirements: 0,
        writes: 0,
        bytes: 0,
    };

    fn absent(key: &str) -> Requirement {
        Requirement::Absent(key.to_owned())
    }

    fn at(key: &str, revision: i64) -> Requirement {
        Requirement::Revision {
            key: key.to_owned(),
            revision,
        }
    }

    fn put(key: &str) -> Write {
        Write::Put {
            key: key.to_owned(),
            value: "12345678".into(),
            lease: 0,
        }
    }

    /// A store that nothing is asked of: a connection is made only when it is used.
    async fn transaction(requirements: &[Requirement], writes: &[Write]) -> Transaction {
        let store = crate::Store::unasked().await.unwrap();
        Transaction {
            requirements: requirements.to_vec(),
            writes: writes.to_vec(),
            ..Transaction::new(store)
        }
    }

    async fn go_together(one: (&[Requirement], &[Write]), two: (&[Requirement], &[Write])) -> bool {
        let one = transaction(one.0, one.1).await;
        let two = transaction(two.0, two.1).await;
        let both = |first, second| {
            let mut together = Together::new(Room::ALL, NOTHING);
            together.takes(first) && together.takes(second)
        };
        let answer = both(&one, &two);
        assert_eq!(answer, both(&two, &one), "whichever comes first");
        answer
    }

    #[tokio::test]
    async fn what_has_nothing_to_do_with_each_other_goes_together() {
        let subnet = at("/subnet", 7);
        assert!(
            go_together(
                (&[subnet.clone(), absent("/a")], &[put("/a")]),
                (&[subnet, absent("/b")], &[put("/b")]),
            )
            .await
        );
        let empty = Requirement::Empty("/use/a/".to_owned());
        let beside = [put("/use/ab"), put("/use/b/x")];
        assert!(go_together((&[empty], &[]), (&[], &beside)).await);
    }

    #[tokio::test]
    async fn what_writes_where_another_writes_or_requires_does_not() {
        assert!(!go_together((&[], &[put("/a")]), (&[], &[put("/a")])).await);
        assert!(!go_together((&[absent("/a")], &[]), (&[], &[put("/a")])).await);
        let removal = [Write::Delete("/a".to_owned())];
        assert!(!go_together((&[at("/a", 3)], &[]), (&[], &removal)).await);
        let empty = Requirement::Empty("/use/a/".to_owned());
        assert!(!go_together((&[empty], &[]), (&[], &[put("/use/a/x")])).await);
    }

    #[tokio::test]
    async fn what_a_store_refuses_goes_alone() {
        let twice = transaction(&[], &[put("/a"), put("/a")]).await;
        let sound = transaction(&[], &[put("/b")]).await;
        let mut together = Together::new(Room::ALL, NOTHING);
        assert!(together.takes(&sound) && !together.takes(&twice));
        let mut together = Together::new(Room::ALL, NOTHING);
        assert!(together.takes(&twice) && !together.takes(&sound) && together.is_full());
    }

    /// What all require is counted once; the first one fits whatever its size.
    #[tokio::test]
    async fn there_is_room_for_so_many() {
        let room = Room {
            requirements: 7,
            writes: 100,
            bytes: 1000,
        };
        let each = Room {
            requirements: 1,
            writes: 1,
            bytes: 10,
        };
        let mut parts = Vec::new();
        for name in ["/a", "/b", "/c", "/d"] {
            let requirements = [at("/subnet", 7), absent(name)];
            parts.push(transaction(&requirements, &[put(name)]).await);
        }
        let mut together = Together::new(room, each);
        let taken = parts.iter().filter(|part| together.takes(part)).count();
        assert_eq!(taken, 3, "1 + 3 x 2 = 7");
        let large = Room {
            bytes: 25,
            ..Room::ALL
        };
        let mut together = Together::new(large, each);
        assert!(together.takes(&parts[0]) && !together.takes(&parts[1]));
        let mut together = Together::new(Room { bytes: 5, ..large }, each);
        assert!(together.takes(&parts[0]) && together.is_full());
    }
}
