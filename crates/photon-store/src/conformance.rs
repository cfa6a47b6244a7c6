//! What every server this crate is used with must do: the same assertions for etcd, ChainFire in process and
//! ChainFire as a process. Each function takes a fresh, empty server and panics like a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test suite that happens to live in a library"
)]

mod together;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use crate::audit::{AuditRecord, Trails};
use crate::idempotency::{Answer, Idempotency, Kept, MOST_SWEPT, Making};
use crate::record::{Fields, Step};
use crate::registry::Process;
use crate::{
    Change, Collection, Error, Expected, Feed, FeedEvent, Fence, Options, PageRequest, Record,
    Store, Watch, WatchEvent, WriteGate,
};

pub use together::{
    audits_left_alone, audits_of_processes, audits_over_an_outage, audits_together,
};

/// Longest wait for anything in the suite. A server that needs it is broken; nothing is timed.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server under test.
pub trait Server: Send {
    /// Its client URL; the same over restarts and replacements.
    fn endpoint(&self) -> String;

    /// Ends it as hard as possible.
    fn stop(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Starts it again on the same data and waits until it answers.
    fn start(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Puts another, empty store with another cluster id at the same URL and waits until it answers.
    fn replace_by_empty(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// A record with a unique name, in its second version: the first had `size_mb` instead of `size_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Volume {
    name: String,
    size_bytes: u64,
    #[serde(default)]
    writes: Vec<u64>,
}

const MB: u64 = 1 << 20;

impl Record for Volume {
    const ROOT: &'static str = "/photon/conformance/volume/";
    const STEPS: &'static [Step] = &[Step {
        up: mb_to_bytes,
        down: bytes_to_mb,
    }];

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![by_name(&self.name)]
    }
}

fn mb_to_bytes(fields: &mut Fields) -> Result<(), String> {
    let mb = fields.remove("size_mb").and_then(|mb| mb.as_u64());
    let mb = mb.ok_or("size_mb is missing")?;
    fields.insert("size_bytes".into(), (mb * MB).into());
    Ok(())
}

fn bytes_to_mb(fields: &mut Fields) -> Result<(), String> {
    let bytes = fields.remove("size_bytes").and_then(|bytes| bytes.as_u64());
    let bytes = bytes.ok_or("size_bytes is missing")?;
    fields.insert("size_mb".into(), (bytes / MB).into());
    Ok(())
}

fn by_name(name: &str) -> String {
    format!("/photon/conformance/name/volume/{name}")
}

fn volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        size_bytes: MB,
        writes: Vec::new(),
    }
}

fn options<S: Server>(server: &S) -> Options {
    Options {
        prefix: "/suite".into(),
        ..Options::new([server.endpoint()])
    }
}

async fn connect<S: Server>(server: &S) -> Store {
    Store::connect(options(server)).await.unwrap()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// What a request with an idempotency key makes is made once, answered, and forgotten when it is old.
pub async fn idempotency<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let records = Idempotency::new(store.clone(), "conformance");
    let making = |id: &str, at: &str| Making {
        fingerprint: "f".into(),
        kind: "volume".into(),
        id: id.into(),
        at: at.parse().unwrap(),
        request_id: id.into(),
        allowed: Vec::new(),
        answer: Answer::Pending,
    };
    let make = |id: &str, name: &str, at: &str| {
        let mut create = store.transaction();
        create.create(&volumes, id, &volume(id)).unwrap();
        create.once(&records, name, &making(id, at)).unwrap();
        create
    };
    let noon = "2026-11-22T12:00:00Z";
    assert_eq!(records.find("k").await.unwrap(), None);

    // Of many at once one is done, whatever else keeps the others from it.
    let all = (0..8).map(|n| make(&format!("v{}", n / 2), "k", noon));
    let all: Vec<_> = all
        .map(|one| tokio::spawn(async move { one.commit().await }))
        .collect();
    let mut done = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert!(
                matches!(&error, Error::Done { key } if key.ends_with("/idempotency/k")),
                "{error:?}"
            ),
        }
    }
    assert_eq!(done, 1);
    let listed = volumes.list(&PageRequest::default()).await.unwrap();
    let found = records.find("k").await.unwrap().unwrap();
    let only = &listed.items[0];
    assert_eq!(
        (listed.items.len(), &found.making.id),
        (1, &only.value.name)
    );
    assert_eq!(found.revision, only.revision, "one transaction");
    // What is refused for another reason leaves no record.
    let taken = make(&found.making.id, "other", noon).commit().await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })));
    assert_eq!(records.find("other").await.unwrap(), None);

    // It is answered once.
    let kept = Answer::Kept(Kept {
        status: 201,
        headers: BTreeMap::new(),
        body: "{}".into(),
    });
    let answered = records.answer("k", found.clone(), kept.clone()).await;
    answered.unwrap();
    let again = records.answer("k", found.clone(), Answer::Pending).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let now = records.find("k").await.unwrap().unwrap();
    assert_eq!(now.making.answer, kept);
    assert!(
        store
            .transaction()
            .once(&records, "a/b", &now.making)
            .is_err()
    );

    // The old go, in batches, and not what was made again under the same name since.
    for n in 0..MOST_SWEPT + 5 {
        let id = format!("old{n}");
        make(&id, &id, "2026-11-20T00:00:00Z")
            .commit()
            .await
            .unwrap();
    }
    let before = "2026-11-21T12:00:00Z".parse().unwrap();
    assert_eq!(records.sweep(before).await.unwrap(), MOST_SWEPT);
    assert_eq!(records.sweep(before).await.unwrap(), 5);
    assert_eq!(records.sweep(before).await.unwrap(), 0);
    assert_eq!(records.find("old0").await.unwrap(), None);
    assert!(records.find("k").await.unwrap().is_some());
    make("new", "old0", noon).commit().await.unwrap();
    assert_eq!(records.sweep(before).await.unwrap(), 0);
    assert!(records.find("old0").await.unwrap().is_some());
    assert_eq!(records.sweep(noon.parse().unwrap()).await.unwrap(), 0);
    assert_eq!(
        records
            .sweep("2026-11-22T12:00:01Z".parse().unwrap())
            .await
            .unwrap(),
        2
    );
    let mut left = store.feed("/photon/conformance/idempotency");
    let left = soon("what is left", left.next()).await.unwrap();
    assert!(
        matches!(&left, FeedEvent::Snapshot { entries, .. } if entries.is_empty()),
        "{left:?}"
    );
}

