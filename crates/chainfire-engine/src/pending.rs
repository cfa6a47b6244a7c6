//! Changes that are evaluated but not committed: one RocksDB batch and, over it, what readers inside it must see.
//!
//! Each changed key keeps all its states of this batch, so that a transaction can read at a revision that an
//! earlier command of the same batch made.

use std::{collections::BTreeMap, io, ops::Bound, sync::Arc};

use bytes::Bytes;
use photon_proto::{
    etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse},
    mvccpb::{Event, KeyValue, event::EventType},
};
use rocksdb::WriteBatch;

use crate::{
    codec::{self, CUR_HEADER, Meta, Rev},
    disk::{self, Disk, Family},
    error::Answer,
    events::RevisionEvents,
    loaded::Store,
    range::header,
    span::Span,
    txn::Writer,
    view::{Reader, State, Value, View, Visit},
};

#[derive(Debug)]
struct Changed {
    /// Length of the value before this batch; `None`: the key was not live.
    before: Option<usize>,
    /// Its states in this batch, by revision; at least one.
    states: Vec<(i64, Option<State>)>,
}

impl Changed {
    fn now(&self) -> Option<&State> {
        self.states.last().and_then(|(_, state)| state.as_ref())
    }

    /// Its state at a revision; `None` if this batch had not touched it by then.
    fn at(&self, revision: i64) -> Option<Option<&State>> {
        let touched = self
            .states
            .iter()
            .rev()
            .find(|(main, _)| *main <= revision)?;
        Some(touched.1.as_ref())
    }
}

pub(crate) struct Pending<'s> {
    pub(crate) store: &'s Store,
    base: Arc<View>,
    pub(crate) batch: WriteBatch,
    changed: BTreeMap<Bytes, Changed>,
    /// The newest revision, this batch's included.
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// Changes of the open transaction.
    open: Vec<Arc<Event>>,
    events: Vec<RevisionEvents>,
    bytes: i64,
    wants_previous: bool,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A batch ready to be written and published.
