//! Single rules of etcd that a random walk would rarely name.

use bytes::Bytes;
use chainfire_engine::{Budget, Engine, EtcdError};
use photon_proto::{
    etcdserverpb::{
        AlarmRequest, AlarmType, LeaseGrantRequest, PutRequest, RangeRequest,
        alarm_request::AlarmAction, request_op::Request, response_op::Response,
    },
    photon::chainfire::command::v1::{BumpRevision, Command, SetIdentity, command::Op, reply},
};
use prost::Message;
use rand::RngCore as _;

use crate::kit::{
    apply, compact, delete, delete_request, everything, failure, one, op, open, put, put_request,
    range_request, txn,
};

#[test]
fn an_empty_store_is_at_revision_one() {
    let (_dir, engine) = open();
    assert_eq!(engine.revision(), 1);
    let empty = everything(&engine, 0);
    assert_eq!((empty.header.unwrap().revision, empty.count), (1, 0));
    let reply::Result::DeleteRange(nothing) = one(&engine, delete(b"a", b"\0")) else {
        panic!();
    };
    assert_eq!(nothing.deleted, 0);
    assert_eq!(engine.revision(), 1, "deleting nothing is no revision");
    apply(&engine, [put(b"a", b"")]);
    assert_eq!(engine.revision(), 2);
}

#[test]
fn a_deleted_key_begins_again() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"a", b"2"),
            delete(b"a", b""),
            put(b"a", b"3"),
        ],
    );
    let kv = engine
        .range(&range_request(b"a", b"", 0))
        .unwrap()
        .kvs
        .remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
    let kv = engine
        .range(&range_request(b"a", b"", 3))
        .unwrap()
        .kvs
        .remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
}

#[test]
fn a_failed_transaction_changes_nothing_on_any_member() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"a", b"2"),
            put(b"a", b"3"),
            compact(3),
        ],
    );
    for (revision, refusal) in [(2, EtcdError::COMPACTED), (9, EtcdError::FUTURE_REV)] {
        let request = txn(vec![
            op(Request::RequestPut(put_request(b"b", b""))),
            op(Request::RequestRange(range_request(b"a", b"", revision))),
        ]);
        let result = one(&engine, Op::Txn(request));
        assert_eq!(failure(&result).message, refusal.message);
    }
    assert_eq!(everything(&engine, 0).count, 1);
    assert_eq!(engine.revision(), 4);
}

#[test]
fn a_range_in_a_transaction_sees_earlier_operations() {
    let (_dir, engine) = open();
    apply(&engine, [put(b"a", b"old"), put(b"b", b"old")]);
    let request = txn(vec![
        op(Request::RequestRange(range_request(b"\0", b"\0", 0))),
        op(Request::RequestPut(put_request(b"c", b"new"))),
        op(Request::RequestDeleteRange(delete_request(b"a", b""))),
        op(Request::RequestRange(range_request(b"\0", b"\0", 0))),
        op(Request::RequestRange(range_request(b"\0", b"\0", 2))),
    ]);
    let reply::Result::Txn(answer) = one(&engine, Op::Txn(request)) else {
        panic!();
    };
    let keys = |at: usize| {
        let Some(Response::ResponseRange(range)) = &answer.responses[at].response else {
            panic!();
        };
        let keys: Vec<_> = range.kvs.iter().map(|kv| kv.key.clone()).collect();
        (keys, range.count, range.header.unwrap().revision)
    };
    let names = |names: &'static [&'static str]| {
        names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(0), (names(&["a", "b"]), 2, 3));
    assert_eq!(keys(3), (names(&["b", "c"]), 2, 4));
    assert_eq!(keys(4), (names(&["a"]), 1, 4));
    assert_eq!(answer.header.unwrap().revision, 4);
}

#[test]
fn commands_that_cannot_be_read_are_refused_and_the_rest_goes_on() {
    let (_dir, engine) = open();
    let commands = [
        Bytes::from_static(b"\xff\xff\xff"),
        Bytes::new(),
        Bytes::from(
            Command {
                caller: None,
                op: Some(put(b"a", b"")),
            }
            .encode_to_vec(),
        ),
    ];
    let replies = engine.apply(&commands, b"m").unwrap();
    for reply in &replies[..2] {
        let result = reply.result.as_ref().unwrap();
        assert_eq!(
            failure(result).message,
            EtcdError::UNDECODABLE_COMMAND.message
        );
        assert_eq!(reply.revision, 1);
    }
    assert_eq!(replies[2].revision, 2);
}

fn alarm(engine: &Engine, action: AlarmAction, alarm: AlarmType) -> usize {
    let request = AlarmRequest {
        action: action.into(),
        member_id: 7,
        alarm: alarm.into(),
    };
    let reply::Result::Alarm(answer) = one(engine, Op::Alarm(request)) else {
        panic!();
    };
    answer.alarms.len()
}