/// A process is listed while it lives, again when its lease was lost, and no longer once it has ended.
pub async fn registry<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let all: Collection<Process> = store.collection();
    let listed = async || {
        let page = all.list(&PageRequest::default()).await.unwrap();
        assert_eq!(page.unreadable, []);
        page.items
    };
    let until = async |what: &str, wanted: &dyn Fn(&[crate::Stored<Process>]) -> bool| {
        let asking = async {
            loop {
                let now = listed().await;
                if wanted(&now) {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(what, asking).await
    };
    let process = Process::new("conformance", "1.2.3").listening(
        "rest",
        "http",
        "127.0.0.1:1".parse().unwrap(),
    );
    let stop = tokio_util::sync::CancellationToken::new();
    let ttl = Duration::from_secs(2);
    let announcing = process
        .clone()
        .announce_under(store.clone(), ttl, stop.clone());
    let announcing = tokio::spawn(announcing);
    let now = until("it is listed", &|now| now.len() == 1).await;
    assert_eq!((&now[0].key, &now[0].value), (&process.key(), &process));
    assert_ne!(now[0].lease, 0);

    // Its lease is ended by somebody else: it takes another one, and says the same.
    let first = now[0].lease;
    store.client().lease_revoke(first).await.unwrap();
    let now = until("it is listed again", &|now| {
        now.len() == 1 && now[0].lease != first
    })
    .await;
    assert_eq!(now[0].value, process);

    // One that ends in order is gone when it has ended.
    stop.cancel();
    soon("it ends", announcing).await.unwrap();
    assert_eq!(listed().await.len(), 0);

    // One that is killed is gone when its lease ends.
    let other = Process::new("conformance", "1.2.3");
    let announcing = tokio::spawn(other.announce_under(
        store.clone(),
        ttl,
        tokio_util::sync::CancellationToken::new(),
    ));
    until("the other is listed", &|now| now.len() == 1).await;
    announcing.abort();
    until("the other is gone", &<[_]>::is_empty).await;
}

/// Get, create, replace, update, delete, and each refusal.
pub async fn records<S: Server>(server: &mut S) {
    let volumes: Collection<Volume> = connect(server).await.collection();
    assert!(volumes.get("org/a").await.unwrap().is_none());

    let made = volumes.create("org/a", volume("a")).await.unwrap();
    assert_eq!(made.revision, made.create_revision);
    let read = volumes.get("org/a").await.unwrap().unwrap();
    assert_eq!((&read.value, read.revision), (&made.value, made.revision));
    let again = volumes.create("org/a", volume("other")).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { key } if key.ends_with("/org/a")));

    let mut first = read.clone();
    first.value.size_bytes = 2 * MB;
    let first = volumes.replace(first).await.unwrap();
    assert!(first.revision > made.revision && first.create_revision == made.revision);
    let mut late = read;
    late.value.size_bytes = 3 * MB;
    let late = volumes.replace(late).await.unwrap_err();
    assert!(matches!(late, Error::Conflict { .. }));

    let bump = |volume: &mut Volume| {
        volume.size_bytes += MB;
        Ok::<_, Error>(())
    };
    let updated = volumes.update("org/a", bump).await.unwrap();
    assert_eq!(updated.value.size_bytes, 3 * MB);
    let same = volumes
        .update("org/a", |_| Ok::<_, Error>(()))
        .await
        .unwrap();
    assert_eq!(same.revision, updated.revision, "nothing to write");
    let refused = volumes.update("org/a", |_| Err(Error::Full)).await;
    assert!(matches!(refused, Err(Error::Full)));
    let missing = volumes.update("org/b", bump).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }));

    let expected = Expected::Revision(first.revision);
    let stale = volumes.delete("org/a", expected).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict { .. }));
    let expected = Expected::Revision(updated.revision);
    volumes.delete("org/a", expected).await.unwrap();
    assert!(volumes.get("org/a").await.unwrap().is_none());
    let gone = volumes.delete("org/a", Expected::Any).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }));
    let gone = volumes.replace(updated).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }));
    assert!(matches!(
        volumes.get("a//b").await,
        Err(Error::InvalidKey { .. })
    ));
}

