//! Audit: one record per change, written in the change's own transaction and chained to the record before it.
//!
//! ```text
//!   /photon/<service>/audit/<trail>/<seq, 20 digits>    {v, seq, at, prev, hash, and what the service says}
//!   /photon/<service>/audit-head/<trail>                {v, seq, at, hash, exported: {seq, hash}}
//!
//!   exported 1..e (files) | e+1 ──prev── e+2 ──prev── … ──prev── seq      head: seq and hash of the last one
//! ```
//!
//! `hash` is the SHA-256 of the record without `hash` and `v`, as JSON with sorted keys and without spaces
//! ([`canonical`]); `prev` is the hash of the record before, 64 zeros for the first. `at` never goes back within a
//! trail, so a time is found by bisection.
//!
//! Every change of a trail moves its head, so changes of one trail happen one after the other. Those of one process queue
//! for it, and as many of those that wait as have nothing to do with each other go together (`queue`); writers of several
//! processes begin again when the head has moved under them, and only then: every other refusal is the change's own and
//! is passed on as [`Transaction::commit`] gives it.
//!
//! What a chain proves: nothing was altered, left out or put in between the start and a hash that somebody has written
//! down elsewhere. Who may write the whole trail can make another one; therefore heads and files belong elsewhere too.

mod queue;
mod record;
mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use etcd_client::{GetOptions, SortOrder, SortTarget};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::election::Fence;
use crate::record::Fields;
use crate::store::Store;
use crate::transaction::{Committed, Transaction};
use crate::{Error, Result, Unreadable, key};

use queue::Queue;
pub use record::{AuditRecord, Head, Mark, NOTHING_BEFORE, canonical};
pub use verify::{Checker, Fault, Verdict};

/// Records of one answer of the store.
const ROWS: i64 = 1000;
/// The most records that are cut off a trail in one transaction; etcd takes 128 writes.
pub const MOST_CUT: usize = 100;
/// Trails whose queue is remembered while nobody stands in it.
const QUEUES: usize = 10_000;
/// The digits of a sequence number in its key.
const DIGITS: usize = 20;

/// The trails of one service. Clones share the queues.
#[derive(Clone, Debug)]
pub struct Trails {
    store: Store,
    /// `/photon/<service>/audit`
    root: Arc<str>,
    queues: Arc<Mutex<HashMap<String, Arc<Queue>>>>,
}

/// A head and the revision it stands at; 0 when there is none yet.
#[derive(Clone, Debug)]
struct Position {
    head: Head,
    revision: i64,
}

impl Trails {
    /// The trails of a service.
    pub fn new(store: Store, service: &str) -> Self {
        Self {
            store,
            root: format!("/photon/{service}/audit").into(),
            queues: Arc::default(),
        }
    }

    /// Does a transaction together with a record about it, at the end of a trail. The record's `seq`, `at`, `prev` and
    /// `hash` are added to what `entry` says. Others that wait for the same trail may happen at the same revision.
    ///
    /// It needs two requirements and two writes of the 128 that etcd takes.
    ///
    /// A call that is dropped before its turn does nothing; one that is dropped later happens as if it were waited for.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`]; [`Error::Conflict`] on the head when other processes wrote to the trail first
    /// until the contention timeout; [`Error::Corrupt`] when the trail does not end where its head says;
    /// [`Error::Unavailable`] when too many changes wait, or this one for too long;
    /// [`Error::Protocol`] for an entry that uses the names of the chain.
    pub async fn commit(
        &self,
        transaction: &Transaction,
        trail: &str,
        entry: &Fields,
    ) -> Result<Committed> {
        record::check(entry)?;
        let queue = self.queue(trail)?;
        queue::commit(self, trail, &queue, transaction.clone(), entry.clone()).await
    }

    /// Forgets where trails end: they are read again. To be called while nothing is written, when the store has become another
    /// one: what was known of the one before may look right in the one now.
    pub async fn forget(&self) {
        let queues: Vec<Arc<Queue>> = {
            let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.values().cloned().collect()
        };
        for queue in queues {
            *queue.turn().await = None;
        }
    }

