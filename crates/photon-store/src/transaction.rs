//! Several writes with one outcome: all of them if every requirement holds, otherwise none.

mod together;

use std::collections::HashMap;

use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
};

use crate::codec;
use crate::collection::Collection;
use crate::election::Fence;
use crate::record::{Origin, Record, Stored};
use crate::store::{IDENTITY_KEY, Store};
use crate::{Error, Result, key};

pub(crate) use together::{Room, Together};

/// What must hold for the writes to happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Requirement {
    Absent(String),
    /// Absent, too; but that it is there means that the whole is done already.
    NotDone(String),
    Revision {
        key: String,
        revision: i64,
    },
    Fence(Fence),
    /// No key begins with this.
    Empty(String),
}

impl Requirement {
    fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::NotDone(key) | Self::Revision { key, .. } => key,
            Self::Fence(fence) => &fence.key,
            Self::Empty(prefix) => prefix,
        }
    }

    fn compare(&self, full: Vec<u8>) -> Compare {
        match self {
            Self::Absent(_) | Self::NotDone(_) => {
                Compare::create_revision(full, CompareOp::Equal, 0)
            }
            // Of every key in the range; a range without keys compares as one that does not exist.
            Self::Empty(_) => {
                let end = key::prefix_end(&full);
                Compare::create_revision(full, CompareOp::Equal, 0).with_range(end)
            }
            Self::Revision { revision, .. } => {
                Compare::mod_revision(full, CompareOp::Equal, *revision)
            }
            Self::Fence(fence) => Compare::create_revision(full, CompareOp::Equal, fence.revision),
        }
    }

    /// What to look for when something did not hold.
    fn look(&self, full: Vec<u8>) -> TxnOp {
        let options = GetOptions::new().with_keys_only();
        let options = match self {
            Self::Empty(_) => options.with_range(key::prefix_end(&full)).with_limit(1),
            _ => options,
        };
        TxnOp::get(full, Some(options))
    }

    /// What went wrong, given the key's (create, mod) revisions, zeros if it does not exist.
    fn broken_by(&self, created: i64, modified: i64) -> Option<Error> {
        let key = self.key().to_owned();
        match self {
            Self::Absent(_) => (created != 0).then_some(Error::AlreadyExists { key }),
            Self::NotDone(_) => (created != 0).then_some(Error::Done { key }),
            Self::Revision { .. } if modified == 0 => Some(Error::NotFound { key }),
            Self::Revision { revision, .. } => {
                (modified != *revision).then_some(Error::Conflict { key })
            }
            Self::Fence(fence) => (created != fence.revision).then_some(Error::Fenced { key }),
            Self::Empty(_) => (created != 0).then_some(Error::NotEmpty { key }),
        }
    }
}

#[derive(Clone, Debug)]
enum Write {
    Put {
        key: String,
        value: Bytes,
        lease: i64,
    },
    Delete(String),
}

impl Write {
    fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// What came of an attempt.
pub(crate) enum Outcome {
    /// It happened.
    Done(Committed),
    /// A requirement did not hold: nothing was written.
    Refused(Found),
}

/// The requirements of a refused transaction, each with the (create, mod) revisions of its key in the moment of the
/// refusal, zeros if it did not exist.
pub(crate) struct Found(HashMap<Requirement, (i64, i64)>);

impl Found {
    /// The first requirement of this transaction, which was the refused one or a part of it, that did not hold.
    pub(crate) fn broken(&self, transaction: &Transaction) -> Option<Error> {
        transaction.requirements.iter().find_map(|requirement| {
            let (created, modified) = self.0.get(requirement)?;
            requirement.broken_by(*created, *modified)
        })
    }

    /// What to say when every requirement holds.
    pub(crate) fn no_reason() -> Error {
        Error::Protocol("the store refused a transaction whose requirements hold".into())
    }
}

/// A transaction being put together. Dropping it does nothing.
///
/// etcd takes 128 requirements and 128 writes; more are refused by the store before anything is done.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before commit"]
pub struct Transaction {
    store: Store,
    requirements: Vec<Requirement>,
    writes: Vec<Write>,
}

/// A transaction that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision: the revision of everything it wrote.
    pub revision: i64,
}

impl Transaction {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            requirements: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Makes a record and its index keys; none of them may exist.
    ///
    /// # Errors
    /// When the key or the value cannot be stored. The store is asked only by [`Transaction::commit`].
    pub fn create<T: Record>(
        &mut self,
        collection: &Collection<T>,
        key: &str,
        value: &T,
    ) -> Result<&mut Self> {
        self.create_under(collection, key, value, 0)
    }