/// Index keys are made, moved and removed with the record, and names are unique.
pub async fn indexes<S: Server>(server: &mut S) {
    let volumes: Collection<Volume> = connect(server).await.collection();
    let red = by_name("red");
    volumes.create("org/a", volume("red")).await.unwrap();
    let taken = volumes.create("org/b", volume("red")).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { key } if key == red));
    assert!(
        volumes.get("org/b").await.unwrap().is_none(),
        "nothing half made"
    );

    let rename = |name: &'static str| {
        move |volume: &mut Volume| {
            volume.name = name.to_owned();
            Ok::<_, Error>(())
        }
    };
    volumes.create("org/b", volume("green")).await.unwrap();
    let taken = volumes.update("org/b", rename("red")).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { key } if key == red));

    volumes.update("org/a", rename("blue")).await.unwrap();
    assert!(volumes.get_by_index(&red).await.unwrap().is_none());
    let blue = volumes.get_by_index(&by_name("blue")).await.unwrap();
    assert_eq!(blue.unwrap().key, "org/a");
    volumes.update("org/b", rename("red")).await.unwrap();

    volumes.delete("org/a", Expected::Any).await.unwrap();
    assert!(
        volumes
            .store()
            .get_raw(&by_name("blue"))
            .await
            .unwrap()
            .is_none()
    );
    volumes.create("org/c", volume("blue")).await.unwrap();
}

/// Lists are complete, ordered, paged at one moment, and survive a record that cannot be read.
pub async fn lists<S: Server>(server: &mut S) {
    const COUNT: usize = 2_300; // more than two answers of the store
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    for chunk in (0..COUNT).collect::<Vec<_>>().chunks(60) {
        let mut transaction = store.transaction();
        for number in chunk {
            let name = format!("n{number:05}");
            let key = format!("org/{name}");
            transaction.create(&volumes, &key, &volume(&name)).unwrap();
        }
        transaction.commit().await.unwrap();
    }
    volumes.create("other/x", volume("x")).await.unwrap();

    let all = volumes.list(&PageRequest::default()).await.unwrap();
    assert_eq!(all.items.len(), COUNT + 1);
    assert!(all.items.is_sorted_by(|a, b| a.key < b.key) && all.next.is_none());

    let mut request = PageRequest {
        prefix: "org/".into(),
        limit: 1_100,
        ..PageRequest::default()
    };
    let mut keys = Vec::new();
    loop {
        let page = volumes.list(&request).await.unwrap();
        keys.extend(page.items.into_iter().map(|stored| stored.key));
        request.revision = page.revision;
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
        // Later pages must not show this.
        let _ = volumes.delete("org/n02299", Expected::Any).await;
    }
    assert_eq!(keys.len(), COUNT);
    assert_eq!(keys.last().unwrap(), "org/n02299");

    let bad = "/photon/conformance/volume/other/bad";
    let mut damage = store.transaction();
    damage.put_raw(bad, "{", 0).unwrap();
    damage.commit().await.unwrap();
    let request = PageRequest {
        prefix: "other/".into(),
        ..PageRequest::default()
    };
    let page = volumes.list(&request).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable.len()), (1, 1));
    assert_eq!(page.unreadable[0].key, "other/bad");
    let error = volumes.get("other/bad").await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }));
}

/// Several records change together or not at all, and the refusal names the reason.
pub async fn transactions<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let mut a = volumes.create("a", volume("a")).await.unwrap();
    let mut b = volumes.create("b", volume("b")).await.unwrap();
    let c = volumes.create("c", volume("c")).await.unwrap();

    a.value.size_bytes = 10 * MB;
    b.value.size_bytes = 20 * MB;
    let mut swap = store.transaction();
    swap.replace(&volumes, &a).unwrap();
    swap.replace(&volumes, &b).unwrap();
    swap.delete(&volumes, &c).unwrap();
    swap.create(&volumes, "d", &volume("d")).unwrap();
    let committed = swap.commit().await.unwrap();
    for key in ["a", "b", "d"] {
        let stored = volumes.get(key).await.unwrap().unwrap();
        assert_eq!(stored.revision, committed.revision, "{key}");
    }
    assert!(volumes.get("c").await.unwrap().is_none());

    let again = swap.commit().await.unwrap_err();
    assert!(matches!(again, Error::Conflict { key } if key.ends_with("/a")));
    let d = volumes.get("d").await.unwrap().unwrap();
    volumes
        .update("d", |d| {
            d.writes.push(1);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    let mut guarded = store.transaction();
    guarded.create(&volumes, "e", &volume("e")).unwrap();
    guarded.unchanged(&volumes, &d).unwrap();
    let refused = guarded.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { key } if key.ends_with("/d")));
    assert!(volumes.get("e").await.unwrap().is_none());

    // Nothing hangs on it: compared by the server, with what it is compared to.
    let hung = "/photon/conformance/hung/on/";
    let empty = |prefix: &str| {
        let mut transaction = store.transaction();
        transaction.empty_below(prefix).map(|_| ())?;
        transaction.put_raw("/photon/conformance/emptied", "x", 0)?;
        Ok::<_, Error>(transaction)
    };
    empty(hung).unwrap().commit().await.unwrap();
    for (key, is_below) in [
        ("/photon/conformance/hung/onto", false),
        ("/photon/conformance/hung/on/a/b", true),
    ] {
        let mut hanging = store.transaction();
        hanging.put_raw(key, "x", 0).unwrap();
        hanging.commit().await.unwrap();
        match empty(hung).unwrap().commit().await {
            Ok(_) => assert!(!is_below, "{key}"),
            Err(Error::NotEmpty { key: prefix }) => assert!(is_below && prefix == hung, "{key}"),
            Err(error) => panic!("{key}: {error}"),
        }
    }
    assert!(matches!(
        empty("/photon/conformance/hung"),
        Err(Error::InvalidKey { .. })
    ));

    let mut huge = store.transaction();
    huge.put_raw("/photon/conformance/huge", vec![b'x'; 3 << 20], 0)
        .unwrap();
    assert!(matches!(huge.commit().await, Err(Error::TooLarge { .. })));
}