#[test]
fn without_space_only_what_frees_it_goes_on() {
    let (dir, engine) = open();
    apply(&engine, [put(b"a", b""), put(b"b", b"")]);
    assert_eq!(alarm(&engine, AlarmAction::Activate, AlarmType::Nospace), 1);
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(&dir.path().join("state"), crate::kit::options()).unwrap();
    assert_eq!(engine.alarms().len(), 1, "an alarm outlives a restart");
    let refused = |result: &reply::Result| failure(result).message == EtcdError::NO_SPACE.message;
    assert!(refused(&one(&engine, put(b"c", b""))));
    let grant = Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 9 });
    assert!(refused(&one(&engine, grant)));
    let putting = txn(vec![op(Request::RequestPut(put_request(b"a", b"")))]);
    assert!(refused(&one(&engine, Op::Txn(putting))));
    let deleting = txn(vec![op(Request::RequestDeleteRange(delete_request(
        b"a", b"",
    )))]);
    assert!(matches!(
        one(&engine, Op::Txn(deleting)),
        reply::Result::Txn(_)
    ));
    assert!(matches!(
        one(&engine, delete(b"b", b"")),
        reply::Result::DeleteRange(_)
    ));
    assert!(matches!(
        one(&engine, compact(3)),
        reply::Result::Compact(_)
    ));
    assert_eq!(alarm(&engine, AlarmAction::Get, AlarmType::None), 1);
    assert_eq!(
        alarm(&engine, AlarmAction::Deactivate, AlarmType::Nospace),
        1
    );
    assert_eq!(
        alarm(&engine, AlarmAction::Deactivate, AlarmType::Nospace),
        0
    );
    assert!(matches!(
        one(&engine, put(b"c", b"")),
        reply::Result::Put(_)
    ));
}

#[test]
fn the_quota_is_compared_with_live_data() {
    let dir = tempfile::tempdir().unwrap();
    let options = chainfire_engine::Options {
        quota_bytes: 10_000,
        ..crate::kit::options()
    };
    let engine = Engine::open(dir.path(), options).unwrap();
    for round in 0..20 {
        assert!(!engine.over_quota());
        apply(&engine, [put(b"a", &[round; 500])]);
        if engine.over_quota() {
            break;
        }
    }
    assert!(engine.over_quota());
    one(&engine, compact(engine.revision()));
    crate::kit::wait_compacted(&engine, engine.revision());
    assert!(!engine.over_quota());
}

/// As documented: the quota counts what is there, and that is a value in the history and one beside it.
#[test]
fn a_present_value_is_on_disk_twice_and_counts_twice() {
    let (dir, engine) = open();
    let mut written = 0;
    for key in 0..64_u8 {
        // Nothing that could be compressed.
        let mut value = vec![0; 64 << 10];
        rand::rng().fill_bytes(&mut value);
        written += value.len();
        apply(&engine, [put(&[key], &value)]);
    }
    let copy = dir.path().join("copy");
    engine.checkpoint(&copy).unwrap();
    let tables = std::fs::read_dir(&copy).unwrap().map(Result::unwrap);
    let tables = tables.filter(|entry| entry.path().extension() == Some("sst".as_ref()));
    let on_disk: u64 = tables.map(|entry| entry.metadata().unwrap().len()).sum();
    let live = u64::try_from(engine.size().live).unwrap();
    let twice = 2 * written as u64;
    for bytes in [on_disk, live] {
        assert!(
            (twice..twice + twice / 10).contains(&bytes),
            "{bytes} of {twice}"
        );
    }
}

#[test]
fn bumping_the_revision_compacts_everything_before() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"a", b"2"),
            Op::BumpRevision(BumpRevision { to: 1_000_000 }),
        ],
    );
    assert_eq!(
        (engine.revision(), engine.compacted()),
        (1_000_000, 1_000_000)
    );
    assert_eq!(
        engine.range(&range_request(b"a", b"", 3)),
        Err(EtcdError::COMPACTED)
    );
    assert_eq!(everything(&engine, 1_000_000).count, 1);
    let back = one(&engine, Op::BumpRevision(BumpRevision { to: 5 }));
    assert_eq!(failure(&back).message, EtcdError::COMPACTED.message);
    apply(&engine, [put(b"b", b"")]);
    assert_eq!(engine.revision(), 1_000_001);
    crate::kit::wait_compacted(&engine, 1_000_000);
    assert_eq!(everything(&engine, 0).count, 2);
}

#[test]
fn the_identity_is_kept() {
    let (dir, engine) = open();
    let identity = SetIdentity {
        cluster_id: u64::MAX - 5,
        incarnation: "one".to_owned(),
    };
    one(&engine, Op::SetIdentity(identity));
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(&dir.path().join("state"), crate::kit::options()).unwrap();
    let identity = engine.identity();
    assert_eq!(
        (identity.cluster_id, &identity.incarnation[..]),
        (u64::MAX - 5, "one")
    );
}

