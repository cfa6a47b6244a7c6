//! Members of a group and what a node knows about it.

use std::{collections::BTreeSet, sync::Arc};

/// Names a node for the whole life of a cluster. Never reused, even after a removal.
pub type NodeId = u64;

/// A member as the group's membership stores it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// The node's id.
    pub node_id: NodeId,
    /// A name for people; may be empty.
    pub name: String,
    /// `host:port` of its peer listener.
    pub peer_address: String,
    /// Where clients reach it; opaque to this crate.
    pub client_addresses: Vec<String>,
    /// Receives the log but does not vote.
    pub learner: bool,
    /// A learner that the leader makes a voter as soon as it has caught up, whoever leads by then.
    pub promote: bool,
}

/// What openraft stores per node id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Node {
    /// A name for people; may be empty.
    pub name: String,
    /// `host:port` of its peer listener.
    pub peer_address: String,
    /// Where clients reach it.
    pub client_addresses: Vec<String>,
    /// To be made a voter once it has caught up.
    pub promote: bool,
    /// Ids of members that were removed. openraft has no place for what belongs to the whole membership, so
    /// every node carries the same list; on the wire and on disk it stands there once.
    pub retired: Arc<BTreeSet<NodeId>>,
}

impl Member {
    pub(crate) fn from_node(node_id: NodeId, node: &Node, learner: bool) -> Self {
        Self {
            node_id,
            name: node.name.clone(),
            peer_address: node.peer_address.clone(),
            client_addresses: node.client_addresses.clone(),
            learner,
            promote: node.promote,
        }
    }

    /// What the membership keeps of it, with the list that every node carries.
    pub(crate) fn node(&self, retired: &Arc<BTreeSet<NodeId>>) -> Node {
        Node {
            name: self.name.clone(),
            peer_address: self.peer_address.clone(),
            client_addresses: self.client_addresses.clone(),
            promote: self.promote,
            retired: Arc::clone(retired),
        }
    }
}

/// What answers at a peer address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node and its own idea of its addresses.
    pub member: Member,
    /// Whether it belongs to a cluster already.
    pub joined: bool,
}

/// What this node does in the group now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Takes proposals.
    Leader,
    /// Votes.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Only receives the log; also a node that has not joined yet.
    Learner,
    /// Was a member once and is none any more. Its id is never used again.
    Removed,
    /// No longer runs.
    Stopped,
}

/// A node's view of its group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// The current term.
    pub term: u64,
    /// What this node does.
    pub role: Role,
    /// The leader of this term, if known. A leader that lost its quorum may still be named here.
    pub leader: Option<NodeId>,
    /// Index of the last entry in the local log; 0 when empty.
    pub last_log: u64,
    /// Index of the last entry known to be committed.
    pub committed: u64,
    /// Index of the last entry the local state machine has applied.
    pub applied: u64,
    /// Index up to which the log has been purged.
    pub purged: u64,
    /// Members by node id, from the newest membership in the local log.
    pub members: Vec<Member>,
    /// Whether this node is a learner, or not yet a member.
    pub is_learner: bool,
    /// Whether this node is a member.
    pub joined: bool,
    /// Whether the voters are being changed: two sets of them are in force until that is done.
    pub changing: bool,
}
