//! The use cases: what can be asked of the store. Doors call these and decide nothing.
//!
//! Every method takes the [`Caller`] and etcd's own messages, checks the caller's rights, and answers etcd's
//! message with its header filled or an [`EtcdError`] in etcd's words. Every method ends within
//! [`Limits::request_timeout`](crate::config::Limits).
//!
//! ```text
//!   write:  static checks -> quota -> in-flight slot -> Group::propose -> (apply thread) -> Reply
//!   read:   read_index (unless serializable) -> rights -> Engine::range
//! ```
//!
//! Invariants: what could differ between members is decided here and not while applying; a write whose fate is
//! unknown answers `Unavailable`, never a definite refusal.

mod auth;
mod caller;
mod cluster;
mod compaction;
mod kv;
mod leader;
mod leadership;
mod lease;
mod machine;
mod maintenance;
mod metrics;
mod quota;
mod recovery;
mod snapshot;
mod watch;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chainfire_engine::{Engine, EtcdError, auth::Passwords};
use photon_proto::{
    etcdserverpb::ResponseHeader,
    photon::chainfire::command::v1::{Command, Reply, SetIdentity, command::Op, reply},
};
use photon_raft::{Group, Role, Status};
use prost::Message as _;
use tokio::{sync::watch as channel, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub(crate) use self::kv::AnswerLimit;
pub use self::{
    caller::{Caller, Credentials},
    cluster::{Address, NewMember, retired},
    leader::LeaderDesk,
    machine::Machine,
    maintenance::{ETCD_VERSION, NodeStatus, OUT_OF_SPACE, RECOVERING, REMOVED},
    snapshot::Snapshot,
    watch::{WatchRefused, WatchSession, WatchUpdates, lost_rights},
};
use self::{leadership::Leadership, metrics::Counts, recovery::Recovery};
use crate::config::{Config, MAX_ID};

/// Where a node really listens, which the configuration leaves open for port 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// REST.
    pub rest: SocketAddr,
    /// etcd v3 and native gRPC.
    pub grpc: SocketAddr,
    /// Other members.
    pub peer: SocketAddr,
}

/// The store of one node as its doors see it.
pub struct App {
    config: Config,
    addresses: Addresses,
    engine: Engine,
    group: Group<Machine>,
    desk: Arc<LeaderDesk>,
    /// The newest Raft status; borrowed on every request, so never held across an await.
    raft: channel::Receiver<Status>,
    leadership: Leadership,
    recovery: Recovery,
    counts: Counts,
    proposals: AtomicUsize,
    /// The cluster's id once it is known: asking the engine would copy the incarnation with every answer.
    cluster_id: AtomicU64,
    passwords: Passwords,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("node_id", &self.config.node_id)
            .finish_non_exhaustive()
    }
}

/// What became of a command that was applied.
struct Applied {
    revision: i64,
    index: u64,
    term: u64,
    result: Option<reply::Result>,
}

