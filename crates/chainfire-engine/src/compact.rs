//! Physical compaction: deleting what a logical compaction made unreachable, in steps, beside the writes.
//!
//! Only the history since the last compaction is looked at: each change there makes the versions of its key
//! before it unreachable. So the work is proportional to what was written, not to what is stored.
//!
//! Kept at compacted revision C: of each key the newest version at or below C if it is a value; a tombstone only
//! at C itself, so that a watch from C still sees the deletion (etcd issues 18089, 19179).

use std::{
    io,
    sync::{Arc, Weak, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use rocksdb::WriteBatch;

use crate::{
    codec::{self, Rev},
    disk::{self, Family, name},
    loaded::Store,
    view::View,
};

/// Runs until the engine is gone; a message means that there may be something to do.
pub(crate) fn run(store: &Weak<Store>, wake: &mpsc::Receiver<()>) {
    while wake.recv().is_ok() {
        if let Err(error) = collect(store) {
            // The data is right, only larger than it need be; the next compaction tries again.
            tracing::error!(%error, "physical compaction failed");
        }
    }
}

/// Brings the disk up to the compacted revision.
fn collect(store: &Weak<Store>) -> io::Result<()> {
    let mut progress: Option<Progress> = None;
    loop {
        // Looked up for each step, so that an engine that is dropped meanwhile can go.
        let Some(store) = store.upgrade() else {
            return Ok(());
        };
        let view = store.view();
        if view.collected >= view.compacted || store.closing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let started = Instant::now();
        let current = match progress.take() {
            // The state was replaced: begin again with the new one.
            Some(progress) if !progress.is_of(&view) => Progress::new(&view),
            Some(progress) => progress,
            None => Progress::new(&view),
        };
        progress = current.step(&store, &view)?;
        drop((view, store));
        // Half of the time at most belongs to compaction.
        thread::sleep(started.elapsed().min(Duration::from_millis(20)));
    }
}

struct Progress {
    /// Of which database.
    disk: Arc<disk::Disk>,
    /// Up to which revision, fixed at the start.
    target: i64,
    /// Where the next step goes on.
    next: Rev,
}

impl Progress {
    fn new(view: &View) -> Self {
        Self {
            disk: Arc::clone(view.moment.disk()),
            target: view.compacted,
            // The last compacted revision itself again: its tombstones may go now.
            next: Rev {
                main: view.collected.max(0),
                sub: 0,
            },
        }
    }

    fn is_of(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.disk, view.moment.disk())
    }

    /// Looks at a bounded piece of history and deletes what it made unreachable; `None` when the target is reached.
    fn step(mut self, store: &Store, view: &View) -> io::Result<Option<Self>> {
        let mut garbage = Garbage::new(view);
        let mut iterator = view.moment.iterator(Family::Rev, None);
        iterator.seek(codec::rev_key(self.next));
        let mut looked_at = 0;
        let done = loop {
            let Some((stored, value)) = iterator.item() else {
                disk::finished(&iterator)?;
                break true;
            };
            let rev = codec::parse_rev_key(stored)?;
            if rev.main > self.target {
                break true;
            }
            if looked_at == store.options.compaction_step.max(1) {
                self.next = rev;
                break false;
            }
            let entry = codec::parse_rev_value(value, rev.main)?;
            let itself = entry.put.is_none() && rev.main < self.target;
            garbage.before(entry.key, rev, itself)?;
            looked_at += 1;
            iterator.next();
        };
        drop(iterator);
        let writing = store.writing.lock();
        if !self.is_of(&store.view()) {
            return Ok(Some(self));
        }
        let bytes = store.collected_bytes.load(Ordering::Relaxed) + garbage.bytes;
        let collected = if done { self.target } else { view.collected };
        let meta = self.disk.family(Family::Meta);
        garbage
            .batch
            .put_cf(meta, name::BYTES_COLLECTED, codec::number(bytes));
        garbage
            .batch
            .put_cf(meta, name::COLLECTED, codec::number(collected));
        self.disk.write(garbage.batch)?;
        store.collected_bytes.store(bytes, Ordering::Relaxed);
        store.republish(collected);
        drop(writing);
        Ok((!done).then_some(self))
    }
}

/// What one step deletes.
struct Garbage<'v> {
    view: &'v View,
    versions: rocksdb::DBRawIterator<'v>,
    batch: WriteBatch,
    bytes: i64,
    from: Vec<u8>,
    escaped: Vec<u8>,
    /// Already in the batch: a key written twice in a step would be counted twice.
    seen: std::collections::HashSet<Rev>,
}

impl<'v> Garbage<'v> {
    fn new(view: &'v View) -> Self {
        Self {
            view,
            versions: view.moment.iterator(Family::Ver, None),
            batch: WriteBatch::default(),
            bytes: 0,
            from: Vec::new(),
            escaped: Vec::new(),
            seen: std::collections::HashSet::new(),
        }
    }

    /// Deletes every version of a key before a place in history, and the one there too if it says so.
    fn before(&mut self, key: &[u8], rev: Rev, itself: bool) -> io::Result<()> {
        codec::ver_key(key, rev, &mut self.from);
        self.escaped.clear();
        codec::escape(key, &mut self.escaped);
        self.versions.seek(&self.from);
        let disk = self.view.moment.disk();
        while let Some((stored, value)) = self.versions.item() {
            let (escaped, found) = codec::split_ver_key(stored)?;
            if escaped != self.escaped {
                return Ok(());
            }
            if (found != rev || itself) && self.seen.insert(found) {
                let entry = codec::rev_key(found);
                let size = self
                    .view
                    .moment
                    .get(Family::Rev, &entry)?
                    .map_or(0, |value| value.len());
                self.bytes +=
                    i64::try_from(stored.len() + value.len() + entry.len() + size).unwrap_or(0);
                self.batch.delete_cf(disk.family(Family::Ver), stored);
                self.batch.delete_cf(disk.family(Family::Rev), entry);
            }
            self.versions.next();
        }
        disk::finished(&self.versions)
    }
}
