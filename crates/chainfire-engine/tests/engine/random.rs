//! Random operations in random batches: the engine answers like the model, at every readable revision.

use bytes::Bytes;
use chainfire_engine::{Engine, Options};
use photon_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
        RangeRequest, RequestOp, TxnRequest, compare::TargetUnion, request_op::Request,
    },
    photon::chainfire::command::v1::command::Op,
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    kit::{self, compact, everything},
    model::Model,
};

/// Few keys, so that they meet; with the bytes that escaping is about.
fn key() -> impl Strategy<Value = Bytes> {
    let keys: Vec<&'static [u8]> = vec![
        b"a",
        b"a\0",
        b"a\0\0",
        b"a\x01",
        b"a\xff",
        b"ab",
        b"b",
        b"b\0c",
        b"c",
        b"\x01",
        b"\xff",
        b"\xff\xff",
    ];
    proptest::sample::select(keys).prop_map(Bytes::from_static)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => Just(Bytes::new()),
        2 => Just(Bytes::from_static(b"\0")),
        5 => key(),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..4).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0i64), 2 => 1i64..4]
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), lease(), any::<bool>(), 0u8..8).prop_map(
        |(key, value, lease, prev_kv, ignore)| PutRequest {
            key,
            value: if ignore == 0 { Bytes::new() } else { value },
            lease: if ignore == 1 { 0 } else { lease },
            prev_kv,
            ignore_value: ignore == 0,
            ignore_lease: ignore == 1,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

/// Revisions are drawn small; most runs get to about as many.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0i64), 1 => Just(-1), 6 => 1i64..60]
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![5 => Just(0i64), 1 => 1i64..40]
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let options = (0i32..3, 0i32..5, any::<bool>(), 0u8..6, -1i64..5);
    (
        key(),
        end(),
        revision(),
        options,
        (bound(), bound(), bound(), bound()),
    )
        .prop_map(
            |(
                key,
                range_end,
                revision,
                (sort_order, sort_target, keys_only, count_only, limit),
                bounds,
            )| RangeRequest {
                key,
                range_end,
                revision,
                sort_order,
                sort_target,
                keys_only,
                count_only: count_only == 0,
                limit,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
                serializable: false,
            },
        )
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0i64..3).prop_map(TargetUnion::Version),
        (0i64..30).prop_map(TargetUnion::CreateRevision),
        (0i64..30).prop_map(TargetUnion::ModRevision),
        (0i64..3).prop_map(TargetUnion::Lease),
        value().prop_map(TargetUnion::Value),
    ];
    (0i32..4, target, key(), end()).prop_map(|(result, union, key, range_end)| Compare {
        result,
        target: match union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        },
        key,
        target_union: Some(union),
        range_end,
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let plain = prop_oneof![
        4 => put().prop_map(Request::RequestPut),
        3 => range().prop_map(Request::RequestRange),
        2 => delete().prop_map(Request::RequestDeleteRange),
    ];
    let leaf = (
        vec(compare(), 0..2),
        vec(plain.clone(), 0..3),
        vec(plain, 0..3),
    )
        .prop_map(build);
    leaf.prop_recursive(2, 8, 3, |inner| {
        let op = prop_oneof![
            3 => put().prop_map(Request::RequestPut),
            2 => range().prop_map(Request::RequestRange),
            1 => delete().prop_map(Request::RequestDeleteRange),
            2 => inner.prop_map(Request::RequestTxn),
        ];
        (vec(compare(), 0..2), vec(op.clone(), 0..4), vec(op, 0..4)).prop_map(build)
    })
}

fn build((compare, success, failure): (Vec<Compare>, Vec<Request>, Vec<Request>)) -> TxnRequest {
    let ops = |requests: Vec<Request>| {
        let wrap = |request| RequestOp {
            request: Some(request),
        };
        requests.into_iter().map(wrap).collect()
    };
    TxnRequest {
        compare,
        success: ops(success),
        failure: ops(failure),
    }
}

fn operation() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => put().prop_map(Op::Put),
        3 => delete().prop_map(Op::DeleteRange),
        6 => txn().prop_map(Op::Txn),
        1 => (1i64..60).prop_map(compact),
        2 => (1i64..4, 5i64..100).prop_map(|(id, ttl)| Op::LeaseGrant(LeaseGrantRequest { id, ttl })),
        1 => (1i64..4).prop_map(|id| Op::LeaseRevoke(LeaseRevokeRequest { id })),
    ]
}

