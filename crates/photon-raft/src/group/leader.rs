//! Finding the leader, and asking again while that is safe.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Shared;
use crate::{
    Error, NodeId, StateMachine,
    failure::{Attempt, Refusal},
};

/// How long to wait for news of a leader before asking again.
const RETRY: Duration = Duration::from_millis(50);

/// One call's way to the leader: ask [`Search::leader`], try there, [`Search::settle`], again until
/// it is settled.
pub(super) struct Search<'a, S: StateMachine> {
    shared: &'a Shared<S>,
    deadline: Instant,
    /// Who was asked last.
    asked: Option<NodeId>,
    /// Whoever refused may know better than this node.
    hint: Option<NodeId>,
    /// What to say at the deadline.
    failure: Error,
}

impl<S: StateMachine> Shared<S> {
    /// The leader as this node knows it.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader
    }

    pub(super) fn leads(&self) -> bool {
        self.leader() == Some(self.config.node_id)
    }

    pub(super) fn search(&self, deadline: Instant) -> Search<'_, S> {
        Search {
            shared: self,
            deadline,
            asked: None,
            hint: None,
            failure: Error::NoLeader,
        }
    }

    fn has_ended(&self) -> bool {
        self.stop.is_cancelled() || self.raft.metrics().borrow_watched().running_state.is_err()
    }
}

impl<S: StateMachine> Search<'_, S> {
    /// Whom to ask next; waits until somebody is known.
    pub(super) async fn leader(&mut self) -> Result<NodeId, Error> {
        loop {
            if self.shared.has_ended() {
                return Err(Error::Stopped);
            }
            if self.deadline <= Instant::now() {
                return Err(self.failure.clone());
            }
            if let Some(leader) = self.hint.take().or_else(|| self.shared.leader()) {
                self.asked = Some(leader);
                return Ok(leader);
            }
            self.wait().await;
        }
    }

    /// The attempt's result, or `None` when it is certain that nothing was done: then ask again.
    pub(super) async fn settle<T>(&mut self, attempt: Attempt<T>) -> Result<Option<T>, Error> {
        match attempt {
            Ok(done) => return Ok(Some(done)),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::NoQuorum) => self.failure = Error::NoQuorum,
            Err(Refusal::NotLeader(other)) => {
                // A leader that refuses without naming another has lost its quorum.
                let lost = other.is_none() && self.asked == self.shared.leader();
                self.failure = if lost {
                    Error::NoQuorum
                } else {
                    Error::NoLeader
                };
                self.hint = other.filter(|other| Some(*other) != self.asked);
            }
        }
        if self.hint.is_none() {
            self.wait().await;
        }
        Ok(None)
    }

    /// Until something changes, for a short while.
    async fn wait(&self) {
        // Not openraft's own receiver: a copy of it takes everything up to now for news, at once.
        let mut status = self.shared.status.subscribe();
        let news = tokio::time::timeout(RETRY, status.changed());
        // Each way out leads to another look.
        drop(tokio::time::timeout_at(self.deadline, news).await);
    }
}
