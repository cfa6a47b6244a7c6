//! What shards ask of the store: entries as they are, parts of ranges, and writes with one outcome.
//!
//! A seam. Behind it is [`photon_store::Store`]; in tests also a simulated one that loses answers, is late and is cut off
//! (`simulation`). Everything is generic over it, so the service pays nothing.

use std::fmt;

use photon_store::{Entry, Error, Scan, Scanned, Store};

/// Where a shard's keys are.
pub(crate) trait RawStore: Clone + fmt::Debug + Send + Sync + 'static {
    /// Reads one entry, linearizably.
    fn read(&self, key: &str) -> impl Future<Output = Result<Option<Entry>, Error>> + Send;

    /// Reads part of a range, linearizably.
    fn range(&self, scan: &Scan) -> impl Future<Output = Result<Scanned, Error>> + Send;

    /// Does all of it, or nothing if a requirement does not hold; its revision. After [`Error::Unknown`] nobody knows, and
    /// it may still happen.
    fn commit(&self, changes: Changes) -> impl Future<Output = Result<i64, Error>> + Send;

    /// Does what takes long without holding anybody up.
    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send;
}

/// Writes with one outcome, and what must hold for them to happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) writes: Vec<Write>,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// There is no such key.
    Absent(String),
    /// It was last written at this revision.
    AtRevision(String, i64),
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Under a lease, or 0.
    Put {
        key: String,
        value: Vec<u8>,
        lease: i64,
    },
    Delete(String),
}

impl Changes {
    /// Requires that there is no such key.
    pub(crate) fn absent(&mut self, key: String) -> &mut Self {
        self.requirements.push(Requirement::Absent(key));
        self
    }

    /// Requires a key as it was read or written at a revision.
    pub(crate) fn at_revision(&mut self, key: String, revision: i64) -> &mut Self {
        self.requirements
            .push(Requirement::AtRevision(key, revision));
        self
    }

    /// Writes.
    pub(crate) fn put(&mut self, key: String, value: Vec<u8>) -> &mut Self {
        self.put_under(key, value, 0)
    }

    /// Writes what ends with a lease.
    pub(crate) fn put_under(&mut self, key: String, value: Vec<u8>, lease: i64) -> &mut Self {
        self.writes.push(Write::Put { key, value, lease });
        self
    }

    /// Removes.
    pub(crate) fn delete(&mut self, key: String) -> &mut Self {
        self.writes.push(Write::Delete(key));
        self
    }
}

impl RawStore for Store {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.get_raw(key).await
    }

    async fn range(&self, scan: &Scan) -> Result<Scanned, Error> {
        self.scan(scan).await
    }

    async fn commit(&self, changes: Changes) -> Result<i64, Error> {
        let mut transaction = self.transaction();
        for requirement in &changes.requirements {
            match requirement {
                Requirement::Absent(key) => transaction.absent(key)?,
                Requirement::AtRevision(key, revision) => {
                    transaction.at_revision(key, *revision)?
                }
            };
        }
        for write in changes.writes {
            match write {
                Write::Put { key, value, lease } => transaction.put_raw(&key, value, lease)?,
                Write::Delete(key) => transaction.delete_raw(&key)?,
            };
        }
        transaction
            .commit()
            .await
            .map(|committed| committed.revision)
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Protocol(error.to_string()))
    }
}
