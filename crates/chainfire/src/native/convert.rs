//! Native messages to etcd's and back.

use bytes::Bytes;
use photon_core::Error;
use photon_proto::{
    etcdserverpb::{
        self as etcd, RequestOp, ResponseOp,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::{self, KeyValue, event::EventType},
    photon::chainfire::v1::{
        Compare, DeleteRequest, DeleteResponse, Encoding, Event, GetResponse, GetWithRequest,
        Member, PutRequest, PutResponse, TxnOp, TxnOpResult, TxnRequest,
        compare::{Operator, Target},
        event, txn_op, txn_op_result,
    },
};
use photon_raft as raft;

use crate::rest::{encoding, scan::check_revision};

/// A key as native messages show it, with the store's revision when it was read.
pub(super) fn item(kv: KeyValue, revision: i64) -> GetResponse {
    let (value, encoding) = encoding::Encoding::encode(&kv.value);
    GetResponse {
        key: text_key(&kv.key),
        value,
        encoding: wire(encoding).into(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
        revision,
    }
}

/// Keys of this API are text. One that is not was written through etcd's; what of it is no text is shown as U+FFFD.
pub(super) fn text_key(key: &Bytes) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn wire(encoding: encoding::Encoding) -> Encoding {
    match encoding {
        encoding::Encoding::Utf8 => Encoding::Utf8,
        encoding::Encoding::Base64 => Encoding::Base64,
    }
}

/// The one key of a read, if it exists.
pub(super) fn read(request: GetWithRequest) -> Result<etcd::RangeRequest, Error> {
    check_revision(request.revision)?;
    Ok(etcd::RangeRequest {
        key: request.key.into(),
        revision: request.revision,
        serializable: request.stale,
        ..etcd::RangeRequest::default()
    })
}

pub(super) fn put(request: PutRequest) -> Result<etcd::PutRequest, Error> {
    let encoding = match Encoding::try_from(request.encoding) {
        Ok(Encoding::Unspecified | Encoding::Utf8) => encoding::Encoding::Utf8,
        Ok(Encoding::Base64) => encoding::Encoding::Base64,
        Err(_) => {
            return Err(Error::validation(
                "encoding",
                "known",
                "encoding is not a known one",
            ));
        }
    };
    Ok(etcd::PutRequest {
        key: request.key.into(),
        value: encoding.decode(request.value, "value")?,
        lease: request.lease,
        ..etcd::PutRequest::default()
    })
}

pub(super) fn delete(request: DeleteRequest) -> etcd::DeleteRangeRequest {
    etcd::DeleteRangeRequest {
        key: request.key.into(),
        range_end: request.range_end.into(),
        ..etcd::DeleteRangeRequest::default()
    }
}

pub(super) fn txn(request: TxnRequest) -> Result<etcd::TxnRequest, Error> {
    Ok(etcd::TxnRequest {
        compare: request
            .compare
            .into_iter()
            .map(compare)
            .collect::<Result<_, _>>()?,
        success: request
            .success
            .into_iter()
            .map(op)
            .collect::<Result<_, _>>()?,
        failure: request
            .failure
            .into_iter()
            .map(op)
            .collect::<Result<_, _>>()?,
    })
}

fn compare(compare: Compare) -> Result<etcd::Compare, Error> {
    let number = compare.number;
    let known =
        |field: &str| Error::validation(field, "known", format!("{field} is not a known one"));
    let target = Target::try_from(compare.target).map_err(|_| known("target"))?;
    let operator = Operator::try_from(compare.operator).map_err(|_| known("operator"))?;
    let (target, expected) = match target {
        Target::Value => (
            CompareTarget::Value,
            TargetUnion::Value(compare.value.clone().into()),
        ),
        Target::Version => (CompareTarget::Version, TargetUnion::Version(number)),
        Target::CreateRevision => (CompareTarget::Create, TargetUnion::CreateRevision(number)),
        Target::ModRevision => (CompareTarget::Mod, TargetUnion::ModRevision(number)),
        Target::Lease => (CompareTarget::Lease, TargetUnion::Lease(number)),
        Target::Unspecified => return Err(Error::required("target")),
    };
    let result = match operator {
        Operator::Unspecified | Operator::Equal => CompareResult::Equal,
        Operator::NotEqual => CompareResult::NotEqual,
        Operator::Greater => CompareResult::Greater,
        Operator::Less => CompareResult::Less,
    };
    Ok(etcd::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key.into(),
        target_union: Some(expected),
        ..etcd::Compare::default()
    })
}

fn op(op: TxnOp) -> Result<RequestOp, Error> {
    let request = match op.op {
        Some(txn_op::Op::Put(request)) => Request::RequestPut(put(request)?),
        Some(txn_op::Op::Delete(request)) => Request::RequestDeleteRange(delete(request)),
        Some(txn_op::Op::Get(request)) => Request::RequestRange(read(request)?),
        None => return Err(Error::required("op")),
    };
    Ok(RequestOp {
        request: Some(request),
    })
}

pub(super) fn op_result(op: ResponseOp, revision: i64) -> Result<TxnOpResult, Error> {
    let result = match op.response {
        Some(Response::ResponsePut(_)) => txn_op_result::Result::Put(PutResponse { revision }),
        Some(Response::ResponseDeleteRange(done)) => {
            txn_op_result::Result::Delete(DeleteResponse {
                deleted: done.deleted,
                revision,
            })
        }
        Some(Response::ResponseRange(range)) => {
            let found = range.kvs.into_iter().next().map(|kv| item(kv, revision));
            txn_op_result::Result::Get(found.unwrap_or(GetResponse {
                revision,
                ..GetResponse::default()
            }))
        }
        Some(Response::ResponseTxn(_)) | None => {
            return Err(Error::internal(
                "an operation was answered that was not asked",
            ));
        }
    };
    Ok(TxnOpResult {
        result: Some(result),
    })
}

pub(super) fn changed(event: mvccpb::Event, revision: i64) -> Event {
    let kind = match event.r#type() {
        EventType::Put => event::Type::Put,
        EventType::Delete => event::Type::Delete,
    };
    Event {
        r#type: kind.into(),
        item: event.kv.map(|kv| item(kv, revision)),
        previous: event.prev_kv.map(|kv| item(kv, revision)),
    }
}

