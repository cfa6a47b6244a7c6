#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::{BTreeMap, HashMap},
    io,
    thread::sleep,
    time::Duration,
};

use bytes::Bytes;
use photon_proto::mvccpb::{Event, KeyValue, event::EventType};
use proptest::prelude::*;

use super::*;

/// A store that keeps everything, and shows what a compacted one would.
#[derive(Default)]
struct Past {
    inner: Mutex<PastInner>,
}

#[derive(Default)]
struct PastInner {
    /// `revisions[i]` is revision `i + 2`.
    revisions: Vec<Vec<Arc<Event>>>,
    compacted: i64,
    live: BTreeMap<Bytes, KeyValue>,
    looked_up: usize,
    broken: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Put(&'static str, String),
    Delete(&'static str),
}

impl Past {
    /// Commits one revision; `fill` gives the events their previous pairs, as the core does when it has them.
    fn commit(&self, changes: &[Change], fill: bool) -> RevisionEvents {
        let mut inner = self.inner.lock();
        let revision = inner.revisions.len() as i64 + 2;
        let mut events = Vec::new();
        for change in changes {
            let event = match change {
                Change::Put(key, value) => {
                    let key = Bytes::from_static(key.as_bytes());
                    let old = inner.live.get(&key).cloned();
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone().into(),
                        mod_revision: revision,
                        create_revision: old.as_ref().map_or(revision, |o| o.create_revision),
                        version: old.as_ref().map_or(1, |o| o.version + 1),
                        lease: 0,
                    };
                    inner.live.insert(key, kv.clone());
                    (EventType::Put, kv, old)
                }
                Change::Delete(key) => {
                    let key = Bytes::from_static(key.as_bytes());
                    let Some(old) = inner.live.remove(&key) else {
                        continue;
                    };
                    let kv = KeyValue {
                        key,
                        mod_revision: revision,
                        ..KeyValue::default()
                    };
                    (EventType::Delete, kv, Some(old))
                }
            };
            events.push(Arc::new(Event {
                r#type: event.0.into(),
                kv: Some(event.1),
                prev_kv: event.2.filter(|_| fill),
            }));
        }
        inner.revisions.push(events.clone());
        RevisionEvents { revision, events }
    }

    fn compact(&self, revision: i64) {
        self.inner.lock().compacted = revision;
    }

    /// The pair before revision `before`, had nothing been compacted.
    fn truth(&self, key: &[u8], before: i64) -> Option<KeyValue> {
        let inner = self.inner.lock();
        let mut events = inner.revisions[..(before - 2) as usize].iter().flatten();
        let last = events.rfind(|e| e.kv.as_ref().unwrap().key == key)?;
        (last.r#type == i32::from(EventType::Put)).then(|| last.kv.clone().unwrap())
    }
}

impl History for Past {
    fn revision(&self) -> i64 {
        self.inner.lock().revisions.len() as i64 + 1
    }

    fn compacted(&self) -> i64 {
        let compacted = self.inner.lock().compacted;
        if compacted == 0 { -1 } else { compacted }
    }

    fn events(
        &self,
        from: i64,
        through: i64,
        max_revisions: usize,
        _max_bytes: usize,
    ) -> io::Result<Vec<RevisionEvents>> {
        let inner = self.inner.lock();
        if inner.broken {
            return Err(io::Error::other("a test broke the disk"));
        }
        let first = from.max(inner.compacted).max(2);
        Ok((first..=through)
            .map(|revision| RevisionEvents {
                revision,
                events: inner.revisions[(revision - 2) as usize]
                    .iter()
                    .map(|e| {
                        let mut event = (**e).clone();
                        event.prev_kv = None;
                        Arc::new(event)
                    })
                    .collect(),
            })
            .filter(|r| !r.events.is_empty())
            .take(max_revisions)
            .collect())
    }

    fn previous(&self, key: &[u8], before: i64) -> io::Result<Option<KeyValue>> {
        let compacted = {
            let mut inner = self.inner.lock();
            inner.looked_up += 1;
            inner.compacted
        };
        if before - 1 < compacted {
            return Ok(None);
        }
        Ok(self.truth(key, before))
    }
}

struct Fixture {
    past: Arc<Past>,
    hub: WatchHub,
}

/// Limits so small that everything that can be full is.
fn tight() -> WatchOptions {
    WatchOptions {
        ring_revisions: 4,
        queue_items: 2,
        stall_timeout: Duration::from_millis(20),
        ..WatchOptions::default()
    }
}

impl Fixture {
    fn new(options: WatchOptions) -> Self {
        let past = Arc::new(Past::default());
        let weak: std::sync::Weak<Past> = Arc::downgrade(&past);
        Self {
            hub: WatchHub::new(weak, options),
            past,
        }
    }

    fn commit(&self, changes: &[Change]) {
        let events = self.past.commit(changes, self.hub.wants_previous());
        self.hub.publish(events.revision, vec![events]);
    }

    fn put(&self, key: &'static str) {
        self.commit(&[Change::Put(key, "v".to_owned())]);
    }

    fn compact(&self, revision: i64) {
        self.past.compact(revision);
        self.hub.compacted(revision);
    }
}

fn spec(key: &'static str, range_end: &'static str, start_revision: i64) -> WatchSpec {
    WatchSpec {
        key: Bytes::from_static(key.as_bytes()),
        range_end: Bytes::from_static(range_end.as_bytes()),
        start_revision,
        ..WatchSpec::default()
    }
}

fn everything(start_revision: i64) -> WatchSpec {
    spec("", "\0", start_revision)
}

/// Polls for the next item; fails after ten seconds.
fn next(receiver: &mut WatchReceiver) -> WatchItem {
    for _ in 0..10_000 {
        if let Some(item) = receiver.try_recv() {
            return item;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("nothing arrived");
}

fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("never came true");
}

fn revisions(item: &WatchItem) -> Vec<i64> {
    match item {
        WatchItem::Events { events, .. } => {
            let revisions = events.iter().map(|e| e.kv.as_ref().unwrap().mod_revision);
            revisions.collect()
        }
        other => panic!("events expected, not {other:?}"),
    }
}

#[test]
fn created_comes_first_and_ids_count_from_zero_around_chosen_ones() {
    let f = Fixture::new(WatchOptions::default());
    f.put("a");
    let (stream, mut receiver) = f.hub.open();
    let with_id = |watch_id| WatchSpec {
        watch_id,
        ..everything(2)
    };
    assert_eq!(stream.create(with_id(0)), Ok(0));
    assert_eq!(stream.create(with_id(1)), Ok(1));
    assert_eq!(stream.create(with_id(0)), Ok(2));
    assert_eq!(stream.create(with_id(1)), Err(CreateError::DuplicateId));
    assert_eq!(stream.create(with_id(-1)), Err(CreateError::DuplicateId));
    assert_eq!(
        stream.create(spec("b", "a", 0)),
        Err(CreateError::EmptyRange)
    );
    assert_eq!(
        stream.create(spec("b", "b", 0)),
        Err(CreateError::EmptyRange)
    );
    assert_eq!(
        stream.create(everything(-1)),
        Err(CreateError::NegativeStart)
    );
    let (mut created, mut rejected, mut served) = (Vec::new(), Vec::new(), Vec::new());
    while served.len() < 3 || rejected.len() < 5 {
        match next(&mut receiver) {
            WatchItem::Created { watch_id, revision } => {
                assert_eq!(revision, 2);
                created.push(watch_id);
            }
            WatchItem::Rejected { reason, .. } => rejected.push(reason),
            WatchItem::Events { watch_id, .. } => {
                assert!(created.contains(&watch_id));
                served.push(watch_id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, [0, 1, 2]);
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    let empty = "mvcc: watcher range is empty";
    assert_eq!(
        rejected,
        [
            duplicate,
            duplicate,
            empty,
            empty,
            "etcdserver: mvcc: required revision has been compacted"
        ]
    );
    let (_other, mut other_receiver) = f.hub.open();
    assert_eq!(other_receiver.try_recv(), None);
    assert_eq!(
        _other.create(everything(0)),
        Ok(0),
        "every stream counts for itself"
    );
}

#[test]
fn the_past_the_present_and_the_future_can_be_watched() {
    let f = Fixture::new(tight());
    for _ in 0..20 {
        f.put("a"); // 2..=21
    }
    let (stream, mut receiver) = f.hub.open();
    for start in [0, 1, 15, 23] {
        stream.create(everything(start)).unwrap();
    }
    f.put("a"); // 22
    f.put("a"); // 23
    f.put("a"); // 24
    let expected: [Vec<i64>; 4] = [
        (22..=24).collect(),
        (2..=24).collect(),
        (15..=24).collect(),
        (23..=24).collect(),
    ];
    let mut seen: HashMap<i64, Vec<i64>> = HashMap::new();
    while (0..4).any(|id| seen.get(&id).map_or(0, Vec::len) < expected[id as usize].len()) {
        let item = next(&mut receiver);
        if let WatchItem::Events { watch_id, .. } = &item {
            seen.entry(*watch_id).or_default().extend(revisions(&item));
        }
    }
    for (id, expected) in (0..).zip(expected) {
        assert_eq!(seen[&id], expected, "watcher {id}");
    }
}

#[test]
fn a_start_that_is_compacted_is_told_even_if_the_ring_has_it() {
    let f = Fixture::new(WatchOptions::default());
    for _ in 0..5 {
        f.put("a"); // 2..=6
    }
    f.compact(4);
    let (stream, mut receiver) = f.hub.open();
    stream.create(everything(3)).unwrap();
    stream.create(everything(4)).unwrap();
    assert!(matches!(
        next(&mut receiver),
        WatchItem::Created { watch_id: 0, .. }
    ));
    assert_eq!(
        next(&mut receiver),
        WatchItem::Compacted {
            watch_id: 0,
            revision: 6,
            compact_revision: 4
        }
    );
    assert!(matches!(
        next(&mut receiver),
        WatchItem::Created { watch_id: 1, .. }
    ));
    assert_eq!(revisions(&next(&mut receiver)), [4, 5, 6]);
    assert!(!stream.cancel(0), "it is gone");
    assert_eq!(f.hub.stats().watchers, 1);
}

#[test]
fn a_slow_reader_costs_one_queue_and_delays_nobody() {
    let options = WatchOptions {
        queue_items: 8,
        ring_revisions: 50,
        ..WatchOptions::default()
    };
    let f = Fixture::new(options);
    let (slow, mut slow_receiver) = f.hub.open();
    slow.create(everything(0)).unwrap();
    let (fast, mut fast_receiver) = f.hub.open();
    fast.create(everything(0)).unwrap();
    next(&mut fast_receiver);
    let mut most_queued = 0;
    for revision in 2..=3000 {
        f.put("a");
        assert_eq!(revisions(&next(&mut fast_receiver)), [revision]);
        most_queued = most_queued.max(f.hub.stats().queued_bytes);
    }
    assert!(
        most_queued < 8 * 1024,
        "{most_queued} bytes for eight small messages"
    );
    next(&mut slow_receiver);
    let mut seen = Vec::new();
    while seen.len() < 2999 {
        seen.extend(revisions(&next(&mut slow_receiver)));
    }
    assert!(seen.iter().copied().eq(2..=3000));
    until(|| f.hub.stats().unsynced == 0);
    f.put("a");
    assert_eq!(revisions(&next(&mut slow_receiver)), [3001]);
}

#[test]
fn a_reader_that_stalls_while_its_history_is_compacted_is_told_and_dropped() {
    let f = Fixture::new(tight());
    let (stream, mut receiver) = f.hub.open();
    stream.create(spec("a", "", 0)).unwrap();
    stream.create(spec("other", "", 0)).unwrap();
    for _ in 0..40 {
        f.put("a"); // 2..=41
    }
    f.compact(30);
    until(|| f.hub.stats().watchers == 1);
    assert_eq!(f.hub.stats().queued_bytes, 0, "what was queued is let go");
    assert!(matches!(
        next(&mut receiver),
        WatchItem::Created { watch_id: 0, .. }
    ));
    assert!(matches!(
        next(&mut receiver),
        WatchItem::Created { watch_id: 1, .. }
    ));
    let told = next(&mut receiver);
    assert!(
        matches!(
            told,
            WatchItem::Compacted {
                watch_id: 0,
                compact_revision: 30,
                ..
            }
        ),
        "{told:?}"
    );
    f.put("other");
    assert!(matches!(
        next(&mut receiver),
        WatchItem::Events { watch_id: 1, .. }
    ));
}

#[test]
fn a_reader_that_only_lags_is_served_from_the_ring_after_compaction() {
    let options = WatchOptions {
        queue_items: 1,
        ..WatchOptions::default()
    };
    let f = Fixture::new(options);
    let (stream, mut receiver) = f.hub.open();
    stream.create(everything(0)).unwrap();
    for _ in 0..40 {
        f.put("a");
    }
    f.compact(41);
    next(&mut receiver);
    let mut seen = Vec::new();
    while seen.len() < 40 {
        seen.extend(revisions(&next(&mut receiver)));
    }
    assert!(seen.iter().copied().eq(2..=41));
}

#[test]
fn progress_is_answered_once_and_never_ahead_of_events() {
    let f = Fixture::new(tight());
    for _ in 0..30 {
        f.put("a"); // 2..=31
    }
    let (stream, mut receiver) = f.hub.open();
    stream.request_progress();
    assert_eq!(receiver.try_recv(), None, "no watcher, no progress");
    stream.create(everything(2)).unwrap();
    stream.create(everything(33)).unwrap();
    stream.request_progress();
    stream.request_progress();
    // The first may be caught up before the second is there.
    let (mut created, mut seen) = (0, Vec::new());
    while created < 2 || seen.len() < 30 {
        match next(&mut receiver) {
            WatchItem::Created { .. } => created += 1,
            item => seen.extend(revisions(&item)),
        }
    }
    f.put("a"); // 32: the second watcher still waits for 33
    assert_eq!(revisions(&next(&mut receiver)), [32]);
    assert_eq!(receiver.try_recv(), None);
    f.put("a"); // 33
    assert_eq!(revisions(&next(&mut receiver)), [33]);
    assert_eq!(revisions(&next(&mut receiver)), [33]);
    let progress = WatchItem::Progress {
        watch_id: NO_WATCH_ID,
        revision: 33,
    };
    assert_eq!(next(&mut receiver), progress);
    assert_eq!(receiver.try_recv(), None);
    stream.request_progress();
    assert_eq!(next(&mut receiver), progress);
    for _ in 0..10_000 {
        stream.request_progress();
    }
    assert_eq!(next(&mut receiver), progress);
    assert_eq!(
        receiver.try_recv(),
        None,
        "asking without reading costs nothing"
    );
}

#[test]
fn periodic_progress_goes_to_those_who_asked() {
    let options = WatchOptions {
        progress_interval: Duration::from_millis(10),
        ..WatchOptions::default()
    };
    let f = Fixture::new(options);
    f.put("a");
    let (stream, mut receiver) = f.hub.open();
    stream.create(everything(0)).unwrap();
    let asking = WatchSpec {
        progress_notify: true,
        ..everything(0)
    };
    stream.create(asking.clone()).unwrap();
    stream.create(asking).unwrap();
    for _ in 0..3 {
        next(&mut receiver);
    }
    let mut notified = [0; 3];
    while notified[1] < 3 || notified[2] < 3 {
        match next(&mut receiver) {
            WatchItem::Progress { watch_id, revision } => {
                assert_eq!(revision, 2);
                notified[watch_id as usize] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(notified[0], 0);
}

#[test]
fn a_previous_pair_is_looked_up_once_and_only_for_those_who_want_it() {
    let f = Fixture::new(WatchOptions::default());
    let wanting = WatchSpec {
        prev_kv: true,
        ..everything(0)
    };
    let (stream, mut receiver) = f.hub.open();
    stream.create(everything(0)).unwrap();
    assert!(!f.hub.wants_previous());
    f.put("a");
    f.put("a");
    assert_eq!(f.past.inner.lock().looked_up, 0);
    for _ in 0..3 {
        stream.create(wanting.clone()).unwrap();
    }
    assert!(f.hub.wants_previous());
    // As if it had been applied just before the first of them came.
    let events = f.past.commit(&[Change::Delete("a")], false);
    f.hub.publish(events.revision, vec![events]);
    assert_eq!(f.past.inner.lock().looked_up, 1);
    f.put("a");
    assert_eq!(f.past.inner.lock().looked_up, 1, "a creation has none");
    let mut with_previous = 0;
    for _ in 0..14 {
        if let WatchItem::Events {
            watch_id, events, ..
        } = next(&mut receiver)
        {
            for event in events {
                let delete = event.r#type == i32::from(EventType::Delete);
                assert_eq!(event.prev_kv.is_some(), delete && watch_id > 0);
                with_previous += usize::from(event.prev_kv.is_some());
                if delete {
                    let kv = event.kv.unwrap();
                    assert_eq!((kv.version, kv.create_revision, kv.mod_revision), (0, 0, 4));
                }
            }
        }
    }
    assert_eq!(with_previous, 3);
    for id in 1..=3 {
        assert!(stream.cancel(id));
    }
    assert!(!f.hub.wants_previous());
}

#[tokio::test]
async fn a_client_that_only_asks_is_made_to_wait() {
    let options = WatchOptions {
        control_items: 4,
        ..WatchOptions::default()
    };
    let f = Fixture::new(options);
    let (stream, mut receiver) = f.hub.open();
    for _ in 0..4 {
        assert!(stream.ready().await);
        stream.create(everything(0)).unwrap();
    }
    let waiting = stream.ready();
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("four answers are unread"),
        () = std::future::ready(()) => {}
    }
    receiver.recv().await.unwrap();
    assert!(waiting.await);
    drop(receiver);
    assert!(!stream.ready().await);
    assert_eq!(stream.create(everything(0)), Err(CreateError::Closed));
    assert_eq!(
        f.hub.stats(),
        WatchStats::default(),
        "nothing is left of it"
    );
}

#[tokio::test]
async fn limits_on_watchers_hold_and_the_hub_ends_its_streams() {
    let options = WatchOptions {
        watchers_per_stream: 2,
        watchers: 3,
        ..WatchOptions::default()
    };
    let f = Fixture::new(options);
    let (one, mut receiver) = f.hub.open();
    let (two, _two_receiver) = f.hub.open();
    one.create(everything(0)).unwrap();
    one.create(everything(0)).unwrap();
    assert_eq!(one.create(everything(0)), Err(CreateError::TooMany));
    two.create(everything(0)).unwrap();
    assert_eq!(two.create(everything(0)), Err(CreateError::TooMany));
    one.cancel(0);
    two.create(everything(0)).unwrap();
    drop(f.hub);
    assert_eq!(receiver.recv().await, None);
    assert_eq!(one.create(everything(0)), Err(CreateError::Closed));
}

#[test]
fn an_unreadable_history_cancels_those_who_need_it() {
    let f = Fixture::new(tight());
    for _ in 0..10 {
        f.put("a");
    }
    f.past.inner.lock().broken = true;
    let (stream, mut receiver) = f.hub.open();
    stream.create(everything(2)).unwrap();
    stream.create(everything(0)).unwrap();
    let mut canceled = false;
    for _ in 0..3 {
        match next(&mut receiver) {
            WatchItem::Created { .. } => {}
            WatchItem::Canceled {
                watch_id, reason, ..
            } => {
                assert_eq!(watch_id, 0);
                assert!(!reason.is_empty());
                canceled = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(canceled);
    f.put("a");
    assert_eq!(revisions(&next(&mut receiver)), [12], "the other one lives");
}

#[test]
fn ten_thousand_watchers_hear_only_what_they_asked_for() {
    let f = Fixture::new(WatchOptions::default());
    let (stream, mut receiver) = f.hub.open();
    for i in 0..10_000 {
        let key = Bytes::from(format!("k{i:05}"));
        let range_end = if i % 2 == 0 {
            Bytes::new()
        } else {
            Bytes::from(format!("k{i:05}\u{1}"))
        };
        let spec = WatchSpec {
            key,
            range_end,
            ..WatchSpec::default()
        };
        assert_eq!(stream.create(spec), Ok(i));
        next(&mut receiver);
    }
    f.put("nobody");
    f.put("k07000");
    f.put("k07001");
    for expected in [7000, 7001] {
        assert!(
            matches!(next(&mut receiver), WatchItem::Events { watch_id, .. } if watch_id == expected)
        );
    }
    assert_eq!(receiver.try_recv(), None);
}

// ---- against a model ----

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    /// Several revisions in one call.
    CommitMany(usize),
    /// A snapshot takes the place of the state: some revisions pass unpublished.
    Install(usize),
    Compact(usize),
    Create {
        stream: usize,
        range: (&'static str, &'static str),
        /// Relative to the current revision; nothing: from now on.
        start: Option<i64>,
        prev_kv: bool,
        no_put: bool,
        no_delete: bool,
    },
    Cancel(usize, usize),
    Read(usize, usize),
    Progress(usize),
    /// Gives the catch-up thread a chance.
    Pause,
}

const STREAMS: usize = 3;

fn change() -> impl Strategy<Value = Change> {
    let key = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        3 => (key(), "[a-z]{0,8}").prop_map(|(k, v)| Change::Put(k, v)),
        1 => key().prop_map(Change::Delete),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // One change per key, as in a transaction.
    prop::collection::vec(change(), 1..4).prop_map(|mut changes| {
        let mut seen = std::collections::HashSet::new();
        changes.retain(|c| {
            seen.insert(match c {
                Change::Put(k, _) | Change::Delete(k) => *k,
            })
        });
        changes
    })
}

fn step() -> impl Strategy<Value = Step> {
    let ranges = vec![("a", ""), ("b", ""), ("a", "c"), ("b", "\0"), ("", "\0")];
    prop_oneof![
        8 => changes().prop_map(Step::Commit),
        1 => (1..12usize).prop_map(Step::CommitMany),
        1 => (1..8usize).prop_map(Step::Install),
        1 => (0..10usize).prop_map(Step::Compact),
        3 => (0..STREAMS, prop::sample::select(ranges), prop::option::of(-12..4i64), any::<bool>(),
              prop::bool::weighted(0.15), prop::bool::weighted(0.15))
            .prop_map(|(stream, range, start, prev_kv, no_put, no_delete)|
                Step::Create { stream, range, start, prev_kv, no_put, no_delete }),
        1 => (0..STREAMS, 0..4usize).prop_map(|(s, i)| Step::Cancel(s, i)),
        4 => (0..STREAMS, 1..6usize).prop_map(|(s, n)| Step::Read(s, n)),
        1 => (0..STREAMS).prop_map(Step::Progress),
        1 => Just(Step::Pause),
    ]
}

/// What a client knows about its watcher.
struct Expected {
    spec: WatchSpec,
    from: i64,
    created: bool,
    /// Everything up to this revision was delivered, as far as its events show.
    delivered: i64,
    ended: bool,
}

struct Client {
    stream: WatchStream,
    receiver: WatchReceiver,
    watchers: BTreeMap<i64, Expected>,
    header: i64,
    progressed: Option<i64>,
}

impl Expected {
    /// The events of a revision the watcher must get.
    fn wants(&self, past: &Past, revision: i64) -> Vec<Arc<Event>> {
        let range = KeyRange::parse(&self.spec.key, &self.spec.range_end).unwrap();
        let all = past.inner.lock().revisions[(revision - 2) as usize].clone();
        all.into_iter()
            .filter(|e| range.contains(&e.kv.as_ref().unwrap().key))
            .filter(|e| {
                if e.r#type == i32::from(EventType::Put) {
                    !self.spec.no_put
                } else {
                    !self.spec.no_delete
                }
            })
            .collect()
    }

    /// The first revision behind what was delivered that has something for the watcher.
    fn next(&self, past: &Past) -> Option<i64> {
        (self.from.max(self.delivered + 1).max(2)..=past.revision())
            .find(|r| !self.wants(past, *r).is_empty())
    }
}

impl Client {
    /// Checks one item against the model.
    fn hear(&mut self, past: &Past, item: WatchItem) {
        let compacted = past.compacted();
        match item {
            WatchItem::Created { watch_id, revision } => {
                self.see_header(revision);
                let watcher = self.watchers.get_mut(&watch_id).unwrap();
                assert!(!watcher.created);
                watcher.created = true;
            }
            WatchItem::Events {
                watch_id,
                revision,
                events,
            } => {
                self.see_header(revision);
                let watcher = self.watchers.get_mut(&watch_id).unwrap();
                assert!(watcher.created && !watcher.ended && !events.is_empty());
                let mut events = events.into_iter().peekable();
                while let Some(at) = events.peek().map(|e| e.kv.as_ref().unwrap().mod_revision) {
                    // Ordered, unique, reliable: exactly the next revision it wants.
                    assert_eq!(Some(at), watcher.next(past));
                    assert!(at <= revision);
                    // Atomic: all of it.
                    for wanted in watcher.wants(past, at) {
                        let got = events.next().expect("a revision was torn");
                        assert_eq!((got.r#type, &got.kv), (wanted.r#type, &wanted.kv));
                        let key = &wanted.kv.as_ref().unwrap().key;
                        let truth = past.truth(key, at).filter(|_| watcher.spec.prev_kv);
                        if got.prev_kv != truth {
                            assert!(got.prev_kv.is_none() && at - 1 < compacted, "wrong pair");
                        }
                    }
                    watcher.delivered = at;
                }
            }
            WatchItem::Progress { watch_id, revision } => {
                self.see_header(revision);
                assert_eq!(watch_id, NO_WATCH_ID);
                // Bookmarkable: nothing up to here is still to come.
                for watcher in self.watchers.values_mut().filter(|w| w.created && !w.ended) {
                    assert!(watcher.next(past).is_none_or(|next| next > revision));
                    assert!(watcher.spec.start_revision <= revision);
                }
                self.progressed = Some(revision);
            }
            WatchItem::Compacted {
                watch_id,
                revision,
                compact_revision,
            } => {
                self.see_header(revision);
                let watcher = self.watchers.get_mut(&watch_id).unwrap();
                assert!(watcher.created && !watcher.ended);
                assert!(compact_revision <= compacted);
                assert!(watcher.from.max(watcher.delivered + 1) < compact_revision);
                watcher.ended = true;
            }
            WatchItem::Canceled {
                watch_id,
                revision,
                reason,
            } => {
                self.see_header(revision);
                assert_eq!(reason, "");
                // Removed when the cancel was asked for; ids are not used again in this test.
                assert!(!self.watchers.contains_key(&watch_id));
            }
            WatchItem::Rejected { reason, .. } => panic!("{reason}"),
        }
    }

    fn see_header(&mut self, revision: i64) {
        assert!(
            revision >= self.header,
            "a stream's header revision went back"
        );
        self.header = revision;
    }

    fn read(&mut self, past: &Past, most: usize) {
        for _ in 0..most {
            let Some(item) = self.receiver.try_recv() else {
                return;
            };
            if let WatchItem::Events { watch_id, .. } = &item
                && !self.watchers.contains_key(watch_id)
            {
                continue; // queued before the cancel
            }
            if let WatchItem::Created { watch_id, .. } | WatchItem::Compacted { watch_id, .. } =
                &item
                && !self.watchers.contains_key(watch_id)
            {
                continue;
            }
            self.hear(past, item);
        }
    }
}

fn run_schedule(steps: Vec<Step>, options: WatchOptions) {
    let f = Fixture::new(options);
    let mut clients: Vec<Client> = (0..STREAMS)
        .map(|_| {
            let (stream, receiver) = f.hub.open();
            Client {
                stream,
                receiver,
                watchers: BTreeMap::new(),
                header: 0,
                progressed: None,
            }
        })
        .collect();
    for step in steps {
        match step {
            Step::Commit(changes) => f.commit(&changes),
            Step::CommitMany(count) => {
                let batch: Vec<_> = (0..count)
                    .map(|i| {
                        let change = Change::Put("b", i.to_string());
                        f.past.commit(&[change], f.hub.wants_previous())
                    })
                    .collect();
                f.hub.publish(f.past.revision(), batch);
            }
            Step::Install(count) => {
                for i in 0..count {
                    f.past.commit(&[Change::Put("a", i.to_string())], false);
                }
                f.hub.reset();
            }
            Step::Compact(back) => {
                let to = f.past.revision() - back as i64;
                if to > f.past.compacted().max(1) {
                    f.compact(to);
                }
            }
            Step::Create {
                stream,
                range,
                start,
                prev_kv,
                no_put,
                no_delete,
            } => {
                let current = f.past.revision();
                let start_revision = start.map_or(0, |s| (current + s).max(1));
                let spec = WatchSpec {
                    prev_kv,
                    no_put,
                    no_delete,
                    ..spec(range.0, range.1, start_revision)
                };
                let id = clients[stream].stream.create(spec.clone()).unwrap();
                let expected = Expected {
                    spec,
                    from: if start_revision == 0 {
                        current + 1
                    } else {
                        start_revision
                    },
                    created: false,
                    delivered: 0,
                    ended: false,
                };
                assert!(clients[stream].watchers.insert(id, expected).is_none());
            }
            Step::Cancel(stream, index) => {
                let client = &mut clients[stream];
                if let Some(id) = client.watchers.keys().nth(index).copied() {
                    // False if it was told meanwhile that its history is gone.
                    client.stream.cancel(id);
                    client.watchers.remove(&id);
                }
            }
            Step::Read(stream, most) => clients[stream].read(&f.past, most),
            Step::Progress(stream) => clients[stream].stream.request_progress(),
            Step::Pause => sleep(Duration::from_millis(1)),
        }
    }
    // Everybody who reads gets everything, and then hears that this was all.
    let revision = f.past.revision();
    for client in &mut clients {
        for _ in 0..20_000 {
            client.read(&f.past, usize::MAX);
            let live = || client.watchers.values().filter(|w| !w.ended);
            if live().all(|w| w.created && w.next(&f.past).is_none()) {
                break;
            }
            sleep(Duration::from_micros(500));
        }
        for (id, watcher) in client.watchers.iter().filter(|(_, w)| !w.ended) {
            assert!(watcher.created, "watcher {id} was never answered");
            assert_eq!(
                watcher.next(&f.past),
                None,
                "watcher {id} is missing events"
            );
        }
        client.progressed = None;
        client.stream.request_progress();
        // A watcher that was still behind, though not by anything it wants, may yet hear that its history
        // is gone; then there is nobody left to ask for.
        let answerable = |client: &Client| {
            let mut live = client.watchers.values().filter(|w| !w.ended).peekable();
            live.peek().is_some()
                && live.all(|w| w.from <= revision + 1 && w.spec.start_revision <= revision)
        };
        for _ in 0..20_000 {
            client.read(&f.past, usize::MAX);
            if client.progressed.is_some() || !answerable(client) {
                break;
            }
            sleep(Duration::from_micros(500));
        }
        let expected = answerable(client).then_some(revision);
        assert!(
            client.progressed == expected
                || (expected.is_none() && client.watchers.values().any(|w| w.ended)),
            "{:?} {expected:?}",
            client.progressed
        );
    }
    drop(clients);
    let left = f.hub.stats();
    assert_eq!((left.streams, left.watchers, left.queued_bytes), (0, 0, 0));
    assert!(!f.hub.wants_previous());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The six guarantees, whatever clients do and however small the memory.
    #[test]
    fn guarantees_hold_with_tiny_limits(steps in prop::collection::vec(step(), 1..120)) {
        run_schedule(steps, tight());
    }

    #[test]
    fn guarantees_hold_with_one_message_per_stream_and_no_ring(steps in prop::collection::vec(step(), 1..80)) {
        run_schedule(steps, WatchOptions {
            ring_revisions: 0,
            queue_items: 1,
            total_queue_bytes: 1,
            ..tight()
        });
    }

    #[test]
    fn guarantees_hold_with_the_defaults(steps in prop::collection::vec(step(), 1..120)) {
        run_schedule(steps, WatchOptions::default());
    }
}
