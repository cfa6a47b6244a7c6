//! openraft's types as this crate uses them.

use std::{any::Any, fmt, sync::Arc};

use bytes::Bytes;
use openraft::{
    OptionalSend, impls::leader_id_std, raft::responder::Responder, vote::RaftLeaderId,
};
use parking_lot::Mutex;

use crate::member::Node;

/// Commands as one entry of the log carries them: proposals that waited together share an entry, and with it all
/// that consensus costs. Clone is cheap.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Commands(Arc<[Bytes]>);

impl Commands {
    pub(crate) fn new(commands: impl Into<Arc<[Bytes]>>) -> Self {
        Self(commands.into())
    }

    pub(crate) fn one(command: Bytes) -> Self {
        Self::new([command])
    }

    pub(crate) fn as_slice(&self) -> &[Bytes] {
        &self.0
    }

    /// Bytes of all commands together.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands of {} bytes", self.0.len(), self.bytes())
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where openraft leaves the result of a write: a function, called once. Dropped without one, it is called with `None`.
pub(crate) struct Respond<T>(Option<Box<dyn FnOnce(Option<T>) + Send>>);

impl<T> Respond<T> {
    pub(crate) fn with(take: impl FnOnce(Option<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(take)))
    }

    fn call(&mut self, result: Option<T>) {
        if let Some(take) = self.0.take() {
            take(result);
        }
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Respond<T> {
    fn on_complete(mut self, result: T) {
        self.call(Some(result));
    }
}

impl<T> Drop for Respond<T> {
    fn drop(&mut self) {
        self.call(None);
    }
}

/// A state machine's replies to one entry on their way to the proposer. Erased, so that the log store and the
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

/// One set of types for every group. Standard Raft: at most one leader per term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Commands;
    type R = Reply;
    type NodeId = u64;
    type Node = Node;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Commands, u64, Node>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = Respond<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

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
