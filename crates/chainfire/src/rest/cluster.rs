//! The cluster: status, members, leadership.

use std::{fmt, sync::Arc};

use axum::extract::State;
use photon_core::Error;
use photon_raft as raft;
use photon_server::rest::{Created, Data, Json, Path, RestError, RestResult};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};
use utoipa::ToSchema;

use super::{
    asking::Asking,
    error::from_etcd,
    openapi::{Envelope, Failure},
};
use crate::{
    app::{Address, App, NewMember, retired},
    config::{MAX_ID, is_host_and_port},
};

/// This node and what it sees of its cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    #[schema(example = 1)]
    node_id: u64,
    /// Random, made when the cluster was; etcd's clients show the same number in hexadecimal.
    cluster_id: String,
    term: u64,
    role: Role,
    /// Whether this node leads, and a quorum has confirmed that within an election timeout.
    is_leader: bool,
    /// The leader of the term; null while none is known that has a quorum.
    leader_id: Option<u64>,
    /// Changes when the store is restored from a snapshot or rebuilt by force.
    incarnation: String,
    /// The store's newest revision here.
    revision: i64,
    /// Everything before it is gone; 0 while nothing is.
    compacted_revision: i64,
    /// The newest log entry known to be on a majority, and the newest applied here.
    committed_index: u64,
    applied_index: u64,
    /// Bytes of the store on disk, and those of them that are not garbage.
    size_bytes: u64,
    size_in_use_bytes: u64,
    /// Whether the voters are being changed: two sets of them have to agree until that is done.
    membership_changing: bool,
    /// Null for users without the role `root`.
    members: Option<Vec<Member>>,
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
    /// Is no member any more. Its id is never used again.
    Removed,
    Stopped,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Removed => "removed",
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
            raft::Role::Removed => Self::Removed,
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
    #[serde(deserialize_with = "node_id")]
    #[schema(example = 2, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    node_id: u64,
    /// `host:port` where the node serves clients; it is asked there for its peer address.
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
    Asking(caller): Asking,
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
        // The engine counts from -1, as etcd: revision 0 is the empty store's.
        compacted_revision: status.compacted.max(0),
        committed_index: status.raft.committed,
        applied_index: status.raft.applied,
        size_bytes: status.size_bytes,
        size_in_use_bytes: status.size_in_use_bytes,
        membership_changing: status.raft.changing,
        members: app.is_root(&caller).then(|| {
            let members = status.raft.members.into_iter();
            members.map(|member| Member::new(member, leader)).collect()
        }),
        errors: status.errors,
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// A cluster's id as text: hexadecimal, as etcdctl prints it.
pub(crate) fn cluster_id(id: u64) -> String {
    format!("{id:x}")
}

/// Lists the members. Needs the role `root`, like everything about members.
#[utoipa::path(
    get, path = "/api/v1/cluster/members", tag = "cluster", operation_id = "list_members",
    responses((status = 200, body = Envelope<Members>), Failure)
)]
pub(super) async fn members(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
) -> RestResult<Members> {
    let members = app.roster(&caller).await.map_err(from_etcd)?;
    Ok(Data(listed(&app, members)))
}

/// Takes a node in: as a learner first, as a voter once it has caught up. A `node_id` that belonged to a member that
/// was removed is refused.
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
    check_address(&body.address)?;
    let new = NewMember {
        address: Address::Client(body.address),
        node_id: Some(body.node_id),
        stays_learner: false,
    };
    let member = app.member_add(&caller, new).await.map_err(|error| {
        if error == retired(body.node_id) {
            let details = serde_json::json!({ "field": "node_id", "constraint": "retired" });
            return from_etcd(error).with_details(details);
        }
        from_etcd(error)
    })?;
    Ok(Created(Member::new(member, app.raft_status().leader)))
}

/// Whether an id can be a node's.
///
/// # Errors
/// The range.
pub(crate) fn check_node_id(id: u64) -> Result<(), Error> {
    if (1..MAX_ID).contains(&id) {
        return Ok(());
    }
    let text = format!("node_id must be {NODE_ID}, not the number {id}");
    Err(Error::validation("node_id", "value", text))
}

/// What a node's id is: JSON's numbers are exact up to here.
const NODE_ID: &str = "an integer from 1 to 9007199254740991 (2^53 - 1)";

/// Reads a node's id, and names the range for every number outside it.
fn node_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(NODE_ID)
        }

        fn visit_u64<E: de::Error>(self, id: u64) -> Result<u64, E> {
            check_node_id(id)
                .map(|()| id)
                .map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &self))
        }

        fn visit_i64<E: de::Error>(self, id: i64) -> Result<u64, E> {
            Err(E::invalid_value(Unexpected::Signed(id), &self))
        }

        fn visit_f64<E: de::Error>(self, id: f64) -> Result<u64, E> {
            Err(E::invalid_value(Unexpected::Float(id), &self))
        }
    }

    deserializer.deserialize_u64(Id)
}

/// Whether this is `host:port`, before anybody is called there.
///
/// # Errors
/// What it has to be.
pub(crate) fn check_address(address: &str) -> Result<(), Error> {
    if address.is_empty() {
        return Err(Error::required("address"));
    }
    if is_host_and_port(address) {
        return Ok(());
    }
    let text = "address must be host:port of the node's client port, without a scheme";
    Err(Error::validation("address", "format", text))
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
