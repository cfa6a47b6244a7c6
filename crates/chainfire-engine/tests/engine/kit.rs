//! Short ways to write commands and requests.

use bytes::Bytes;
use chainfire_engine::{Engine, Options};
use photon_proto::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
        request_op,
    },
    photon::chainfire::command::v1::{Command, Failure, Reply, command::Op, reply},
};
use prost::Message;
use tempfile::TempDir;

/// Small everything, so that files, steps and caches are met.
pub(crate) fn options() -> Options {
    Options {
        block_cache_bytes: 1 << 20,
        memtable_bytes: 1 << 20,
        compaction_step: 7,
        ..Options::default()
    }
}

pub(crate) fn open() -> (TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&dir.path().join("state"), options()).unwrap();
    (dir, engine)
}

pub(crate) fn encode(op: Op) -> Bytes {
    let command = Command {
        caller: None,
        op: Some(op),
    };
    command.encode_to_vec().into()
}

/// Applies commands in one batch with a mark that is not looked at.
pub(crate) fn apply(engine: &Engine, ops: impl IntoIterator<Item = Op>) -> Vec<Reply> {
    let commands: Vec<_> = ops.into_iter().map(encode).collect();
    engine.apply(&commands, b"mark").unwrap()
}

pub(crate) fn one(engine: &Engine, op: Op) -> reply::Result {
    apply(engine, [op]).remove(0).result.unwrap()
}

pub(crate) fn put_request(key: &[u8], value: &[u8]) -> PutRequest {
    PutRequest {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        ..PutRequest::default()
    }
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> Op {
    Op::Put(put_request(key, value))
}

pub(crate) fn delete_request(key: &[u8], end: &[u8]) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: Bytes::copy_from_slice(key),
        range_end: Bytes::copy_from_slice(end),
        prev_kv: false,
    }
}

pub(crate) fn delete(key: &[u8], end: &[u8]) -> Op {
    Op::DeleteRange(delete_request(key, end))
}

pub(crate) fn compact(revision: i64) -> Op {
    Op::Compact(photon_proto::etcdserverpb::CompactionRequest {
        revision,
        physical: false,
    })
}

pub(crate) fn range_request(key: &[u8], end: &[u8], revision: i64) -> RangeRequest {
    RangeRequest {
        key: Bytes::copy_from_slice(key),
        range_end: Bytes::copy_from_slice(end),
        revision,
        ..RangeRequest::default()
    }
}

pub(crate) fn everything(engine: &Engine, revision: i64) -> RangeResponse {
    engine
        .range(&range_request(b"\0", b"\0", revision))
        .unwrap()
}

pub(crate) fn txn(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        compare: vec![],
        success,
        failure: vec![],
    }
}

pub(crate) fn op(request: request_op::Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

pub(crate) fn failure(result: &reply::Result) -> &Failure {
    match result {
        reply::Result::Failure(failure) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn wait_compacted(engine: &Engine, revision: i64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    assert!(engine.wait_compacted(revision, deadline));
}