fn compare_states(
    engine: &Engine,
    model: &Model,
    ranges: &[RangeRequest],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(engine.revision(), model.revision());
    prop_assert_eq!(engine.compacted(), model.compacted);
    for revision in model.compacted.max(1)..=model.revision() {
        let request = kit::range_request(b"\0", b"\0", revision);
        prop_assert_eq!(engine.range(&request), model.range(&request));
    }
    for request in ranges {
        prop_assert_eq!(engine.range(request), model.range(request), "{:?}", request);
        // The same through a transaction that only reads.
        let ops = vec![RequestOp {
            request: Some(Request::RequestRange(request.clone())),
        }];
        let read = engine.read_txn(&TxnRequest {
            compare: vec![],
            success: ops,
            failure: vec![],
        });
        if let (Ok(read), Ok(expected)) = (read, model.range(request)) {
            let photon_proto::etcdserverpb::response_op::Response::ResponseRange(answer) =
                read.responses[0].response.clone().unwrap()
            else {
                panic!("not a range");
            };
            prop_assert_eq!(answer, expected);
        }
    }
    for id in 1..4 {
        if let Some(keys) = engine.lease_keys(id) {
            prop_assert_eq!(keys, model.lease_keys(id));
        }
    }
    Ok(())
}

fn events_agree(engine: &Engine, model: &Model) -> Result<(), TestCaseError> {
    let from = model.compacted.max(0);
    let found = crate::history::read_all(engine, from);
    let mut expected: Vec<_> = model
        .events
        .range(from..)
        .map(|(revision, events)| (*revision, events.clone()))
        .collect();
    // At the compacted revision itself only what a key ended as is promised.
    let first = expected
        .first()
        .filter(|(revision, _)| *revision == model.compacted);
    let skip = usize::from(first.is_some());
    let skip_found = usize::from(
        found
            .first()
            .is_some_and(|(revision, _)| *revision == model.compacted),
    );
    expected.drain(..skip);
    prop_assert_eq!(&found[skip_found..], &expected[..]);
    Ok(())
}

/// 60 in the gate; `PROPTEST_CASES` for longer runs.
fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_answers_like_the_model(
        batches in vec((vec(operation(), 1..12), vec(range(), 0..6), option::weighted(0.1, Just(()))), 1..8),
        walk_changes in prop_oneof![Just(0usize), Just(3), Just(2000)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let options = Options { walk_changes, ..kit::options() };
        let mut engine = Engine::open(&state, options.clone()).unwrap();
        let mut model = Model::new();
        for (number, (ops, ranges, reopen)) in batches.into_iter().enumerate() {
            let ops: Vec<Op> = ops
                .into_iter()
                .filter(|op| match op {
                    Op::Txn(txn) => engine.check_txn(txn).is_ok(),
                    Op::Put(put) => engine.check_put(put).is_ok(),
                    _ => true,
                })
                .collect();
            let expected: Vec<_> = ops.iter().map(|op| model.apply(op)).collect();
            let commands: Vec<_> = ops.iter().cloned().map(kit::encode).collect();
            let mark = number.to_be_bytes();
            prop_assert_eq!(engine.apply(&commands, &mark).unwrap(), expected);
            prop_assert_eq!(engine.mark().unwrap(), &mark[..]);
            if reopen.is_some() {
                engine.flush().unwrap();
                drop(engine);
                engine = Engine::open(&state, options.clone()).unwrap();
                prop_assert_eq!(engine.mark().unwrap(), &mark[..]);
            }
            compare_states(&engine, &model, &ranges)?;
        }
        events_agree(&engine, &model)?;
        let before = engine.hash_kv(0).unwrap();
        if model.compacted >= 0 {
            kit::wait_compacted(&engine, model.compacted);
        }
        prop_assert_eq!(engine.hash_kv(0).unwrap(), before);
        compare_states(&engine, &model, &[])?;
        events_agree(&engine, &model)?;
        prop_assert_eq!(everything(&engine, 0).count, model.range(&kit::range_request(b"\0", b"\0", 0)).unwrap().count);
    }
}
