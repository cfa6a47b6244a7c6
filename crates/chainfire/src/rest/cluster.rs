//! The cluster: status, members, leadership.

use std::sync::Arc;

use axum::extract::State;
use photon_core::Error;
use photon_raft as raft;
use photon_server::rest::{Created, Data, Json, Path, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    asking::Asking,
    error::from_etcd,
    openapi::{Envelope, Failure},
};
use crate::app::{Address, App, NewMember};

/// This node and what it sees of its cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    #[schema(example = 1)]
    node_id: u64,
    /// Random, made when the cluster was; etcd's clients show the same number in hexadecimal.
    cluster_id: String,
    term: u64,
    role: Role,
    is_leader: bool,
    /// The leader of the term; null while none is known.
    leader_id: Option<u64>,
    /// Changes when the store is restored from a snapshot or rebuilt by force.
    incarnation: String,
    /// The store's newest revision here.
    revision: i64,
    /// Everything before it is gone.
    compacted_revision: i64,
    /// The newest log entry known to be on a majority, and the newest applied here.
    committed_index: u64,
    applied_index: u64,
    /// Bytes of the store on disk, and those of them that are not garbage.
    size_bytes: u64,
    size_in_use_bytes: u64,
    members: Vec<Member>,
    /// What is wrong: no leader, alarms.
    errors: Vec<String>,
    version: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Leader,
    Follower,
    Candidate,
    /// Receives everything, votes on nothing.
    Learner,
    Stopped,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

impl From<raft::Role> for Role {
    fn from(role: raft::Role) -> Self {
        match role {
            raft::Role::Leader => Self::Leader,
            raft::Role::Follower => Self::Follower,
            raft::Role::Candidate => Self::Candidate,
            raft::Role::Learner => Self::Learner,
            raft::Role::Stopped => Self::Stopped,
        }
    }
}

/// A member of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    node_id: u64,
    name: String,
    peer_address: String,
    client_addresses: Vec<String>,
    /// Receives everything, votes on nothing yet.
    is_learner: bool,
    is_leader: bool,
}

impl Member {
    fn new(member: raft::Member, leader: Option<u64>) -> Self {
        Self {
            is_leader: leader == Some(member.node_id),
            node_id: member.node_id,
            name: member.name,
            peer_address: member.peer_address,
            client_addresses: member.client_addresses,
            is_learner: member.learner,
        }
    }
}

/// The members.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    items: Vec<Member>,
}

/// A node to take in. It runs already, started with `--join`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    /// The id the node runs with.
    #[schema(example = 2)]
    node_id: u64,
    /// Where the node serves clients; it is asked there for its peer address.
    #[schema(example = "192.168.1.102:50051")]
    address: String,
}

/// A voter to lead.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaderBody {
    node_id: u64,
}

/// Who leads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Leader {
    leader_id: u64,
}

