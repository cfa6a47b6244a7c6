//! The records of one type.

use std::marker::PhantomData;

use etcd_client::GetOptions;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::codec;
use crate::feed::Entry;
use crate::record::{Record, Stored};
use crate::store::Store;
use crate::watch::Watch;
use crate::{Error, Result, key};

/// Rows of one answer of the store while reading a longer list.
const ROWS: i64 = 1000;

/// The records below [`Record::ROOT`]. Keys given and returned are relative to it, without leading slash, e.g.
/// `acme/shop/vm-…`.
#[derive(Clone, Debug)]
pub struct Collection<T> {
    store: Store,
    of: PhantomData<fn() -> T>,
}

/// What a delete requires of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// That it exists.
    Any,
    /// That it was last changed at this revision.
    Revision(i64),
}

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// Only keys that begin with this, e.g. `acme/shop/`.
    pub prefix: String,
    /// Only keys after this one (the last of the page before).
    pub after: Option<String>,
    /// The most rows to return; 0 for all.
    pub limit: usize,
    /// Read the past: the revision of the first page, so that all pages show one moment. 0 for now.
    pub revision: i64,
}

/// Part of a list, ordered by key.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The records.
    pub items: Vec<Stored<T>>,
    /// Records that are there and cannot be read. One bad record must not hide the others.
    pub unreadable: Vec<Unreadable>,
    /// The key to continue after, if there is more.
    pub next: Option<String>,
    /// The moment the list shows.
    pub revision: i64,
}

/// A record that is there and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// Revision of its last change.
    pub revision: i64,
    /// Why.
    pub reason: String,
}

