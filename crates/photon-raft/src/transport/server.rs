//! The peer service: finds the group a call is for and hands it over.

use std::{io, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use photon_proto::photon::raft::v1 as pb;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    Groups,
    caller::{self, CLUSTER, Complained, FROM, GROUP, TO, number},
};
use crate::{NodeId, codec, types::TypeConfig};

/// What a group answers to its peers.
#[tonic::async_trait]
pub(crate) trait GroupPeer: Send + Sync {
    fn node_id(&self) -> NodeId;
    /// The cluster this node belongs to; 0 while it belongs to none.
    fn cluster(&self) -> u64;
    /// Whether the node was a member and is known for certain to be none any more.
    fn was_removed(&self, node_id: NodeId) -> bool;
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<pb::AppendReply, Status>>;
    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<pb::AppendReply, Status>;
    async fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre: bool,
    ) -> Result<pb::VoteReply, Status>;
    async fn snapshot(
        &self,
        parts: Streaming<pb::SnapshotPart>,
    ) -> Result<pb::SnapshotReply, Status>;
    async fn transfer_leader(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> Result<pb::TransferLeaderReply, Status>;
    async fn propose(&self, request: pb::ProposeRequest) -> pb::ProposeReply;
    async fn read_index(&self, request: pb::ReadIndexRequest) -> pb::ReadIndexReply;
    async fn call_leader(&self, request: pb::CallLeaderRequest) -> pb::CallLeaderReply;
    async fn change_members(&self, request: pb::ChangeMembersRequest) -> pb::ChangeMembersReply;
    fn identify(&self) -> pb::IdentifyReply;
}

/// The tonic service.
pub(super) struct Dispatch {
    groups: Groups,
    complained: Complained,
}

impl Dispatch {
    pub(super) fn new(groups: Groups) -> Self {
        Self {
            groups,
            complained: Complained::default(),
        }
    }

    fn group(&self, metadata: &MetadataMap) -> Result<Arc<dyn GroupPeer>, Status> {
        let name = metadata
            .get(GROUP)
            .and_then(|name| name.to_str().ok())
            .ok_or_else(|| Status::invalid_argument("no group is named"))?;
        self.groups
            .read()
            .get(name)
            .cloned()
            .ok_or_else(|| Status::not_found(format!("group {name} does not run here")))
    }

    /// The group, if the call is meant for this very node and comes from one that may make it: of no cluster yet
    /// or of the same one, and not removed from it.
    fn member(&self, metadata: &MetadataMap) -> Result<Arc<dyn GroupPeer>, Status> {
        let group = self.group(metadata)?;
        let here = group.node_id();
        match number(metadata, TO) {
            Some(to) if to == here => {}
            Some(to) => {
                return Err(Status::failed_precondition(format!(
                    "this is node {here}, not {to}"
                )));
            }
            None => return Err(Status::invalid_argument("no node is named")),
        }
        let (ours, from) = (group.cluster(), number(metadata, FROM));
        if let Some(theirs) = number(metadata, CLUSTER)
            && ours != 0
            && theirs != ours
        {
            if self.complained.now() {
                tracing::error!(
                    node_id = from,
                    cluster = format!("{theirs:x}"),
                    ours = format!("{ours:x}"),
                    "refused a call from a node of another cluster"
                );
            }
            return Err(caller::other_cluster(here, ours, from, theirs));
        }
        match from {
            Some(from) if group.was_removed(from) => Err(caller::removed(from)),
            _ => Ok(group),
        }
    }
}

fn bad(error: io::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

#[tonic::async_trait]
impl pb::peer_server::Peer for Dispatch {
    type AppendStream = BoxStream<'static, Result<pb::AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let group = self.member(request.metadata())?;
        // What cannot be read ends the stream; the leader opens a new one.
        let requests = futures::stream::unfold(request.into_inner(), |mut inbound| async move {
            match inbound.message().await {
                Ok(Some(message)) => match codec::get_append(message) {
                    Ok(request) => Some((request, inbound)),
                    Err(error) => {
                        tracing::warn!(%error, "refused log entries");
                        None
                    }
                },
                Ok(None) => None,
                Err(status) => {
                    tracing::debug!(%status, "a log stream ended");
                    None
                }
            }
        });
        Ok(Response::new(group.append(requests.boxed())))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::AppendRequest>,
    ) -> Result<Response<pb::AppendReply>, Status> {
        let group = self.member(request.metadata())?;
        let request = codec::get_append(request.into_inner()).map_err(bad)?;
        group.heartbeat(request).await.map(Response::new)
    }

    async fn vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteReply>, Status> {
        let group = self.member(request.metadata())?;
        let request = codec::get_vote_request(&request.into_inner()).map_err(bad)?;
        group.vote(request, false).await.map(Response::new)
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteReply>, Status> {
        let group = self.member(request.metadata())?;
        let request = codec::get_vote_request(&request.into_inner()).map_err(bad)?;
        group.vote(request, true).await.map(Response::new)
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let group = self.member(request.metadata())?;
        group
            .snapshot(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderReply>, Status> {
        let group = self.member(request.metadata())?;
        let request = codec::get_transfer(&request.into_inner()).map_err(bad)?;
        group.transfer_leader(request).await.map(Response::new)
    }

    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeReply>, Status> {
        let group = self.member(request.metadata())?;
        Ok(Response::new(group.propose(request.into_inner()).await))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexReply>, Status> {
        let group = self.member(request.metadata())?;
        Ok(Response::new(group.read_index(request.into_inner()).await))
    }

    async fn call_leader(
        &self,
        request: Request<pb::CallLeaderRequest>,
    ) -> Result<Response<pb::CallLeaderReply>, Status> {
        let group = self.member(request.metadata())?;
        Ok(Response::new(group.call_leader(request.into_inner()).await))
    }

    async fn change_members(
        &self,
        request: Request<pb::ChangeMembersRequest>,
    ) -> Result<Response<pb::ChangeMembersReply>, Status> {
        let group = self.member(request.metadata())?;
        Ok(Response::new(
            group.change_members(request.into_inner()).await,
        ))
    }

    async fn identify(
        &self,
        request: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyReply>, Status> {
        Ok(Response::new(self.group(request.metadata())?.identify()))
    }
}
