//! Follows what the store says of networks.

use std::{collections::BTreeMap, time::Duration};

use photon_store::{Entry, Error, Feed, FeedEvent, Record, Store};
use prismnet_model::{
    ExternalNetwork, FloatingIp, Gone, GoneFloatingIp, Host, Port, Route, Rule, SecurityGroup,
    Subnet, Vpc, key::PUBLIC,
};

use crate::records::{Known, Records};

/// Changes that come within this time are taken together.
const TOGETHER: Duration = Duration::from_millis(5);
/// So many times over: changes that never end are told, too.
const MOST_TOGETHER: usize = 20;

/// What is known, and the feed it comes from.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    feed: Feed,
    /// What the store says; complete after the first [`Follower::next`].
    pub records: Records,
    /// Records that cannot be read, with the reason: they count as absent.
    pub unreadable: BTreeMap<String, String>,
    /// Whether there is something that nobody was told.
    is_new: bool,
}

impl Follower {
    /// From the beginning.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            feed: store.feed(PUBLIC),
            store,
            records: Records::default(),
            unreadable: BTreeMap::new(),
            is_new: false,
        }
    }

    /// Waits until something is known that was not. The first time, until everything is known. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn next(&mut self) -> Result<(), Error> {
        while !self.is_new {
            let batch = self.feed.next_batch().await?;
            self.take_all(batch);
        }
        // What comes close behind belongs to the same pass. A feed loses nothing if it is not waited for.
        for _ in 0..MOST_TOGETHER {
            match tokio::time::timeout(TOGETHER, self.feed.next_batch()).await {
                Ok(batch) => self.take_all(batch?),
                Err(_) => break,
            }
        }
        self.is_new = false;
        Ok(())
    }

    fn take_all(&mut self, batch: Vec<FeedEvent>) {
        for event in batch {
            self.is_new |= self.take(event);
        }
    }

    fn take(&mut self, event: FeedEvent) -> bool {
        match event {
            FeedEvent::Snapshot { entries, .. } => {
                self.records = Records::default();
                self.unreadable.clear();
                entries.into_iter().for_each(|entry| self.put(entry));
                true
            }
            FeedEvent::Put(entry) => {
                self.put(entry);
                true
            }
            FeedEvent::Delete { key, .. } => {
                self.unreadable.remove(&key);
                self.records
                    .remove(key.strip_prefix(PUBLIC).unwrap_or(&key));
                true
            }
            FeedEvent::Synced { .. } => false,
        }
    }

    fn put(&mut self, entry: Entry) {
        let key = entry.key.clone();
        match read(&self.store, entry) {
            Ok(Some(known)) => {
                self.unreadable.remove(&key);
                self.records.put(known);
            }
            // Of a newer version: nothing for this one.
            Ok(None) => {}
            Err(reason) => {
                self.records
                    .remove(key.strip_prefix(PUBLIC).unwrap_or(&key));
                self.unreadable.insert(key, reason);
            }
        }
    }
}

fn read(store: &Store, entry: Entry) -> Result<Option<Known>, String> {
    let key = entry.key.clone();
    let is = |root: &str| key.starts_with(root);
    let known = if is(Port::ROOT) {
        let revision = entry.revision;
        Known::Port(Box::new(record(store, entry)?), revision)
    } else if is(Rule::ROOT) {
        Known::Rule(Box::new(record(store, entry)?))
    } else if is(Subnet::ROOT) {
        Known::Subnet(Box::new(record(store, entry)?))
    } else if is(Vpc::ROOT) {
        Known::Vpc(Box::new(record(store, entry)?))
    } else if is(SecurityGroup::ROOT) {
        Known::Group(Box::new(record(store, entry)?))
    } else if is(Route::ROOT) {
        Known::Route(Box::new(record(store, entry)?))
    } else if is(FloatingIp::ROOT) {
        Known::FloatingIp(Box::new(record(store, entry)?))
    } else if is(ExternalNetwork::ROOT) {
        Known::ExternalNetwork(Box::new(record(store, entry)?))
    } else if is(Gone::ROOT) {
        let revision = entry.revision;
        Known::Gone(record(store, entry)?, revision)
    } else if is(GoneFloatingIp::ROOT) {
        let revision = entry.revision;
        Known::GoneFloatingIp(record(store, entry)?, revision)
    } else if is(Host::ROOT) {
        Known::Host(record(store, entry)?)
    } else {
        return Ok(None);
    };
    Ok(Some(known))
}

fn record<T: Record>(store: &Store, entry: Entry) -> Result<T, String> {
    let read = store.collection::<T>().read(entry);
    read.map(|stored| stored.value)
        .map_err(|unreadable| unreadable.reason)
}
