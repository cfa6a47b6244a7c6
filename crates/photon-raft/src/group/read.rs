//! Linearizable reads.
//!
//! All reads that wait share one round, in which a quorum confirms the leader; the round's index is
//! then waited for locally. A round that began before a read arrived is never used for it: the
//! quorum might have confirmed a leader that was replaced in between.

use std::{sync::Arc, time::Duration};

use openraft::{
    ServerState,
    async_runtime::watch::WatchReceiver,
    errors::{LinearizableReadError, RaftError},
    raft::linearizable_read::LinearizerOption,
};
use photon_proto::photon::raft::v1 as pb;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Shared, forward::timeout_ms};
use crate::{
    Error, NodeId, StateMachine,
    failure::{Attempt, Refusal, get_refusal},
    transport::with_deadline,
};

/// Reads that share one round at most; more wait for the next.
const SHARE: usize = 65_536;

type Waiting = oneshot::Sender<Attempt<u64>>;

/// Where reads wait: for a round at this node, or for one at the leader elsewhere.
pub(super) struct Rounds {
    local: mpsc::Sender<Waiting>,
    remote: mpsc::Sender<(NodeId, Waiting)>,
}

pub(super) struct Inboxes {
    pub(super) local: mpsc::Receiver<Waiting>,
    pub(super) remote: mpsc::Receiver<(NodeId, Waiting)>,
}

pub(super) fn rounds() -> (Rounds, Inboxes) {
    let (local, local_inbox) = mpsc::channel(SHARE);
    let (remote, remote_inbox) = mpsc::channel(SHARE);
    (
        Rounds { local, remote },
        Inboxes {
            local: local_inbox,
            remote: remote_inbox,
        },
    )
}

impl Rounds {
    /// The index a read must see, confirmed by a quorum after this call; only at the leader.
    pub(super) async fn local(&self) -> Attempt<u64> {
        let (done, index) = oneshot::channel();
        self.local.send(done).await.map_err(|_| Error::Stopped)?;
        index.await.map_err(|_| Error::Stopped)?
    }

    async fn remote(&self, leader: NodeId) -> Attempt<u64> {
        let (done, index) = oneshot::channel();
        self.remote
            .send((leader, done))
            .await
            .map_err(|_| Error::Stopped)?;
        index.await.map_err(|_| Error::Stopped)?
    }
}

/// An answer for each of those who waited.
fn share(result: &Attempt<u64>) -> Attempt<u64> {
    match result {
        Ok(index) => Ok(*index),
        Err(Refusal::NotLeader(leader)) => Err(Refusal::NotLeader(*leader)),
        Err(Refusal::NoQuorum) => Err(Refusal::NoQuorum),
        Err(Refusal::Failed(error)) => Err(Refusal::Failed(error.clone())),
    }
}

/// Rounds at this node.
pub(super) async fn run_local<S: StateMachine>(
    shared: Arc<Shared<S>>,
    mut inbox: mpsc::Receiver<Waiting>,
) {
    let mut waiting = Vec::new();
    while inbox.recv_many(&mut waiting, SHARE).await > 0 {
        let result = shared.confirm().await;
        for done in waiting.drain(..) {
            drop(done.send(share(&result)));
        }
    }
}

/// Rounds at the leader elsewhere.
pub(super) async fn run_remote<S: StateMachine>(
    shared: Arc<Shared<S>>,
    mut inbox: mpsc::Receiver<(NodeId, Waiting)>,
) {
    let mut waiting = Vec::new();
    while inbox.recv_many(&mut waiting, SHARE).await > 0 {
        // The newest knows the leader best; whoever asked for another asks again.
        let leader = waiting.last().map_or(0, |(leader, _)| *leader);
        let result = shared.ask(leader).await;
        for (asked, done) in waiting.drain(..) {
            let answer = if asked == leader {
                share(&result)
            } else {
                Err(Refusal::NotLeader(None))
            };
            drop(done.send(answer));
        }
    }
}

impl<S: StateMachine> Shared<S> {
    pub(super) async fn read_index(&self, deadline: Instant) -> Result<(), Error> {
        if self.is_alone() {
            return Ok(());
        }
        let mut search = self.search(deadline);
        let index = loop {
            let leader = search.leader().await?;
            let round = async {
                if leader == self.config.node_id {
                    self.reads.local().await
                } else {
                    self.reads.remote(leader).await
                }
            };
            let attempt = tokio::time::timeout_at(deadline, round)
                .await
                .unwrap_or(Err(Refusal::NoQuorum));
            if let Some(index) = search.settle(attempt).await? {
                break index;
            }
        };
        if self.wait_applied(index, deadline).await {
            return Ok(());
        }
        Err(if self.stop.is_cancelled() {
            Error::Stopped
        } else {
            Error::Timeout
        })
    }

    /// Whether this node is the only voter, leads, and has applied the entry that began its term.
    ///
    /// Then nobody else can have acknowledged anything it has not applied: commands are acknowledged
    /// after they are applied here, and those of earlier terms lie before that entry. Another voter
    /// only counts after this node has taken two membership changes into its log, each of which it
    /// publishes before it can go on.
    fn is_alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader
            || metrics.running_state.is_err()
            || self.stop.is_cancelled()
        {
            return false;
        }
        let voters = metrics.membership_config.membership().get_joint_config();
        let alone = matches!(voters.as_slice(), [only] if only.len() == 1 && only.contains(&self.config.node_id));
        alone
            && self
                .applied()
                .is_some_and(|id| id.leader_id.term == metrics.current_term)
    }

    /// One round at this node.
    async fn confirm(&self) -> Attempt<u64> {
        let option = LinearizerOption::new(Some(Duration::ZERO), true)
            .with_wait_timeout(self.config.election_max);
        match self.raft.get_read_log_id(option).await {
            Ok((read, _)) => Ok(read.index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Err(Refusal::NotLeader(to.leader_id))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(Refusal::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(Error::Stopped.into()),
        }
    }

    /// One round at the leader, asked for from here.
    async fn ask(&self, leader: NodeId) -> Attempt<u64> {
        use pb::read_index_reply::Outcome;
        let nobody = || Refusal::NotLeader(None);
        // Reads have no effect: whatever goes wrong, asking again is safe.
        let deadline = Instant::now() + self.config.election_max * 2;
        let mut client = self.client(leader).ok_or_else(nobody)?;
        let message = pb::ReadIndexRequest {
            timeout_ms: timeout_ms(deadline),
        };
        let message = self.caller.request(message, leader).map_err(|_| nobody())?;
        let reply = with_deadline(deadline, client.read_index(message))
            .await
            .map_err(|status| {
                self.caller.note(leader, &status);
                nobody()
            })?;
        match reply.into_inner().outcome {
            Some(Outcome::Read(id)) => Ok(id.index),
            Some(Outcome::Failure(failure)) => Err(get_refusal(failure)),
            None => Err(nobody()),
        }
    }
}