impl App {
    /// Puts the pieces together; [`crate::run::start`] is the only caller outside tests.
    pub(crate) fn new(
        config: Config,
        addresses: Addresses,
        engine: Engine,
        group: Group<Machine>,
        desk: Arc<LeaderDesk>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            raft: group.watch(),
            leadership: Leadership::new(),
            recovery: Recovery::new(),
            counts: Counts::default(),
            proposals: AtomicUsize::new(0),
            cluster_id: AtomicU64::new(0),
            passwords: Passwords::new(HASHING_AT_ONCE),
            tasks: TaskTracker::new(),
            config,
            addresses,
            engine,
            group,
            desk,
            stop,
        })
    }

    /// The settings this node runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where this node listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The Raft status as of now, as it is told to others: a leader that no quorum has confirmed for an election
    /// timeout is none, neither here nor elsewhere, and neither is one that has been removed since.
    pub fn raft_status(&self) -> Status {
        let mut status = self.group.status();
        match status.role {
            Role::Leader if self.group.leads_with_quorum() => {}
            Role::Leader => {
                status.role = Role::Follower;
                status.leader = None;
            }
            _ if self.has_leader() => {}
            _ => status.leader = None,
        }
        // A learner that does not know the members yet knows the leader before them.
        let gone = |leader| {
            !status.members.is_empty() && status.members.iter().all(|m| m.node_id != leader)
        };
        if status.leader.is_some_and(gone) {
            status.leader = None;
        }
        status
    }

    /// Whether there is a leader with a quorum, by the freshest that is known: the leader itself notices first when
    /// it has lost its quorum.
    pub fn is_led(&self) -> bool {
        let leads = self.raft.borrow().role == Role::Leader;
        self.has_leader() && (!leads || self.group.leads_with_quorum())
    }

    /// Cancelled when the node stops: streams end then.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether this member can serve linearizable reads, tried now.
    ///
    /// # Errors
    /// No leader, timeout, or a learner.
    pub async fn ready(&self) -> Result<(), EtcdError> {
        self.linearize().await
    }

    /// Runs a task that the node waits for when it stops; it has to watch [`App::stopping`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Follows the Raft status: leadership, term, members.
    pub(crate) fn raft_watch(&self) -> channel::Receiver<Status> {
        self.raft.clone()
    }

    pub(crate) fn desk(&self) -> &LeaderDesk {
        &self.desk
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// When a request that starts now has to be answered.
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout()
    }

    /// A header with this node's ids, the store's present revision and the term.
    fn header(&self) -> ResponseHeader {
        self.header_at(self.engine.revision())
    }

    /// A header that reports `revision`.
    pub(crate) fn header_at(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id(),
            member_id: self.config.node_id,
            revision,
            raft_term: self.raft.borrow().term,
        }
    }

    /// 0 until a joining node has received it.
    fn cluster_id(&self) -> u64 {
        let known = self.cluster_id.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let id = self.engine.identity().cluster_id;
        self.cluster_id.store(id, Ordering::Relaxed);
        id
    }

    /// Members that do not vote yet answer only status and serializable reads, as in etcd.
    fn require_voter(&self) -> Result<(), EtcdError> {
        if self.raft.borrow().is_learner {
            self.require_cluster()?;
            return Err(EtcdError::NOT_SUPPORTED_FOR_LEARNER);
        }
        Ok(())
    }

    /// A node that waits for a cluster to add it has no data, which is not to be taken for an empty store.
    fn require_cluster(&self) -> Result<(), EtcdError> {
        if self.cluster_id() == 0 {
            return Err(NOT_JOINED);
        }
        Ok(())
    }

    /// Returns when a local read shows everything acknowledged before the call.
    async fn linearize(&self) -> Result<(), EtcdError> {
        self.require_voter()?;
        self.group
            .read_index(self.deadline())
            .await
            .map_err(|error| from_raft(&error))
    }

    /// Replicates one command and waits until this node has applied it.
    ///
    /// # Errors
    /// What applying it refused; `request is too large`; `too many requests`; a timeout, after which the
    /// command may still be applied.
    async fn propose(&self, caller: &Caller, op: Op) -> Result<Applied, EtcdError> {
        self.require_voter()?;
        let command = Command {
            caller: caller.to_command(),
            op: Some(op),
        };
        if command.encoded_len() > self.config.limits.request_bytes {
            return Err(EtcdError::REQUEST_TOO_LARGE);
        }
        let _slot = self.proposal_slot()?;
        let applied = self
            .group
            .propose(Bytes::from(command.encode_to_vec()), self.deadline())
            .await
            .map_err(|error| {
                self.counts.proposal_failed();
                from_raft(&error)
            })?;
        let Reply { revision, result } = applied.reply;
        match result {
            Some(reply::Result::Failure(failure)) => {
                Err(EtcdError::from_parts(failure.code, failure.message))
            }
            result => Ok(Applied {
                revision,
                index: applied.index,
                term: applied.term,
                result,
            }),
        }
    }

    /// A command of ChainFire's own, or one that answers only that it was done.
    async fn propose_done(&self, caller: &Caller, op: Op) -> Result<ResponseHeader, EtcdError> {
        let applied = self.propose(caller, op).await?;
        Ok(self.header_of(&applied))
    }

    fn header_of(&self, applied: &Applied) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id(),
            member_id: self.config.node_id,
            revision: applied.revision,
            raft_term: applied.term,
        }
    }

    fn proposal_slot(&self) -> Result<ProposalSlot<'_>, EtcdError> {
        let slot = ProposalSlot(&self.proposals);
        if self.proposals.fetch_add(1, Ordering::Relaxed) >= self.config.limits.proposals_in_flight
        {
            return Err(EtcdError::REQUEST_TOO_MANY_REQUESTS);
        }
        Ok(slot)
    }

    /// Gives a new cluster its identity, once: returns when it has one. Called on the node that made the cluster.
    pub(crate) async fn ensure_identity(&self, deadline: Instant) -> Result<(), EtcdError> {
        while self.cluster_id() == 0 {
            let identity = Op::SetIdentity(SetIdentity {
                cluster_id: rand::random_range(1..MAX_ID),
                incarnation: Uuid::new_v4().to_string(),
            });
            let applied = self.propose(&Caller::SYSTEM, identity).await;
            if self.cluster_id() != 0 {
                break;
            }
            // A fresh node is a learner until it has voted for itself.
            if Instant::now() >= deadline {
                return applied.map(|_| ()).and(Err(EtcdError::TIMEOUT));
            }
            tokio::time::sleep(TICK / 25).await;
        }
        Ok(())
    }

    /// Starts the loops that act for the whole cluster while this node leads, and those of this node alone.
    pub(crate) fn start_loops(self: &Arc<Self>) {
        self.tasks
            .spawn(lease::expire_while_leading(Arc::clone(self)));
        self.tasks
            .spawn(compaction::compact_while_leading(Arc::clone(self)));
        self.tasks.spawn(leadership::probe(Arc::clone(self)));
        self.tasks.spawn(recovery::recover(Arc::clone(self)));
        self.tasks.spawn(metrics::count_leaders(Arc::clone(self)));
    }

    /// Waits for the loops, which end when the stop token given to [`App::new`] is cancelled.
    pub(crate) async fn join_loops(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One of the proposals that may be under way at once.
struct ProposalSlot<'a>(&'a AtomicUsize);

