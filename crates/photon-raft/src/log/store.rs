//! [`RaftLogStorage`] over the files.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{BuildHasher, Hasher},
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use bytes::Bytes;
use futures::{Stream, stream};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Error,
    codec::invalid,
    log::{
        index::{Outline, Slot, next},
        pending::{Live, Waiter},
        record::{self, Change},
        recover::{Recovered, recover},
        segment::{self, DirLock, Segment, create_dir},
        writer::{Shared, Tail, remove},
    },
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Entries of one read are bounded by this, so that the log is never locked for long.
const READ_BYTES: usize = 1 << 20;
const READ_ENTRIES: u64 = 1024;

/// The log of one group on one node. Clone is cheap; the last one that is dropped closes it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Running>);

/// The log and the thread that writes it.
struct Running {
    shared: Arc<Shared>,
    /// `None` once closed.
    thread: Mutex<Option<(JoinHandle<()>, DirLock)>>,
}

impl Running {
    fn close(&self) {
        self.shared.close();
        let mut running = self.thread.lock();
        let Some((thread, lock)) = running.take() else {
            return;
        };
        // A waiter that drops the last reference when it is told runs on that very thread.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the raft log's thread has panicked");
        }
        drop(lock);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the raft log's thread has ended")
}

/// What went wrong with a log, and what to do about it.
pub(super) fn failed(dir: &Path, what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Storage(format!(
        "{what} the raft log in {} failed: {error}. Nothing was changed. If it is damaged and other members are \
         healthy: remove this member from the cluster, empty its data directory, and let it join again under a new id; \
         a cluster of one is restored from a backup",
        dir.display()
    ))
}

fn open_files(dir: &Path, file_bytes: usize, cache_bytes: usize) -> io::Result<LogStore> {
    let lock = DirLock::take(dir)?;
    segment::remove_unfinished(dir)?;
    let mut recovered = recover(dir, cache_bytes, &mut |_, _| Ok(()), &mut |_| {})?;
    let mut segments = BTreeMap::new();
    for number in &recovered.segments {
        segments.insert(*number, Arc::new(Segment::open(dir, *number)?));
    }
    let active = segments.last_key_value().map(|(_, last)| Arc::clone(last));
    if let Some(active) = &active {
        mend(active, &recovered)?;
        // Those that were about to be removed.
        let needed = recovered.index.oldest_segment().unwrap_or(u64::MAX);
        let needed = segments.split_off(&needed.min(active.number));
        remove(std::mem::replace(&mut segments, needed).into_values());
    }
    let tail = Tail {
        dir: dir.to_owned(),
        file_bytes: file_bytes as u64,
        log: recovered.log.unwrap_or_else(random),
        number: recovered.number,
        active: active.map(|segment| (segment, recovered.offset)),
    };
    let index = std::mem::take(&mut recovered.index);
    let shared = Arc::new(Shared::new(Live::new(index, segments), tail));
    let thread = std::thread::Builder::new()
        .name("raft-log".to_owned())
        .spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        })?;
    Ok(LogStore(Arc::new(Running {
        shared,
        thread: Mutex::new(Some((thread, lock))),
    })))
}

/// Makes the last file one that can be written on.
fn mend(active: &Segment, recovered: &Recovered) -> io::Result<()> {
    if recovered.torn > 0 {
        tracing::warn!(
            path = %active.path.display(),
            offset = recovered.offset,
            bytes = recovered.torn,
            "cutting off what was being written to the raft log when the process ended"
        );
        active.clear(recovered.offset, recovered.torn)?;
    }
    active.fill_holes()
}

/// A number that no other log has; std's hashers are seeded by the system.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

impl LogStore {
    /// Opens or creates the log of `node_id` in `dir`. A torn tail is cut off; other damage is an
    /// error that says what to do.
    pub(crate) fn open(
        dir: &Path,
        node_id: u64,
        file_bytes: usize,
        cache_bytes: usize,
    ) -> Result<Self, Error> {
        let log = Self::open_any(dir, file_bytes, cache_bytes)?;
        let creating = |error: io::Error| failed(dir, "creating", &error);
        match log.outline().map_err(creating)?.owner {
            None => log.change(&Change::Owner(node_id)).map_err(creating)?,
            Some(owner) if owner != node_id => {
                return Err(Error::Storage(format!(
                    "the raft log in {} belongs to node {owner}, but this node is configured as {node_id}",
                    dir.display()
                )));
            }
            Some(_) => {}
        }
        Ok(log)
    }

