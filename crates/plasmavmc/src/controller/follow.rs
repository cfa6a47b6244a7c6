//! Following which records there are: each that is new or changes is looked at, and all of them now and then.

use std::{collections::BTreeSet, time::Duration};

use photon_core::{Id, id::Kind};
use photon_reconcile::Queue;
use photon_store::{FeedEvent, Store};
use tokio_util::sync::CancellationToken;

/// How often everything is looked at, whether anything was heard of it or not.
const RESYNC: Duration = Duration::from_secs(300);
/// After a feed's error that trying again at once does not help against.
const PAUSE: Duration = Duration::from_secs(5);

/// Follows the records below a root, whose keys end with their ids, until somebody else leads. `gone` hears of those that are removed.
pub(super) async fn follow<K: Kind>(
    store: &Store,
    root: &str,
    queue: &Queue<Id<K>>,
    over: &CancellationToken,
    gone: impl Fn(Id<K>),
) {
    let mut known: BTreeSet<Id<K>> = BTreeSet::new();
    let mut feed = store.feed(root);
    let mut resync = tokio::time::interval(RESYNC);
    loop {
        let batch = tokio::select! {
            () = over.cancelled() => return,
            _ = resync.tick() => {
                known.iter().for_each(|id| queue.add(*id));
                continue;
            }
            batch = feed.next_batch() => batch,
        };
        match batch {
            Ok(events) => events
                .into_iter()
                .for_each(|event| heard(&mut known, queue, event, &gone)),
            Err(error) => {
                tracing::warn!(%error, root, "records cannot be followed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn id<K: Kind>(key: &str) -> Option<Id<K>> {
    let (_, id) = key.rsplit_once('/')?;
    id.parse().ok()
}

fn heard<K: Kind>(
    known: &mut BTreeSet<Id<K>>,
    queue: &Queue<Id<K>>,
    event: FeedEvent,
    gone: impl Fn(Id<K>),
) {
    match event {
        FeedEvent::Snapshot { entries, .. } => {
            *known = entries.iter().filter_map(|entry| id(&entry.key)).collect();
            known.iter().for_each(|id| queue.add(*id));
        }
        FeedEvent::Put(entry) => {
            if let Some(id) = id(&entry.key) {
                known.insert(id);
                queue.add(id);
            }
        }
        FeedEvent::Delete { key, .. } => {
            if let Some(id) = id(&key) {
                known.remove(&id);
                gone(id);
            }
        }
        FeedEvent::Synced { .. } => {}
    }
}