impl<T: Record> Collection<T> {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            of: PhantomData,
        }
    }

    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads a record; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::TooNew`], or those of any read.
    pub async fn get(&self, key: &str) -> Result<Option<Stored<T>>> {
        let path = self.path(key)?;
        let entry = self.store.get_raw(&path).await?;
        entry.map(|entry| self.decode(entry)).transpose()
    }

    /// Reads the record an index key leads to; `None` if it leads nowhere.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub async fn get_by_index(&self, index: &str) -> Result<Option<Stored<T>>> {
        let Some(entry) = self.store.get_raw(index).await? else {
            return Ok(None);
        };
        let path = String::from_utf8_lossy(&entry.value);
        let Some(key) = path.strip_prefix(T::ROOT) else {
            return Err(Error::Corrupt {
                key: index.to_owned(),
                reason: format!("leads to {path}, which is not below {}", T::ROOT),
            });
        };
        // Between the two reads the record may have left the index.
        let stored = self.get(key).await?;
        Ok(stored.filter(|stored| stored.value.index_keys(key).iter().any(|own| own == index)))
    }

    /// Makes a record and its index keys.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] names the key, or index key, that is taken.
    pub async fn create(&self, key: &str, value: T) -> Result<Stored<T>> {
        self.create_under(key, value, 0).await
    }

    /// [`Collection::create`] under a lease.
    ///
    /// # Errors
    /// As [`Collection::create`]; [`Error::LeaseLost`] if there is no such lease.
    pub async fn create_under(&self, key: &str, value: T, lease: i64) -> Result<Stored<T>> {
        let path = self.path(key)?;
        let bytes = codec::encode(&path, &value, None, self.version())?;
        let mut transaction = self.store.transaction();
        transaction.create_under(self, key, &value, lease)?;
        let committed = transaction.commit().await?;
        self.decode(Entry {
            key: path,
            value: bytes,
            create_revision: committed.revision,
            revision: committed.revision,
            lease,
        })
    }

    /// Changes a record: reads it, calls `change`, writes it back if nobody else wrote meanwhile, and begins again if
    /// somebody did. `change` may run several times; its error ends the update and nothing is written.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when other writers won until the contention timeout;
    /// [`Error::Unknown`] when the write may have happened (it is not repeated: `change` could act twice).
    pub async fn update<E: From<Error>>(
        &self,
        key: &str,
        mut change: impl FnMut(&mut T) -> Result<(), E>,
    ) -> Result<Stored<T>, E> {
        let end = Instant::now() + self.store.options().contention_timeout;
        let mut backoff = Backoff::contention();
        loop {
            let mut stored = self.get(key).await?.ok_or_else(|| self.missing(key))?;
            change(&mut stored.value)?;
            if self.encoded(&stored)? == stored.origin.bytes {
                return Ok(stored);
            }
            match self.replace(stored).await {
                Err(error @ Error::Conflict { .. }) => {
                    if !backoff.pause_until(end).await {
                        return Err(error.into());
                    }
                }
                done => return Ok(done?),
            }
        }
    }

    /// Writes a record as it was read and changed since; refused if somebody else has changed it.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::NotFound`] if it is gone, [`Error::AlreadyExists`] for a new index key that is taken.
    pub async fn replace(&self, stored: Stored<T>) -> Result<Stored<T>> {
        let path = self.path(&stored.key)?;
        let bytes = self.encoded(&stored)?;
        let mut transaction = self.store.transaction();
        transaction.replace(self, &stored)?;
        let committed = transaction.commit().await?;
        if bytes == stored.origin.bytes {
            return Ok(stored); // still as it was read, and nothing to write
        }
        self.decode(Entry {
            key: path,
            value: bytes,
            create_revision: stored.create_revision,
            revision: committed.revision,
            lease: stored.lease,
        })
    }

    /// Removes a record and its index keys, and returns it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it is at another revision than expected.
    pub async fn delete(&self, key: &str, expected: Expected) -> Result<Stored<T>> {
        let end = Instant::now() + self.store.options().contention_timeout;
        let mut backoff = Backoff::contention();
        loop {
            let stored = self.get(key).await?.ok_or_else(|| self.missing(key))?;
            if let Expected::Revision(revision) = expected
                && revision != stored.revision
            {
                return Err(Error::Conflict {
                    key: self.path(key)?,
                });
            }
            let mut transaction = self.store.transaction();
            transaction.delete(self, &stored)?;
            match transaction.commit().await {
                Ok(_) => return Ok(stored),
                Err(error @ Error::Conflict { .. }) if expected == Expected::Any => {
                    if !backoff.pause_until(end).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads part of the list.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the revision asked for is no longer kept.
    pub async fn list(&self, request: &PageRequest) -> Result<Page<T>> {
        let prefix = format!("{}{}", T::ROOT, request.prefix);
        let start = match &request.after {
            Some(after) => format!("{}{after}", T::ROOT),
            None => prefix.clone(),
        };
        let mut page = Page {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
            revision: request.revision,
        };
        let mut from = self.store.full(&start);
        if request.after.is_some() {
            from = key::after(&from);
        }
        let end = key::prefix_end(&self.store.full(&prefix));
        loop {
            let have = page.items.len() + page.unreadable.len();
            let left = i64::try_from(request.limit.saturating_sub(have)).unwrap_or(ROWS);
            let rows = if request.limit == 0 {
                ROWS
            } else {
                left.min(ROWS)
            };
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(rows)
                .with_revision(page.revision);
            let answer = self.store.range_raw(from.clone(), options).await?;
            if page.revision == 0 {
                page.revision = answer
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::revision);
            }
            let mut last = None;
            for kv in answer.kvs() {
                let entry = self.store.entry(kv)?;
                last = Some(entry.key.clone());
                match self.read(entry) {
                    Ok(stored) => page.items.push(stored),
                    Err(unreadable) => page.unreadable.push(unreadable),
                }
            }
            let Some(last) = last.filter(|_| answer.more()) else {
                return Ok(page);
            };
            if request.limit != 0 && page.items.len() + page.unreadable.len() >= request.limit {
                page.next = last.strip_prefix(T::ROOT).map(str::to_owned);
                return Ok(page);
            }
            from = key::after(&self.store.full(&last));
        }
    }

    /// Watches the records whose keys begin with `prefix`: first what is there, then every change.
    pub fn watch(&self, prefix: &str) -> Watch<T> {
        let feed = self.store.feed(&format!("{}{prefix}", T::ROOT));
        Watch::new(self.clone(), feed)
    }

    /// Watches changes after a revision, e.g. that of a [`Page`]. Begins with a snapshot only if that revision is
    /// no longer kept.
    pub fn watch_from(&self, prefix: &str, revision: i64) -> Watch<T> {
        let feed = self.store.feed(&format!("{}{prefix}", T::ROOT));
        Watch::new(self.clone(), feed.after(revision))
    }

    pub(crate) fn version(&self) -> u32 {
        self.store.options().gate.version_for::<T>()
    }

    /// The absolute key.
    pub(crate) fn path(&self, key: &str) -> Result<String> {
        let path = format!("{}{key}", T::ROOT);
        key::check(&path)?;
        Ok(path)
    }

    /// The bytes a write of the record would store.
    pub(crate) fn encoded(&self, stored: &Stored<T>) -> Result<bytes::Bytes> {
        let path = self.path(&stored.key)?;
        codec::encode(&path, &stored.value, Some(&stored.origin), self.version())
    }

    /// A record, or why it cannot be read: for lists and watches, and for whoever follows a [`Store::feed`] over several
    /// collections.
    pub fn read(&self, entry: Entry) -> Result<Stored<T>, Unreadable> {
        let (path, revision) = (entry.key.clone(), entry.revision);
        self.decode(entry).map_err(|error| {
            tracing::warn!(key = path, %error, "a stored record cannot be read");
            Unreadable {
                key: path.strip_prefix(T::ROOT).unwrap_or(&path).to_owned(),
                revision,
                reason: error.to_string(),
            }
        })
    }

    fn decode(&self, entry: Entry) -> Result<Stored<T>> {
        let (value, origin) = codec::decode(&entry.key, &entry.value)?;
        let key = entry.key.strip_prefix(T::ROOT).ok_or_else(|| {
            Error::Protocol(format!("the store answered with foreign key {}", entry.key))
        })?;
        Ok(Stored {
            key: key.to_owned(),
            value,
            revision: entry.revision,
            create_revision: entry.create_revision,
            lease: entry.lease,
            origin,
        })
    }

    fn missing(&self, key: &str) -> Error {
        Error::NotFound {
            key: format!("{}{key}", T::ROOT),
        }
    }
}
