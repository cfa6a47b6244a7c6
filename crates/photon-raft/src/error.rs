//! What can go wrong, said so that a caller knows whether its command may have been applied.

use crate::NodeId;

/// Why a call on a group failed. Unless it is [`Error::Unknown`], the command was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No leader is known, or none could be reached before the deadline.
    #[error("no leader")]
    NoLeader,
    /// A quorum did not confirm the leader before the deadline.
    #[error("no quorum")]
    NoQuorum,
    /// The deadline passed before the call was accepted.
    #[error("deadline exceeded before the request was accepted")]
    Timeout,
    /// The command was handed over and its outcome was not learned in time: it may have been, or
    /// may still be, applied.
    #[error("the outcome is unknown: the command may have been applied")]
    Unknown,
    /// Too many proposals wait already.
    #[error("too many requests wait")]
    Overloaded,
    /// A command or reply exceeds the limit.
    #[error("{size} bytes exceed the limit of {limit}")]
    TooLarge {
        /// What was given, in bytes.
        size: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// Only a learner can be promoted.
    #[error("member {0} is not a learner")]
    NotLearner(NodeId),
    /// The learner's log is too far behind the leader's to become a voter.
    #[error("learner {node_id} is behind: {matched} of {last}")]
    LearnerBehind {
        /// The learner.
        node_id: NodeId,
        /// The last index it is known to hold.
        matched: u64,
        /// The leader's last index.
        last: u64,
    },
    /// No member has this id.
    #[error("member {0} not found")]
    MemberNotFound(NodeId),
    /// A member with this peer address exists.
    #[error("peer address {0} belongs to a member already")]
    DuplicatePeer(String),
    /// A member with this id exists.
    #[error("member {0} exists already")]
    DuplicateMember(NodeId),
    /// The id belonged to a member that was removed.
    #[error(
        "node_id {0} belonged to a member that was removed and is never used again: give the node another"
    )]
    Retired(NodeId),
    /// A membership change is under way.
    #[error("another membership change is in progress")]
    ChangeInProgress,
    /// Too few of those who would be voters then answer.
    #[error("the change is refused: a majority of the voters after it does not answer")]
    Unhealthy,
    /// A group keeps at least one voter.
    #[error("the last voter cannot be removed")]
    LastVoter,
    /// The node at the address is not the one that was named.
    #[error("{address} is node {found}, not {expected}")]
    IdentityMismatch {
        /// The address that was asked.
        address: String,
        /// The id the caller gave.
        expected: NodeId,
        /// The id that answered.
        found: NodeId,
    },
    /// The address did not answer as a peer.
    #[error("{address} does not answer: {reason}")]
    Unreachable {
        /// The address that was asked.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The request makes no sense; the text says which part.
    #[error("{0}")]
    Invalid(String),
    /// The leader's service refused a `call_leader` request.
    #[error("{0}")]
    Service(String),
    /// Data on disk cannot be used; the text says what to do.
    #[error("{0}")]
    Storage(String),
    /// The group has been shut down or has failed.
    #[error("the group is stopped")]
    Stopped,
}

impl Error {
    /// Whether the command may have been applied in spite of the error.
    #[must_use]
    pub fn may_be_applied(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}
