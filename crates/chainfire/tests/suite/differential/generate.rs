//! Random sequences over few keys, so that operations meet.

use bytes::Bytes;
use photon_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, compare::TargetUnion, request_op::Request,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::op::{Op, relative};

/// All keys that are ever written: overlapping prefixes, the greatest byte, a key that is all prefix.
pub(crate) const KEYS: &[&[u8]] = &[
    b"a", b"a/", b"a/1", b"a/2", b"a/2/x", b"ab", b"b", b"b\xff", b"c", b"\xff",
];
/// Lease ids of the sequence's choice.
const LEASES: &[i64] = &[7001, 7002, 7003];
/// A lease that is never granted.
const NO_SUCH_LEASE: i64 = 7999;
/// Leases must not end by themselves while a sequence runs.
const TTL_S: i64 = 10_000;
/// More than any server allows in a transaction.
const TOO_MANY: usize = 129;
const DEEPEST_TXN: u32 = 2;

/// One sequence.
pub(crate) fn sequence(rng: &mut StdRng) -> Vec<Op> {
    let length = rng.random_range(10..50);
    (0..length)
        .map(|at| Generator { rng: &mut *rng, at }.op())
        .collect()
}

struct Generator<'a> {
    rng: &'a mut StdRng,
    /// How many operations came before: about how many revisions there are.
    at: i64,
}