/// A change and its audit record happen together; concurrent writers leave one unbroken chain; what is altered,
/// removed or added behind its back is found; what is exported is let go of without breaking the chain.
pub async fn audits<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let trails = Trails::new(store.clone(), "conformance");
    let entry = |what: &str| {
        let mut entry = Fields::new();
        entry.insert("what".into(), what.into());
        entry
    };
    let nothing = trails.verify("shop", 1, u64::MAX).await.unwrap();
    assert!(nothing.complete && nothing.head.is_none() && nothing.fault.is_none());

    let mut create = store.transaction();
    create.create(&volumes, "a", &volume("a")).unwrap();
    let committed = trails
        .commit(&create, "shop", &entry("made a"))
        .await
        .unwrap();
    let made = volumes.get("a").await.unwrap().unwrap();
    assert_eq!(made.revision, committed.revision);
    let record_key = |seq: u64| format!("/photon/conformance/audit/shop/{seq:020}");
    let record = store.get_raw(&record_key(1)).await.unwrap().unwrap();
    assert_eq!(record.revision, committed.revision, "one transaction");

    // A refused change leaves no record, and its own reason is told.
    let again = trails.commit(&create, "shop", &entry("made a again")).await;
    assert!(matches!(again, Err(Error::AlreadyExists { key }) if key.ends_with("/volume/a")));
    assert_eq!(trails.head("shop").await.unwrap().unwrap().seq, 1);

    // Two processes, eight writers each, one trail; and another trail beside it.
    const EACH: usize = 6;
    let other = Trails::new(connect(server).await, "conformance");
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let trails = if writer % 2 == 0 {
                trails.clone()
            } else {
                other.clone()
            };
            let (store, volumes) = (store.clone(), volumes.clone());
            tokio::spawn(async move {
                for write in 0..EACH {
                    let name = format!("w{writer}-{write}");
                    let mut create = store.transaction();
                    create.create(&volumes, &name, &volume(&name)).unwrap();
                    let mut entry = Fields::new();
                    entry.insert("what".into(), name.into());
                    trails.commit(&create, "shop", &entry).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut alone = store.transaction();
    alone.create(&volumes, "b", &volume("b")).unwrap();
    trails
        .commit(&alone, "beside", &entry("made b"))
        .await
        .unwrap();
    let all = 1 + 16 * EACH as u64;
    let verdict = trails.verify("shop", 1, u64::MAX).await.unwrap();
    assert_eq!((verdict.records, verdict.fault.as_ref()), (all, None));
    assert!(verdict.complete);
    assert_eq!(trails.names(None, 10).await.unwrap(), ["beside", "shop"]);
    assert_eq!(trails.names(Some("beside"), 10).await.unwrap(), ["shop"]);

    let records: Vec<AuditRecord> = trails
        .records("shop", 1, 10_000)
        .await
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len() as u64, all);
    assert!(records.is_sorted_by(|a, b| a.at <= b.at && a.seq < b.seq));
    for wanted in [&records[0], &records[7], &records[records.len() - 1]] {
        let first = records
            .iter()
            .find(|record| record.at >= wanted.at)
            .unwrap();
        assert_eq!(trails.seek("shop", wanted.at).await.unwrap(), first.seq);
    }
    let after = records[records.len() - 1].at + jiff::SignedDuration::from_secs(1);
    assert_eq!(trails.seek("shop", after).await.unwrap(), all + 1);
    let part = trails.verify("shop", 50, 10).await.unwrap();
    assert_eq!(
        (part.from, part.through.seq, part.complete),
        (50, 59, false)
    );
    assert_eq!(part.fault, None);

    // Exported, the chain goes on; and only what is oldest can be.
    trails.cut("shop", &records[..10], None).await.unwrap();
    let wrong = trails.cut("shop", &records[20..30], None).await;
    assert!(matches!(wrong, Err(Error::Conflict { .. })), "{wrong:?}");
    let mut more = store.transaction();
    more.create(&volumes, "c", &volume("c")).unwrap();
    trails
        .commit(&more, "shop", &entry("made c"))
        .await
        .unwrap();
    let verdict = trails.verify("shop", 1, u64::MAX).await.unwrap();
    assert_eq!((verdict.from, verdict.records), (11, all + 1 - 10));
    assert_eq!(verdict.fault, None);
    assert!(verdict.complete);

    // Whoever writes past us is found out.
    let tamper = async |key: String, value: Option<Vec<u8>>| {
        let mut transaction = store.transaction();
        match value {
            Some(value) => transaction.put_raw(&key, value, 0).unwrap(),
            None => transaction.delete_raw(&key).unwrap(),
        };
        transaction.commit().await.unwrap();
    };
    let good = store.get_raw(&record_key(20)).await.unwrap().unwrap().value;
    let altered = String::from_utf8(good.to_vec())
        .unwrap()
        .replace("\"what\":\"w", "\"what\":\"x");
    for (value, sign) in [
        (Some(altered.into_bytes()), "hash"),
        (Some(b"{".to_vec()), "cannot be read"),
        (None, "missing"),
    ] {
        tamper(record_key(20), value).await;
        let fault = trails
            .verify("shop", 1, u64::MAX)
            .await
            .unwrap()
            .fault
            .unwrap();
        assert_eq!(fault.seq, 20);
        assert!(fault.what.contains(sign), "{fault:?}");
    }
    tamper(record_key(20), Some(good.to_vec())).await;
    assert_eq!(
        trails.verify("shop", 1, u64::MAX).await.unwrap().fault,
        None
    );
    tamper(record_key(all + 1), None).await;
    let verdict = trails.verify("shop", 1, u64::MAX).await.unwrap();
    assert_eq!(verdict.fault.unwrap().seq, all + 1, "the end was cut off");
}

/// Older forms are read, unknown fields stay, and new forms are written only through the gate.
pub async fn versions<S: Server>(server: &mut S) {
    let gate = WriteGate::default();
    let options = Options {
        gate: gate.clone(),
        ..options(server)
    };
    let store = Store::connect(options).await.unwrap();
    let volumes: Collection<Volume> = store.collection();
    let path = |key: &str| format!("{}{key}", Volume::ROOT);
    let raw = |key: &'static str| {
        let (store, path) = (store.clone(), path(key));
        async move {
            let bytes = store.get_raw(&path).await.unwrap().unwrap().value;
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
        }
    };
    let old = r#"{"v":1,"name":"old","size_mb":7,"later":{"by":"a newer program"}}"#;
    let new = r#"{"v":3,"anything":true}"#;
    let mut plant = store.transaction();
    plant.put_raw(&path("old"), old, 0).unwrap();
    plant.put_raw(&path("new"), new, 0).unwrap();
    plant.commit().await.unwrap();

    let stored = volumes.get("old").await.unwrap().unwrap();
    assert_eq!(stored.value.size_bytes, 7 * MB);
    let too_new = volumes.get("new").await.unwrap_err();
    assert!(matches!(
        too_new,
        Error::TooNew {
            found: 3,
            known: 2,
            ..
        }
    ));

    let grow = |volume: &mut Volume| {
        volume.size_bytes += MB;
        Ok::<_, Error>(())
    };
    volumes.update("old", grow).await.unwrap();
    let written = raw("old").await;
    assert_eq!((&written["v"], &written["size_mb"]), (&1.into(), &8.into()));
    assert_eq!(written["later"]["by"], "a newer program");

    gate.set(2);
    volumes.update("old", grow).await.unwrap();
    let written = raw("old").await;
    assert_eq!(
        (&written["v"], &written["size_bytes"]),
        (&2.into(), &(9 * MB).into())
    );
    assert!(written.get("size_mb").is_none());
    assert_eq!(written["later"]["by"], "a newer program");
}

