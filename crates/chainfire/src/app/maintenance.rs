//! What keeps a cluster running: status, snapshot, hashes, defragmentation, alarms, moving the leader.

use chainfire_engine::EtcdError;
use photon_proto::{
    etcdserverpb::{
        AlarmRequest, AlarmResponse, HashKvResponse, HashResponse, ResponseHeader, StatusResponse,
        alarm_request::AlarmAction,
    },
    photon::chainfire::command::v1::{command::Op, reply},
};
use photon_raft::{Error, Role, Status};

use super::{App, Caller, blocking, from_raft, unexpected_reply};

/// The etcd version whose behaviour this is, for clients that decide by it.
pub const ETCD_VERSION: &str = "3.6.11";

/// What a node is not fit to serve for: it was removed.
pub const REMOVED: &str = "this node was removed from its cluster";

/// Or it has started and does not know yet what is committed.
pub const RECOVERING: &str =
    "waiting for a leader with a quorum to say what was committed before the start";

/// What a node serves in spite of: the quota was reached.
pub const OUT_OF_SPACE: &str = "alarm NOSPACE: the quota was reached, and writes are refused";

/// A node as it sees itself and its cluster.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Raft's part.
    pub raft: Status,
    /// The cluster's random id, below 2^53; 0 before the first start of a cluster.
    pub cluster_id: u64,
    /// Changes when the store is restored or rebuilt by force.
    pub incarnation: String,
    /// The store's newest revision.
    pub revision: i64,
    /// Everything older than this is gone.
    pub compacted: i64,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Bytes of data that is not garbage.
    pub size_in_use_bytes: u64,
    /// What is wrong: no leader, alarms.
    pub errors: Vec<String>,
}

impl App {
    /// This node's state. Needs no rights and no quorum.
    pub fn status(&self) -> NodeStatus {
        let raft = self.raft_status();
        let identity = self.engine.identity();
        let size = self.engine.size();
        let mut errors = Vec::new();
        if raft.leader.is_none() {
            errors.push(EtcdError::NO_LEADER.to_string());
        }
        if raft.role == Role::Removed {
            errors.push(REMOVED.to_owned());
        } else if !self.is_recovered() {
            errors.push(RECOVERING.to_owned());
        }
        for alarm in self.engine.alarms() {
            errors.push(format!(
                "memberID:{} alarm:{} ",
                alarm.member_id,
                alarm.alarm().as_str_name()
            ));
        }
        NodeStatus {
            raft,
            cluster_id: identity.cluster_id,
            incarnation: identity.incarnation.clone(),
            revision: self.engine.revision(),
            compacted: self.engine.compacted(),
            size_bytes: size.total.cast_unsigned(),
            size_in_use_bytes: size.in_use.cast_unsigned(),
            errors,
        }
    }

    /// The same in etcd's words.
    pub fn etcd_status(&self) -> StatusResponse {
        let status = self.status();
        StatusResponse {
            header: Some(self.header_at(status.revision)),
            version: ETCD_VERSION.to_owned(),
            db_size: status.size_bytes.cast_signed(),
            leader: status.raft.leader.unwrap_or_default(),
            raft_index: status.raft.committed,
            raft_term: status.raft.term,
            raft_applied_index: status.raft.applied,
            errors: status.errors,
            db_size_in_use: status.size_in_use_bytes.cast_signed(),
            is_learner: status.raft.is_learner,
            storage_version: "3.6.0".to_owned(),
            db_size_quota: self.config.quota_bytes.cast_signed(),
            downgrade_info: None,
        }
    }

    /// The header of an answer that reads nothing: this node's ids and newest revision.
    pub fn response_header(&self) -> ResponseHeader {
        self.header()
    }

    /// A hash over everything the store holds. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`.
    pub async fn hash(&self, caller: &Caller) -> Result<HashResponse, EtcdError> {
        let HashKvResponse { header, hash, .. } = self.hash_kv(caller, 0).await?;
        Ok(HashResponse { header, hash })
    }

    /// A hash over the keys and values up to a revision (0: the newest), equal on all members. Needs the
    /// root role.
    ///
    /// # Errors
    /// `permission denied`, compacted or future revision.
    pub async fn hash_kv(
        &self,
        caller: &Caller,
        revision: i64,
    ) -> Result<HashKvResponse, EtcdError> {
        self.recovered().await?;
        self.require_root(caller)?;
        let engine = self.engine.clone();
        let hashed = blocking(move || engine.hash_kv(revision)).await?;
        Ok(HashKvResponse {
            header: Some(self.header()),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision,
            hash_revision: hashed.hash_revision,
        })
    }

    /// Gives space of deleted data back to the disk, while requests go on. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`; an internal error when the disk refuses.
    pub async fn defragment(&self, caller: &Caller) -> Result<ResponseHeader, EtcdError> {
        self.require_root(caller)?;
        let engine = self.engine.clone();
        blocking(move || engine.defragment().map_err(|error| super::internal(&error))).await?;
        Ok(self.header())
    }

    /// Lists, raises or clears alarms. Raising and clearing need the root role.
    ///
    /// # Errors
    /// `permission denied`, and what every proposal may answer.
    pub async fn alarm(
        &self,
        caller: &Caller,
        request: AlarmRequest,
    ) -> Result<AlarmResponse, EtcdError> {
        if request.action() == AlarmAction::Get {
            self.require_user(caller)?;
        } else {
            self.require_root(caller)?;
        }
        let applied = self.propose(caller, Op::Alarm(request)).await?;
        let header = Some(self.header_of(&applied));
        match applied.result {
            Some(reply::Result::Alarm(response)) => Ok(AlarmResponse { header, ..response }),
            _ => Err(unexpected_reply()),
        }
    }

    /// Hands leadership to another voter; asked of the leader. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, `not leader`, `bad leader transferee`, timeout.
    pub async fn move_leader(
        &self,
        caller: &Caller,
        target: u64,
    ) -> Result<ResponseHeader, EtcdError> {
        self.require_root(caller)?;
        let (role, votes) = {
            let status = self.raft.borrow();
            let votes = status
                .members
                .iter()
                .any(|member| member.node_id == target && !member.learner);
            (status.role, votes)
        };
        if role != Role::Leader {
            return Err(EtcdError::NOT_LEADER);
        }
        if !votes {
            return Err(EtcdError::BAD_LEADER_TRANSFEREE);
        }
        if target != self.config.node_id {
            self.group
                .transfer_leadership(target, self.deadline())
                .await
                .map_err(|error| match error {
                    Error::MemberNotFound(_) => EtcdError::BAD_LEADER_TRANSFEREE,
                    other => from_raft(&other),
                })?;
        }
        Ok(self.header())
    }
}
