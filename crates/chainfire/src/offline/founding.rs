//! Making a new cluster of a state: one member, another incarnation, a revision that no old reader has seen.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use chainfire_engine::Engine;
use photon_proto::{
    etcdserverpb::{
        AlarmRequest, Compare, PutRequest, RequestOp, TxnRequest, alarm_request::AlarmAction,
        compare, request_op,
    },
    photon::chainfire::command::v1::{
        BumpRevision, Command, Reply, SetIdentity, command::Op, reply,
    },
};
use photon_raft::{Member, NodeId, offline::Stopped};
use prost::Message as _;
use uuid::Uuid;

use crate::{app::Machine, config::MAX_ID};

/// By how much the revision is raised: more than a cluster hands out between two backups.
pub const BUMP: i64 = 1_000_000_000;

/// Where services look for the store's identity (`photon_store::IDENTITY_KEY`): rewritten if it is there.
const IDENTITY_KEY: &str = "/photon/chainfire/public/incarnation";

/// What the new cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Its random id.
    pub cluster_id: u64,
    /// A UUID.
    pub incarnation: String,
    /// Its newest revision.
    pub revision: i64,
    /// Everything below is compacted.
    pub compacted: i64,
    /// Alarms that were cleared: they named members that are gone.
    pub cleared_alarms: usize,
}

/// Makes `member` the only one of a new cluster with everything `stopped` has applied. The ids in `retired` are never
/// taken into it.
pub(super) fn found(
    engine: &Engine,
    stopped: Stopped<'_, Machine>,
    member: &Member,
    retired: &BTreeSet<NodeId>,
    bump: i64,
) -> anyhow::Result<Founded> {
    let to = Some(engine.revision())
        .filter(|_| bump > 0)
        .and_then(|revision| revision.checked_add(bump))
        .with_context(|| format!("the revision cannot be raised by {bump}"))?;
    let cluster_id = rand::random_range(1..MAX_ID);
    let incarnation = Uuid::new_v4().to_string();
    let alarms = engine.alarms();
    let mut ops: Vec<Op> = alarms
        .iter()
        .map(|alarm| {
            Op::Alarm(AlarmRequest {
                action: AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            })
        })
        .collect();
    ops.push(Op::SetIdentity(SetIdentity {
        cluster_id,
        incarnation: incarnation.clone(),
    }));
    ops.push(Op::BumpRevision(BumpRevision { to }));
    ops.push(Op::Txn(rewrite_identity(&incarnation)));
    let replies = stopped.found(member, retired, ops.into_iter().map(encode).collect())?;
    refuse_failures(&replies)?;
    Ok(Founded {
        cluster_id,
        incarnation,
        revision: engine.revision(),
        compacted: engine.compacted(),
        cleared_alarms: alarms.len(),
    })
}

/// A command of ChainFire's own, which nobody's rights are asked for.
fn encode(op: Op) -> Bytes {
    let command = Command {
        caller: None,
        op: Some(op),
    };
    command.encode_to_vec().into()
}

/// Writes the new incarnation where the old one stood; nothing if there was none.
fn rewrite_identity(incarnation: &str) -> TxnRequest {
    TxnRequest {
        compare: vec![Compare {
            result: compare::CompareResult::Greater.into(),
            target: compare::CompareTarget::Version.into(),
            key: IDENTITY_KEY.into(),
            target_union: Some(compare::TargetUnion::Version(0)),
            ..Compare::default()
        }],
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(PutRequest {
                key: IDENTITY_KEY.into(),
                value: incarnation.to_owned().into(),
                ..PutRequest::default()
            })),
        }],
        failure: Vec::new(),
    }
}

fn refuse_failures(replies: &[Reply]) -> anyhow::Result<()> {
    for reply in replies {
        if let Some(reply::Result::Failure(failure)) = &reply.result {
            bail!(
                "the state refused to become a new cluster: {}",
                failure.message
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_identity_key_is_the_one_services_read() {
        assert_eq!(super::IDENTITY_KEY, photon_store::IDENTITY_KEY);
    }
}