    /// Opens or creates the log in `dir`, whoever it belongs to; for work on a stopped node.
    pub(crate) fn open_stopped(dir: &Path) -> Result<Self, Error> {
        Self::open_any(dir, 64 << 20, 64 << 20)
    }

    pub(super) fn open_any(
        dir: &Path,
        file_bytes: usize,
        cache_bytes: usize,
    ) -> Result<Self, Error> {
        create_dir(dir).map_err(|error| failed(dir, "creating", &error))?;
        open_files(dir, file_bytes, cache_bytes).map_err(|error| failed(dir, "opening", &error))
    }

    /// Whether an append is on disk when it returns, on the caller's thread; for a node that is its own quorum.
    pub(crate) fn write_at_once(&self, at_once: bool) {
        self.0.shared.write_at_once(at_once);
    }

    /// What the log knows besides its entries.
    pub(crate) fn outline(&self) -> io::Result<Outline> {
        self.0.shared.with(|live| Ok(*live.index.outline()))
    }

    /// Makes the log `owner`'s and goes on with `entries`, which count as committed. A log that ends before
    /// `after` goes on behind it. Durable on return; blocking.
    pub(crate) fn found(
        &self,
        owner: u64,
        vote: Vote,
        after: LogId,
        entries: Vec<Entry>,
    ) -> io::Result<()> {
        self.wait_durable(|live| {
            if live.index.outline().last < Some(after) {
                live.change(&Change::PurgeUpto(after))?;
            }
            live.change(&Change::Vote(vote))?;
            live.change(&Change::Owner(owner))?;
            for entry in entries {
                let id = entry.log_id;
                live.append(entry)?;
                live.change(&Change::Committed(id))?;
            }
            Ok(())
        })
    }

    /// Forgets all entries. Durable on return; blocking.
    pub(crate) fn purge_all(&self) -> io::Result<()> {
        self.wait_durable(|live| match live.index.outline().last {
            Some(last) => live.change(&Change::PurgeUpto(last)).map(drop),
            None => Ok(()),
        })
    }

    fn wait_durable(&self, f: impl FnOnce(&mut Live) -> io::Result<()>) -> io::Result<()> {
        let (tx, durable) = oneshot::channel();
        self.0.shared.write(Waiter::Write(tx), f)?;
        futures::executor::block_on(durable).map_err(|_| gone())
    }

    /// Changes what nobody waits for: it becomes durable with whatever is waited for next.
    fn change(&self, change: &Change) -> io::Result<()> {
        self.0.shared.with(|live| live.change(change)).map(drop)
    }

    /// Flushes and closes the files; later calls fail. Blocking.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// Groups made durable since the start.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.0.shared.fsyncs.load(Ordering::Relaxed)
    }

    /// The last log id known to be committed when it was saved.
    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.outline()?.committed)
    }

    /// Entries from `start` to before `end`: as many as fit one read, at least one if there is one.
    pub(crate) fn slice(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut entries = self.0.shared.with(|live| {
            let there = live.index.range();
            let start = start.max(there.start);
            let end = end
                .min(there.end)
                .min(start.saturating_add(READ_ENTRIES))
                .max(start);
            let count = usize::try_from(end - start).unwrap_or_default();
            let mut cached = Vec::with_capacity(count);
            let mut bytes = 0;
            for index in start..end {
                let Some((log_id, slot)) = live.index.get(index) else {
                    break;
                };
                match live.index.cached(index) {
                    Some(payload) => cached.push(Entry {
                        log_id,
                        payload: payload.clone(),
                    }),
                    // Those in memory are the last, so this one comes before all in `cached`.
                    None => match runs.last_mut() {
                        Some(run) if run.segment.number == slot.segment => {
                            run.wanted.push((log_id, slot));
                        }
                        _ => runs.push(Run {
                            segment: Arc::clone(live.segments.get(&slot.segment).ok_or_else(gone)?),
                            wanted: vec![(log_id, slot)],
                        }),
                    },
                }
                bytes += slot.len as usize;
                if bytes >= READ_BYTES {
                    break;
                }
            }
            Ok(cached)
        })?;
        if runs.is_empty() {
            return Ok(entries);
        }
        let mut read = Vec::new();
        for run in runs {
            run.read(&mut read)?;
        }
        read.append(&mut entries);
        Ok(read)
    }

    /// The half-open range of indexes that exist within `range`.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let outline = self.outline()?;
        Ok((start.max(next(outline.purged)), end.min(next(outline.last))))
    }
}

