//! One operation of a sequence.

use photon_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest, WatchCreateRequest,
};

/// What a client does. Revisions in requests are written with [`relative`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    /// Grant a lease under an id of the sequence's choice.
    Grant {
        id: i64,
        ttl: i64,
    },
    /// Grant a lease under an id of the server's choice, and revoke it.
    GrantAny {
        ttl: i64,
    },
    Revoke {
        id: i64,
    },
    KeepAlive {
        id: i64,
    },
    TimeToLive {
        id: i64,
        keys: bool,
    },
    Leases,
    /// Open a watcher on the sequence's stream.
    Watch(WatchCreateRequest),
    /// Cancel a watcher.
    Cancel {
        watch_id: i64,
    },
}

/// Stands for the revision at which a sequence begins; see [`relative`].
const BASE: i64 = 1_000_000;
/// Numbers nearer to zero than this are meant literally: 0 is "now", negative ones are bad input.
const LITERAL: i64 = 500_000;

/// The revision `offset` after the beginning of the sequence, as it is written in requests and outcomes.
pub(crate) const fn relative(offset: i64) -> i64 {
    BASE + offset
}

/// What to send to a server whose sequence began at revision `base`.
pub(crate) fn to_server(written: i64, base: i64) -> i64 {
    if written.abs() < LITERAL {
        written
    } else {
        written - BASE + base
    }
}

/// How a revision of a server whose sequence began at `base` is written; 0 and below mean something else than a
/// revision and stay.
pub(crate) fn from_server(revision: i64, base: i64) -> i64 {
    if revision <= 0 {
        revision
    } else {
        revision - base + BASE
    }
}
