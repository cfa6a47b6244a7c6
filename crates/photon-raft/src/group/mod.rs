//! One node's handle on a group: start, propose, read, change members, stop.
//!
//! ```text
//!  propose   -> here if this node leads (openraft), else over the peer connection (forward.rs)
//!  read_index-> one round for all that wait: a quorum confirms the leader, then wait for apply (read.rs)
//!  members   -> at the leader, one change at a time (members.rs)
//!  peers     -> what other members ask of this one (peer.rs)
//! ```

mod forward;
#[cfg(test)]
mod interrupted;
mod leader;
mod members;
mod peer;
mod propose;
mod read;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use openraft::{
    Instant as _, Raft, ServerState, SnapshotPolicy, StepDownPolicy,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, InitializeError, RaftError},
};
use tokio::{
    sync::{Mutex, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Error, LeaderService, Member, NodeId, Role, StateMachine, Status, Transport,
    failure::{Attempt, Refusal},
    log::LogStore,
    machine::{Machine, Progress},
    offline,
    snapshot::Scratch,
    transport::{AddressBook, Caller, NetworkFactory},
    types::{LogId, TypeConfig},
};

/// A command's place in the log and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<R> {
    /// Index of the log entry.
    pub index: u64,
    /// Term of the log entry.
    pub term: u64,
    /// What the state machine answered.
    pub reply: R,
}

/// One node's handle on a group. Clone is cheap. Ends with [`Group::shutdown`], not by dropping.
pub struct Group<S: StateMachine>(Arc<Shared<S>>);

impl<S: StateMachine> Clone for Group<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How often the watched status is looked at when nothing announces a change.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// How often it follows the indexes of a busy log.
const INDEXES_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Shared<S: StateMachine> {
    config: Config,
    raft: Raft<TypeConfig, Machine<S>>,
    progress: Arc<Progress<S>>,
    log: LogStore,
    scratch: Arc<Scratch>,
    transport: Transport,
    book: Arc<AddressBook>,
    caller: Arc<Caller>,
    service: Arc<dyn LeaderService>,
    status: watch::Sender<Status>,
    /// Proposals of this node that wait.
    waiting: Semaphore,
    forward: forward::Queue,
    proposals: Arc<propose::Proposals<S::Reply>>,
    reads: read::Rounds,
    /// One membership change at a time.
    changing: Arc<Mutex<()>>,
    /// One snapshot is received at a time.
    receiving: Mutex<()>,
    stop: CancellationToken,
}

fn openraft_config(config: &Config) -> Result<openraft::Config, Error> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: config.group.clone(),
        heartbeat_interval: ms(config.heartbeat),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        enable_pre_vote: Some(true),
        // A leader that restarts asks for votes like anybody else: what it had applied may be behind
        // what it had acknowledged.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.keep_entries,
        // Must exceed the distance of two snapshots, or a snapshot may not bring a follower near enough.
        replication_lag_threshold: config
            .snapshot_every
            .saturating_add(config.keep_entries)
            .saturating_add(1),
        max_payload_entries: 4096,
        removed_leader_step_down: StepDownPolicy::After(ms(config.heartbeat)),
        backoff: "50ms 100ms 200ms ...1s".to_owned(),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| Error::Invalid(error.to_string()))
}

