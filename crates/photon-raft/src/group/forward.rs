//! Proposals on their way to the leader. Those that wait together share a message: while as many
//! messages as allowed are on their way, the next one collects.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use photon_proto::photon::raft::v1 as pb;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Applied, Shared};
use crate::{
    Error, NodeId, StateMachine, codec,
    failure::{Attempt, Refusal, get_refusal},
    transport::{Class, not_sent, with_deadline},
    types::LogId,
};

/// Messages on their way at once, proposals in one, and bytes in one.
const MESSAGES: usize = 8;
const PROPOSALS: usize = 256;
const BYTES: usize = 4 << 20;

pub(super) struct Waiting {
    leader: NodeId,
    command: Bytes,
    deadline: Instant,
    done: oneshot::Sender<Attempt<(LogId, Bytes)>>,
}

pub(super) struct Queue(mpsc::Sender<Waiting>);

pub(super) fn queue(limit: usize) -> (Queue, mpsc::Receiver<Waiting>) {
    let (tx, rx) = mpsc::channel(limit);
    (Queue(tx), rx)
}

/// Milliseconds until the deadline, at least one.
pub(super) fn timeout_ms(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl<S: StateMachine> Shared<S> {
    /// One proposal at `leader`; then waits until it is applied here as well.
    pub(super) async fn propose_there(
        &self,
        leader: NodeId,
        command: Bytes,
        deadline: Instant,
    ) -> Attempt<Applied<S::Reply>> {
        let (done, outcome) = oneshot::channel();
        let waiting = Waiting {
            leader,
            command,
            deadline,
            done,
        };
        match tokio::time::timeout_at(deadline, self.forward.0.send(waiting)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Error::Stopped.into()),
            Err(_) => return Err(Error::Timeout.into()),
        }
        let outcome = tokio::time::timeout_at(deadline, outcome).await;
        let Ok(Ok(outcome)) = outcome else {
            return Err(Error::Unknown.into());
        };
        let (log_id, reply) = outcome?;
        let reply = self
            .progress
            .state_machine
            .decode_reply(reply)
            .map_err(|error| {
                tracing::error!(%error, "cannot read the leader's reply");
                Error::Unknown
            })?;
        // It is applied at the leader whatever happens here.
        self.wait_applied(log_id.index, deadline).await;
        Ok(Applied {
            index: log_id.index,
            term: log_id.leader_id.term,
            reply,
        })
    }
}

/// Sends what waits: at once if nothing is on its way, else when as much waits as is on its way (as in
/// [`super::propose`]).
pub(super) async fn run<S: StateMachine>(
    shared: Arc<Shared<S>>,
    mut inbox: mpsc::Receiver<Waiting>,
) {
    let mut sending = FuturesUnordered::new();
    let mut on_their_way = 0;
    let mut arrived = Vec::new();
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            Some(count) = sending.next() => on_their_way -= count,
            count = inbox.recv_many(&mut arrived, PROPOSALS) => {
                if count == 0 {
                    return;
                }
                waiting.extend(arrived.drain(..));
            }
        }
        while sending.len() < MESSAGES && waiting.len() >= on_their_way.clamp(1, PROPOSALS) {
            let Some((leader, batch)) = next_message(&mut waiting) else {
                break;
            };
            let count = batch.len();
            on_their_way += count;
            let sent = send(shared.clone(), leader, batch);
            sending.push(async move {
                sent.await;
                count
            });
        }
    }
}

/// As many as fit one message, all to the leader that the first one names.
fn next_message(waiting: &mut VecDeque<Waiting>) -> Option<(NodeId, Vec<Waiting>)> {
    let leader = waiting.front()?.leader;
    let mut bytes = 0;
    let mut batch = Vec::new();
    while batch.len() < PROPOSALS && bytes < BYTES {
        let Some(next) = waiting.pop_front_if(|next| next.leader == leader) else {
            break;
        };
        bytes += next.command.len();
        batch.push(next);
    }
    Some((leader, batch))
}

