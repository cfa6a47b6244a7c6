//! One command after the other: what each does to the pending batch and what it answers.
//!
//! Everything here is a function of the state and the command, so that every member answers the same.

use bytes::Bytes;
use photon_proto::{
    etcdserverpb::{
        AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse,
        LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeResponse, TxnRequest, TxnResponse,
        alarm_request::AlarmAction,
    },
    photon::chainfire::command::v1::{
        BumpRevision, Caller, Command, Done, Failure, LeaseCheckpoint, Reply, SetIdentity,
        command::Op, reply,
    },
};
use prost::Message;

use crate::{
    access::{Request, Rights},
    budget::Budget,
    checks, codec,
    disk::{Family, name},
    error::{Answer, EtcdError, Fault},
    lease::{LeaseInfo, MAX_LEASE_TTL},
    loaded::Identity,
    pending::Pending,
    range::header,
    txn::{self, Writer},
    view::Reader,
};

/// Applies one command of the log.
pub(crate) fn command(pending: &mut Pending<'_>, bytes: &Bytes) -> std::io::Result<Reply> {
    let answer = match Command::decode(bytes.clone()) {
        Ok(Command {
            caller,
            op: Some(op),
        }) => operation(pending, caller.as_ref(), op),
        // Written by a version this member does not know, or damaged before it was proposed.
        Ok(Command { op: None, .. }) | Err(_) => Err(EtcdError::UNDECODABLE_COMMAND.into()),
    };
    let result = match answer {
        Ok(result) => result,
        Err(Fault::Refused(error)) => reply::Result::Failure(Failure {
            code: error.code,
            message: error.message.into_owned(),
        }),
        Err(Fault::Disk(error)) => return Err(error),
    };
    Ok(Reply {
        revision: pending.revision,
        result: Some(result),
    })
}

/// Whether a command touches only keys that it names, not ranges of unknown length.
pub(crate) fn touches_only_points(bytes: &Bytes) -> bool {
    is_put(bytes)
        || match Command::decode(bytes.clone()).map(|command| command.op) {
            Ok(Some(Op::DeleteRange(request))) => request.range_end.is_empty(),
            Ok(Some(Op::Txn(request))) => checks::is_of_points(&request),
            _ => false,
        }
}

