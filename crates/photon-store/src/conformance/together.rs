//! Many changes of one trail at once: each has its own answer, and the chain has exactly those that were done.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::*;
use crate::Transaction;

const TRAIL: &str = "shop";

/// A service's process: its trails, and what it keeps.
#[derive(Clone)]
struct Side {
    store: Store,
    volumes: Collection<Volume>,
    trails: Trails,
}

impl Side {
    async fn of<S: Server>(server: &S) -> Self {
        let store = connect(server).await;
        Self {
            volumes: store.collection(),
            trails: Trails::new(store.clone(), "conformance"),
            store,
        }
    }

    fn make(&self, name: &str) -> Transaction {
        let mut create = self.store.transaction();
        create.create(&self.volumes, name, &volume(name)).unwrap();
        create
    }

    async fn commit(&self, what: &str, transaction: &Transaction) -> Result<i64, Error> {
        let mut entry = Fields::new();
        entry.insert("what".into(), what.into());
        let done = self.trails.commit(transaction, TRAIL, &entry).await?;
        Ok(done.revision)
    }

    async fn create(&self, name: &str) -> Result<i64, Error> {
        self.commit(name, &self.make(name)).await
    }

    /// What the records say was done, of an intact chain.
    async fn said(&self) -> BTreeSet<String> {
        let verdict = self.trails.verify(TRAIL, 1, u64::MAX).await.unwrap();
        assert!(verdict.complete && verdict.fault.is_none(), "{verdict:?}");
        let records = self.trails.records(TRAIL, 1, 100_000).await.unwrap();
        let all = records.len();
        let said: BTreeSet<String> = records
            .into_iter()
            .map(|record| record.unwrap().fields["what"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(said.len(), all, "nothing is recorded twice");
        said
    }

    async fn kept(&self) -> BTreeSet<String> {
        let all = self.volumes.list(&PageRequest::default()).await.unwrap();
        all.items.into_iter().map(|stored| stored.key).collect()
    }
}

/// Changes that come at once share transactions, and each is decided for itself.
pub async fn audits_together<S: Server>(server: &mut S) {
    let side = Side::of(server).await;
    side.create("taken").await.unwrap();
    let stale = side.volumes.get("taken").await.unwrap().unwrap();
    let mut touched = stale.clone();
    touched.value.writes.push(1);
    let mut touch = side.store.transaction();
    touch.replace(&side.volumes, &touched).unwrap();
    side.commit("touched", &touch).await.unwrap();
    let now = side.volumes.get("taken").await.unwrap().unwrap();

    // A hundred good ones that all require the same record; among them those that cannot be, each for its own reason.
    let good = (0..100).map(|n| {
        let name = format!("good{n}");
        let mut create = side.make(&name);
        create.unchanged(&side.volumes, &now).unwrap();
        (name, create)
    });
    let mut all: Vec<(String, Transaction)> = good.collect();
    let mut outdated = side.make("outdated");
    outdated.unchanged(&side.volumes, &stale).unwrap();
    let mut leased = side.store.transaction();
    leased
        .create_under(&side.volumes, "leased", &volume("leased"), 12_345)
        .unwrap();
    let mut huge = side.store.transaction();
    huge.put_raw("/photon/conformance/huge", vec![b'x'; 2 << 20], 0)
        .unwrap();
    let mut twice = side.store.transaction();
    for value in ["1", "2"] {
        twice
            .put_raw("/photon/conformance/twice", value, 0)
            .unwrap();
    }
    let mut many = side.store.transaction();
    for n in 0..127 {
        let key = format!("/photon/conformance/many/{n}");
        many.put_raw(&key, "", 0).unwrap();
    }
    let mut not_empty = side.make("unhung");
    not_empty
        .empty_below("/photon/conformance/volume/")
        .unwrap();
    for (place, (name, one)) in [
        ("taken again", side.make("taken")),
        ("outdated", outdated),
        ("leased", leased),
        ("huge", huge),
        ("twice", twice),
        ("many", many),
        ("unhung", not_empty),
        // Of two that want the same one gets it.
        ("rival", side.make("rival")),
        ("other rival", side.make("rival")),
    ]
    .into_iter()
    .enumerate()
    {
        all.insert(5 + place * 9, (name.to_owned(), one));
    }
    let answers = join_all(all.iter().map(|(name, one)| side.commit(name, one))).await;
    let mut revisions = BTreeSet::new();
    let mut rivals = 0;
    for ((name, _), answer) in all.iter().zip(answers) {
        match (name.as_str(), answer) {
            ("taken again", Err(Error::AlreadyExists { key })) => {
                assert!(key.ends_with("/volume/taken"));
            }
            ("outdated", Err(Error::Conflict { key })) => assert!(key.ends_with("/volume/taken")),
            ("unhung", Err(Error::NotEmpty { .. }))
            | ("leased", Err(Error::LeaseLost))
            | ("huge" | "many", Err(Error::TooLarge { .. }))
            | ("twice", Err(Error::Protocol(_))) => {}
            ("rival" | "other rival", Ok(_)) => rivals += 1,
            ("rival" | "other rival", Err(Error::AlreadyExists { .. })) => {}
            (name, Ok(revision)) if name.starts_with("good") => {
                let made = side.volumes.get(name).await.unwrap().unwrap();
                assert_eq!(made.revision, revision);
                revisions.insert(revision);
            }
            (name, answer) => panic!("{name}: {answer:?}"),
        }
    }
    assert_eq!(rivals, 1);
    assert!(
        revisions.len() <= 60,
        "they waited together: {} transactions",
        revisions.len()
    );
    let mut said = side.said().await;
    assert!(said.remove("touched"));
    assert!(said.remove("rival") || said.remove("other rival"));
    said.insert("rival".to_owned());
    assert_eq!(said, side.kept().await);
    let bad = Fields::from_iter([("seq".to_owned(), 1.into())]);
    let spoken = side.trails.commit(&side.make("bad"), TRAIL, &bad).await;
    assert!(matches!(spoken, Err(Error::Protocol(_))), "{spoken:?}");
}

/// Processes that write to one trail at once, many changes each, some of them the same.
pub async fn audits_of_processes<S: Server>(server: &mut S) {
    let sides = [Side::of(server).await, Side::of(server).await];
    let [one, two] = &sides;
    let changes = (0..60).flat_map(|n| {
        let name = match n % 6 {
            0 => format!("both{n}"),
            _ => format!("one{n}"),
        };
        let other = match n % 6 {
            0 => name.clone(),
            _ => format!("two{n}"),
        };
        [(one.clone(), name), (two.clone(), other)]
    });
    let tasks: Vec<_> = changes
        .map(|(side, name)| tokio::spawn(async move { (side.create(&name).await, name) }))
        .collect();
    let mut made = BTreeSet::new();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            (Ok(_), name) => assert!(made.insert(name), "one of both makes it"),
            (Err(Error::AlreadyExists { .. }), name) if name.starts_with("both") => refused += 1,
            (Err(error), name) => panic!("{name}: {error:?}"),
        }
    }
    assert_eq!((made.len(), refused), (110, 10));
    assert_eq!(one.said().await, made);
    assert_eq!(two.kept().await, made);
}