/// This node and what it sees of its cluster. Answered without a quorum.
#[utoipa::path(
    get, path = "/api/v1/cluster/status", tag = "cluster", operation_id = "cluster_status",
    responses((status = 200, body = Envelope<Status>), Failure)
)]
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Asking(_caller): Asking,
) -> RestResult<Status> {
    let status = app.status();
    let leader = status.raft.leader;
    Ok(Data(Status {
        node_id: status.raft.node_id,
        cluster_id: cluster_id(status.cluster_id),
        term: status.raft.term,
        role: status.raft.role.into(),
        is_leader: status.raft.role == raft::Role::Leader,
        leader_id: leader,
        incarnation: status.incarnation,
        revision: status.revision,
        compacted_revision: status.compacted,
        committed_index: status.raft.committed,
        applied_index: status.raft.applied,
        size_bytes: status.size_bytes,
        size_in_use_bytes: status.size_in_use_bytes,
        members: status
            .raft
            .members
            .into_iter()
            .map(|member| Member::new(member, leader))
            .collect(),
        errors: status.errors,
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// A cluster's id as text: hexadecimal, as etcdctl prints it.
pub(crate) fn cluster_id(id: u64) -> String {
    format!("{id:x}")
}

/// Lists the members.
#[utoipa::path(
    get, path = "/api/v1/cluster/members", tag = "cluster", operation_id = "list_members",
    responses((status = 200, body = Envelope<Members>), Failure)
)]
pub(super) async fn members(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
) -> RestResult<Members> {
    let members = app.member_list(&caller, true).await.map_err(from_etcd)?;
    Ok(Data(listed(&app, members)))
}

/// Takes a node in: as a learner first, as a voter once it has caught up.
#[utoipa::path(
    post, path = "/api/v1/cluster/members", tag = "cluster", operation_id = "add_member",
    request_body = AddBody,
    responses((status = 201, body = Envelope<Member>), Failure)
)]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Json(body): Json<AddBody>,
) -> Result<Created<Member>, RestError> {
    if body.node_id == 0 {
        return Err(Error::validation("node_id", "minimum", "node_id is at least 1").into());
    }
    if body.address.is_empty() {
        return Err(Error::required("address").into());
    }
    let new = NewMember {
        address: Address::Client(body.address),
        node_id: Some(body.node_id),
        stays_learner: false,
    };
    let member = app.member_add(&caller, new).await.map_err(from_etcd)?;
    Ok(Created(Member::new(member, app.raft_status().leader)))
}

/// Gives a learner that has caught up a vote.
#[utoipa::path(
    post, path = "/api/v1/cluster/members/{id}/promote", tag = "cluster", operation_id = "promote_member",
    params(("id" = u64, Path, description = "The member's node_id.")),
    responses((status = 200, body = Envelope<Members>), Failure)
)]
pub(super) async fn promote(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Path(id): Path<u64>,
) -> RestResult<Members> {
    app.member_promote(&caller, id).await.map_err(from_etcd)?;
    Ok(Data(listed(&app, app.members())))
}

/// Takes a member out. Its id is never used again.
#[utoipa::path(
    delete, path = "/api/v1/cluster/members/{id}", tag = "cluster", operation_id = "remove_member",
    params(("id" = u64, Path, description = "The member's node_id.")),
    responses((status = 200, body = Envelope<Members>), Failure)
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Path(id): Path<u64>,
) -> RestResult<Members> {
    app.member_remove(&caller, id).await.map_err(from_etcd)?;
    Ok(Data(listed(&app, app.members())))
}

/// Hands leadership to a voter. Asked of the leader; another member answers 409 and says in `details` who leads.
#[utoipa::path(
    post, path = "/api/v1/cluster/leader", tag = "cluster", operation_id = "transfer_leadership",
    request_body = LeaderBody,
    responses((status = 200, body = Envelope<Leader>), Failure)
)]
pub(super) async fn transfer(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Json(body): Json<LeaderBody>,
) -> RestResult<Leader> {
    transfer_leadership(&app, &caller, body.node_id).await?;
    Ok(Data(Leader {
        leader_id: body.node_id,
    }))
}

/// The same for both doors.
pub(crate) async fn transfer_leadership(
    app: &App,
    caller: &crate::app::Caller,
    to: u64,
) -> Result<(), Error> {
    use chainfire_engine::EtcdError;
    match app.move_leader(caller, to).await {
        Ok(_) => Ok(()),
        Err(error) if error == EtcdError::NOT_LEADER => {
            let leader = app.raft_status().leader;
            let text = "this member does not lead; leadership is handed over by the leader";
            Err(Error::failed_precondition(text)
                .with_details(serde_json::json!({ "leader_id": leader })))
        }
        Err(error) if error == EtcdError::BAD_LEADER_TRANSFEREE => Err(Error::validation(
            "node_id",
            "voter",
            "node_id is not a voting member",
        )),
        Err(error) => Err(from_etcd(error)),
    }
}

fn listed(app: &App, members: Vec<raft::Member>) -> Members {
    let leader = app.raft_status().leader;
    Members {
        items: members
            .into_iter()
            .map(|member| Member::new(member, leader))
            .collect(),
    }
}