/// Whether a command is a put, from its first bytes: most are, and this spares decoding them twice.
fn is_put(bytes: &Bytes) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    /// Numbers of the fields in `Command`.
    const CALLER: u32 = 1;
    const PUT: u32 = 10;
    let mut rest = &bytes[..];
    while let Ok((field, wire)) = decode_key(&mut rest) {
        if field != CALLER {
            return field == PUT;
        }
        if skip_field(wire, field, &mut rest, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

fn operation(pending: &mut Pending<'_>, caller: Option<&Caller>, op: Op) -> Answer<reply::Result> {
    let rights = Rights {
        auth: &pending.store.auth,
        leases: &pending.store.leases,
        caller,
    };
    refuse_under_alarm(pending, &op)?;
    Ok(match op {
        Op::Put(request) => {
            checks::put(&request)?;
            rights.check(Request::Put(&request))?;
            if request.lease != 0 && !pending.lease_exists(request.lease) {
                return Err(EtcdError::LEASE_NOT_FOUND.into());
            }
            txn::check_put(pending, &request)?;
            let response = pending.put(&request)?;
            pending.end_transaction();
            reply::Result::Put(response)
        }
        Op::DeleteRange(request) => {
            checks::delete(&request)?;
            rights.check(Request::Delete(&request))?;
            let response = pending.delete_range(&request)?;
            pending.end_transaction();
            reply::Result::DeleteRange(response)
        }
        Op::Txn(request) => {
            rights.check(Request::Txn(&request))?;
            reply::Result::Txn(transaction(pending, &request)?)
        }
        Op::Compact(request) => {
            rights.check(Request::Root)?;
            reply::Result::Compact(compact(pending, &request)?)
        }
        Op::LeaseGrant(request) => reply::Result::LeaseGrant(grant(pending, &request)?),
        Op::LeaseRevoke(request) => {
            rights.check(Request::LeaseRevoke(request.id))?;
            reply::Result::LeaseRevoke(revoke(pending, request.id)?)
        }
        Op::LeaseCheckpoint(request) => checkpoint(pending, &request),
        Op::Alarm(request) => {
            rights.check(Request::Root)?;
            reply::Result::Alarm(alarm(pending, &request))
        }
        Op::SetIdentity(request) => {
            rights.check(Request::Root)?;
            set_identity(pending, &request)
        }
        Op::BumpRevision(request) => {
            rights.check(Request::Root)?;
            bump(pending, &request)?
        }
        other => {
            // Everybody may log in; the rest of authentication is root's.
            if !matches!(other, Op::Authenticate(_)) {
                rights.check(Request::Root)?;
            }
            authentication(pending, &other)?
        }
    })
}

/// While the space is used up nothing that needs more of it is done; on a corrupt cluster, nothing at all.
fn refuse_under_alarm(pending: &Pending<'_>, op: &Op) -> Answer<()> {
    let alarms = pending.store.alarms.read();
    if alarms.is_empty() {
        return Ok(());
    }
    let raised = |kind: AlarmType| alarms.iter().any(|(raised, _)| *raised == i32::from(kind));
    let needs_space = match op {
        Op::Put(_) | Op::LeaseGrant(_) => true,
        Op::Txn(request) => checks::puts(request),
        _ => false,
    };
    let changes_keys = matches!(
        op,
        Op::Put(_)
            | Op::DeleteRange(_)
            | Op::Txn(_)
            | Op::Compact(_)
            | Op::LeaseGrant(_)
            | Op::LeaseRevoke(_)
    );
    if changes_keys && raised(AlarmType::Corrupt) {
        return Err(EtcdError::CORRUPT.into());
    }
    if needs_space && raised(AlarmType::Nospace) {
        return Err(EtcdError::NO_SPACE.into());
    }
    Ok(())
}

fn transaction(pending: &mut Pending<'_>, request: &TxnRequest) -> Answer<TxnResponse> {
    let outcome = txn::execute(pending, request, &mut Budget::unlimited());
    pending.end_transaction();
    let mut response = outcome?;
    response.header = header(pending.revision);
    Ok(response)
}

fn compact(pending: &mut Pending<'_>, request: &CompactionRequest) -> Answer<CompactionResponse> {
    if request.revision <= pending.compacted {
        return Err(EtcdError::COMPACTED.into());
    }
    if request.revision > pending.revision {
        return Err(EtcdError::FUTURE_REV.into());
    }
    pending.compacted = request.revision;
    Ok(CompactionResponse {
        header: header(pending.revision),
    })
}

fn write_lease(pending: &mut Pending<'_>, info: LeaseInfo) {
    pending.write(
        Family::Lease,
        &codec::lease_key(info.id),
        Some(&codec::lease_value(info.ttl, info.remaining)),
    );
}

fn grant(pending: &mut Pending<'_>, request: &LeaseGrantRequest) -> Answer<LeaseGrantResponse> {
    // The leader chooses an id before it proposes; a command without one names no lease.
    if request.id == 0 {
        return Err(EtcdError::LEASE_NOT_FOUND.into());
    }
    if request.ttl > MAX_LEASE_TTL {
        return Err(EtcdError::LEASE_TTL_TOO_LARGE.into());
    }
    if pending.store.leases.exists(request.id) {
        return Err(EtcdError::LEASE_EXIST.into());
    }
    let info = LeaseInfo {
        id: request.id,
        ttl: request.ttl,
        remaining: 0,
    };
    pending.store.leases.grant(info);
    write_lease(pending, info);
    Ok(LeaseGrantResponse {
        header: header(pending.revision),
        id: request.id,
        ttl: request.ttl,
        error: String::new(),
    })
}

/// Ends a lease: its keys go, in order and in one revision.
fn revoke(pending: &mut Pending<'_>, id: i64) -> Answer<LeaseRevokeResponse> {
    let Some(keys) = pending.store.leases.keys(id) else {
        return Err(EtcdError::LEASE_NOT_FOUND.into());
    };
    pending.delete_keys(&keys)?;
    pending.end_transaction();
    pending.store.leases.remove(id);
    pending.write(Family::Lease, &codec::lease_key(id), None);
    Ok(LeaseRevokeResponse {
        header: header(pending.revision),
    })
}

fn checkpoint(pending: &mut Pending<'_>, request: &LeaseCheckpoint) -> reply::Result {
    for lease in &request.leases {
        // A lease that has ended meanwhile is no error: the others still count.
        if let Some(info) = pending
            .store
            .leases
            .checkpoint(lease.id, lease.remaining_ttl_seconds)
        {
            write_lease(pending, info);
        }
    }
    reply::Result::Done(Done {})
}

fn alarm(pending: &mut Pending<'_>, request: &AlarmRequest) -> AlarmResponse {
    let alarm = (request.alarm, request.member_id);
    let of_kind = |kind: i32| kind == request.alarm || request.alarm == i32::from(AlarmType::None);
    let store = pending.store;
    let alarms = match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get) => store
            .alarms
            .read()
            .iter()
            .copied()
            .filter(|(kind, _)| of_kind(*kind))
            .collect(),
        Ok(AlarmAction::Activate) => {
            store.alarms.write().insert(alarm);
            pending.write(Family::Meta, &alarm_name(alarm), Some(b""));
            vec![alarm]
        }
        Ok(AlarmAction::Deactivate) => {
            if store.alarms.write().remove(&alarm) {
                pending.write(Family::Meta, &alarm_name(alarm), None);
                vec![alarm]
            } else {
                vec![]
            }
        }
        Err(_) => vec![],
    };
    AlarmResponse {
        header: header(pending.revision),
        alarms: alarms
            .into_iter()
            .map(|(alarm, member_id)| AlarmMember { member_id, alarm })
            .collect(),
    }
}