/// Whoever goes away takes nobody along; its own change happens with its record or not at all.
pub async fn audits_left_alone<S: Server>(server: &mut S) {
    let side = Side::of(server).await;
    // Never waited for: dropped before anybody could take it.
    let unheard = side.make("unheard");
    {
        let waiting = std::pin::pin!(side.commit("unheard", &unheard));
        assert!(futures::poll!(waiting).is_pending());
    }
    side.create("next").await.unwrap();
    assert!(!side.kept().await.contains("unheard"));

    let tasks = (0..120_usize).map(|n| {
        let side = side.clone();
        tokio::spawn(async move { side.create(&format!("w{n:03}")).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut stayed = BTreeSet::new();
    for (n, task) in tasks.into_iter().enumerate() {
        if n % 3 == 0 {
            // Each a little later than the one before: waiting, under way, or done.
            tokio::task::yield_now().await;
            task.abort();
        } else {
            task.await.unwrap().unwrap();
            stayed.insert(format!("w{n:03}"));
        }
    }
    side.create("last").await.unwrap();
    let kept = side.kept().await;
    assert_eq!(side.said().await, kept);
    assert!(kept.is_superset(&stayed) && kept.contains("last"));
}

/// The store dies while many wait: what was told done is there, once; what nobody knows is there with its record or not.
pub async fn audits_over_an_outage<S: Server>(server: &mut S) {
    let options = Options {
        request_timeout: Duration::from_secs(2),
        ..options(server)
    };
    let store = Store::connect(options).await.unwrap();
    let side = Side {
        volumes: store.collection(),
        trails: Trails::new(store.clone(), "conformance"),
        store,
    };
    let writers = (0..24).map(|writer| {
        let side = side.clone();
        tokio::spawn(async move {
            let (mut done, mut open) = (Vec::new(), Vec::new());
            // Until it has met the outage, and a little longer.
            for n in 0..10_000 {
                let name = format!("w{writer}-{n}");
                match side.create(&name).await {
                    Ok(_) => done.push(name),
                    Err(Error::Unknown { .. } | Error::Unavailable { .. }) => {
                        open.push(name);
                        break;
                    }
                    Err(error) => panic!("{name}: {error:?}"),
                }
            }
            (done, open)
        })
    });
    let writers: Vec<_> = writers.collect();
    while side.trails.head(TRAIL).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    server.stop().await.unwrap();
    let mut told = BTreeSet::new();
    let mut open = BTreeSet::new();
    for writer in writers {
        let (done, unknown) = soon("a writer ends", writer).await.unwrap();
        told.extend(done);
        open.extend(unknown);
    }
    assert!(!open.is_empty());
    server.start().await.unwrap();
    side.create("after").await.unwrap();
    let kept = side.kept().await;
    assert_eq!(side.said().await, kept);
    assert!(kept.is_superset(&told), "what was told done is there");
    let all: BTreeSet<String> = told.union(&open).cloned().collect();
    assert!(
        kept.iter()
            .all(|name| name == "after" || all.contains(name))
    );
}