/// Sixteen writers change one record at once and none of their changes is lost.
pub async fn contention<S: Server>(server: &mut S) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 8;
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    volumes.create("hot", volume("hot")).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let volumes = volumes.clone();
            tokio::spawn(async move {
                for write in 0..EACH {
                    let add = |volume: &mut Volume| {
                        volume.writes.push(writer * EACH + write);
                        Ok::<_, Error>(())
                    };
                    volumes.update("hot", add).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut writes = volumes.get("hot").await.unwrap().unwrap().value.writes;
    writes.sort_unstable();
    assert_eq!(writes, (0..WRITERS * EACH).collect::<Vec<_>>());
}

async fn next(watch: &mut Watch<Volume>) -> WatchEvent<Volume> {
    soon("a watch event", watch.next()).await.unwrap()
}

/// The next event that is not a progress notice.
async fn next_change(watch: &mut Watch<Volume>) -> WatchEvent<Volume> {
    loop {
        match next(watch).await {
            WatchEvent::Synced { .. } => {}
            event => return event,
        }
    }
}

/// A watch begins with what is there and goes on with every change.
pub async fn watches<S: Server>(server: &mut S) {
    let volumes: Collection<Volume> = connect(server).await.collection();
    let first = volumes.create("org/a", volume("a")).await.unwrap();
    volumes.create("other/b", volume("b")).await.unwrap();
    let mut watch = volumes.watch("org/");
    let WatchEvent::Snapshot {
        items, revision, ..
    } = next(&mut watch).await
    else {
        panic!("no snapshot at first");
    };
    assert_eq!((items.len(), items[0].key.as_str()), (1, "org/a"));
    let synced = next(&mut watch).await;
    assert!(matches!(synced, WatchEvent::Synced { revision: at } if at == revision));

    volumes.create("org/c", volume("c")).await.unwrap();
    volumes.create("other/d", volume("d")).await.unwrap();
    volumes.delete("org/a", Expected::Any).await.unwrap();
    let put = next_change(&mut watch).await;
    assert!(matches!(put, WatchEvent::Put(stored) if stored.key == "org/c"));
    let delete = next_change(&mut watch).await;
    assert!(matches!(delete, WatchEvent::Delete { key, .. } if key == "org/a"));

    let mut late = volumes.watch_from("org/", first.revision);
    let put = next_change(&mut late).await;
    assert!(
        matches!(put, WatchEvent::Put(stored) if stored.key == "org/c"),
        "no snapshot"
    );
}

/// A feed in which nothing happens can be told from one whose store is gone, and a revision that changed nothing of it is
/// reached.
pub async fn progress<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let mut feed = store.feed("/photon/elsewhere/");
    assert_eq!(feed.current_as_of(), None);
    let first = soon("a snapshot", feed.next_batch()).await.unwrap();
    assert!(matches!(&first[..], [FeedEvent::Snapshot { entries, .. }] if entries.is_empty()));
    let listed = feed.current_as_of().expect("a snapshot is of some moment");
    soon("the watch stands", feed.next_batch()).await.unwrap();
    assert!(feed.is_connected());
    assert_eq!(feed.current_as_of(), Some(listed), "nothing was asked");

    let written = volumes.create("a", volume("a")).await.unwrap().revision;
    let asked = Instant::now();
    reach(&mut feed, written, asked).await;

    server.stop().await.unwrap();
    let lost = Instant::now();
    // Nobody answers: the feed may be asked, and does not say that it is current.
    for _ in 0..3 {
        feed.request_progress().await;
        let _ = timeout(Duration::from_millis(100), feed.next_batch()).await;
    }
    assert!(feed.current_as_of().unwrap() <= lost);
    server.start().await.unwrap();
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let written = volumes.create("b", volume("b")).await.unwrap().revision;
    reach(&mut feed, written, Instant::now()).await;
}

/// Asks until the feed has come to a revision and to a moment.
async fn reach(feed: &mut Feed, revision: i64, moment: Instant) {
    let reaching = async {
        let mut reached = 0;
        while reached < revision || feed.current_as_of() < Some(moment) {
            feed.request_progress().await;
            let told = timeout(Duration::from_millis(100), feed.next_batch()).await;
            for event in told.into_iter().flat_map(Result::unwrap) {
                match event {
                    FeedEvent::Synced { revision } => reached = reached.max(revision),
                    other => panic!("nothing happened there: {other:?}"),
                }
            }
        }
    };
    soon("the feed is current", reaching).await;
}

/// While the server is killed twice under a writer, a watch tells every write once, in order.
pub async fn watch_over_restarts<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let mut watch = volumes.watch("");
    assert!(
        matches!(next(&mut watch).await, WatchEvent::Snapshot { items, .. } if items.is_empty())
    );

    let stop = tokio_util::sync::CancellationToken::new();
    let writer = tokio::spawn(write_until(volumes.clone(), stop.clone()));
    let mut told = BTreeMap::new();
    let mut last = 0;
    for round in 1..=2 {
        tell(&mut watch, &mut told, &mut last, 30 * round).await;
        server.stop().await.unwrap();
        server.start().await.unwrap();
    }
    let more = told.len() + 30;
    tell(&mut watch, &mut told, &mut last, more).await;
    stop.cancel();
    let acknowledged = writer.await.unwrap();

    let all = volumes.list(&PageRequest::default()).await.unwrap().items;
    tell(&mut watch, &mut told, &mut last, all.len()).await;
    let stored: BTreeMap<_, _> = all
        .into_iter()
        .map(|stored| (stored.key, stored.revision))
        .collect();
    assert_eq!(told, stored);
    for (key, revision) in acknowledged {
        assert_eq!(stored.get(&key), Some(&revision), "{key} was acknowledged");
    }
}

