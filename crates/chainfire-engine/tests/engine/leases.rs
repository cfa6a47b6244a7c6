//! Leases and the keys on them.

use bytes::Bytes;
use chainfire_engine::{Engine, EtcdError, LeaseInfo, MAX_LEASE_TTL};
use photon_proto::{
    etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest},
    photon::chainfire::command::v1::{
        LeaseCheckpoint, command::Op, lease_checkpoint::Remaining, reply,
    },
};

use crate::kit::{apply, everything, failure, one, open, options, put, put_request};

fn grant(id: i64, ttl: i64) -> Op {
    Op::LeaseGrant(LeaseGrantRequest { id, ttl })
}

fn put_on(key: &[u8], lease: i64) -> Op {
    Op::Put(PutRequest {
        lease,
        ..put_request(key, b"v")
    })
}

fn keys(engine: &Engine, id: i64) -> Option<Vec<Bytes>> {
    engine.lease_keys(id)
}

#[test]
fn revoking_deletes_the_keys_in_order_in_one_revision() {
    let (dir, engine) = open();
    apply(
        &engine,
        [
            grant(5, 10),
            put_on(b"c", 5),
            put_on(b"a", 5),
            put_on(b"b", 5),
            put(b"b", b"freed"),
        ],
    );
    assert_eq!(
        keys(&engine, 5).unwrap(),
        [&b"a"[..], b"c"],
        "a put without a lease lets go"
    );
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(&dir.path().join("state"), options()).unwrap();
    assert_eq!(keys(&engine, 5).unwrap(), [&b"a"[..], b"c"]);
    assert_eq!(
        engine.leases(),
        [LeaseInfo {
            id: 5,
            ttl: 10,
            remaining: 0
        }]
    );
    let before = engine.revision();
    let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: 5 });
    assert!(matches!(
        one(&engine, revoke.clone()),
        reply::Result::LeaseRevoke(_)
    ));
    assert_eq!(engine.revision(), before + 1);
    let events = engine
        .history()
        .events(before + 1, before + 1, 1, 1)
        .unwrap()
        .remove(0)
        .events;
    let deleted: Vec<_> = events
        .iter()
        .map(|event| event.kv.as_ref().unwrap().key.clone())
        .collect();
    assert_eq!(deleted, [&b"a"[..], b"c"]);
    assert_eq!(everything(&engine, 0).count, 1);
    assert_eq!(keys(&engine, 5), None);
    assert_eq!(
        failure(&one(&engine, revoke)).message,
        EtcdError::LEASE_NOT_FOUND.message
    );
}

#[test]
fn granting_is_refused_as_in_etcd() {
    let (_dir, engine) = open();
    apply(&engine, [grant(1, 10)]);
    assert_eq!(
        failure(&one(&engine, grant(1, 20))).message,
        EtcdError::LEASE_EXIST.message
    );
    assert_eq!(
        failure(&one(&engine, grant(2, MAX_LEASE_TTL + 1))).message,
        EtcdError::LEASE_TTL_TOO_LARGE.message
    );
    assert_eq!(
        failure(&one(&engine, grant(0, 10))).message,
        EtcdError::LEASE_NOT_FOUND.message
    );
    assert_eq!(engine.revision(), 1, "a lease is no revision");
}

#[test]
fn a_checkpoint_outlives_a_restart() {
    let (dir, engine) = open();
    let remaining = |id, remaining_ttl_seconds| Remaining {
        id,
        remaining_ttl_seconds,
    };
    let checkpoint = LeaseCheckpoint {
        leases: vec![remaining(9, 1), remaining(3, 42)],
    };
    apply(&engine, [grant(3, 100), Op::LeaseCheckpoint(checkpoint)]);
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(&dir.path().join("state"), options()).unwrap();
    assert_eq!(
        engine.lease(3),
        Some(LeaseInfo {
            id: 3,
            ttl: 100,
            remaining: 42
        })
    );
    assert_eq!(engine.lease(9), None);
}

#[test]
fn a_lease_that_moves_between_keys_in_one_batch() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            grant(1, 10),
            grant(2, 10),
            put_on(b"a", 1),
            put_on(b"a", 2),
            Op::LeaseRevoke(LeaseRevokeRequest { id: 1 }),
        ],
    );
    assert_eq!(everything(&engine, 0).count, 1);
    assert_eq!(keys(&engine, 2).unwrap(), [&b"a"[..]]);
    let keeping = PutRequest {
        ignore_lease: true,
        ..put_request(b"a", b"new")
    };
    apply(&engine, [Op::Put(keeping)]);
    assert_eq!(everything(&engine, 0).kvs[0].lease, 2);
}
