//! openraft's types as this crate uses them.

use std::{any::Any, fmt};

use bytes::Bytes;
use openraft::impls::leader_id_std;
use parking_lot::Mutex;

use crate::member::Node;

/// A command as the log carries it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A state machine's reply on its way to the proposer. Erased, so that the log store and the
/// transport do not depend on the state machine; the mutex only makes it `Sync`, as openraft asks.
#[derive(Default)]
pub(crate) struct Reply(Mutex<Option<Box<dyn Any + Send>>>);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reply")
    }
}

impl Reply {
    pub(crate) fn new<R: Send + 'static>(reply: R) -> Self {
        Self(Mutex::new(Some(Box::new(reply))))
    }

    /// The reply, if there is one of this type.
    pub(crate) fn take<R: 'static>(self) -> Option<R> {
        let any = self.0.into_inner()?;
        any.downcast::<R>().ok().map(|reply| *reply)
    }
}

openraft::declare_raft_types!(
    /// One set of types for every group. Standard Raft: at most one leader per term.
    pub(crate) TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Node,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::type_config::alias::PayloadOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Node>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// A log id of the given term and index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: openraft::type_config::alias::CommittedLeaderIdOf::<TypeConfig>::new(term),
        index,
    }
}
