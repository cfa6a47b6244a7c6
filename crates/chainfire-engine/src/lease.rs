//! Leases as the log knows them: what was granted, which keys hang on it. When one ends is the lessor's business.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use parking_lot::RwLock;

/// etcd's upper bound of a TTL in seconds.
pub const MAX_LEASE_TTL: i64 = 9_000_000_000;

/// A lease without its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: i64,
    /// The granted time to live in seconds.
    pub ttl: i64,
    /// What was left of it at the last checkpoint, in seconds; 0 if there was none.
    pub remaining: i64,
}

#[derive(Debug, Default)]
struct Lease {
    ttl: i64,
    remaining: i64,
    keys: BTreeSet<Box<[u8]>>,
}

/// All leases. The applying thread changes them, everybody may read.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_id: RwLock<HashMap<i64, Lease>>,
}

impl Leases {
    pub(crate) fn grant(&self, info: LeaseInfo) {
        let lease = Lease {
            ttl: info.ttl,
            remaining: info.remaining,
            keys: BTreeSet::new(),
        };
        self.by_id.write().insert(info.id, lease);
    }

    pub(crate) fn exists(&self, id: i64) -> bool {
        self.by_id.read().contains_key(&id)
    }

    pub(crate) fn attach(&self, id: i64, key: &[u8]) {
        if let Some(lease) = self.by_id.write().get_mut(&id) {
            lease.keys.insert(key.into());
        }
    }

    pub(crate) fn detach(&self, id: i64, key: &[u8]) {
        if let Some(lease) = self.by_id.write().get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Sets what is left of a lease; the lease's new state, if it exists.
    pub(crate) fn checkpoint(&self, id: i64, remaining: i64) -> Option<LeaseInfo> {
        let mut leases = self.by_id.write();
        let lease = leases.get_mut(&id)?;
        lease.remaining = remaining;
        Some(LeaseInfo {
            id,
            ttl: lease.ttl,
            remaining,
        })
    }

    pub(crate) fn remove(&self, id: i64) {
        self.by_id.write().remove(&id);
    }

    pub(crate) fn get(&self, id: i64) -> Option<LeaseInfo> {
        self.by_id.read().get(&id).map(|lease| LeaseInfo {
            id,
            ttl: lease.ttl,
            remaining: lease.remaining,
        })
    }

    /// The lease's keys in order.
    pub(crate) fn keys(&self, id: i64) -> Option<Vec<Bytes>> {
        let leases = self.by_id.read();
        let keys = leases.get(&id)?.keys.iter();
        Some(keys.map(|key| Bytes::copy_from_slice(key)).collect())
    }

    /// All leases by id.
    pub(crate) fn list(&self) -> Vec<LeaseInfo> {
        let mut all: Vec<_> = self
            .by_id
            .read()
            .iter()
            .map(|(&id, lease)| LeaseInfo {
                id,
                ttl: lease.ttl,
                remaining: lease.remaining,
            })
            .collect();
        all.sort_unstable_by_key(|lease| lease.id);
        all
    }

    /// Takes over another set (the state was replaced).
    pub(crate) fn replace(&self, other: Self) {
        *self.by_id.write() = other.by_id.into_inner();
    }
}
