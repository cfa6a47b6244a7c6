//! What the simulated store keeps: ordered keys with the revisions of their last change, and leases.
//!
//! It answers as etcd does, at once and to everybody alike; what can go wrong on the way to it is in `wire`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use photon_store::{Entry, Error, Scan, Scanned};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::shard::raw::{Changes, Requirement, Write};

/// The store.
#[derive(Debug, Default)]
pub(super) struct Disk {
    keys: BTreeMap<String, Entry>,
    revision: i64,
    leases: BTreeMap<i64, Instant>,
    last_lease: i64,
    /// All that ever happened, to see whether two runs are one.
    trace: Sha256,
}

impl Disk {
    /// One entry.
    pub(super) fn read(&self, key: &str) -> Option<Entry> {
        self.keys.get(key).cloned()
    }

    /// Part of a range.
    pub(super) fn range(&self, scan: &Scan) -> Scanned {
        let from = scan.from.as_deref().unwrap_or(&scan.prefix);
        let behind = self
            .keys
            .range::<str, _>((Bound::Included(from), Bound::Unbounded));
        let within = behind.map(|(_, entry)| entry).take_while(|entry| {
            // With an end of its own a range is not bounded by the prefix.
            match &scan.before {
                Some(end) => entry.key < *end,
                None => entry.key.starts_with(&scan.prefix),
            }
        });
        let limit = usize::try_from(scan.limit).unwrap_or(usize::MAX);
        let one_more = limit.saturating_add(1);
        let mut entries: Vec<Entry> = if scan.descending {
            let all: Vec<&Entry> = within.collect();
            all.into_iter().rev().take(one_more).cloned().collect()
        } else {
            within.take(one_more).cloned().collect()
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        Scanned { entries, more }
    }

    /// All of it or nothing.
    pub(super) fn commit(&mut self, changes: &Changes) -> Result<i64, Error> {
        for requirement in &changes.requirements {
            self.require(requirement)?;
        }
        let is_unknown = |lease: &i64| *lease != 0 && !self.leases.contains_key(lease);
        if changes
            .writes
            .iter()
            .any(|write| matches!(write, Write::Put { lease, .. } if is_unknown(lease)))
        {
            return Err(Error::LeaseLost);
        }
        self.revision += 1;
        for write in &changes.writes {
            match write {
                Write::Put { key, value, lease } => self.put(key, value, *lease),
                Write::Delete(key) => self.delete(key),
            }
        }
        Ok(self.revision)
    }

    fn require(&self, requirement: &Requirement) -> Result<(), Error> {
        match requirement {
            Requirement::Absent(key) => match self.keys.get(key) {
                Some(_) => Err(Error::AlreadyExists { key: key.clone() }),
                None => Ok(()),
            },
            Requirement::AtRevision(key, revision) => match self.keys.get(key) {
                None => Err(Error::NotFound { key: key.clone() }),
                Some(entry) if entry.revision != *revision => {
                    Err(Error::Conflict { key: key.clone() })
                }
                Some(_) => Ok(()),
            },
        }
    }

    fn put(&mut self, key: &str, value: &[u8], lease: i64) {
        self.note(key.as_bytes());
        self.note(value);
        let created = self.keys.get(key).map(|entry| entry.create_revision);
        let entry = Entry {
            key: key.to_owned(),
            value: value.to_vec().into(),
            create_revision: created.unwrap_or(self.revision),
            revision: self.revision,
            lease,
        };
        self.keys.insert(key.to_owned(), entry);
    }

    fn delete(&mut self, key: &str) {
        self.note(key.as_bytes());
        self.keys.remove(key);
    }

    fn note(&mut self, what: &[u8]) {
        self.trace.update(self.revision.to_be_bytes());
        self.trace.update(what);
    }

    /// A new lease.
    pub(super) fn grant(&mut self, ttl: Duration) -> i64 {
        self.last_lease += 1;
        self.leases.insert(self.last_lease, Instant::now() + ttl);
        self.last_lease
    }

    /// Whether the lease goes on; then it does from now on for so long.
    pub(super) fn renew(&mut self, id: i64, ttl: Duration) -> bool {
        match self.leases.get_mut(&id) {
            Some(until) => {
                *until = Instant::now() + ttl;
                true
            }
            None => false,
        }
    }

    /// Ends a lease, and what was written under it.
    pub(super) fn end(&mut self, id: i64) {
        self.leases.remove(&id);
        self.revision += 1;
        let under: BTreeSet<String> = self
            .keys
            .values()
            .filter(|entry| entry.lease == id)
            .map(|entry| entry.key.clone())
            .collect();
        for key in under {
            self.delete(&key);
        }
    }

    /// Ends the leases whose time is over.
    pub(super) fn end_due(&mut self) {
        let now = Instant::now();
        let due: Vec<i64> = self
            .leases
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.end(id);
        }
    }

    /// The leases that last.
    pub(super) fn leases(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    /// Says in a few bytes everything that happened.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        self.trace.clone().finalize().to_vec()
    }
}
