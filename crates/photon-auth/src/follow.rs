//! Follows what IAM publishes and keeps what every request is checked against.
//!
//! ```text
//!   feed of /photon/iam/public/ ──batch──> meaning of each entry ─┬─> Known      (behind a lock, changed in place)
//!        ^                                                        ├─> Policies   (a new snapshot, swapped in)
//!        └── progress asked for: on a timer, and when waited for  └─> Heard      (last: who sees the revision sees the rest)
//! ```

use std::{collections::HashSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use photon_authz::{Change, Policies, records::PUBLIC};
use photon_store::{Entry, Feed, FeedEvent, Store};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    counts::Counts,
    heard::Heard,
    known::{Fact, Known},
    read::{self, Meaning},
};

/// The longest time between two questions to the store how far it is.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long one such question may take to be sent.
const ASKING: Duration = Duration::from_secs(2);
/// The pause after an error that trying again at once does not help against.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// More events than this are read aside, so that the runtime's own threads go on.
const MANY: usize = 500;

/// What is decided by.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) policies: ArcSwap<Policies>,
    pub(crate) known: RwLock<Known>,
    pub(crate) heard: Heard,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            policies: ArcSwap::from_pointee(Policies::new()),
            known: RwLock::default(),
            heard: Heard::default(),
        }
    }
}

/// Follows until told to stop. `last_error` is for who waits for the beginning.
///
/// # Errors
/// At the beginning only: what must be read and cannot be.
pub(crate) async fn follow(
    followed: Arc<Followed>,
    store: Store,
    max_staleness: Duration,
    counts: Counts,
    last_error: Arc<parking_lot::Mutex<Option<photon_store::Error>>>,
    stop: CancellationToken,
) -> Result<(), Unfit> {
    let feed = store.feed(PUBLIC);
    let follower = Follower {
        followed,
        store,
        counts,
        unreadable: HashSet::new(),
        begun: false,
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        unfit = follower.run(feed, max_staleness, &last_error) => Err(unfit),
    }
}

/// The key of a record without which nothing may be decided.
#[derive(Debug)]
pub(crate) struct Unfit(pub(crate) String);

/// How often the store is asked how far it is: several answers within the time that decisions go on without one.
pub(crate) fn ask_every(max_staleness: Duration) -> Duration {
    (max_staleness / 6).clamp(Duration::from_millis(20), ASK_EVERY)
}

struct Follower {
    followed: Arc<Followed>,
    store: Store,
    counts: Counts,
    /// Keys of records that are there and cannot be read.
    unreadable: HashSet<String>,
    /// Whether there was a first snapshot.
    begun: bool,
}

enum Turn {
    Told(photon_store::Result<Vec<FeedEvent>>),
    Ask,
}

