//! What is asked of every door, and what a door may say.

use chainfire_engine::EtcdError;
use photon_proto::etcdserverpb::{
    AuthUserListRequest, CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest,
    MemberListRequest, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp, SnapshotRequest,
    TxnRequest, WatchCreateRequest, WatchRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as Op,
    watch_request::RequestUnion,
};
use tonic::{Code, Status};

/// A request, whatever the door.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Get(&'static str),
    Put(&'static str),
    /// With what was there before in the answer.
    PutPrevious(&'static str),
    /// Attached to a lease.
    PutUnder(&'static str, i64),
    Delete(&'static str),
    DeletePrevious(&'static str),
    Scan(&'static str),
    /// Compares the first key; if it holds, puts the second.
    TxnCompare(&'static str, &'static str),
    /// Puts the first key, or else (which does not happen) reads the second.
    TxnElse(&'static str, &'static str),
    /// Puts the first key and, in a nested transaction, reads the second.
    TxnNested(&'static str, &'static str),
    /// A nested transaction compares this key.
    TxnNestedCompare(&'static str),
    /// Puts with what was there before in the answer.
    TxnPrevious(&'static str),
    Watch(&'static str),
    Revoke(i64),
    LeaseKeys(i64),
    Leases,
    Compact(i64),
    Snapshot,
    MemberAdd,
    MemberList,
    Transfer,
    Users,
    Hash,
}

/// What a door says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Allowed,
    /// Known, and without the right.
    Denied,
    /// Nobody knows who asks.
    Nobody,
    /// Anything else that went wrong.
    Failed(String),
}

impl Verdict {
    /// etcd's words, which its clients take apart.
    pub(super) fn of_etcd(code: Code, message: &str) -> Self {
        let is = |error: EtcdError| error.code == code as i32 && error.message == message;
        if is(EtcdError::PERMISSION_DENIED) {
            Self::Denied
        } else if is(EtcdError::USER_EMPTY) || is(EtcdError::INVALID_AUTH_TOKEN) {
            Self::Nobody
        } else {
            Self::Failed(format!("{code:?}: {message}"))
        }
    }

    pub(super) fn of_status<T>(outcome: Result<T, Status>) -> Self {
        match outcome {
            Ok(_) => Self::Allowed,
            Err(status) => Self::of_etcd(status.code(), status.message()),
        }
    }
}

/// A request in etcd's own messages.
#[derive(Debug)]
pub(super) enum Message {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Watch(WatchRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases(LeaseLeasesRequest),
    Compact(CompactionRequest),
    Snapshot(SnapshotRequest),
    MemberAdd(MemberAddRequest),
    MemberList(MemberListRequest),
    MoveLeader(MoveLeaderRequest),
    UserList(AuthUserListRequest),
    HashKv(HashKvRequest),
}

impl Ask {
    pub(super) fn message(self) -> Message {
        match self {
            Self::Get(key) => Message::Range(range(key)),
            Self::Put(key) => Message::Put(put(key)),
            Self::PutPrevious(key) => Message::Put(previous(key)),
            Self::PutUnder(key, lease) => Message::Put(PutRequest { lease, ..put(key) }),
            Self::Delete(key) => Message::Delete(delete(key, false)),
            Self::DeletePrevious(key) => Message::Delete(delete(key, true)),
            Self::Scan(prefix) => Message::Range(RangeRequest {
                range_end: end(prefix).into(),
                ..range(prefix)
            }),
            Self::TxnCompare(compare, key) => Message::Txn(TxnRequest {
                compare: vec![exists(compare)],
                success: ops([Op::RequestPut(put(key))]),
                failure: Vec::new(),
            }),
            Self::TxnElse(key, read) => Message::Txn(TxnRequest {
                compare: Vec::new(),
                success: ops([Op::RequestPut(put(key))]),
                failure: ops([Op::RequestRange(range(read))]),
            }),
            Self::TxnNested(key, read) => {
                let nested = TxnRequest {
                    success: ops([Op::RequestRange(range(read))]),
                    ..TxnRequest::default()
                };
                Message::Txn(TxnRequest {
                    success: ops([Op::RequestPut(put(key)), Op::RequestTxn(nested)]),
                    ..TxnRequest::default()
                })
            }
            Self::TxnNestedCompare(compare) => {
                let nested = TxnRequest {
                    compare: vec![exists(compare)],
                    ..TxnRequest::default()
                };
                Message::Txn(TxnRequest {
                    success: ops([Op::RequestTxn(nested)]),
                    ..TxnRequest::default()
                })
            }
            Self::TxnPrevious(key) => Message::Txn(TxnRequest {
                success: ops([Op::RequestPut(previous(key))]),
                ..TxnRequest::default()
            }),
            Self::Watch(prefix) => Message::Watch(WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                    key: prefix.into(),
                    range_end: end(prefix).into(),
                    ..WatchCreateRequest::default()
                })),
            }),
            Self::Revoke(id) => Message::Revoke(LeaseRevokeRequest { id }),
            Self::LeaseKeys(id) => Message::TimeToLive(LeaseTimeToLiveRequest { id, keys: true }),
            Self::Leases => Message::Leases(LeaseLeasesRequest {}),
            Self::Compact(revision) => Message::Compact(CompactionRequest {
                revision,
                ..CompactionRequest::default()
            }),
            Self::Snapshot => Message::Snapshot(SnapshotRequest {}),
            Self::MemberAdd => Message::MemberAdd(MemberAddRequest {
                peer_ur_ls: vec![format!("https://{NOBODY_THERE}")],
                ..MemberAddRequest::default()
            }),
            Self::MemberList => Message::MemberList(MemberListRequest { linearizable: true }),
            Self::Transfer => Message::MoveLeader(MoveLeaderRequest { target_id: 7 }),
            Self::Users => Message::UserList(AuthUserListRequest {}),
            Self::Hash => Message::HashKv(HashKvRequest { revision: 0 }),
        }
    }
}

/// An address at which no node answers.
pub(super) const NOBODY_THERE: &str = "127.0.0.1:1";

fn range(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

fn put(key: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: "x".into(),
        ..PutRequest::default()
    }
}

fn previous(key: &str) -> PutRequest {
    PutRequest {
        prev_kv: true,
        ..put(key)
    }
}

fn delete(key: &str, prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_owned().into(),
        prev_kv,
        ..DeleteRangeRequest::default()
    }
}

fn exists(key: &str) -> Compare {
    Compare {
        key: key.to_owned().into(),
        target: CompareTarget::Version.into(),
        result: CompareResult::Greater.into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    }
}

fn ops(ops: impl IntoIterator<Item = Op>) -> Vec<RequestOp> {
    ops.into_iter()
        .map(|op| RequestOp { request: Some(op) })
        .collect()
}

/// The end of a prefix that ends in a small letter or a slash.
fn end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    end
}
