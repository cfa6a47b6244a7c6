//! The past: events, previous states, compaction's borders, hashes.

use bytes::Bytes;
use chainfire_engine::{Engine, EtcdError};
use photon_proto::{mvccpb::Event, photon::chainfire::command::v1::reply};

use crate::kit::{
    apply, compact, delete, everything, failure, one, open, put, range_request, wait_compacted,
};

/// All events from a revision on, read in pieces.
pub(crate) fn read_all(engine: &Engine, from: i64) -> Vec<(i64, Vec<Event>)> {
    let (mut next, mut all) = (from, Vec::new());
    loop {
        let piece = engine
            .history()
            .events(next, engine.revision(), 2, 1 << 20)
            .unwrap();
        let Some(last) = piece.last() else {
            return all;
        };
        next = last.revision + 1;
        for revision in piece {
            let events = revision
                .events
                .iter()
                .map(|event| (**event).clone())
                .collect();
            all.push((revision.revision, events));
        }
    }
}

#[test]
fn events_come_by_whole_revisions_within_limits() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"b", b"2"),
            put(b"c", b"3"),
            delete(b"a", b"c"),
        ],
    );
    let history = engine.history();
    let revisions = |from, through, max, bytes| -> Vec<i64> {
        let found = history.events(from, through, max, bytes).unwrap();
        found.iter().map(|revision| revision.revision).collect()
    };
    assert_eq!(revisions(2, 5, 10, 1 << 20), [2, 3, 4, 5]);
    assert_eq!(revisions(3, 4, 10, 1 << 20), [3, 4]);
    assert_eq!(revisions(2, 5, 2, 1 << 20), [2, 3]);
    assert_eq!(revisions(2, 5, 10, 1), [2], "never less than one");
    assert!(revisions(6, 9, 10, 1 << 20).is_empty());
    let deleted = history.events(5, 5, 1, 1).unwrap().remove(0).events;
    assert_eq!(deleted.len(), 2);
    let kv = deleted[0].kv.as_ref().unwrap();
    assert_eq!(
        (&kv.key[..], kv.mod_revision, kv.version),
        (&b"a"[..], 5, 0)
    );
}

#[test]
fn the_state_before_a_change() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [put(b"a", b"1"), put(b"a", b"2"), delete(b"a", b"")],
    );
    let previous = |before| {
        let kv = engine.history().previous(b"a", before).unwrap();
        kv.map(|kv| (kv.value, kv.version))
    };
    assert_eq!(previous(2), None);
    assert_eq!(previous(3), Some((Bytes::from_static(b"1"), 1)));
    assert_eq!(previous(4), Some((Bytes::from_static(b"2"), 2)));
    one(&engine, compact(3));
    assert_eq!(previous(3), None, "compacted");
    assert_eq!(previous(4), Some((Bytes::from_static(b"2"), 2)));
}

#[test]
fn compaction_has_etcds_borders() {
    let (_dir, engine) = open();
    assert_eq!(engine.compacted(), -1);
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"a", b"2"),
            put(b"b", b"1"),
            delete(b"a", b""),
        ],
    );
    assert_eq!(
        failure(&one(&engine, compact(6))).message,
        EtcdError::FUTURE_REV.message
    );
    assert!(matches!(
        one(&engine, compact(5)),
        reply::Result::Compact(_)
    ));
    assert_eq!(
        failure(&one(&engine, compact(5))).message,
        EtcdError::COMPACTED.message
    );
    let at = |revision| engine.range(&range_request(b"a", b"", revision));
    assert_eq!(at(4), Err(EtcdError::COMPACTED));
    assert_eq!(at(5).unwrap().count, 0);
    assert_eq!(at(6), Err(EtcdError::FUTURE_REV));
    wait_compacted(&engine, 5);
    // The tombstone at the compacted revision itself is still there for a watch.
    assert_eq!(read_all(&engine, 5)[0].0, 5);
    assert_eq!(everything(&engine, 0).count, 1);
    apply(&engine, [put(b"c", b"1"), compact(6)]);
    wait_compacted(&engine, 6);
    let left: Vec<i64> = read_all(&engine, 0)
        .into_iter()
        .map(|(revision, _)| revision)
        .collect();
    assert_eq!(left, [4, 6], "b and c; the old tombstone is gone");
}

#[test]
fn physical_compaction_gives_the_bytes_back() {
    let (_dir, engine) = open();
    for round in 0..40 {
        apply(
            &engine,
            (0..20).map(|key: i32| put(&key.to_be_bytes(), &[round; 100])),
        );
    }
    let before = engine.size().live;
    one(&engine, compact(engine.revision()));
    wait_compacted(&engine, engine.revision());
    let after = engine.size().live;
    assert!(after < before / 15, "{before} -> {after}");
    apply(
        &engine,
        [delete(b"\0", b"\0"), compact(engine.revision() + 1)],
    );
    wait_compacted(&engine, engine.revision());
    apply(&engine, [put(b"a", b"")]);
    one(&engine, compact(engine.revision()));
    wait_compacted(&engine, engine.revision());
    apply(&engine, [delete(b"a", b"")]);
    apply(&engine, [put(b"a", b"")]);
    one(&engine, compact(engine.revision()));
    wait_compacted(&engine, engine.revision());
    assert!(engine.size().live < 150, "{:?}", engine.size());
    assert_eq!(everything(&engine, 0).count, 1);
}

#[test]
fn the_hash_does_not_depend_on_physical_compaction() {
    let (_a, one_member) = open();
    let (_b, other) = open();
    let ops = || {
        (0..60u8).map(|n| {
            if n % 7 == 3 {
                delete(&[n % 5], b"")
            } else {
                put(&[n % 5], &[n])
            }
        })
    };
    apply(&one_member, ops());
    apply(&other, ops());
    assert_eq!(one_member.hash_kv(0), other.hash_kv(0));
    assert_eq!(one_member.hash_kv(0).unwrap().compact_revision, -1);
    // One compacts in two strides, the other at once.
    let top = one_member.revision();
    one(&one_member, compact(20));
    wait_compacted(&one_member, 20);
    one(&one_member, compact(top - 5));
    wait_compacted(&one_member, top - 5);
    one(&other, compact(top - 5));
    let racing = other.hash_kv(0);
    wait_compacted(&other, top - 5);
    assert_eq!(racing, other.hash_kv(0));
    assert_eq!(one_member.hash_kv(0), other.hash_kv(0));
    assert_eq!(one_member.hash_kv(top - 5), other.hash_kv(top - 5));
    assert_eq!(one_member.hash_kv(top - 6), Err(EtcdError::COMPACTED));
    assert_eq!(one_member.hash_kv(top + 1), Err(EtcdError::FUTURE_REV));
    apply(&other, [put(b"x", b"")]);
    assert_ne!(
        one_member.hash_kv(0).unwrap().hash,
        other.hash_kv(0).unwrap().hash
    );
}