async fn send<S: StateMachine>(shared: Arc<Shared<S>>, leader: NodeId, mut batch: Vec<Waiting>) {
    // Whoever has given up has been told that the outcome is unknown; not sending it makes it "no".
    batch.retain(|waiting| !waiting.done.is_closed());
    let Some(last) = batch.iter().map(|waiting| waiting.deadline).max() else {
        return;
    };
    let message = pb::ProposeRequest {
        proposals: batch
            .iter()
            .map(|waiting| pb::propose_request::Proposal {
                command: waiting.command.clone(),
                timeout_ms: timeout_ms(waiting.deadline),
            })
            .collect(),
    };
    match call(&shared, leader, message, last).await {
        Ok(reply) => {
            let mut outcomes = reply.outcomes.into_iter();
            for waiting in batch {
                let outcome = outcomes.next().and_then(|outcome| outcome.outcome);
                drop(waiting.done.send(read_outcome(outcome)));
            }
        }
        Err(sure) => {
            for waiting in batch {
                let refusal = if sure {
                    Refusal::NotLeader(None)
                } else {
                    Refusal::Failed(Error::Unknown)
                };
                drop(waiting.done.send(Err(refusal)));
            }
        }
    }
}

/// The reply, or whether it is certain that the leader has seen nothing.
async fn call<S: StateMachine>(
    shared: &Shared<S>,
    leader: NodeId,
    message: pb::ProposeRequest,
    deadline: Instant,
) -> Result<pb::ProposeReply, bool> {
    let mut client = shared.client(leader).ok_or(true)?;
    let message = shared.caller.request(message, leader).map_err(|_| true)?;
    with_deadline(deadline, client.propose(message))
        .await
        .map(tonic::Response::into_inner)
        .map_err(|status| {
            shared.caller.note(leader, &status);
            tracing::debug!(%status, leader, "forwarding proposals failed");
            not_sent(&status)
        })
}

fn read_outcome(outcome: Option<pb::propose_reply::outcome::Outcome>) -> Attempt<(LogId, Bytes)> {
    use pb::propose_reply::outcome::Outcome;
    match outcome {
        Some(Outcome::Applied(applied)) => {
            let log_id = applied
                .log_id
                .as_ref()
                .map(codec::get_log_id)
                .ok_or(Error::Unknown)?;
            Ok((log_id, applied.reply))
        }
        Some(Outcome::Failure(failure)) => Err(get_refusal(failure)),
        None => Err(Error::Unknown.into()),
    }
}

impl<S: StateMachine> Shared<S> {
    /// A client for calls on behalf of others, if the member's address is known.
    pub(super) fn client(
        &self,
        node_id: NodeId,
    ) -> Option<pb::peer_client::PeerClient<tonic::transport::Channel>> {
        let address = self.book.get(node_id)?;
        self.transport
            .connections()
            .client(&address, Class::Forward)
            .ok()
    }

    pub(super) async fn call_there(
        &self,
        leader: NodeId,
        message: Bytes,
        deadline: Instant,
    ) -> Attempt<Bytes> {
        use pb::call_leader_reply::Outcome;
        let nobody = || Refusal::NotLeader(None);
        let mut client = self.client(leader).ok_or_else(nobody)?;
        let message = pb::CallLeaderRequest {
            request: message,
            timeout_ms: timeout_ms(deadline),
        };
        let message = self.caller.request(message, leader).map_err(|_| nobody())?;
        match with_deadline(deadline, client.call_leader(message)).await {
            Ok(reply) => match reply.into_inner().outcome {
                Some(Outcome::Reply(reply)) => Ok(reply),
                Some(Outcome::Failure(failure)) => Err(get_refusal(failure)),
                None => Err(Error::Unknown.into()),
            },
            Err(status) if not_sent(&status) => Err(nobody()),
            Err(_) => Err(Error::Unknown.into()),
        }
    }
}