/// Creates one record after the other and returns those that were acknowledged.
async fn write_until(
    volumes: Collection<Volume>,
    stop: tokio_util::sync::CancellationToken,
) -> Vec<(String, i64)> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let name = format!("n{number:06}");
        match volumes.create(&name, volume(&name)).await {
            Ok(stored) => acknowledged.push((name, stored.revision)),
            Err(Error::Unknown { .. } | Error::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

/// Takes events until `count` records have been told of; each must be new and later than the one before.
async fn tell(
    watch: &mut Watch<Volume>,
    told: &mut BTreeMap<String, i64>,
    last: &mut i64,
    count: usize,
) {
    while told.len() < count {
        match next_change(watch).await {
            WatchEvent::Put(stored) => {
                assert!(stored.revision > *last, "out of order");
                *last = stored.revision;
                let twice = told.insert(stored.key, stored.revision);
                assert_eq!(twice, None, "told twice");
            }
            event => panic!("unexpected: {event:?}"),
        }
    }
}

/// A watch that is behind a compaction lists again.
pub async fn watch_after_compaction<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let volumes: Collection<Volume> = store.collection();
    let old = volumes.create("a", volume("a")).await.unwrap();
    volumes.create("b", volume("b")).await.unwrap();
    let deleted = volumes.delete("a", Expected::Any).await.unwrap();
    let last = volumes.create("c", volume("c")).await.unwrap();
    assert_eq!(deleted.key, "a");
    let compacting = store.client().compact(last.revision, None).await;
    compacting.unwrap();

    let mut watch = volumes.watch_from("", old.revision);
    let WatchEvent::Snapshot {
        items, revision, ..
    } = next_change(&mut watch).await
    else {
        panic!("the lost history must be replaced by a snapshot");
    };
    let keys: Vec<_> = items.iter().map(|stored| stored.key.as_str()).collect();
    assert_eq!((keys, revision), (vec!["b", "c"], last.revision));
    volumes.create("d", volume("d")).await.unwrap();
    let put = next_change(&mut watch).await;
    assert!(matches!(put, WatchEvent::Put(stored) if stored.key == "d"));

    let past = PageRequest {
        revision: old.revision,
        ..PageRequest::default()
    };
    assert!(matches!(volumes.list(&past).await, Err(Error::Compacted)));
}

/// A lease outlives its time to live while it is kept, and its keys end with it.
pub async fn leases<S: Server>(server: &mut S) {
    let volumes: Collection<Volume> = connect(server).await.collection();
    let store = volumes.store();
    let lease = store.lease(Duration::from_secs(2)).await.unwrap();
    let made = volumes
        .create_under("alive", volume("alive"), lease.id())
        .await
        .unwrap();
    assert_eq!(made.lease, lease.id());
    let touch = |volume: &mut Volume| {
        volume.writes.push(0);
        Ok::<_, Error>(())
    };
    let touched = volumes.update("alive", touch).await.unwrap();
    assert_eq!(touched.lease, lease.id(), "an update keeps the lease");

    // Not a timed assertion: this much time must have passed for the question to make sense.
    tokio::time::sleep(2 * lease.ttl()).await;
    assert!(!lease.is_lost());
    assert!(volumes.get("alive").await.unwrap().is_some());

    let mut watch = volumes.watch("");
    drop(lease); // what happens when the process dies
    loop {
        match next_change(&mut watch).await {
            WatchEvent::Delete { key, .. } if key == "alive" => break,
            _ => {}
        }
    }
    assert!(store.get_raw(&by_name("alive")).await.unwrap().is_none());
    let late = volumes.create_under("late", volume("late"), 12345).await;
    assert!(matches!(late, Err(Error::LeaseLost)));

    let lease = store.lease(Duration::from_secs(30)).await.unwrap();
    let id = lease.id();
    volumes
        .create_under("short", volume("short"), id)
        .await
        .unwrap();
    lease.revoke().await.unwrap();
    assert!(volumes.get("short").await.unwrap().is_none());
    let revoked_by_others = store.lease(Duration::from_secs(3)).await.unwrap();
    store
        .client()
        .lease_revoke(revoked_by_others.id())
        .await
        .unwrap();
    soon("the loss is told", revoked_by_others.lost()).await;
}

/// A holder whose store is gone is told that its lease is lost.
pub async fn lease_without_server<S: Server>(server: &mut S) {
    let store = connect(server).await;
    let lease = store.lease(Duration::from_secs(2)).await.unwrap();
    server.stop().await.unwrap();
    soon("the loss is told", lease.lost()).await;
    assert!(lease.is_lost());
    server.start().await.unwrap();
}

/// One leads, the next follows, and a leader that was paused cannot write any more.
pub async fn elections<S: Server>(server: &mut S) {
    const NAME: &str = "/photon/conformance/leader";
    const TTL: Duration = Duration::from_secs(2);
    let store = connect(server).await;
    let first = store.campaign(NAME, "one", TTL, DEADLINE).await.unwrap();
    let leader = store.leader(NAME).await.unwrap().unwrap();
    assert_eq!(
        (&leader.value[..], &leader.fence),
        (&b"one"[..], first.fence())
    );
    let impatient = store
        .campaign(NAME, "two", TTL, Duration::from_millis(200))
        .await;
    assert!(matches!(impatient, Err(Error::Unavailable { .. })));

    let write = |fence: &Fence, value: &'static str| {
        let mut transaction = store.transaction();
        transaction
            .put_raw("/photon/conformance/owned", value, 0)
            .unwrap();
        transaction.fenced(fence);
        async move { transaction.commit().await }
    };
    write(first.fence(), "by one").await.unwrap();

    // A paused process renews nothing and keeps what it knows: its fence.
    let paused = first.fence().clone();
    drop(first);
    let second = store.campaign(NAME, "two", TTL, DEADLINE).await.unwrap();
    assert!(second.fence().revision > paused.revision);
    write(second.fence(), "by two").await.unwrap();
    let late = write(&paused, "by one again").await.unwrap_err();
    assert!(matches!(late, Error::Fenced { key } if key == paused.key));
    let owned = store
        .get_raw("/photon/conformance/owned")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&owned.value[..], b"by two");

    let third = tokio::spawn({
        let store = store.clone();
        async move { store.campaign(NAME, "three", TTL, DEADLINE).await }
    });
    second.resign().await.unwrap();
    let third = third.await.unwrap().unwrap();
    assert!(!third.is_lost());
}

