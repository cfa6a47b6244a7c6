//! openraft's view of the other members.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::BoxStream,
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RPCTypes, stream_append_sequential},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
        StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use parking_lot::RwLock;
use photon_proto::photon::raft::v1::{self as pb, peer_client::PeerClient};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::{
    Caller,
    client::{Class, Connections, describe, with_deadline},
};
use crate::{
    NodeId, codec,
    codec::Mark,
    machine::SnapshotData,
    member::Node,
    snapshot::{self, Scratch},
    types::{TypeConfig, Vote},
};

/// Opening a log stream to a peer that is there takes a round trip, and a connection at first.
const OPEN_STREAM: Duration = Duration::from_secs(2);
/// Rest after a log stream failed: openraft only backs off when it polls the requests, and a peer that is down
/// refuses before that.
const REOPEN_STREAM: Duration = Duration::from_millis(100);
/// A vote that comes later than this is of no use.
const VOTE: Duration = Duration::from_millis(500);
/// How long a follower may take to install what it received.
const INSTALL: Duration = Duration::from_secs(600);

/// Where members are reached, as the newest membership says.
#[derive(Default)]
pub(crate) struct AddressBook(RwLock<HashMap<NodeId, String>>);

impl AddressBook {
    pub(crate) fn set(&self, node_id: NodeId, address: &str) {
        let known = self
            .0
            .read()
            .get(&node_id)
            .is_some_and(|known| known == address);
        if !known {
            self.0.write().insert(node_id, address.to_owned());
        }
    }

    pub(crate) fn get(&self, node_id: NodeId) -> Option<String> {
        self.0.read().get(&node_id).cloned()
    }
}

/// Writes a copy of the state machine into a directory and returns its mark.
pub(crate) type Checkpoint = Arc<dyn Fn(&std::path::Path) -> io::Result<Bytes> + Send + Sync>;

/// What every connection of a group shares.
pub(crate) struct NetworkFactory {
    pub(crate) caller: Arc<Caller>,
    pub(crate) node_id: NodeId,
    pub(crate) connections: Connections,
    pub(crate) book: Arc<AddressBook>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) scratch: Arc<Scratch>,
    pub(crate) stall: Duration,
}

