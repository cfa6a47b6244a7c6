//! What other members ask of this one.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use openraft::{
    Snapshot,
    async_runtime::watch::WatchReceiver as _,
    errors::Fatal,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderError,
        TransferLeaderRequest, VoteRequest,
    },
};
use photon_proto::photon::raft::v1 as pb;
use tokio::{sync::mpsc, time::Instant};
use tonic::{Status, Streaming};

use super::Shared;
use crate::{
    Error, Member, NodeId, StateMachine, codec,
    failure::{Attempt, Refusal, put_refusal},
    machine::SnapshotData,
    snapshot::{Incoming, ScratchDir},
    transport::GroupPeer,
    types::{SnapshotMeta, TypeConfig, Vote},
};

/// A caller's own limit is believed up to this.
const LONGEST: Duration = Duration::from_secs(120);

fn deadline(timeout_ms: u32) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.into()).min(LONGEST)
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl<S: StateMachine> GroupPeer for Shared<S> {
    fn node_id(&self) -> NodeId {
        self.config.node_id
    }

    fn cluster(&self) -> u64 {
        self.caller.cluster()
    }

    /// Only what is committed counts: a change that is not may be undone, and the node's vote be needed for that.
    fn was_removed(&self, node_id: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.committed_membership_config.membership();
        membership.get_node(&node_id).is_none() && codec::retired(membership).contains(&node_id)
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<pb::AppendReply, Status>> {
        // A stream outlives the group otherwise: the leader has no reason to end it.
        let requests = requests.take_until(self.stop.clone().cancelled_owned());
        let replies = self.raft.stream_append(requests);
        replies
            .map(|reply: Result<_, Fatal<TypeConfig>>| {
                reply
                    .map(|result| codec::put_append_reply(&result))
                    .map_err(stopped)
            })
            .boxed()
    }

    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<pb::AppendReply, Status> {
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(request.prev_log_id);
        let prev = request.prev_log_id;
        let reply = self.raft.append_entries(request).await.map_err(stopped)?;
        let result = match reply {
            AppendEntriesResponse::Success => Ok(last),
            AppendEntriesResponse::PartialSuccess(matched) => Ok(matched),
            // What is before nothing cannot conflict.
            AppendEntriesResponse::Conflict => Err(StreamAppendError::Conflict(
                prev.ok_or_else(|| Status::internal("conflict at the start"))?,
            )),
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        };
        Ok(codec::put_append_reply(&result))
    }

    async fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre: bool,
    ) -> Result<pb::VoteReply, Status> {
        let reply = if pre {
            self.raft.pre_vote(request).await
        } else {
            self.raft.vote(request).await
        };
        reply
            .map(|reply| codec::put_vote_reply(&reply))
            .map_err(stopped)
    }

    async fn snapshot(
        &self,
        parts: Streaming<pb::SnapshotPart>,
    ) -> Result<pb::SnapshotReply, Status> {
        let _one = self
            .receiving
            .try_lock()
            .map_err(|_| Status::unavailable("another snapshot is being received"))?;
        let received = tokio::select! {
            received = self.receive(parts) => received?,
            () = self.stop.cancelled() => return Err(stopped(Error::Stopped)),
        };
        let (vote, mark, dir) = received;
        tracing::info!(at = ?mark.log_id, "installing a received snapshot");
        let meta = SnapshotMeta {
            last_log_id: mark.log_id,
            last_membership: mark.membership,
        };
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Received(dir),
        };
        let reply = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(pb::SnapshotReply {
            vote: Some(codec::put_vote(&reply.vote)),
        })
    }

    async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<pb::TransferLeaderReply, Status> {
        use pb::transfer_leader_reply::{Accepted, LogNotFlushed, Outcome, VoteChanged};
        let outcome = match self
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?
        {
            Ok(()) => Outcome::Accepted(Accepted {}),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Outcome::VoteChanged(VoteChanged {
                    expected: Some(codec::put_vote(&expected)),
                    actual: Some(codec::put_vote(&actual)),
                })
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Outcome::LogNotFlushed(LogNotFlushed {
                    expected: expected.as_ref().map(codec::put_log_id),
                    actual: actual.as_ref().map(codec::put_log_id),
                })
            }
        };
        Ok(pb::TransferLeaderReply {
            outcome: Some(outcome),
        })
    }

    async fn propose(&self, request: pb::ProposeRequest) -> pb::ProposeReply {
        let limit = self.config.max_command_bytes;
        let (fit, large): (Vec<_>, Vec<_>) = (request.proposals.into_iter().enumerate())
            .partition(|(_, proposal)| proposal.command.len() <= limit);
        let (places, fit): (Vec<_>, Vec<_>) = fit.into_iter().unzip();
        let proposals = fit
            .into_iter()
            .map(|proposal| (proposal.command, deadline(proposal.timeout_ms)));
        let attempts = self.propose_all(proposals).await;
        let refused = large.into_iter().map(|(place, proposal)| {
            let size = proposal.command.len();
            (place, Err(Error::TooLarge { size, limit }.into()))
        });
        let mut outcomes: Vec<_> = places.into_iter().zip(attempts).chain(refused).collect();
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        let outcomes = outcomes
            .into_iter()
            .map(|(_, attempt)| self.outcome_of(attempt))
            .collect();
        pb::ProposeReply { outcomes }
    }

    async fn read_index(&self, request: pb::ReadIndexRequest) -> pb::ReadIndexReply {
        use pb::read_index_reply::Outcome;
        let confirmed =
            tokio::time::timeout_at(deadline(request.timeout_ms), self.reads.local()).await;
        let outcome = match confirmed.unwrap_or(Err(Refusal::NoQuorum)) {
            Ok(index) => Outcome::Read(pb::LogId { term: 0, index }),
            Err(refusal) => Outcome::Failure(put_refusal(&refusal)),
        };
        pb::ReadIndexReply {
            outcome: Some(outcome),
        }
    }

    async fn call_leader(&self, request: pb::CallLeaderRequest) -> pb::CallLeaderReply {
        use pb::call_leader_reply::Outcome;
        let answer: Attempt<_> = if self.leads() {
            self.call_here(request.request, deadline(request.timeout_ms))
                .await
        } else {
            Err(Refusal::NotLeader(self.leader()))
        };
        let outcome = match answer {
            Ok(reply) => Outcome::Reply(reply),
            Err(refusal) => Outcome::Failure(put_refusal(&refusal)),
        };
        pb::CallLeaderReply {
            outcome: Some(outcome),
        }
    }

    async fn change_members(&self, request: pb::ChangeMembersRequest) -> pb::ChangeMembersReply {
        use pb::change_members_reply::{Done, Outcome};
        let changed = match request.change {
            Some(change) => self.change_here(change, deadline(request.timeout_ms)).await,
            None => Err(Error::Invalid("no change is named".to_owned()).into()),
        };
        let outcome = match changed {
            Ok(changed) => Outcome::Done(Done {
                log_id: Some(pb::LogId {
                    term: changed.term,
                    index: changed.index,
                }),
                member: changed.member.as_ref().map(codec::put_member),
            }),
            Err(refusal) => Outcome::Failure(put_refusal(&refusal)),
        };
        pb::ChangeMembersReply {
            outcome: Some(outcome),
        }
    }

    fn identify(&self) -> pb::IdentifyReply {
        let config = &self.config;
        let me = Member {
            node_id: config.node_id,
            name: config.name.clone(),
            peer_address: config.advertise_peer.clone(),
            client_addresses: config.advertise_client.clone(),
            learner: false,
            promote: false,
        };
        let status = self.current_status();
        // Members may be known without this node among them: it was removed.
        pb::IdentifyReply {
            member: Some(codec::put_member(&me)),
            joined: !status.members.is_empty(),
        }
    }
}