    /// [`Transaction::create`] under a lease: record and index keys end with it.
    ///
    /// # Errors
    /// As [`Transaction::create`].
    pub fn create_under<T: Record>(
        &mut self,
        collection: &Collection<T>,
        key: &str,
        value: &T,
        lease: i64,
    ) -> Result<&mut Self> {
        let path = collection.path(key)?;
        let bytes = codec::encode(&path, value, None, collection.version())?;
        self.require(Requirement::Absent(path.clone()));
        self.put(path.clone(), bytes, lease);
        for index in value.index_keys(key) {
            self.add_index(&index, &path, lease)?;
        }
        Ok(self)
    }

    /// Writes a record read before, with its changed value; refused if somebody else has changed it. Index keys follow
    /// the value. Does nothing but require the revision if the stored form stays the same.
    ///
    /// # Errors
    /// As [`Transaction::create`].
    pub fn replace<T: Record>(
        &mut self,
        collection: &Collection<T>,
        stored: &Stored<T>,
    ) -> Result<&mut Self> {
        let path = self.require_as_read(collection, stored)?;
        let origin = &stored.origin;
        let bytes = collection.encoded(stored)?;
        if bytes == origin.bytes {
            return Ok(self);
        }
        let before = collection.index_keys_of(&stored.key, origin)?;
        let after = stored.value.index_keys(&stored.key);
        for index in before.iter().filter(|index| !after.contains(index)) {
            self.writes.push(Write::Delete(index.clone()));
        }
        for index in after.iter().filter(|index| !before.contains(index)) {
            self.add_index(index, &path, stored.lease)?;
        }
        self.put(path, bytes, stored.lease);
        Ok(self)
    }

    /// Removes a record read before and its index keys; refused if somebody else has changed it.
    ///
    /// # Errors
    /// As [`Transaction::create`].
    pub fn delete<T: Record>(
        &mut self,
        collection: &Collection<T>,
        stored: &Stored<T>,
    ) -> Result<&mut Self> {
        let path = self.require_as_read(collection, stored)?;
        for index in collection.index_keys_of(&stored.key, &stored.origin)? {
            self.writes.push(Write::Delete(index));
        }
        self.writes.push(Write::Delete(path));
        Ok(self)
    }

    /// Requires a record to be as it was read, without writing it.
    ///
    /// # Errors
    /// When the key is none.
    pub fn unchanged<T: Record>(
        &mut self,
        collection: &Collection<T>,
        stored: &Stored<T>,
    ) -> Result<&mut Self> {
        self.require_as_read(collection, stored)?;
        Ok(self)
    }

    /// Requires a leadership to last: the write of a leader that was replaced without noticing is refused.
    pub fn fenced(&mut self, fence: &Fence) -> &mut Self {
        self.require(Requirement::Fence(fence.clone()));
        self
    }

    /// Requires a raw key (absolute) to be absent.
    ///
    /// # Errors
    /// When the key is none.
    pub fn absent(&mut self, key: &str) -> Result<&mut Self> {
        key::check(key)?;
        self.require(Requirement::Absent(key.to_owned()));
        Ok(self)
    }

    /// Requires that no key (absolute) begins with a prefix, which ends with a slash: that nothing hangs on what is being
    /// removed. Whoever hangs something on it must require it to be [`Transaction::unchanged`], so that one of both loses.
    ///
    /// # Errors
    /// When it is no prefix.
    pub fn empty_below(&mut self, prefix: &str) -> Result<&mut Self> {
        match prefix.strip_suffix('/') {
            Some(path) => key::check(path)?,
            None => {
                return Err(Error::InvalidKey {
                    key: prefix.chars().take(200).collect(),
                    reason: "does not end with a slash",
                });
            }
        }
        self.require(Requirement::Empty(prefix.to_owned()));
        Ok(self)
    }

    /// Requires that what this key records is not done yet; asked before everything else, because it explains why the
    /// rest does not hold.
    pub(crate) fn not_done(&mut self, key: &str) -> Result<&mut Self> {
        key::check(key)?;
        self.requirements
            .insert(0, Requirement::NotDone(key.to_owned()));
        Ok(self)
    }

    /// Requires a raw key (absolute) to have this modification revision.
    ///
    /// # Errors
    /// When the key is none.
    pub fn at_revision(&mut self, key: &str, revision: i64) -> Result<&mut Self> {
        key::check(key)?;
        self.require(Requirement::Revision {
            key: key.to_owned(),
            revision,
        });
        Ok(self)
    }

    /// Writes a raw value under a lease (0 for none). Add a requirement unless any earlier value may be lost.
    ///
    /// # Errors
    /// When the key is none.
    pub fn put_raw(&mut self, key: &str, value: impl Into<Bytes>, lease: i64) -> Result<&mut Self> {
        key::check(key)?;
        self.put(key.to_owned(), value.into(), lease);
        Ok(self)
    }