impl Generator<'_> {
    fn op(mut self) -> Op {
        match self.rng.random_range(0..100) {
            0..26 => Op::Put(self.put()),
            26..44 => Op::Range(self.odd_range()),
            44..52 => Op::Delete(self.delete()),
            52..72 => Op::Txn(self.txn(0)),
            72..76 => Op::Compact(self.compact()),
            76..81 => Op::Grant {
                id: self.lease_to_grant(),
                ttl: self.ttl(),
            },
            81..82 => Op::GrantAny { ttl: self.ttl() },
            82..85 => Op::Revoke {
                id: self.lease_or_none(),
            },
            85..86 => Op::KeepAlive {
                id: self.lease_or_none(),
            },
            86..89 => Op::TimeToLive {
                id: self.lease_or_none(),
                keys: self.chance(70),
            },
            89..90 => Op::Leases,
            90..98 => Op::Watch(self.watch()),
            _ => Op::Cancel {
                watch_id: self.rng.random_range(0..4),
            },
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        // Only called with constants that have elements.
        *from.choose(self.rng).unwrap()
    }

    fn key(&mut self) -> Bytes {
        if self.chance(2) {
            return Bytes::new();
        }
        Bytes::from_static(self.pick(KEYS))
    }

    /// A key and a range end: mostly one key, else a prefix, everything, everything from here, between two keys
    /// (which may be the wrong way round).
    fn span(&mut self, percent_of_ranges: u32) -> (Bytes, Bytes) {
        let key = self.key();
        if !self.chance(percent_of_ranges) {
            return (key, Bytes::new());
        }
        match self.rng.random_range(0..10) {
            0..4 => {
                let end = prefix_end(&key);
                (key, end)
            }
            4..6 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            6 => (key, Bytes::from_static(b"\0")),
            _ => (key, self.key()),
        }
    }

    /// A revision: mostly "now", else one of the sequence or shortly before and after, else bad.
    fn revision(&mut self, percent_of_now: u32) -> i64 {
        if self.chance(percent_of_now) {
            return 0;
        }
        match self.rng.random_range(0..20) {
            0 => relative(100_000),
            1 => -1,
            _ => relative(self.rng.random_range(-2..self.at + 4)),
        }
    }

    fn filter(&mut self) -> i64 {
        if self.chance(8) {
            relative(self.rng.random_range(0..self.at + 2))
        } else {
            0
        }
    }

    /// A range that may have enum values nobody knows. Not for transactions: one that a newer etcd refuses and an
    /// older one executes would leave two different stores.
    fn odd_range(&mut self) -> RangeRequest {
        let mut range = self.range();
        if self.chance(2) {
            range.sort_order = 7;
        }
        range
    }

    fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.span(70);
        RangeRequest {
            key,
            range_end,
            limit: match self.rng.random_range(0..20) {
                0..12 => 0,
                12 => -1,
                _ => self.rng.random_range(1..6),
            },
            revision: self.revision(70),
            sort_order: self.rng.random_range(0..3),
            // An unknown target makes etcd 3.4 panic: never sent.
            sort_target: self.rng.random_range(0..5),
            serializable: self.chance(20),
            keys_only: self.chance(10),
            count_only: self.chance(10),
            min_mod_revision: self.filter(),
            max_mod_revision: self.filter(),
            min_create_revision: self.filter(),
            max_create_revision: self.filter(),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.rng.random_range(0..12) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\x00\xff binary"),
            // Few values, so that compares hit.
            _ => Bytes::from(format!("v{}", self.rng.random_range(0..4))),
        }
    }

    fn put(&mut self) -> PutRequest {
        let ignore_value = self.chance(7);
        let ignore_lease = self.chance(7);
        let value = if ignore_value && !self.chance(10) {
            Bytes::new()
        } else {
            self.value()
        };
        let lease = if ignore_lease && !self.chance(10) || !self.chance(25) {
            0
        } else {
            self.lease_or_none()
        };
        PutRequest {
            key: self.key(),
            value,
            lease,
            prev_kv: self.chance(30),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.span(30);
        DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.chance(40),
        }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let compares = self.rng.random_range(0..3);
        let (success, failure) = (self.rng.random_range(0..5), self.rng.random_range(0..4));
        let mut txn = TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..success).map(|_| self.txn_op(depth)).collect(),
            failure: (0..failure).map(|_| self.txn_op(depth)).collect(),
        };
        if depth == 0 && self.chance(1) {
            txn.failure = (0..TOO_MANY).map(|_| self.txn_op(DEEPEST_TXN)).collect();
        }
        txn
    }

    fn txn_op(&mut self, depth: u32) -> RequestOp {
        let request = match self.rng.random_range(0..100) {
            0..40 => Some(Request::RequestPut(self.put())),
            40..68 => Some(Request::RequestRange(self.range())),
            68..84 => Some(Request::RequestDeleteRange(self.delete())),
            84..99 if depth < DEEPEST_TXN => Some(Request::RequestTxn(self.txn(depth + 1))),
            84..99 => Some(Request::RequestPut(self.put())),
            _ => None,
        };
        RequestOp { request }
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) = self.span(25);
        let target = self.rng.random_range(0..5);
        // Now and then the union does not hold what the target names.
        let union = if self.chance(3) {
            self.rng.random_range(0..6)
        } else {
            target
        };
        let number = self.rng.random_range(0..3);
        let revision = relative(self.rng.random_range(0..self.at + 2));
        let revision = if self.chance(30) { 0 } else { revision };
        Compare {
            result: self.rng.random_range(0..4),
            target,
            key,
            range_end,
            target_union: match union {
                0 => Some(TargetUnion::Version(number)),
                1 => Some(TargetUnion::CreateRevision(revision)),
                2 => Some(TargetUnion::ModRevision(revision)),
                3 => Some(TargetUnion::Value(self.value())),
                4 => Some(TargetUnion::Lease(if self.chance(50) {
                    0
                } else {
                    self.pick(LEASES)
                })),
                _ => None,
            },
        }
    }

    fn compact(&mut self) -> CompactionRequest {
        CompactionRequest {
            revision: match self.rng.random_range(0..20) {
                0 => relative(100_000),
                1 => 0,
                2 => -1,
                _ => relative(self.rng.random_range(-1..self.at + 1)),
            },
            physical: self.chance(30),
        }
    }

    fn lease_or_none(&mut self) -> i64 {
        if self.chance(10) {
            NO_SUCH_LEASE
        } else {
            self.pick(LEASES)
        }
    }

    fn lease_to_grant(&mut self) -> i64 {
        self.pick(LEASES)
    }

    fn ttl(&mut self) -> i64 {
        match self.rng.random_range(0..20) {
            0 => 9_000_000_001,
            1 => 9_000_000_000,
            _ => TTL_S + self.rng.random_range(0..100),
        }
    }

    fn watch(&mut self) -> WatchCreateRequest {
        let (key, range_end) = self.span(70);
        WatchCreateRequest {
            key,
            range_end,
            // A negative one is refused by 3.6 and taken by 3.4, which then counts watch ids differently: never sent.
            start_revision: self.revision(40).max(0),
            progress_notify: self.chance(10),
            filters: match self.rng.random_range(0..10) {
                0 => vec![0],
                1 => vec![1],
                2 => vec![0, 1],
                _ => Vec::new(),
            },
            prev_kv: self.chance(50),
            watch_id: if self.chance(10) {
                self.rng.random_range(1..4)
            } else {
                0
            },
            fragment: self.chance(20),
        }
    }
}

/// The least key that is greater than all keys with this prefix; `\0` (no end) when there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}