/// Entries that stand one after the other in a file.
struct Run {
    segment: Arc<Segment>,
    wanted: Vec<(LogId, Slot)>,
}

impl Run {
    /// Reads them in one go; no lock is held. Entries that were overtaken (cut off and written anew) may stand
    /// between them, so a run is read in parts where that would be much.
    fn read(self, entries: &mut Vec<Entry>) -> io::Result<()> {
        let mut wanted = &self.wanted[..];
        while let Some((_, first)) = wanted.first() {
            let from = first.offset;
            let count = wanted
                .iter()
                .take_while(|(_, slot)| {
                    slot.offset - from < 2 * READ_BYTES as u64 || slot.offset == from
                })
                .count();
            let (part, rest) = wanted.split_at(count);
            let to = part
                .last()
                .map_or(from, |(_, slot)| slot.offset + u64::from(slot.len));
            let len = usize::try_from(to - from).map_err(io::Error::other)?;
            let bytes = Bytes::from(self.segment.read(from, len)?);
            for (log_id, slot) in part {
                let start = usize::try_from(slot.offset - from).map_err(io::Error::other)?;
                let payload = bytes.slice(start..start + slot.len as usize);
                entries.push(self.decode(*log_id, slot, payload)?);
            }
            wanted = rest;
        }
        Ok(())
    }

    fn decode(&self, log_id: LogId, slot: &Slot, payload: Bytes) -> io::Result<Entry> {
        if crc32fast::hash(&payload) != slot.crc {
            return Err(invalid(format!(
                "{} at byte {}: entry {} is damaged",
                self.segment.path.display(),
                slot.offset,
                log_id.index
            )));
        }
        Ok(Entry {
            log_id,
            payload: record::payload(payload)?,
        })
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let (mut start, end) = self.bounds(&range)?;
        let mut entries = Vec::new();
        while start < end {
            let slice = self.slice(start, end)?;
            let Some(last) = slice.last() else {
                // Truncated or purged since `bounds`: what is left is still without holes.
                break;
            };
            start = last.log_id.index + 1;
            entries.extend(slice);
        }
        Ok(entries)
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let bounds = self.bounds(&range);
        let store = self.clone();
        let slices = stream::unfold(Some(bounds), move |state| {
            let store = store.clone();
            async move {
                let (start, end) = match state? {
                    Ok(bounds) => bounds,
                    Err(error) => return Some((vec![Err(error)], None)),
                };
                if start >= end {
                    return None;
                }
                match store.slice(start, end) {
                    Err(error) => Some((vec![Err(error)], None)),
                    Ok(slice) => {
                        let next = slice.last()?.log_id.index + 1;
                        Some((slice.into_iter().map(Ok).collect(), Some(Ok((next, end)))))
                    }
                }
            }
        });
        Box::pin(futures::StreamExt::flat_map(slices, stream::iter))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.slice(start, end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.outline()?.vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let outline = self.outline()?;
        Ok(LogState {
            last_purged_log_id: outline.purged,
            last_log_id: outline.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (tx, durable) = oneshot::channel();
        self.0.shared.write(Waiter::Write(tx), |live| {
            live.change(&Change::Vote(*vote)).map(drop)
        })?;
        durable.await.map_err(|_| gone())
    }

    /// Not waited for: it only spares a restart the wait for a leader, and never claims too much.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        self.0.shared.with(|live| {
            let outline = live.index.outline();
            let newer = Some(committed) > outline.committed;
            let known = Some(committed) <= outline.last;
            if newer && known {
                live.change(&Change::Committed(committed))?;
            }
            Ok(())
        })
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.committed()
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.shared.write(Waiter::Append(callback), |live| {
            entries.into_iter().try_for_each(|entry| live.append(entry))
        })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let dropped = self.0.shared.with(|live| {
            if next(last) < next(live.index.outline().last) {
                live.change(&Change::TruncateAfter(last))
            } else {
                Ok(Vec::new())
            }
        })?;
        drop(dropped);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let dropped = self
            .0
            .shared
            .write(Waiter::Nobody, |live| live.change(&Change::PurgeUpto(upto)))?;
        drop(dropped);
        Ok(())
    }
}

/// Bytes of commands in `entries`; what the snapshot policy counts.
pub(crate) fn command_bytes(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .map(|entry| match &entry.payload {
            EntryPayload::Normal(commands) => commands.bytes() as u64,
            _ => 0,
        })
        .sum()
}