pub(super) fn member(member: raft::Member, leader: Option<u64>) -> Member {
    Member {
        leader: leader == Some(member.node_id),
        node_id: member.node_id,
        name: member.name,
        peer_address: member.peer_address,
        client_addresses: member.client_addresses,
        learner: member.learner,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn binary_values_come_and_go_in_base64() {
        let request = PutRequest {
            key: "k".into(),
            value: "/wA=".into(),
            encoding: Encoding::Base64.into(),
            lease: 0,
        };
        let stored = put(request).unwrap();
        assert_eq!(stored.value, &[0xff, 0][..]);
        let shown = item(
            KeyValue {
                key: stored.key,
                value: stored.value,
                ..KeyValue::default()
            },
            9,
        );
        assert_eq!(
            (shown.value.as_str(), shown.encoding(), shown.revision),
            ("/wA=", Encoding::Base64, 9)
        );
    }

    #[test]
    fn what_is_not_said_is_refused() {
        let unknown = PutRequest {
            encoding: 99,
            ..PutRequest::default()
        };
        assert_eq!(
            put(unknown).unwrap_err().details().unwrap()["field"],
            "encoding"
        );
        assert_eq!(
            op(TxnOp { op: None }).unwrap_err().details().unwrap()["field"],
            "op"
        );
        assert_eq!(
            compare(Compare::default()).unwrap_err().details().unwrap()["field"],
            "target"
        );
        let strange = Compare {
            target: Target::Version.into(),
            operator: 99,
            ..Compare::default()
        };
        assert_eq!(
            compare(strange).unwrap_err().details().unwrap()["field"],
            "operator"
        );
    }
}