pub(crate) struct Finished {
    pub(crate) batch: WriteBatch,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    pub(crate) events: Vec<RevisionEvents>,
    /// Keys that became live or ceased to be.
    pub(crate) live: Vec<(Bytes, bool)>,
    pub(crate) bytes: i64,
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl<'s> Pending<'s> {
    pub(crate) fn new(store: &'s Store, wants_previous: bool) -> Self {
        let base = store.view();
        Self {
            store,
            revision: base.revision,
            compacted: base.compacted,
            base,
            batch: WriteBatch::default(),
            changed: BTreeMap::new(),
            open: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            wants_previous,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    fn disk(&self) -> &Disk {
        self.base.moment.disk()
    }

    /// The revision the open transaction writes, once it writes.
    fn next_revision(&self) -> i64 {
        self.revision + 1
    }

    fn take_rev(&self) -> Rev {
        Rev {
            main: self.next_revision(),
            sub: length(self.open.len()),
        }
    }

    /// Ends the open transaction: if it changed something, that is the new revision.
    pub(crate) fn end_transaction(&mut self) {
        if self.open.is_empty() {
            return;
        }
        self.revision += 1;
        self.events.push(RevisionEvents {
            revision: self.revision,
            events: std::mem::take(&mut self.open),
        });
    }

    /// Writes into any family outside the keys' three.
    pub(crate) fn write(&mut self, family: Family, key: &[u8], value: Option<&[u8]>) {
        let disk = Arc::clone(self.base.moment.disk());
        match value {
            Some(value) => self.batch.put_cf(disk.family(family), key, value),
            None => self.batch.delete_cf(disk.family(family), key),
        }
    }

    /// A key's newest state; the value only if it is wanted.
    fn newest(&self, key: &[u8], with_value: bool) -> io::Result<Newest> {
        if let Some(changed) = self.changed.get(key) {
            let state = changed.now();
            return Ok(Newest {
                meta: state.map(|(meta, _)| *meta),
                value: state.map(|(_, value)| value.clone()),
                before: changed.before,
            });
        }
        let Some(stored) = self.disk().get(Family::Cur, key)? else {
            return Ok(Newest::default());
        };
        let (meta, value) = codec::parse_cur_value(&stored)?;
        Ok(Newest {
            meta: Some(meta),
            before: Some(value.len()),
            value: with_value.then(|| Bytes::copy_from_slice(value)),
        })
    }

    fn record(&mut self, key: &Bytes, before: Option<usize>, rev: Rev, state: Option<State>) {
        let entry = self.changed.entry(key.clone()).or_insert_with(|| Changed {
            before,
            states: Vec::with_capacity(1),
        });
        // Two changes of one key in one revision: only the later one can be read.
        match entry.states.last_mut() {
            Some((main, last)) if *main == rev.main => *last = state,
            _ => entry.states.push((rev.main, state)),
        }
    }

    fn write_history(&mut self, key: &[u8], rev: Rev, put: Option<(&Meta, &[u8])>) {
        let (mut to_key, mut to_value) = (
            std::mem::take(&mut self.key),
            std::mem::take(&mut self.value),
        );
        match put {
            Some((meta, value)) => codec::rev_put(meta, key, value, &mut to_value),
            None => codec::rev_tombstone(key, &mut to_value),
        }
        let disk = self.base.moment.disk();
        self.batch
            .put_cf(disk.family(Family::Rev), codec::rev_key(rev), &to_value);
        self.bytes += length(16 + to_value.len());
        codec::ver_key(key, rev, &mut to_key);
        codec::ver_value(put.map(|(meta, _)| meta), &mut to_value);
        self.batch
            .put_cf(disk.family(Family::Ver), &to_key, &to_value);
        self.bytes += length(to_key.len() + to_value.len());
        (self.key, self.value) = (to_key, to_value);
    }

    fn move_lease(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        let mut stored = Vec::new();
        if from != 0 {
            self.store.leases.detach(from, key);
            codec::attached_key(from, key, &mut stored);
            self.write(Family::Lease, &stored, None);
        }
        if to != 0 {
            self.store.leases.attach(to, key);
            codec::attached_key(to, key, &mut stored);
            self.write(Family::Lease, &stored, Some(b""));
        }
    }

    fn delete_one(&mut self, key: &Bytes, newest: Newest) {
        let rev = self.take_rev();
        self.write_history(key, rev, None);
        let lease = newest.meta.map_or(0, |meta| meta.lease);
        self.move_lease(key, lease, 0);
        self.record(key, newest.before, rev, None);
        let mut event = codec::delete_event(key.clone(), rev.main);
        if self.wants_previous {
            // What the same transaction put is not what was before it: then history is asked.
            event.prev_kv = newest.pair(key).filter(|pair| pair.mod_revision < rev.main);
        }
        self.open.push(Arc::new(event));
    }

    /// Deletes keys that exist, in the order given; how many there were.
    pub(crate) fn delete_keys(&mut self, keys: &[Bytes]) -> io::Result<i64> {
        let mut deleted = 0;
        for key in keys {
            let newest = self.newest(key, self.wants_previous)?;
            if newest.meta.is_some() {
                self.delete_one(key, newest);
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    fn current_revision(&self) -> i64 {
        if self.open.is_empty() {
            self.revision
        } else {
            self.next_revision()
        }
    }

    /// Visits the live keys at a revision not older than the batch's base: the base with this batch's states over it.
    fn scan_over_base(&self, span: &Span<'_>, at: i64, visit: &mut Visit<'_>) -> io::Result<()> {
        let (start, end) = match *span {
            Span::Point(key) => {
                if let Some((meta, value)) = self.get(key, at)? {
                    visit(key, &meta, Value::Shared(&value));
                }
                return Ok(());
            }
            Span::Range { .. } if span.is_empty() => return Ok(()),
            Span::Range { start, end } => (start, end),
        };
        let bounds = (
            Bound::Included(start),
            end.map_or(Bound::Unbounded, Bound::Excluded),
        );
        let touched = self.changed.range::<[u8], _>(bounds);
        let keys = touched
            .filter(|(_, changed)| changed.at(at).is_some())
            .map(|(key, _)| &key[..]);
        let state_of = |key: &[u8]| {
            let changed = self.changed.get(key);
            Ok(changed.and_then(|changed| changed.at(at)?.cloned()))
        };
        self.base.scan_merged(span, keys, &state_of, visit)
    }

    /// Puts the newest states of all changed keys into the batch, and the state machine's numbers.
    pub(crate) fn finish(mut self, mark: &[u8]) -> Finished {
        let disk = Arc::clone(self.base.moment.disk());
        let cur = disk.family(Family::Cur);
        let mut live = Vec::new();
        for (key, changed) in std::mem::take(&mut self.changed) {
            let (was, is) = (changed.before.is_some(), changed.now().is_some());
            if let Some(before) = changed.before {
                self.bytes -= length(key.len() + CUR_HEADER + before);
            }
            match changed.now() {
                Some((meta, value)) => {
                    codec::cur_value(meta, value, &mut self.value);
                    self.bytes += length(key.len() + self.value.len());
                    self.batch.put_cf(cur, &key, &self.value);
                }
                None if was => self.batch.delete_cf(cur, &key),
                None => {}
            }
            if was != is {
                live.push((key, is));
            }
        }
        let meta = disk.family(Family::Meta);
        self.batch.put_cf(meta, disk::name::MARK, mark);
        if self.revision != self.base.revision {
            self.batch
                .put_cf(meta, disk::name::REVISION, codec::number(self.revision));
        }
        if self.compacted != self.base.compacted {
            self.batch
                .put_cf(meta, disk::name::COMPACTED, codec::number(self.compacted));
        }
        let bytes = self.store.written_bytes() + self.bytes;
        if self.bytes != 0 {
            self.batch
                .put_cf(meta, disk::name::BYTES, codec::number(bytes));
        }
        Finished {
            batch: self.batch,
            revision: self.revision,
            compacted: self.compacted,
            events: self.events,
            live,
            bytes,
        }
    }
}

/// What is known of a key before a change.
#[derive(Debug, Default)]
struct Newest {
    /// `None`: not live.
    meta: Option<Meta>,
    /// If it was asked for.
    value: Option<Bytes>,
    /// Length of its value before the batch.
    before: Option<usize>,
}

impl Newest {
    fn pair(self, key: &Bytes) -> Option<KeyValue> {
        Some(self.meta?.with(key.clone(), self.value?))
    }
}

impl Reader for Pending<'_> {
    fn revision(&self) -> i64 {
        self.current_revision()
    }

    fn compacted(&self) -> i64 {
        self.compacted
    }

    fn get(&self, key: &[u8], at: i64) -> io::Result<Option<State>> {
        if at < self.base.revision {
            return self.base.get_past(key, at);
        }
        match self.changed.get(key).and_then(|changed| changed.at(at)) {
            Some(state) => Ok(state.cloned()),
            None => self.base.get_current(key),
        }
    }

    fn scan(&self, span: &Span<'_>, at: i64, visit: &mut Visit<'_>) -> io::Result<()> {
        if at < self.base.revision {
            self.base.scan_past(span, at, visit)
        } else {
            self.scan_over_base(span, at, visit)
        }
    }

    fn count(&self, span: &Span<'_>, at: i64) -> io::Result<usize> {
        let mut count = self.store.count_live(span);
        if at < self.base.revision {
            return self.base.count_past(span, at, count);
        }
        for (key, changed) in &self.changed {
            if !span.contains(key) {
                continue;
            }
            if let Some(state) = changed.at(at) {
                count += usize::from(state.is_some());
                count -= usize::from(changed.before.is_some());
            }
        }
        Ok(count)
    }
}

impl Writer for Pending<'_> {
    fn lease_exists(&self, id: i64) -> bool {
        self.store.leases.exists(id)
    }

    fn put(&mut self, request: &PutRequest) -> Answer<PutResponse> {
        let with_value = request.prev_kv || request.ignore_value || self.wants_previous;
        let newest = self.newest(&request.key, with_value)?;
        // That the key is there for ignore_value and ignore_lease was checked on the state before the transaction.
        // If an earlier operation of it deleted the key (a gap in etcd's checks, where etcd panics), nothing is
        // what is kept.
        let rev = self.take_rev();
        let previous = newest.meta.unwrap_or_default();
        let value = match &newest.value {
            Some(value) if request.ignore_value => value.clone(),
            // ignore_value comes without a value.
            _ => request.value.clone(),
        };
        let meta = Meta {
            create: if newest.meta.is_some() {
                previous.create
            } else {
                rev.main
            },
            modified: rev.main,
            version: previous.version + 1,
            lease: if request.ignore_lease {
                previous.lease
            } else {
                request.lease
            },
        };
        self.write_history(&request.key, rev, Some((&meta, &value)));
        self.move_lease(&request.key, previous.lease, meta.lease);
        self.record(
            &request.key,
            newest.before,
            rev,
            Some((meta, value.clone())),
        );
        let pair = newest.pair(&request.key);
        self.open.push(Arc::new(Event {
            r#type: EventType::Put.into(),
            kv: Some(meta.with(request.key.clone(), value)),
            prev_kv: pair.clone().filter(|_| self.wants_previous),
        }));
        Ok(PutResponse {
            header: header(rev.main),
            prev_kv: pair.filter(|_| request.prev_kv),
        })
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Answer<DeleteRangeResponse> {
        let span = Span::new(&request.key, &request.range_end);
        let mut keys = Vec::new();
        let mut prev_kvs = Vec::new();
        self.scan_over_base(&span, self.current_revision(), &mut |key, meta, value| {
            let key = Bytes::copy_from_slice(key);
            if request.prev_kv {
                let value = match value {
                    Value::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                    Value::Shared(bytes) => bytes.clone(),
                };
                prev_kvs.push(meta.with(key.clone(), value));
            }
            keys.push(key);
            true
        })?;
        let deleted = self.delete_keys(&keys)?;
        Ok(DeleteRangeResponse {
            header: header(self.current_revision()),
            deleted,
            prev_kvs,
        })
    }

    fn reader(&self) -> &dyn Reader {
        self
    }
}
