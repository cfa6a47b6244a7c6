//! Every difference that is allowed between ChainFire (which reports a 3.6 version) and Debian's etcd 3.4, one entry
//! each. Whatever is not listed here fails the suite.

use photon_proto::mvccpb::{Event, event::EventType};

use super::op::Op;
use super::session::Outcome;
use super::watching::Seen;

/// One allowed difference.
pub(crate) struct Allowed {
    /// For the tally that the suite prints.
    pub(crate) name: &'static str,
    /// Why ChainFire answers differently.
    pub(crate) reason: &'static str,
    /// Whether this pair of outcomes of this operation is that difference: `(operation, etcd's, ours)`.
    pub(crate) applies: fn(&Op, &Outcome, &Outcome) -> bool,
}

/// All of them that concern answers.
pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        name: "unknown sort order or target",
        reason: "3.4 takes unknown enum values as they come; since 3.5 they are refused, before anything else, \
                 as \"invalid sort option\"",
        applies: |op, _etcd, ours| {
            matches!(op, Op::Range(range) if range.sort_order > 2 || range.sort_target > 4)
                && is_error(ours, 3, "etcdserver: invalid sort option")
        },
    },
    Allowed {
        name: "which of a transaction's two errors comes first",
        reason: "3.4 checks all puts of a transaction and then all ranges; 3.6 checks its operations in order. \
                 The transaction fails either way and changes nothing",
        applies: |op, etcd, ours| {
            matches!(op, Op::Txn(_)) && is_bad_put(etcd) && is_bad_revision(ours)
        },
    },
];

fn is_bad_put(outcome: &Outcome) -> bool {
    is_error(outcome, 3, "etcdserver: key not found")
        || is_error(outcome, 5, "etcdserver: requested lease not found")
}

fn is_bad_revision(outcome: &Outcome) -> bool {
    is_error(
        outcome,
        11,
        "etcdserver: mvcc: required revision is a future revision",
    ) || is_error(
        outcome,
        11,
        "etcdserver: mvcc: required revision has been compacted",
    )
}

/// One allowed difference between what watchers see.
pub(crate) struct WatchAllowed {
    /// For the tally that the suite prints.
    pub(crate) name: &'static str,
    /// Why ChainFire shows something else.
    pub(crate) reason: &'static str,
    /// Takes out of what our watcher saw what etcd would not have shown.
    pub(crate) excuse: fn(&mut Seen),
}

/// All of them that concern watchers.
pub(crate) const WATCH_ALLOWED: &[WatchAllowed] = &[
    WatchAllowed {
        name: "deletion at the compacted revision is delivered",
        reason: "3.4 drops a deletion at the very revision that is compacted, although a watch may begin there; \
                 3.6 keeps it (etcd issues 18089 and 19179)",
        excuse: |seen| {
            let compacted = seen.from_compacted;
            seen.events.retain(|event| {
                event.r#type != EventType::Delete as i32 || revision(event) != compacted
            });
        },
    },
    WatchAllowed {
        name: "previous value at the compacted revision is delivered",
        reason: "etcd looks prev_kv up when it sends an event and finds nothing once that revision is compacted; \
                 ChainFire keeps the previous value with recent events, and who asked for it wants it",
        excuse: |seen| {
            let compacted = seen.from_compacted;
            for event in &mut seen.events {
                if revision(event) == compacted {
                    event.prev_kv = None;
                }
            }
        },
    },
];

/// The allowed difference that depends on both sides: its name and reason.
pub(crate) const LAGGING: (&str, &str) = (
    "a watch that had not caught up when its start was compacted goes on",
    "etcd looks after watchers of the past every 100 ms and cancels those that a compaction overtook meanwhile; \
     ChainFire catches them up at once, so there is nothing to cancel",
);

/// Whether etcd cancelled this watcher as compacted and ours went on from the same events.
pub(crate) fn is_lagging(etcd: &Seen, ours: &Seen) -> bool {
    let overtaken =
        matches!(&etcd.cancelled, Some((compacted, reason)) if *compacted > 0 && reason.is_empty());
    overtaken && ours.cancelled.is_none() && ours.events.starts_with(&etcd.events)
}

fn revision(event: &Event) -> Option<i64> {
    event.kv.as_ref().map(|kv| kv.mod_revision)
}

fn is_error(outcome: &Outcome, code: i32, message: &str) -> bool {
    *outcome
        == Outcome::Error {
            code,
            message: message.to_owned(),
        }
}