    /// Removes a raw key.
    ///
    /// # Errors
    /// When the key is none.
    pub fn delete_raw(&mut self, key: &str) -> Result<&mut Self> {
        key::check(key)?;
        self.writes.push(Write::Delete(key.to_owned()));
        Ok(self)
    }

    /// Does it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::NotFound`], [`Error::Conflict`], [`Error::Fenced`], [`Error::NotEmpty`],
    /// [`Error::Done`] name the first requirement
    /// that did not hold: nothing was written. After [`Error::Unknown`] it may have been. [`Error::StoreChanged`]
    /// means that nothing was written if the store has an identity.
    pub async fn commit(&self) -> Result<Committed> {
        match self.attempt().await? {
            Outcome::Done(committed) => Ok(committed),
            Outcome::Refused(found) => Err(found.broken(self).unwrap_or_else(Found::no_reason)),
        }
    }

    /// [`Transaction::commit`], with what was found when a requirement did not hold, of which it may have been any.
    pub(crate) async fn attempt(&self) -> Result<Outcome> {
        let guard = self.identity_guard();
        let mut compares: Vec<Compare> = Vec::new();
        // Answers of the other branch stand in the order of the requirements, the guard last.
        let mut looks: Vec<TxnOp> = Vec::new();
        for requirement in &self.requirements {
            let full = self.store.full(requirement.key());
            looks.push(requirement.look(full.clone()));
            compares.push(requirement.compare(full));
        }
        if let Some(incarnation) = guard.clone() {
            compares.push(Compare::value(IDENTITY_KEY, CompareOp::Equal, incarnation));
            looks.push(TxnOp::get(IDENTITY_KEY, None));
        }
        let writes: Vec<TxnOp> = self
            .writes
            .iter()
            .map(|write| self.operation(write))
            .collect();
        let txn = Txn::new().when(compares).and_then(writes).or_else(looks);
        let response = self.store.txn_raw(txn).await?;
        if response.succeeded() {
            let revision = response
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
            return Ok(Outcome::Done(Committed { revision }));
        }
        self.found(&response.op_responses(), guard.is_some())
            .map(Outcome::Refused)
    }

    /// A store that has an identity refuses, in the same transaction, what is meant for another one. The key lies outside
    /// the store's prefix.
    fn identity_guard(&self) -> Option<String> {
        self.store.seen().and_then(|seen| seen.incarnation)
    }

    fn found(&self, looks: &[TxnOpResponse], guarded: bool) -> Result<Found> {
        let mut looks = looks.iter().map(|look| match look {
            TxnOpResponse::Get(found) => found.kvs().first(),
            _ => None,
        });
        let mut found = HashMap::with_capacity(self.requirements.len());
        for requirement in &self.requirements {
            let key = looks.next().flatten();
            let revisions = key.map_or((0, 0), |kv| (kv.create_revision(), kv.mod_revision()));
            found.insert(requirement.clone(), revisions);
        }
        if guarded {
            let now = looks.next().flatten();
            let now = now.map(|kv| String::from_utf8_lossy(kv.value()).into_owned());
            self.store.witness().observe_incarnation(now)?;
        }
        Ok(Found(found))
    }

    fn operation(&self, write: &Write) -> TxnOp {
        match write {
            Write::Put { key, value, lease } => {
                let options = (*lease != 0).then(|| PutOptions::new().with_lease(*lease));
                TxnOp::put(self.store.full(key), value.to_vec(), options)
            }
            Write::Delete(key) => TxnOp::delete(self.store.full(key), None::<DeleteOptions>),
        }
    }

    /// The record's key, which is to have the revision it was read at.
    fn require_as_read<T: Record>(
        &mut self,
        collection: &Collection<T>,
        stored: &Stored<T>,
    ) -> Result<String> {
        let key = collection.path(&stored.key)?;
        self.require(Requirement::Revision {
            key: key.clone(),
            revision: stored.revision,
        });
        Ok(key)
    }

    fn require(&mut self, requirement: Requirement) {
        if !self.requirements.contains(&requirement) {
            self.requirements.push(requirement);
        }
    }

    fn put(&mut self, key: String, value: Bytes, lease: i64) {
        self.writes.push(Write::Put { key, value, lease });
    }

    fn add_index(&mut self, index: &str, path: &str, lease: i64) -> Result<()> {
        key::check(index)?;
        self.require(Requirement::Absent(index.to_owned()));
        self.put(
            index.to_owned(),
            Bytes::copy_from_slice(path.as_bytes()),
            lease,
        );
        Ok(())
    }
}

impl<T: Record> Collection<T> {
    /// The index keys of a record as it is stored.
    fn index_keys_of(&self, key: &str, origin: &Origin) -> Result<Vec<String>> {
        let stored = T::deserialize(&serde_json::Value::Object(origin.fields.clone()));
        let stored = stored.map_err(|error| Error::Corrupt {
            key: key.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(stored.index_keys(key))
    }
}