/// Without a server reads and writes end within their deadline, and go on when it is back.
pub async fn outages<S: Server>(server: &mut S) {
    let options = Options {
        request_timeout: Duration::from_secs(2),
        ..options(server)
    };
    let store = Store::connect(options.clone()).await.unwrap();
    let volumes: Collection<Volume> = store.collection();
    volumes.create("a", volume("a")).await.unwrap();
    server.stop().await.unwrap();
    let read = soon("a read ends", volumes.get("a")).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let write = soon("a write ends", volumes.create("b", volume("b"))).await;
    assert!(
        matches!(
            write,
            Err(Error::Unavailable { .. } | Error::Unknown { .. })
        ),
        "{write:?}"
    );
    let nobody = soon("connecting ends", Box::pin(Store::connect(options))).await;
    assert!(
        matches!(nobody, Err(Error::Unavailable { .. })),
        "{nobody:?}"
    );
    server.start().await.unwrap();
    assert!(volumes.get("a").await.unwrap().is_some());
    volumes.create("c", volume("c")).await.unwrap();
}

/// A store replaced by an empty one is noticed, by a running client and by one that starts later.
pub async fn replaced_store<S: Server>(server: &mut S) {
    let store = connect(server).await;
    store.ensure_identity().await.unwrap();
    let volumes: Collection<Volume> = store.collection();
    volumes.create("a", volume("a")).await.unwrap();
    let mut watch = volumes.watch("");
    assert!(matches!(
        next_change(&mut watch).await,
        WatchEvent::Snapshot { .. }
    ));
    let seen = store.seen().unwrap();

    server.replace_by_empty().await.unwrap();
    // The very first request to the new store is a write: it must not happen.
    let end = Instant::now() + DEADLINE;
    let write = loop {
        match volumes.create("b", volume("b")).await {
            Err(Error::Unknown { .. } | Error::Unavailable { .. }) if Instant::now() < end => {}
            write => break write,
        }
    };
    assert!(matches!(write, Err(Error::StoreChanged(_))), "{write:?}");
    assert!(store.change().is_some());
    let read = volumes.get("a").await;
    assert!(matches!(read, Err(Error::StoreChanged(_))), "{read:?}");
    let told = soon("the watch tells", async {
        loop {
            match watch.next().await {
                Ok(WatchEvent::Synced { .. }) => {}
                told => break told,
            }
        }
    })
    .await;
    assert!(matches!(told, Err(Error::StoreChanged(_))), "{told:?}");

    let remembering = Options {
        seen: Some(seen.clone()),
        ..options(server)
    };
    let restarted = Store::connect(remembering).await.unwrap();
    assert!(
        matches!(restarted.change(), Some(Change::Cluster { before, .. }) if before == seen.cluster_id)
    );
    assert!(matches!(
        restarted.get_raw("/a").await,
        Err(Error::StoreChanged(_))
    ));

    // A word about the change, for all who have not restarted; one from before it counts for nothing.
    let changed = store.look_at_change("conformance").await.unwrap();
    let accepted = store.is_accepted("conformance", &changed).await.unwrap();
    assert!(accepted.is_none());

    let now = restarted.accept_change().await.unwrap().unwrap();
    assert_ne!(now.cluster_id, seen.cluster_id);
    let volumes: Collection<Volume> = restarted.collection();
    let all = volumes.list(&PageRequest::default()).await.unwrap();
    assert!(all.items.is_empty(), "the refused write did not happen");
    volumes.create("a", volume("a")).await.unwrap();

    // Whoever watched the store before begins again with what is there.
    let said = restarted.accept_for("conformance").await.unwrap();
    assert_eq!(said.cluster_id, now.cluster_id);
    let accepted = store.is_accepted("conformance", &changed).await.unwrap();
    assert!(accepted.is_some());
    let another = store.is_accepted("another", &changed).await.unwrap();
    assert!(another.is_none());
    store.accept_as(accepted.unwrap());
    // It was said before whoever knows this life of the store finds it changed again.
    let later = store.look_at_change("conformance").await.unwrap();
    let accepted = store.is_accepted("conformance", &later).await.unwrap();
    assert!(accepted.is_none());
    let begun = next_change(&mut watch).await;
    assert!(
        matches!(&begun, WatchEvent::Snapshot { items, .. } if items.len() == 1),
        "{begun:?}"
    );
}
