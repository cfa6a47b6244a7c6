//! Who is there, and who owns which shard, as the store says it.

use std::collections::{BTreeMap, HashMap};

use creditservice_ledger::Shard;
use photon_store::{Entry, FeedEvent};

use super::{
    layout,
    stored::{self, Owner, Process},
};

/// What is known of the service's processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Whether the store has been heard at all.
    pub(crate) is_known: bool,
    pub(crate) processes: BTreeMap<String, Process>,
    pub(crate) owners: HashMap<Shard, Owned>,
}

/// A shard that is owned.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) owner: Owner,
    /// The revision of its key.
    pub(crate) revision: i64,
}

impl View {
    /// Takes in what the feed tells.
    pub(crate) fn apply(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Snapshot { entries, .. } => {
                *self = Self {
                    is_known: true,
                    ..Self::default()
                };
                for entry in &entries {
                    self.put(entry);
                }
            }
            FeedEvent::Put(entry) => self.put(&entry),
            FeedEvent::Delete { key, .. } => {
                if let Some(instance) = key.strip_prefix(layout::PROCESSES) {
                    self.processes.remove(instance);
                } else if let Some(shard) = shard_of(&key) {
                    self.owners.remove(&shard);
                }
            }
            FeedEvent::Synced { .. } => {}
        }
    }

    fn put(&mut self, entry: &Entry) {
        let unreadable = |error: &photon_store::Error| {
            tracing::warn!(key = entry.key, %error, "what a process says of itself cannot be read");
        };
        if let Some(instance) = entry.key.strip_prefix(layout::PROCESSES) {
            match stored::read::<Process>(entry) {
                Ok(process) => drop(self.processes.insert(instance.to_owned(), process)),
                Err(error) => unreadable(&error),
            }
        } else if let Some(shard) = shard_of(&entry.key) {
            match stored::read::<Owner>(entry) {
                Ok(owner) => {
                    let revision = entry.revision;
                    self.owners.insert(shard, Owned { owner, revision });
                }
                // It is owned by somebody; asking fails until it can be read.
                Err(error) => unreadable(&error),
            }
        }
    }

    /// How many shards each process may own: as many as the others, or one more.
    pub(crate) fn share(&self, shards: usize) -> usize {
        shards.div_ceil(self.processes.len().max(1))
    }
}

fn shard_of(key: &str) -> Option<Shard> {
    let number = key.strip_prefix(layout::OWNERS)?.parse().ok()?;
    Shard::new(number).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.to_owned(),
            value: value.to_owned().into(),
            create_revision: revision,
            revision,
            lease: 1,
        }
    }

    #[test]
    fn it_follows_what_is_told() {
        let owner = r#"{"v":1,"instance":"a","grpc":"http://a","epoch":4}"#;
        let process = r#"{"v":1,"grpc":"http://a","version":"1"}"#;
        let mut view = View::default();
        assert!(!view.is_known);
        let seven = Shard::new(7).unwrap();
        view.apply(FeedEvent::Snapshot {
            entries: vec![
                entry(&layout::owner(seven), owner, 3),
                entry(&layout::process("a"), process, 2),
            ],
            revision: 3,
        });
        assert!(view.is_known);
        assert_eq!(view.owners[&seven].owner.instance, "a");
        assert_eq!(view.owners[&seven].revision, 3);
        assert_eq!(view.share(64), 64);
        view.apply(FeedEvent::Put(entry(&layout::process("b"), process, 5)));
        view.apply(FeedEvent::Put(entry(&layout::process("c"), process, 5)));
        assert_eq!(view.share(64), 22);
        view.apply(FeedEvent::Delete {
            key: layout::owner(seven),
            revision: 6,
        });
        assert!(view.owners.is_empty());
        view.apply(FeedEvent::Delete {
            key: layout::process("b"),
            revision: 7,
        });
        assert_eq!(view.processes.len(), 2);
    }
}