impl<S: StateMachine> Shared<S> {
    fn outcome_of(&self, attempt: Attempt<super::Applied<S::Reply>>) -> pb::propose_reply::Outcome {
        use pb::propose_reply::{Applied, outcome::Outcome};
        let outcome = match attempt {
            Ok(applied) => Outcome::Applied(Applied {
                log_id: Some(pb::LogId {
                    term: applied.term,
                    index: applied.index,
                }),
                reply: self.progress.state_machine.encode_reply(&applied.reply),
            }),
            Err(refusal) => Outcome::Failure(put_refusal(&refusal)),
        };
        pb::propose_reply::Outcome {
            outcome: Some(outcome),
        }
    }

    /// Writes a snapshot to disk as it comes in.
    async fn receive(
        &self,
        mut parts: Streaming<pb::SnapshotPart>,
    ) -> Result<(Vote, codec::Mark, ScratchDir), Status> {
        let dir = self
            .scratch
            .receive()
            .map_err(|error| Status::internal(error.to_string()))?;
        let (queue, mut inbox) = mpsc::channel(4);
        let writing = tokio::task::spawn_blocking(move || {
            let mut incoming = Incoming::new(dir);
            while let Some(part) = inbox.blocking_recv() {
                incoming.take(part)?;
            }
            incoming.finish()
        });
        loop {
            let part = tokio::time::timeout(self.config.snapshot_stall, parts.message())
                .await
                .map_err(|_| Status::deadline_exceeded("the snapshot stalled"))??;
            let Some(part) = part else { break };
            // The writer has failed if it takes no more; its reason follows.
            if queue.send(part).await.is_err() {
                break;
            }
        }
        drop(queue);
        writing
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| {
                tracing::warn!(%error, "refused a snapshot");
                Status::data_loss(error.to_string())
            })
    }
}
