//! Watches over the real store: live events, catching up from disk, compaction, a replaced state.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chainfire_engine::watch::{WatchItem, WatchReceiver, WatchSpec};
use photon_proto::mvccpb::Event;

use crate::kit::{apply, compact, delete, one, open, put};

/// The next thing a stream hears, waited for.
fn next(receiver: &mut WatchReceiver) -> WatchItem {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(item) = receiver.try_recv() {
            return item;
        }
        assert!(Instant::now() < deadline, "nothing came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Events until a revision has come.
fn events_through(receiver: &mut WatchReceiver, through: i64) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    while all
        .last()
        .is_none_or(|last| last.kv.as_ref().unwrap().mod_revision < through)
    {
        match next(receiver) {
            WatchItem::Events { events, .. } => all.extend(events),
            WatchItem::Created { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    all
}

fn everything_from(start_revision: i64) -> WatchSpec {
    WatchSpec {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        start_revision,
        prev_kv: true,
        ..WatchSpec::default()
    }
}

fn told(events: &[Event]) -> Vec<(Bytes, i64, Option<Bytes>)> {
    let tell = |event: &Event| {
        let kv = event.kv.clone().unwrap();
        (
            kv.key,
            kv.mod_revision,
            event.prev_kv.clone().map(|kv| kv.value),
        )
    };
    events.iter().map(tell).collect()
}

#[test]
fn the_past_and_the_present_are_told_alike() {
    let (_dir, engine) = open();
    let (live, mut from_live) = engine.watches().open();
    live.create(everything_from(0)).unwrap();
    apply(&engine, [put(b"a", b"1"), put(b"a", b"2"), put(b"b", b"3")]);
    apply(&engine, [delete(b"a", b"c"), put(b"a", b"4")]);
    let seen = told(&events_through(&mut from_live, 6));
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let key = Bytes::from_static;
    let expected = [
        (key(b"a"), 2, None),
        (key(b"a"), 3, value("1")),
        (key(b"b"), 4, None),
        (key(b"a"), 5, value("2")),
        (key(b"b"), 5, value("3")),
        (key(b"a"), 6, None),
    ];
    assert_eq!(seen, expected);
    let (late, mut from_late) = engine.watches().open();
    late.create(everything_from(2)).unwrap();
    assert_eq!(told(&events_through(&mut from_late, 6)), expected);
}

#[test]
fn a_watch_from_before_the_compaction_is_told_so() {
    let (_dir, engine) = open();
    apply(
        &engine,
        [
            put(b"a", b"1"),
            put(b"a", b"2"),
            delete(b"a", b""),
            put(b"b", b""),
        ],
    );
    one(&engine, compact(4));
    let (stream, mut receiver) = engine.watches().open();
    stream.create(everything_from(3)).unwrap();
    loop {
        match next(&mut receiver) {
            WatchItem::Created { .. } => {}
            WatchItem::Compacted {
                compact_revision, ..
            } => {
                assert_eq!(compact_revision, 4);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let (stream, mut receiver) = engine.watches().open();
    stream.create(everything_from(4)).unwrap();
    let seen = told(&events_through(&mut receiver, 5));
    assert_eq!(
        seen.len(),
        2,
        "the deletion at the compacted revision, then b: {seen:?}"
    );
}

#[test]
fn a_watch_goes_on_over_an_installed_snapshot() {
    let (dir, leader) = open();
    apply(&leader, [put(b"a", b"1"), put(b"a", b"2")]);
    let (_follower_dir, follower) = open();
    apply(&follower, [put(b"a", b"1")]);
    let (stream, mut receiver) = follower.watches().open();
    stream.create(everything_from(2)).unwrap();
    assert_eq!(told(&events_through(&mut receiver, 2)).len(), 1);
    apply(&leader, [put(b"a", b"3"), delete(b"a", b"")]);
    let snapshot = dir.path().join("snapshot");
    leader.checkpoint(&snapshot).unwrap();
    follower.install(&snapshot).unwrap();
    apply(&follower, [put(b"b", b"")]);
    let seen: Vec<i64> = events_through(&mut receiver, 6)
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect();
    assert_eq!(seen, [3, 4, 5, 6], "nothing lost, nothing twice");
}