impl Drop for ProposalSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Raft's failures in etcd's words. What may have been applied is `Unavailable`: etcd's clients retry a
/// write only on failures that are certain.
fn from_raft(error: &photon_raft::Error) -> EtcdError {
    use photon_raft::Error;
    match error {
        Error::NoLeader => EtcdError::NO_LEADER,
        Error::NoQuorum | Error::Timeout => EtcdError::TIMEOUT,
        Error::Unknown => EtcdError::TIMEOUT_DUE_TO_LEADER_FAIL,
        Error::Overloaded => EtcdError::REQUEST_TOO_MANY_REQUESTS,
        Error::TooLarge { .. } => EtcdError::REQUEST_TOO_LARGE,
        Error::MemberNotFound(_) => EtcdError::MEMBER_NOT_FOUND,
        Error::Stopped => EtcdError::STOPPED,
        other => internal(other),
    }
}

/// An answer whose kind does not fit its command: a defect of this build, reported and not papered over.
fn unexpected_reply() -> EtcdError {
    EtcdError {
        code: tonic::Code::Internal as i32,
        message: "chainfire: the state machine answered another kind of command".into(),
    }
}

/// A blocking read of the engine that may take long, away from the threads that serve requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EtcdError> + Send + 'static,
) -> Result<T, EtcdError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(internal(&error)),
    }
}

/// A failure of this node; the cause is logged here, where it leaves the store.
fn internal(error: &dyn std::error::Error) -> EtcdError {
    tracing::error!(%error, "internal failure");
    EtcdError {
        code: tonic::Code::Internal as i32,
        message: "chainfire: internal error".into(),
    }
}

/// The answer of a node that has received nothing of a cluster yet.
const NOT_JOINED: EtcdError = EtcdError::new(
    tonic::Code::Unavailable as i32,
    "chainfire: this node is not part of a cluster yet",
);

/// How long a loop of the leader rests between two looks.
const TICK: Duration = Duration::from_millis(500);

/// Passwords hashed at once; each takes some 20 MB and a core.
const HASHING_AT_ONCE: usize = 4;