impl NetworkFactory {
    fn network(&self, target: NodeId, node: &Node, class: Class) -> Network {
        // The book may know a newer address already.
        if self.book.get(target).is_none() {
            self.book.set(target, &node.peer_address);
        }
        Network {
            caller: self.caller.clone(),
            node_id: self.node_id,
            target,
            class,
            connections: self.connections.clone(),
            book: self.book.clone(),
            checkpoint: self.checkpoint.clone(),
            scratch: self.scratch.clone(),
            stall: self.stall,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, node: &Node) -> Network {
        self.network(target, node, Class::Log)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Node) -> Network {
        self.network(target, node, Class::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Node) -> Network {
        self.network(target, node, Class::Snapshot)
    }
}

/// One member as seen from here.
pub(crate) struct Network {
    caller: Arc<Caller>,
    node_id: NodeId,
    target: NodeId,
    class: Class,
    connections: Connections,
    book: Arc<AddressBook>,
    checkpoint: Checkpoint,
    scratch: Arc<Scratch>,
    stall: Duration,
}

type RpcError = RPCError<TypeConfig>;

/// openraft waits before it calls an unreachable member again.
fn unreachable(text: impl ToString) -> Unreachable<TypeConfig> {
    Unreachable::from_string(text)
}

fn garbled(error: io::Error) -> RpcError {
    RPCError::Unreachable(unreachable(error))
}

impl Network {
    fn client(&self, class: Class) -> Result<PeerClient<Channel>, RpcError> {
        let address = self
            .book
            .get(self.target)
            .ok_or_else(|| unreachable("no address is known"))?;
        self.connections
            .client(&address, class)
            .map_err(|error| RPCError::Unreachable(unreachable(error)))
    }

    fn request<T>(&self, message: T) -> Result<tonic::Request<T>, RpcError> {
        let request = self.caller.request(message, self.target);
        request.map_err(|status| self.failed(&status))
    }

    fn failed(&self, status: &Status) -> RpcError {
        self.caller.note(self.target, status);
        RPCError::Unreachable(unreachable(describe(status)))
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout {
            action,
            id: self.node_id,
            target: self.target,
            timeout,
        }
    }

    /// Streams a fresh copy to the follower and waits until it is installed there.
    async fn send_snapshot(
        &self,
        vote: Vote,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (parts, outgoing) = mpsc::channel(4);
        let scratch = self.scratch.clone();
        let checkpoint = self.checkpoint.clone();
        let sending = tokio::task::spawn_blocking(move || {
            let dir = scratch.build();
            let mark = Mark::decode(checkpoint(dir.path())?)?;
            snapshot::send(dir.path(), &vote, mark.message(), &parts)
        });

        // Each part must be taken within the stall time, or the follower is given up.
        let (alive, mut progress) = tokio::sync::watch::channel(());
        let outgoing = ReceiverStream::new(outgoing).map(move |part| {
            alive.send_replace(());
            part
        });
        let mut client = self.client(Class::Snapshot)?;
        let request = self.request(outgoing)?;
        let mut call = Box::pin(client.snapshot(request));
        let stalled = |at| StreamingError::Timeout(self.timeout(RPCTypes::InstallSnapshot, at));
        let reply = loop {
            tokio::select! {
                reply = &mut call => break reply,
                more = tokio::time::timeout(self.stall, progress.changed()) => match more {
                    Ok(Ok(())) => {}
                    // Everything is sent: the follower installs.
                    Ok(Err(_)) => break tokio::time::timeout(INSTALL, &mut call).await.map_err(|_| stalled(INSTALL))?,
                    Err(_) => return Err(stalled(self.stall)),
                },
            }
        };
        match reply {
            Ok(reply) => {
                let vote = codec::get_vote(reply.into_inner().vote.as_ref()).map_err(garbled)?;
                Ok(SnapshotResponse::new(vote))
            }
            Err(status) => {
                // The reason may be on this side.
                drop(call);
                match sending.await {
                    Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                        tracing::error!(%error, "cannot send a snapshot");
                        Err(StreamingError::Unreachable(unreachable(error)))
                    }
                    _ => Err(self.failed(&status).into()),
                }
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let deadline = Instant::now() + option.hard_ttl();
        let last = rpc
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(rpc.prev_log_id);
        let mut client = self.client(self.class)?;
        let request = self.request(codec::put_append(&rpc))?;
        let reply = with_deadline(deadline, client.heartbeat(request))
            .await
            .map_err(|status| self.failed(&status))?;
        Ok(
            match codec::get_append_reply(reply.into_inner()).map_err(garbled)? {
                Ok(matched) if matched == last => AppendEntriesResponse::Success,
                Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
                Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
                Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            },
        )
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.class == Class::Heartbeat {
            return stream_append_sequential(self, input, option);
        }
        async move {
            let opened = async {
                let mut client = self.client(self.class)?;
                let request = self.request(input.map(|request| codec::put_append(&request)))?;
                with_deadline(Instant::now() + OPEN_STREAM, client.append(request))
                    .await
                    .map_err(|status| self.failed(&status))
            };
            let replies = match opened.await {
                Ok(replies) => replies,
                Err(error) => {
                    tokio::time::sleep(REOPEN_STREAM).await;
                    return Err(error);
                }
            };
            let (caller, target) = (self.caller.clone(), self.target);
            let replies = replies.into_inner().then(move |reply| {
                let caller = caller.clone();
                async move {
                    match reply {
                        Ok(reply) => codec::get_append_reply(reply).map_err(garbled),
                        Err(status) => {
                            caller.note(target, &status);
                            tokio::time::sleep(REOPEN_STREAM).await;
                            Err(RPCError::Unreachable(unreachable(describe(&status))))
                        }
                    }
                }
            });
            Ok(replies.boxed() as BoxStream<'s, _>)
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client(Class::Heartbeat)?;
        let request = self.request(codec::put_vote_request(&rpc))?;
        let reply = with_deadline(Instant::now() + VOTE, client.vote(request))
            .await
            .map_err(|status| self.failed(&status))?;
        codec::get_vote_reply(&reply.into_inner()).map_err(garbled)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client(Class::Heartbeat)?;
        let request = self.request(codec::put_vote_request(&rpc))?;
        let reply = with_deadline(Instant::now() + VOTE, client.pre_vote(request))
            .await
            .map_err(|status| self.failed(&status))?;
        codec::get_vote_reply(&reply.into_inner()).map_err(garbled)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            result = self.send_snapshot(vote) => result,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        use pb::transfer_leader_reply::Outcome;
        let mut client = self.client(Class::Heartbeat)?;
        let request = self.request(codec::put_transfer(&req))?;
        let reply = with_deadline(Instant::now() + VOTE, client.transfer_leader(request))
            .await
            .map_err(|status| self.failed(&status))?
            .into_inner();
        Ok(
            match reply
                .outcome
                .ok_or_else(|| garbled(codec::invalid("empty reply")))?
            {
                Outcome::Accepted(_) => Ok(()),
                Outcome::VoteChanged(changed) => Err(TransferLeaderError::VoteChanged {
                    expected: codec::get_vote(changed.expected.as_ref()).map_err(garbled)?,
                    actual: codec::get_vote(changed.actual.as_ref()).map_err(garbled)?,
                }),
                Outcome::LogNotFlushed(log) => Err(TransferLeaderError::LogNotFlushed {
                    expected: log.expected.as_ref().map(codec::get_log_id),
                    actual: log.actual.as_ref().map(codec::get_log_id),
                }),
            },
        )
    }
}