impl Follower {
    async fn run(
        mut self,
        mut feed: Feed,
        max_staleness: Duration,
        last_error: &parking_lot::Mutex<Option<photon_store::Error>>,
    ) -> Unfit {
        let followed = Arc::clone(&self.followed);
        let heard = &followed.heard;
        // What was said last of what goes wrong: it may go on for long.
        let mut said = None;
        let mut timer = tokio::time::interval(ask_every(max_staleness));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let connected = feed.is_connected();
            heard.connected(connected);
            let turn = tokio::select! {
                biased;
                // While no watch stands, opening one must not be interrupted again and again.
                _ = timer.tick(), if connected => Turn::Ask,
                () = heard.asked(), if connected => Turn::Ask,
                told = feed.next_batch() => Turn::Told(told),
            };
            match turn {
                Turn::Ask => {
                    let asking = feed.request_progress();
                    if tokio::time::timeout(ASKING, asking).await.is_err() {
                        tracing::debug!("the store could not be asked how far it is");
                    }
                }
                Turn::Told(Ok(events)) => {
                    said = None;
                    heard.connected(feed.is_connected());
                    let current = feed.current_as_of();
                    if let Err(unfit) = self.take(events, current).await {
                        return unfit;
                    }
                }
                Turn::Told(Err(error)) => {
                    heard.connected(false);
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::error!(%error, "what IAM publishes cannot be followed");
                        said = Some(text);
                    }
                    *last_error.lock() = Some(error);
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    /// Everything of a batch counts before its revision is told.
    async fn take(
        &mut self,
        events: Vec<FeedEvent>,
        current: Option<Instant>,
    ) -> Result<(), Unfit> {
        let mut revision = None;
        let mut changes: Vec<Told> = Vec::new();
        for event in events {
            match event {
                FeedEvent::Snapshot {
                    entries,
                    revision: at,
                } => {
                    changes.clear();
                    self.replace(entries, at).await?;
                }
                FeedEvent::Put(entry) => {
                    revision = revision.max(Some(entry.revision));
                    changes.push(Told::Put(entry));
                }
                FeedEvent::Delete { key, revision: at } => {
                    revision = revision.max(Some(at));
                    changes.push(Told::Delete(key));
                }
                FeedEvent::Synced { revision: at } => revision = revision.max(Some(at)),
            }
        }
        if !changes.is_empty() {
            let meanings = self.read(changes).await;
            self.apply(meanings, revision);
        }
        self.followed.heard.told(revision, current);
        Ok(())
    }

    /// Replaces everything known by a snapshot. What holds back and cannot be read stays as it was known; the first
    /// snapshot must have none.
    async fn replace(&mut self, entries: Vec<Entry>, revision: i64) -> Result<(), Unfit> {
        tracing::debug!(
            entries = entries.len(),
            revision,
            "reading what IAM publishes"
        );
        let meanings = self
            .read(entries.into_iter().map(Told::Put).collect())
            .await;
        self.unreadable.clear();
        self.note_unreadable(&meanings);
        let before = self.followed.policies.load_full();
        let mut known = Known::default();
        let mut policies = Policies::new();
        for (key, meaning) in meanings {
            if meaning.unreadable && read::holds_back(&key) {
                if !self.begun {
                    return Err(Unfit(key));
                }
                if let Some(change) = read::as_known(&key, &before) {
                    policies.apply(change);
                }
            }
            put_into(&mut known, &mut policies, meaning);
        }
        policies.set_revision(revision);
        *self.followed.known.write() = known;
        self.followed.policies.store(Arc::new(policies));
        self.followed.heard.restarted(revision);
        self.begun = true;
        Ok(())
    }

    fn apply(&mut self, meanings: Vec<(String, Meaning)>, revision: Option<i64>) {
        self.note_unreadable(&meanings);
        let mut facts: Vec<Fact> = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        for (_, meaning) in meanings {
            facts.extend(meaning.fact);
            changes.extend(meaning.change);
        }
        {
            let mut known = self.followed.known.write();
            for fact in facts {
                known.learn(fact);
            }
        }
        let mut policies = Policies::clone(&self.followed.policies.load());
        for change in changes {
            policies.apply(change);
        }
        if let Some(revision) = revision {
            policies.set_revision(revision);
        }
        self.followed.policies.store(Arc::new(policies));
    }

    async fn read(&self, changes: Vec<Told>) -> Vec<(String, Meaning)> {
        if changes.len() < MANY {
            return meanings(&self.store, changes);
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || meanings(&store, changes)).await {
            Ok(meanings) => meanings,
            // Reading does not panic. If it does, following ends here, and with it, in time, every decision.
            Err(error) => {
                tracing::error!(%error, "what IAM publishes is no longer followed");
                std::future::pending().await
            }
        }
    }

    fn note_unreadable(&mut self, meanings: &[(String, Meaning)]) {
        for (key, meaning) in meanings {
            if meaning.unreadable {
                self.unreadable.insert(key.clone());
            } else {
                self.unreadable.remove(key);
            }
        }
        self.counts.unreadable(self.unreadable.len());
    }
}

/// A change of one entry.
enum Told {
    Put(Entry),
    Delete(String),
}

fn meanings(store: &Store, changes: Vec<Told>) -> Vec<(String, Meaning)> {
    changes
        .into_iter()
        .map(|change| match change {
            Told::Put(entry) => (entry.key.clone(), read::put(store, entry)),
            Told::Delete(key) => {
                let meaning = read::delete(&key);
                (key, meaning)
            }
        })
        .collect()
}

fn put_into(known: &mut Known, policies: &mut Policies, meaning: Meaning) {
    if let Some(fact) = meaning.fact {
        known.learn(fact);
    }
    if let Some(change) = meaning.change {
        policies.apply(change);
    }
}