impl<S: StateMachine> Group<S> {
    /// Opens the log, applies what is known to be committed, and takes part in the group. A node that
    /// was never bootstrapped nor added waits to be added.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the configuration; [`Error::Storage`] when the data on disk is damaged
    /// or is another node's.
    pub async fn start(
        config: Config,
        state_machine: Arc<S>,
        transport: Transport,
        service: Arc<dyn LeaderService>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let caller = Caller::new(&config.group, config.node_id, config.cluster.clone())?;
        let caller = Arc::new(caller);
        let raft_config = openraft_config(&config)?;
        let storage = |error: std::io::Error| Error::Storage(error.to_string());

        let scratch = Arc::new(Scratch::open(config.data_dir.join("snapshot")).map_err(storage)?);
        let log = {
            let (dir, node_id, file, cache) = (
                config.data_dir.join("raft"),
                config.node_id,
                config.log_file_bytes,
                config.log_cache_bytes,
            );
            tokio::task::spawn_blocking(move || LogStore::open(&dir, node_id, file, cache))
                .await
                .map_err(|error| Error::Storage(error.to_string()))??
        };
        let (mut machine, progress) =
            Machine::start(state_machine, config.snapshot_every_bytes).map_err(storage)?;
        let started = async {
            if log.outline().map_err(storage)?.vote.is_none() {
                offline::no_log(&config.data_dir.join("raft"), machine.mark())?;
            }
            machine.replay(&log).await.map_err(storage)?;
            let book = Arc::new(AddressBook::default());
            let network = NetworkFactory {
                caller: caller.clone(),
                node_id: config.node_id,
                connections: transport.connections().clone(),
                book: book.clone(),
                checkpoint: {
                    let progress = progress.clone();
                    Arc::new(move |dir| progress.state_machine.checkpoint(dir))
                },
                scratch: scratch.clone(),
                stall: config.snapshot_stall,
            };
            let raft = Raft::new(
                config.node_id,
                Arc::new(raft_config),
                network,
                log.clone(),
                machine,
            )
            .await
            .map_err(|error| Error::Storage(error.to_string()))?;
            Ok::<_, Error>((raft, book))
        };
        let (raft, book) = match started.await {
            Ok(started) => started,
            Err(error) => {
                log.close();
                return Err(error);
            }
        };
        progress.serve();

        let (forward, forward_inbox) = forward::queue(config.max_waiting);
        let (reads, read_inboxes) = read::rounds();
        let shared = Arc::new(Shared {
            waiting: Semaphore::new(config.max_waiting),
            config,
            raft,
            progress,
            log,
            scratch,
            transport,
            book,
            caller,
            service,
            status: watch::Sender::default(),
            forward,
            proposals: Arc::default(),
            reads,
            changing: Arc::default(),
            receiving: Mutex::default(),
            stop: CancellationToken::new(),
        });
        shared.publish();
        if let Err(error) = shared
            .transport
            .register(&shared.config.group, shared.clone())
        {
            Group(shared).stop().await;
            return Err(error);
        }
        shared.spawn(Shared::follow_status);
        shared.spawn(Shared::flush_on_bytes);
        shared.spawn(Shared::finish_changes);
        shared.spawn(Shared::write_when_due);
        shared.spawn(|shared| forward::run(shared, forward_inbox));
        shared.spawn(|shared| read::run_local(shared, read_inboxes.local));
        shared.spawn(|shared| read::run_remote(shared, read_inboxes.remote));
        Ok(Self(shared))
    }