    /// Where a trail ends; `None` if nothing was ever written to it.
    ///
    /// # Errors
    /// As any read; [`Error::Corrupt`].
    pub async fn head(&self, trail: &str) -> Result<Option<Head>> {
        let position = self.position(trail).await?;
        Ok((position.revision != 0).then_some(position.head))
    }

    /// At most `limit` records from sequence number `from` on, in order. One that cannot be read is told as such among
    /// the others.
    ///
    /// # Errors
    /// As any read.
    pub async fn records(
        &self,
        trail: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Result<AuditRecord, Unreadable>>> {
        let prefix = format!("{}/{trail}/", self.root);
        key::check(&format!("{prefix}0"))?;
        let end = key::prefix_end(&self.store.full(&prefix));
        let mut start = self.store.full(&self.record_key(trail, from));
        let mut found = Vec::new();
        while found.len() < limit {
            let left = i64::try_from(limit - found.len()).unwrap_or(ROWS);
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(left.min(ROWS));
            let answer = self.store.range_raw(start, options).await?;
            for kv in answer.kvs() {
                let entry = self.store.entry(kv)?;
                found.push(AuditRecord::read(&entry, &prefix));
            }
            match answer.kvs().last() {
                Some(last) if answer.more() => start = key::after(last.key()),
                _ => break,
            }
        }
        Ok(found)
    }

    /// The last key of a trail behind record `seq`, if there is any.
    async fn last_key_after(&self, trail: &str, seq: u64) -> Result<Option<String>> {
        let prefix = self.store.full(&format!("{}/{trail}/", self.root));
        let options = GetOptions::new()
            .with_range(key::prefix_end(&prefix))
            .with_sort(SortTarget::Key, SortOrder::Descend)
            .with_limit(1)
            .with_keys_only();
        let start = key::after(&self.store.full(&self.record_key(trail, seq)));
        let answer = self.store.range_raw(start, options).await?;
        let last = answer.kvs().first();
        last.map(|kv| self.store.stripped(kv.key())).transpose()
    }

    /// The sequence number of the first record at or after a time; one more than the last if there is none.
    ///
    /// # Errors
    /// As any read; [`Error::Corrupt`] where nothing readable is found to compare with.
    pub async fn seek(&self, trail: &str, at: Timestamp) -> Result<u64> {
        let Some(head) = self.head(trail).await? else {
            return Ok(1);
        };
        let (mut low, mut high) = (head.first(), head.seq + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.readable(trail, middle).await? {
                // Everything between `middle` and this one cannot be read, or is gone.
                Some(record) if record.at < at => low = record.seq.max(middle) + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first record from `from` on that can be read, among a few.
    async fn readable(&self, trail: &str, from: u64) -> Result<Option<AuditRecord>> {
        const LOOK_AT: usize = 16;
        let found = self.records(trail, from, LOOK_AT).await?;
        let unreadable = found.len() == LOOK_AT;
        match found.into_iter().find_map(Result::ok) {
            Some(record) => Ok(Some(record)),
            None if unreadable => Err(Error::Corrupt {
                key: self.record_key(trail, from),
                reason: "this and the audit records after it cannot be read".to_owned(),
            }),
            None => Ok(None),
        }
    }

    /// The names of trails after `after`, at most `limit`, in order.
    ///
    /// # Errors
    /// As any read.
    pub async fn names(&self, after: Option<&str>, limit: i64) -> Result<Vec<String>> {
        let prefix = format!("{}-head/", self.root);
        let full = self.store.full(&prefix);
        let start = match after {
            Some(after) => key::after(&self.store.full(&format!("{prefix}{after}"))),
            None => full.clone(),
        };
        let options = GetOptions::new()
            .with_range(key::prefix_end(&full))
            .with_limit(limit)
            .with_keys_only();
        let answer = self.store.range_raw(start, options).await?;
        let names = answer.kvs().iter().map(|kv| {
            let key = self.store.stripped(kv.key())?;
            let name = key.strip_prefix(&prefix).map(str::to_owned);
            name.ok_or_else(|| {
                Error::Protocol(format!("the store answered with foreign key {key}"))
            })
        });
        names.collect()
    }

    /// Removes the oldest records of a trail, which are kept elsewhere from now on; the head remembers the last of them,
    /// so that the chain goes on. At most [`MOST_CUT`] at once.
    ///
    /// # Errors
    /// [`Error::Conflict`] if they are not the oldest ones, or others moved the head until the contention timeout;
    /// [`Error::Fenced`]; those of any write.
    pub async fn cut(
        &self,
        trail: &str,
        records: &[AuditRecord],
        fence: Option<&Fence>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        if records.len() > MOST_CUT {
            return Err(Error::Protocol(format!(
                "{} audit records are too many to cut at once",
                records.len()
            )));
        }
        let queue = self.queue(trail)?;
        let end = Instant::now() + self.store.options().contention_timeout;
        let Ok(mut turn) = tokio::time::timeout_at(end, queue.turn()).await else {
            return Err(queue::too_long(trail));
        };
        let mut backoff = Backoff::contention();
        loop {
            *turn = None;
            let position = self.position(trail).await?;
            if first.seq != position.head.first() || last.seq > position.head.seq {
                return Err(Error::Conflict {
                    key: self.head_key(trail),
                });
            }
            let mut head = position.head.clone();
            head.exported = Some(Mark {
                seq: last.seq,
                hash: last.hash.clone(),
            });
            let mut transaction = self.store.transaction();
            if let Some(fence) = fence {
                transaction.fenced(fence);
            }
            self.move_head(&mut transaction, trail, &position, &head)?;
            for record in records {
                transaction.delete_raw(&self.record_key(trail, record.seq))?;
            }
            match transaction.commit().await {
                Ok(committed) => {
                    *turn = Some(Position {
                        head,
                        revision: committed.revision,
                    });
                    return Ok(());
                }
                Err(error) if is_about(&error, &self.head_key(trail)) => {
                    if !backoff.pause_until(end).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn move_head(
        &self,
        transaction: &mut Transaction,
        trail: &str,
        from: &Position,
        to: &Head,
    ) -> Result<()> {
        let key = self.head_key(trail);
        match from.revision {
            0 => transaction.absent(&key)?,
            revision => transaction.at_revision(&key, revision)?,
        };
        transaction.put_raw(&key, to.stored(), 0)?;
        Ok(())
    }

    async fn position(&self, trail: &str) -> Result<Position> {
        let key = self.head_key(trail);
        match self.store.get_raw(&key).await? {
            Some(entry) => Ok(Position {
                head: Head::read(&key, &entry.value)?,
                revision: entry.revision,
            }),
            None => Ok(Position {
                head: Head::start(),
                revision: 0,
            }),
        }
    }

    fn queue(&self, trail: &str) -> Result<Arc<Queue>> {
        if trail.is_empty() || trail.contains('/') {
            return Err(Error::InvalidKey {
                key: trail.chars().take(200).collect(),
                reason: "is not the name of a trail",
            });
        }
        key::check(&self.head_key(trail))?;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.len() >= QUEUES && !queues.contains_key(trail) {
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        Ok(Arc::clone(queues.entry(trail.to_owned()).or_default()))
    }

    fn record_key(&self, trail: &str, seq: u64) -> String {
        format!("{}/{trail}/{seq:0DIGITS$}", self.root)
    }

    fn head_key(&self, trail: &str) -> String {
        format!("{}-head/{trail}", self.root)
    }
}

/// Whether a transaction was refused because of this key.
fn is_about(error: &Error, head: &str) -> bool {
    match error {
        Error::Conflict { key } | Error::AlreadyExists { key } | Error::NotFound { key } => {
            key == head
        }
        _ => false,
    }
}
