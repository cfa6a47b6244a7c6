//! Proposals at the leader.
//!
//! Those that wait together become one entry of the log, so that consensus, fsync and apply cost once what they
//! would cost each. When to stop collecting is Nagle's rule (RFC 896): nothing is on its way, or as much waits
//! as is on its way. A lone proposal never waits; under load the entries grow until two of them alternate. A node that
//! is its own quorum has no network to fill: there one entry is on its way, and the next collects.

use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{Applied, Shared, refused};
use crate::{
    Error, StateMachine,
    failure::{Attempt, Refusal},
    types::{Commands, Respond, TypeConfig},
};

/// Entries on their way at once; commands in one, and bytes in one (a larger command goes alone).
const ENTRIES: usize = 8;
const COMMANDS: usize = 1024;
const BYTES: usize = 1 << 20;

/// Where a proposal's outcome is left.
type Done<R> = oneshot::Sender<Attempt<Applied<R>>>;

struct Waiting<R> {
    ticket: u64,
    command: Bytes,
    done: Done<R>,
}

/// Proposals that wait, and how much is on its way.
pub(super) struct Proposals<R> {
    state: Mutex<State<R>>,
    /// Rung when something came back and more is due.
    due: Notify,
}

struct State<R> {
    waiting: Vec<Waiting<R>>,
    /// Of everything in `waiting`.
    bytes: usize,
    next_ticket: u64,
    /// On their way: entries, and the commands in them.
    entries: usize,
    commands: usize,
    alone: bool,
}

impl<R> Default for Proposals<R> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                bytes: 0,
                next_ticket: 0,
                entries: 0,
                commands: 0,
                alone: false,
            }),
            due: Notify::new(),
        }
    }
}

/// What one entry carries.
struct Batch<R> {
    commands: Vec<Bytes>,
    done: Vec<Done<R>>,
}

impl<R> State<R> {
    fn push(&mut self, command: Bytes, done: Done<R>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.bytes += command.len();
        self.waiting.push(Waiting {
            ticket,
            command,
            done,
        });
        ticket
    }

    fn is_due(&self) -> bool {
        let many = self.commands.min(COMMANDS);
        let entries = if self.alone { 1 } else { ENTRIES };
        !self.waiting.is_empty()
            && self.entries < entries
            && (self.waiting.len() >= many || self.bytes >= BYTES)
    }

    /// The next entry, if it is due. Whoever has given up is left out.
    fn take(&mut self) -> Option<Batch<R>> {
        if !self.is_due() {
            return None;
        }
        let mut bytes = 0;
        let fits = self.waiting.iter().take(COMMANDS).take_while(|waiting| {
            let first = bytes == 0;
            bytes += waiting.command.len().max(1);
            first || bytes <= BYTES
        });
        let count = fits.count();
        let mut batch = Batch {
            commands: Vec::with_capacity(count),
            done: Vec::with_capacity(count),
        };
        for waiting in self.waiting.drain(..count) {
            self.bytes -= waiting.command.len();
            if !waiting.done.is_closed() {
                batch.commands.push(waiting.command);
                batch.done.push(waiting.done);
            }
        }
        if batch.commands.is_empty() {
            return self.take();
        }
        self.entries += 1;
        self.commands += batch.commands.len();
        Some(batch)
    }

    /// Takes a proposal back; false if it is on its way already.
    fn withdraw(&mut self, ticket: u64) -> bool {
        let Ok(place) = self
            .waiting
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
        else {
            return false;
        };
        self.bytes -= self.waiting.remove(place).command.len();
        true
    }
}

impl<R: Send + 'static> Proposals<R> {
    /// Whether this node is its own quorum.
    pub(super) fn set_alone(&self, alone: bool) {
        self.state.lock().alone = alone;
    }

    /// Tells those who proposed, and makes room for the next.
    fn land(&self, done: Vec<Done<R>>, result: Option<ClientWriteResult<TypeConfig>>) {
        let due = {
            let mut state = self.state.lock();
            state.entries -= 1;
            state.commands -= done.len();
            state.is_due()
        };
        if due {
            self.due.notify_one();
        }
        let refusal = match result {
            Some(Ok(response)) => {
                let (index, term) = (response.log_id.index, response.log_id.leader_id.term);
                match response.data.take::<Vec<R>>() {
                    Some(replies) if replies.len() == done.len() => {
                        for (done, reply) in done.into_iter().zip(replies) {
                            // Whoever has given up is not told.
                            drop(done.send(Ok(Applied { index, term, reply })));
                        }
                        return;
                    }
                    _ => Error::Storage("the state machine gave no reply".to_owned()).into(),
                }
            }
            Some(Err(error)) => refused(error),
            // It may have been written before raft ended.
            None => Refusal::Failed(Error::Unknown),
        };
        for done in done {
            drop(done.send(Err(refusal.clone())));
        }
    }
}

impl<S: StateMachine> Shared<S> {
    /// One proposal at this node, if it leads.
    pub(super) async fn propose_here(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Attempt<Applied<S::Reply>> {
        let (done, outcome) = oneshot::channel();
        let ticket = self.proposals.state.lock().push(command, done);
        self.write_due().await;
        self.outcome(ticket, outcome, deadline).await
    }

    /// Several proposals at once, each with its own deadline; as [`Shared::propose_here`].
    pub(super) async fn propose_all(
        &self,
        proposals: impl Iterator<Item = (Bytes, Instant)>,
    ) -> Vec<Attempt<Applied<S::Reply>>> {
        let pushed: Vec<_> = {
            let mut state = self.proposals.state.lock();
            proposals
                .map(|(command, deadline)| {
                    let (done, outcome) = oneshot::channel();
                    (state.push(command, done), outcome, deadline)
                })
                .collect()
        };
        self.write_due().await;
        let mut outcomes = Vec::with_capacity(pushed.len());
        for (ticket, outcome, deadline) in pushed {
            outcomes.push(self.outcome(ticket, outcome, deadline).await);
        }
        outcomes
    }

    async fn outcome(
        &self,
        ticket: u64,
        outcome: oneshot::Receiver<Attempt<Applied<S::Reply>>>,
        deadline: Instant,
    ) -> Attempt<Applied<S::Reply>> {
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(outcome) => outcome.unwrap_or(Err(Refusal::Failed(Error::Unknown))),
            // What went before it has not been answered in time either.
            Err(_) if self.proposals.state.lock().withdraw(ticket) => Err(Refusal::NoQuorum),
            Err(_) => Err(Error::Unknown.into()),
        }
    }

    /// Writes every entry that is due.
    async fn write_due(&self) {
        loop {
            // A statement of its own, so that the lock is not held while writing.
            let batch = self.proposals.state.lock().take();
            let Some(Batch { commands, done }) = batch else {
                return;
            };
            let proposals = Arc::clone(&self.proposals);
            let respond = Respond::with(move |result| proposals.land(done, result));
            // An error drops `respond`, which tells those who wait.
            drop(
                self.raft
                    .client_write_ff(Commands::new(commands), Some(respond))
                    .await,
            );
        }
    }

    /// Writes what became due when something came back.
    pub(super) async fn write_when_due(self: Arc<Self>) {
        loop {
            self.proposals.due.notified().await;
            self.write_due().await;
        }
    }
}
