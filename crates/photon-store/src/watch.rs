//! A feed of records.

use futures::Stream;

use crate::collection::{Collection, Unreadable};
use crate::feed::{Feed, FeedEvent};
use crate::record::{Record, Stored};
use crate::{Error, Result};

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum WatchEvent<T> {
    /// Everything there is at a revision: at the beginning, and again when the watch fell behind a compaction. Replaces
    /// whatever was known: what is not in it is gone.
    Snapshot {
        /// The records, by key.
        items: Vec<Stored<T>>,
        /// Records that are there and cannot be read.
        unreadable: Vec<Unreadable>,
        /// The moment.
        revision: i64,
    },
    /// A record was made or changed.
    Put(Stored<T>),
    /// A record was made or changed and cannot be read. It is there.
    Unreadable(Unreadable),
    /// A record was removed.
    Delete {
        /// Its key.
        key: String,
        /// When.
        revision: i64,
    },
    /// Everything up to this revision has been told.
    Synced {
        /// The moment.
        revision: i64,
    },
}

/// An endless watch over a collection. See [`Collection::watch`].
#[derive(Debug)]
pub struct Watch<T> {
    collection: Collection<T>,
    feed: Feed,
}

impl<T: Record> Watch<T> {
    pub(crate) fn new(collection: Collection<T>, feed: Feed) -> Self {
        Self { collection, feed }
    }

    /// Whether the watch stands at this moment.
    pub fn is_connected(&self) -> bool {
        self.feed.is_connected()
    }

    /// The next event; see [`Feed::next`].
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn next(&mut self) -> Result<WatchEvent<T>> {
        let event = self.feed.next().await?;
        self.translate(event)
    }

    /// As a stream that never ends. After an error it goes on when polled again.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent<T>>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let event = watch.next().await;
            Some((event, watch))
        })
    }

    fn translate(&self, event: FeedEvent) -> Result<WatchEvent<T>> {
        Ok(match event {
            FeedEvent::Snapshot { entries, revision } => {
                let mut items = Vec::with_capacity(entries.len());
                let mut unreadable = Vec::new();
                for entry in entries {
                    match self.collection.read(entry) {
                        Ok(stored) => items.push(stored),
                        Err(bad) => unreadable.push(bad),
                    }
                }
                WatchEvent::Snapshot {
                    items,
                    unreadable,
                    revision,
                }
            }
            FeedEvent::Put(entry) => match self.collection.read(entry) {
                Ok(stored) => WatchEvent::Put(stored),
                Err(bad) => WatchEvent::Unreadable(bad),
            },
            FeedEvent::Delete { key, revision } => {
                let key = key.strip_prefix(T::ROOT).ok_or_else(|| {
                    Error::Protocol(format!("the store told of foreign key {key}"))
                })?;
                WatchEvent::Delete {
                    key: key.to_owned(),
                    revision,
                }
            }
            FeedEvent::Synced { revision } => WatchEvent::Synced { revision },
        })
    }
}