/// Under which name an alarm is kept.
fn alarm_name((kind, member): (i32, u64)) -> Vec<u8> {
    let mut stored = name::ALARM.to_vec();
    stored.extend_from_slice(&kind.to_be_bytes());
    stored.extend_from_slice(&member.to_be_bytes());
    stored
}

fn set_identity(pending: &mut Pending<'_>, request: &SetIdentity) -> reply::Result {
    pending.write(
        Family::Meta,
        name::CLUSTER_ID,
        Some(&request.cluster_id.to_be_bytes()),
    );
    pending.write(
        Family::Meta,
        name::INCARNATION,
        Some(request.incarnation.as_bytes()),
    );
    *pending.store.identity.write() = Identity {
        cluster_id: request.cluster_id,
        incarnation: request.incarnation.clone(),
    };
    reply::Result::Done(Done {})
}

fn bump(pending: &mut Pending<'_>, request: &BumpRevision) -> Answer<reply::Result> {
    if request.to <= pending.revision() {
        return Err(EtcdError::COMPACTED.into());
    }
    pending.revision = request.to;
    pending.compacted = request.to;
    Ok(reply::Result::Done(Done {}))
}

fn authentication(pending: &mut Pending<'_>, op: &Op) -> Answer<reply::Result> {
    let mut changes = Vec::new();
    match pending.store.auth.apply(op, &mut changes) {
        None => return Err(EtcdError::UNDECODABLE_COMMAND.into()),
        Some(outcome) => outcome?,
    }
    for (key, value) in changes {
        pending.write(Family::Auth, &key, value.as_deref());
    }
    Ok(reply::Result::Done(Done {}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use photon_proto::etcdserverpb::{DeleteRangeRequest, PutRequest};

    #[test]
    fn a_put_is_known_by_its_first_bytes() {
        let command = |op: Op, user: &str| {
            let caller = (!user.is_empty()).then(|| Caller {
                user: user.to_owned(),
                auth_revision: 7,
            });
            Bytes::from(
                Command {
                    caller,
                    op: Some(op),
                }
                .encode_to_vec(),
            )
        };
        let put = || {
            Op::Put(PutRequest {
                key: "k".into(),
                ..Default::default()
            })
        };
        assert!(is_put(&command(put(), "")));
        assert!(is_put(&command(put(), "root")));
        let delete = |range_end: &'static str| {
            let request = DeleteRangeRequest {
                key: "k".into(),
                range_end: range_end.into(),
                ..Default::default()
            };
            command(Op::DeleteRange(request), "root")
        };
        assert!(!is_put(&delete("")));
        assert!(touches_only_points(&delete("")));
        assert!(!touches_only_points(&delete("l")));
        assert!(!is_put(&Bytes::new()));
        assert!(!is_put(&Bytes::from_static(&[0x0a, 0xff])));
    }
}