#[test]
fn large_values_and_many_keys() {
    let (_dir, engine) = open();
    let large = vec![7u8; 1_572_000];
    apply(&engine, [put(b"large", &large)]);
    apply(
        &engine,
        (0..3000u32).map(|n| put(format!("k{n:05}").as_bytes(), &n.to_be_bytes())),
    );
    let found = engine
        .range(&range_request(b"large", b"", 0))
        .unwrap()
        .kvs
        .remove(0);
    assert_eq!(found.value, large);
    let past = engine.revision();
    apply(&engine, [delete(b"k01000", b"k02000")]);
    let page = RangeRequest {
        limit: 10,
        ..range_request(b"k00995", b"l", 0)
    };
    let now = engine.range(&page).unwrap();
    assert_eq!((now.count, now.more, now.kvs.len()), (2000 - 995, true, 10));
    assert_eq!(&now.kvs[5].key[..], b"k02000");
    let then = engine
        .range(&RangeRequest {
            revision: past,
            ..page
        })
        .unwrap();
    assert_eq!((then.count, then.more), (3000 - 995, true));
    assert_eq!(&then.kvs[5].key[..], b"k01000");
    engine.defragment().unwrap();
    assert_eq!(everything(&engine, past).kvs.len(), 3001);
}

#[test]
fn ignoring_needs_a_key_and_leases_must_exist() {
    let (_dir, engine) = open();
    let ignoring = PutRequest {
        ignore_value: true,
        ..put_request(b"a", b"")
    };
    let result = one(&engine, Op::Put(ignoring));
    assert_eq!(failure(&result).message, EtcdError::KEY_NOT_FOUND.message);
    let leased = PutRequest {
        lease: 4,
        ..put_request(b"a", b"")
    };
    let result = one(&engine, Op::Put(leased));
    assert_eq!(failure(&result).code, 5);
    let empty = one(&engine, put(b"", b""));
    assert_eq!(failure(&empty).message, EtcdError::EMPTY_KEY.message);
    assert_eq!(engine.revision(), 1);
}

#[test]
fn readers_see_one_revision_while_writes_go_on() {
    let (_dir, engine) = open();
    apply(&engine, [put(b"a", b"0"), put(b"b", b"0")]);
    let writer = {
        let engine = engine.clone();
        std::thread::spawn(move || {
            for n in 1..400u32 {
                // Both keys change together, and a third comes and goes: one count, one pair of values per revision.
                let third = if n % 2 == 0 {
                    delete_request(b"c", b"")
                } else {
                    delete_request(b"x", b"")
                };
                let mut ops = vec![
                    op(Request::RequestPut(put_request(b"a", &n.to_be_bytes()))),
                    op(Request::RequestPut(put_request(b"b", &n.to_be_bytes()))),
                    op(Request::RequestDeleteRange(third)),
                ];
                if n % 2 == 1 {
                    ops.push(op(Request::RequestPut(put_request(b"c", b""))));
                }
                apply(&engine, [Op::Txn(txn(ops))]);
            }
        })
    };
    while !writer.is_finished() {
        let seen = everything(&engine, 0);
        assert_eq!(seen.kvs[0].value, seen.kvs[1].value);
        assert_eq!(seen.count, seen.kvs.len() as i64);
        assert_eq!(
            seen.kvs[0].mod_revision.max(3),
            seen.header.unwrap().revision
        );
    }
    writer.join().unwrap();
}

#[test]
fn an_answer_with_a_budget_ends_there() {
    let (_dir, engine) = open();
    for key in [&b"a"[..], b"b", b"c", b"d"] {
        one(&engine, put(key, b"four"));
    }
    let budget = |bytes| Budget::new(bytes, |key, value| key.len() + value.len());
    let all = range_request(b"a", b"z", 0);
    for (bytes, rows) in [(0, 1), (5, 1), (14, 2), (15, 3), (20, 4)] {
        let found = engine.range_within(&all, budget(bytes)).unwrap();
        assert_eq!(found.kvs.len(), rows, "{bytes}");
        assert_eq!((found.count, found.more), (4, rows < 4), "{bytes}");
    }
    // The row that shows that there is more is not part of the answer.
    let two = RangeRequest {
        limit: 2,
        ..all.clone()
    };
    let found = engine.range_within(&two, budget(10)).unwrap();
    assert_eq!((found.kvs.len(), found.more), (2, true));
    let sorted = RangeRequest {
        sort_order: 2,
        ..all.clone()
    };
    let refused = engine.range_within(&sorted, budget(19)).unwrap_err();
    assert_eq!(refused, EtcdError::ANSWER_TOO_LARGE);

    // A transaction's ranges share one, and comparing costs nothing of it.
    let half = || op(Request::RequestRange(range_request(b"a", b"c", 0)));
    let mut both = txn(vec![half(), half()]);
    both.compare = vec![photon_proto::etcdserverpb::Compare {
        key: b"a".as_slice().into(),
        range_end: b"z".as_slice().into(),
        target: 1,
        ..Default::default()
    }];
    both.failure = both.success.clone();
    assert!(engine.read_txn_within(&both, budget(20)).is_ok());
    let refused = engine.read_txn_within(&both, budget(19)).unwrap_err();
    assert_eq!(refused, EtcdError::ANSWER_TOO_LARGE);
    assert!(engine.read_txn(&both).is_ok());
}