    /// Makes a new cluster of this one node. Does nothing on a node that has been part of one.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn bootstrap(&self) -> Result<(), Error> {
        let config = &self.0.config;
        let me = Member {
            node_id: config.node_id,
            name: config.name.clone(),
            peer_address: config.advertise_peer.clone(),
            client_addresses: config.advertise_client.clone(),
            learner: false,
            promote: false,
        };
        match self
            .0
            .raft
            .initialize(BTreeMap::from([(config.node_id, me.node(&Arc::default()))]))
            .await
        {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::Invalid(error.to_string())),
            Err(RaftError::Fatal(_)) => Err(Error::Stopped),
        }
    }

    /// Replicates `command` and returns what the state machine answered. On a member that does not
    /// lead it is forwarded, and returns when this member has applied it too (or at the deadline).
    ///
    /// # Errors
    /// Unless the error is [`Error::Unknown`], the command was not and will not be applied.
    /// Dropping the future leaves the outcome unknown.
    pub async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Applied<S::Reply>, Error> {
        let limit = self.0.config.max_command_bytes;
        if command.len() > limit {
            return Err(Error::TooLarge {
                size: command.len(),
                limit,
            });
        }
        let _waiting = self
            .0
            .waiting
            .try_acquire()
            .map_err(|_| Error::Overloaded)?;
        let shared = &self.0;
        let mut search = shared.search(deadline);
        loop {
            let leader = search.leader().await?;
            let attempt = if leader == shared.config.node_id {
                shared.propose_here(command.clone(), deadline).await
            } else {
                shared
                    .propose_there(leader, command.clone(), deadline)
                    .await
            };
            if let Some(applied) = search.settle(attempt).await? {
                return Ok(applied);
            }
        }
    }

    /// Returns when reads of the local state machine see every command acknowledged before this call.
    ///
    /// # Errors
    /// [`Error::NoLeader`] or [`Error::NoQuorum`] when that could not be established by the deadline.
    pub async fn read_index(&self, deadline: Instant) -> Result<(), Error> {
        self.0.read_index(deadline).await
    }

    /// Has the leader's [`LeaderService`] answer `request`; not replicated.
    ///
    /// # Errors
    /// [`Error::Service`] with the service's own words; [`Error::Unknown`] when the leader was asked
    /// and did not answer.
    pub async fn call_leader(&self, request: Bytes, deadline: Instant) -> Result<Bytes, Error> {
        let shared = &self.0;
        let mut search = shared.search(deadline);
        loop {
            let leader = search.leader().await?;
            let attempt = if leader == shared.config.node_id {
                shared.call_here(request.clone(), deadline).await
            } else {
                shared.call_there(leader, request.clone(), deadline).await
            };
            if let Some(reply) = search.settle(attempt).await? {
                return Ok(reply);
            }
        }
    }

    /// What this node knows now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.current_status()
    }

    /// Follows the status; a receiver sees the newest, not every one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// Waits until everything this node's log holds from before a restart is applied, so that local
    /// reads do not show an older state than before. A node that is in no cluster yet has nothing to wait for.
    ///
    /// # Errors
    /// [`Error::NoLeader`] when no leader confirmed the log by the deadline, [`Error::Stopped`].
    pub async fn recovered(&self, deadline: Instant) -> Result<(), Error> {
        let initialized = self.0.raft.is_initialized().await;
        if !initialized.map_err(|_| Error::Stopped)? {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.0
            .raft
            .wait_for_recovery(Some(left))
            .await
            .map(drop)
            .map_err(|_| Error::NoLeader)
    }

    /// Whether this node leads and a quorum has confirmed that within the longest election timeout. Costs nothing;
    /// [`Group::status`] may name a leader that has lost its quorum.
    #[must_use]
    pub fn leads_with_quorum(&self) -> bool {
        self.0.leads_with_quorum()
    }

    /// Who should lead when this node goes away: a voter that answered lately and has the most of the log. `None`
    /// when this node does not lead, or nobody answers.
    #[must_use]
    pub fn successor(&self) -> Option<NodeId> {
        self.0.leads_with_quorum().then(|| self.0.successor())?
    }

    /// Proves that this node leads: a quorum has confirmed it after this call.
    ///
    /// # Errors
    /// [`Error::NoLeader`] when it does not lead, [`Error::NoQuorum`] when nobody confirmed it in time.
    pub async fn lead_confirmed(&self, deadline: Instant) -> Result<(), Error> {
        match tokio::time::timeout_at(deadline, self.0.reads.local()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Refusal::NotLeader(_))) => Err(Error::NoLeader),
            Ok(Err(Refusal::NoQuorum)) | Err(_) => Err(Error::NoQuorum),
            Ok(Err(Refusal::Failed(error))) => Err(error),
        }
    }

    /// Flushes the state machine, after which the log behind it may be purged.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn snapshot(&self) -> Result<(), Error> {
        self.0
            .raft
            .trigger()
            .snapshot()
            .await
            .map_err(|_| Error::Stopped)
    }

    /// fdatasync calls of the log since the start; many proposals share one.
    #[must_use]
    pub fn fsyncs(&self) -> u64 {
        self.0.log.fsyncs()
    }

    /// Stops this node's part and closes its log. Proposals that wait end with [`Error::Unknown`].
    pub async fn shutdown(&self) {
        self.stop().await;
    }

    async fn stop(&self) {
        let shared = &self.0;
        shared.stop.cancel();
        shared.transport.unregister(&shared.config.group);
        if let Err(error) = shared.raft.shutdown().await {
            tracing::error!(%error, "raft did not end cleanly");
        }
        let (progress, log) = (shared.progress.clone(), shared.log.clone());
        let closed = tokio::task::spawn_blocking(move || {
            progress.join();
            log.close();
        });
        if closed.await.is_err() {
            tracing::error!("closing the log panicked");
        }
        shared.publish();
    }
}

impl<S: StateMachine> Shared<S> {
    /// Runs a task until the group stops.
    fn spawn<F>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let running = task(self.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = running => {}
            }
        });
    }

    fn applied(&self) -> Option<LogId> {
        *self.progress.applied.borrow()
    }

    /// Waits until the entry is applied here; `false` at the deadline.
    async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.progress.applied.subscribe();
        let reached = applied.wait_for(|id| id.is_some_and(|id| id.index >= index));
        tokio::select! {
            result = tokio::time::timeout_at(deadline, reached) => matches!(result, Ok(Ok(_))),
            () = self.stop.cancelled() => false,
        }
    }

    async fn call_here(&self, request: Bytes, deadline: Instant) -> Attempt<Bytes> {
        match tokio::time::timeout_at(deadline, self.service.handle(request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(Error::Service(error.to_string()).into()),
            Err(_) => Err(Error::Unknown.into()),
        }
    }

    fn leads_with_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader || self.stop.is_cancelled() {
            return false;
        }
        let mut voters = metrics.membership_config.membership().voter_ids();
        let alone = voters.all(|id| id == self.config.node_id);
        let lately = self.config.election_max;
        alone
            || metrics
                .last_quorum_acked
                .is_some_and(|at| at.elapsed() < lately)
    }

    fn current_status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: std::collections::BTreeSet<NodeId> = membership.voter_ids().collect();
        let members: Vec<Member> = membership
            .nodes()
            .map(|(id, node)| Member::from_node(*id, node, !voters.contains(id)))
            .collect();
        let retired = || crate::codec::retired(membership).contains(&self.config.node_id);
        let removed = self.caller.was_removed() || retired();
        let stopped = metrics.running_state.is_err() || self.stop.is_cancelled();
        let joined = members
            .iter()
            .any(|member| member.node_id == self.config.node_id);
        Status {
            node_id: self.config.node_id,
            term: metrics.current_term,
            role: match metrics.state {
                _ if stopped => Role::Stopped,
                ServerState::Leader => Role::Leader,
                _ if removed => Role::Removed,
                ServerState::Candidate => Role::Candidate,
                ServerState::Follower => Role::Follower,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Stopped,
            },
            leader: metrics.current_leader,
            last_log: metrics.last_log_index.unwrap_or_default(),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: self.applied().map_or(0, |id| id.index),
            purged: metrics.purged.map_or(0, |id| id.index),
            is_learner: !voters.contains(&self.config.node_id),
            joined: joined && !removed,
            changing: membership.get_joint_config().len() > 1,
            members,
        }
    }

    fn publish(&self) {
        let status = self.current_status();
        let mut voters = status.members.iter().filter(|member| !member.learner);
        let mine = |member: &Member| member.node_id == self.config.node_id;
        // Learners are not waited for, so replication to them may begin behind the write.
        let alone = !status.changing && voters.next().is_some_and(mine) && voters.next().is_none();
        self.log.write_at_once(alone);
        self.proposals.set_alone(alone);
        for member in &status.members {
            self.book.set(member.node_id, &member.peer_address);
        }
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            if changed {
                *known = status;
            }
            changed
        });
    }

    /// Keeps the watched status and the address book up to date: at once when a role, the leader, the term or the
    /// members change, and every [`INDEXES_EVERY`] when only indexes do, which under load is with every entry.
    async fn follow_status(self: Arc<Self>) {
        let mut outline = self.raft.server_metrics();
        let mut applied = self.progress.applied.subscribe();
        loop {
            self.publish();
            tokio::select! {
                changed = outline.changed() => if changed.is_err() { break },
                // What is learned from others' refusals, and the rest that raft does not announce.
                () = tokio::time::sleep(STATUS_EVERY) => {}
                changed = applied.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    // Other entries follow soon under load, and every wake costs.
                    let soon = tokio::time::sleep(INDEXES_EVERY);
                    tokio::select! {
                        changed = outline.changed() => if changed.is_err() { break },
                        () = soon => {}
                    }
                    applied.mark_unchanged();
                }
            }
        }
        self.publish();
    }

    /// The snapshot policy counts entries; large ones need it earlier.
    async fn flush_on_bytes(self: Arc<Self>) {
        loop {
            self.progress.many_bytes.notified().await;
            if self.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }
}

/// What openraft's refusal of a write means.
fn refused(error: ClientWriteError<TypeConfig>) -> Refusal {
    match error {
        ClientWriteError::ForwardToLeader(to) => Refusal::NotLeader(to.leader_id),
        // It was in the log, and another leader may have kept it.
        ClientWriteError::LogEntryDiscarded(_) => Refusal::Failed(Error::Unknown),
        ClientWriteError::ChangeMembershipError(error) => Refusal::Failed(members::refused(&error)),
        ClientWriteError::PreconditionFailed(error) => {
            Refusal::Failed(Error::Invalid(error.to_string()))
        }
    }
}
