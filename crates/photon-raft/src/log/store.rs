//! [`RaftLogStorage`] over raft-log, with one fsync for all appends that wait.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, stream};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::{Mutex, RwLock};
use raft_log::{RaftLog, api::raft_log_writer::RaftLogWriter};
use tokio::sync::oneshot;

use crate::{
    Error,
    log::record::{DiskLogId, DiskPayload, DiskVote, Records},
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Entries of one read are bounded by this, so that the log is never locked for long.
const READ_BYTES: usize = 1 << 20;
const READ_ENTRIES: u64 = 1024;

/// The log of one group on one node. Clone is cheap.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Inner>);

struct Inner {
    /// `None` once closed.
    log: RwLock<Option<RaftLog<Records>>>,
    group: Mutex<NextGroup>,
    fsyncs: AtomicU64,
}

/// Appends that wait for the next fsync. Whoever stands here is already in the log's buffer.
#[derive(Default)]
struct NextGroup {
    in_flight: bool,
    waiting: Vec<Waiter>,
}

enum Waiter {
    Append(IOFlushed<TypeConfig>),
    Write(oneshot::Sender<()>),
    /// Nobody waits; only the order matters (purge: files go after the record of it is durable).
    Nobody,
}

impl Waiter {
    fn done(self) {
        match self {
            Self::Append(callback) => callback.io_completed(Ok(())),
            // The waiter may have been dropped; the write is durable all the same.
            Self::Write(tx) => drop(tx.send(())),
            Self::Nobody => {}
        }
    }
}

/// One group on its way through the flush worker.
pub(super) struct Flushed {
    group: Vec<Waiter>,
    store: Weak<Inner>,
}

impl raft_log::Callback for Flushed {
    fn send(self, result: io::Result<()>) {
        if let Err(error) = result {
            die("writing the raft log", &error);
        }
        if let Some(store) = self.store.upgrade() {
            store.fsyncs.fetch_add(1, Ordering::Relaxed);
            self.group.into_iter().for_each(Waiter::done);
            store.flush_waiting();
            // Closing the log joins this very thread, so the last reference is dropped elsewhere.
            if let Some(inner) = Arc::into_inner(store) {
                std::thread::spawn(move || drop(inner));
            }
        }
    }
}

/// After a failed write or fsync nothing is known about what is on disk; a restart reads it back.
fn die(what: &str, error: &io::Error) -> ! {
    tracing::error!(%error, "{what} failed; ending the process, because its durability is unknown");
    std::process::abort()
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

impl Inner {
    /// Completes `waiter` when everything appended so far is durable.
    fn submit(self: &Arc<Self>, waiter: Waiter) {
        {
            let mut group = self.group.lock();
            group.waiting.push(waiter);
            if group.in_flight {
                return;
            }
            group.in_flight = true;
        }
        self.flush_waiting();
    }

    /// Starts the next group, if anybody waits. Only called by whoever holds `in_flight`.
    fn flush_waiting(self: &Arc<Self>) {
        let mut log = self.log.write();
        // Taken under the log's lock: whoever waits has appended before.
        let group = {
            let mut next = self.group.lock();
            if next.waiting.is_empty() {
                next.in_flight = false;
                return;
            }
            std::mem::take(&mut next.waiting)
        };
        // Closed: closing flushes, and nobody is left to be told.
        let Some(log) = log.as_mut() else { return };
        let flushed = Flushed {
            group,
            store: Arc::downgrade(self),
        };
        if let Err(error) = log.flush(true, Some(flushed)) {
            die("handing the raft log to its writer", &error);
        }
    }
}

/// The log's own state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outline {
    pub(crate) owner: Option<u64>,
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    pub(crate) last: Option<LogId>,
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

fn open_files(
    dir: &Path,
    file_bytes: usize,
    cache_bytes: usize,
) -> Result<RaftLog<Records>, Error> {
    create_dir(dir).map_err(|error| failed(dir, "creating", &error))?;
    let mut config = raft_log::Config::new(dir.display());
    config.wal.chunk_max_size = Some(file_bytes);
    config.wal.read_buffer_size = Some(1 << 20);
    // Groups are formed here; the worker must not wait for more.
    config.wal.flush_batch_wait = Some(std::time::Duration::ZERO);
    // A group is sent from the worker's own thread: it must never wait for room.
    config.wal.flush_queue_max_bytes = Some(usize::MAX >> 1);
    config.log_cache_capacity = Some(cache_bytes);
    RaftLog::<Records>::open(Arc::new(config)).map_err(|error| failed(dir, "opening", &error))
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
        let mut log = open_files(dir, file_bytes, cache_bytes)?;
        match log.log_state().user_data {
            None => {
                log.save_user_data(Some(node_id))
                    .map_err(|error| failed(dir, "creating", &error))?;
            }
            Some(owner) if owner != node_id => {
                return Err(Error::Storage(format!(
                    "the raft log in {} belongs to node {owner}, but this node is configured as {node_id}",
                    dir.display()
                )));
            }
            Some(_) => {}
        }
        Ok(Self::over(log))
    }

    /// Opens or creates the log in `dir`, whoever it belongs to; for work on a stopped node.
    pub(crate) fn open_stopped(dir: &Path) -> Result<Self, Error> {
        open_files(dir, 64 << 20, 64 << 20).map(Self::over)
    }

    fn over(log: RaftLog<Records>) -> Self {
        Self(Arc::new(Inner {
            log: RwLock::new(Some(log)),
            group: Mutex::new(NextGroup::default()),
            fsyncs: AtomicU64::new(0),
        }))
    }

    /// What the log knows besides its entries.
    pub(crate) fn outline(&self) -> io::Result<Outline> {
        self.read(|log| {
            let state = log.log_state();
            Ok(Outline {
                owner: state.user_data,
                vote: state.vote().map(|vote| vote.0),
                purged: state.purged().map(|id| id.log_id()),
                committed: state.committed().map(|id| id.log_id()),
                last: state.last().map(|id| id.log_id()),
            })
        })
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
        self.write(|log| {
            let after = DiskLogId::new(&after);
            if log.log_state().last() < Some(&after) {
                log.purge(after)?;
            }
            log.save_vote(DiskVote(vote))?;
            log.save_user_data(Some(owner))?;
            for entry in entries {
                let id = DiskLogId::new(&entry.log_id);
                log.append([(id, DiskPayload(entry.payload))])?;
                log.commit(id)?;
            }
            Ok(())
        })?;
        self.wait_durable()
    }

    /// Forgets all entries. Durable on return; blocking.
    pub(crate) fn purge_all(&self) -> io::Result<()> {
        self.write(|log| match log.log_state().last().copied() {
            Some(last) => log.purge(last).map(drop),
            None => Ok(()),
        })?;
        self.wait_durable()
    }

    fn wait_durable(&self) -> io::Result<()> {
        let (tx, durable) = oneshot::channel();
        self.0.submit(Waiter::Write(tx));
        futures::executor::block_on(durable).map_err(|_| closed())
    }

    /// Flushes and closes the files; later calls fail. Blocking.
    pub(crate) fn close(&self) {
        // Dropped after the lock: dropping joins the worker, whose callbacks take the lock.
        let log = self.0.log.write().take();
        drop(log);
    }

    /// Groups made durable since the start.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.0.fsyncs.load(Ordering::Relaxed)
    }

    /// The last log id known to be committed when it was saved.
    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        self.read(|log| Ok(log.log_state().committed().map(|id| id.log_id())))
    }

    /// Entries from `start` to before `end`: as many as fit one read, at least one if there is one.
    pub(crate) fn slice(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(|log| {
            let mut bytes = 0;
            let mut entries: Vec<Entry> = Vec::new();
            let end = end.min(start.saturating_add(READ_ENTRIES));
            for item in log.read(start, end) {
                let (id, payload) = item?;
                bytes += payload.size();
                entries.push(Entry {
                    log_id: id.log_id(),
                    payload: payload.0,
                });
                if bytes >= READ_BYTES {
                    break;
                }
            }
            Ok(entries)
        })
    }

    fn read<T>(&self, f: impl FnOnce(&RaftLog<Records>) -> io::Result<T>) -> io::Result<T> {
        f(self.0.log.read().as_ref().ok_or_else(closed)?)
    }

    fn write<T>(&self, f: impl FnOnce(&mut RaftLog<Records>) -> io::Result<T>) -> io::Result<T> {
        f(self.0.log.write().as_mut().ok_or_else(closed)?)
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
        self.read(|log| {
            let next = |id: Option<&DiskLogId>| id.map_or(0, |id| id.log_id().index + 1);
            let state = log.log_state();
            Ok((start.max(next(state.purged())), end.min(next(state.last()))))
        })
    }
}

/// Creates `dir` and makes its name durable.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    let mut at: PathBuf = dir.to_owned();
    while at.pop() {
        if at.as_os_str().is_empty() {
            break;
        }
        std::fs::File::open(&at)?.sync_all()?;
    }
    Ok(())
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
        self.read(|log| Ok(log.log_state().vote().map(|vote| vote.0)))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.read(|log| {
            let state = log.log_state();
            Ok(LogState {
                last_purged_log_id: state.purged().map(|id| id.log_id()),
                last_log_id: state.last().map(|id| id.log_id()),
            })
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write(|log| log.save_vote(DiskVote(*vote)))?;
        let (tx, durable) = oneshot::channel();
        self.0.submit(Waiter::Write(tx));
        durable.await.map_err(|_| closed())
    }

    /// Not waited for: it only spares a restart the wait for a leader, and never claims too much.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed.map(|id| DiskLogId::new(&id)) else {
            return Ok(());
        };
        self.write(|log| {
            let state = log.log_state();
            let newer = Some(&committed) > state.committed();
            let known = Some(&committed) <= state.last();
            if newer && known {
                log.commit(committed)?;
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
        self.write(|log| {
            log.append(
                entries
                    .into_iter()
                    .map(|entry| (DiskLogId::new(&entry.log_id), DiskPayload(entry.payload))),
            )
        })?;
        self.0.submit(Waiter::Append(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let next = last.map_or(0, |id| id.index + 1);
        self.write(|log| {
            let end = log.log_state().last().map_or(0, |id| id.log_id().index + 1);
            if next < end {
                log.truncate(next)?;
            }
            Ok(())
        })
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.write(|log| log.purge(DiskLogId::new(&upto)))?;
        self.0.submit(Waiter::Nobody);
        Ok(())
    }
}

/// Bytes of commands in `entries`; what the snapshot policy counts.
pub(crate) fn command_bytes(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .map(|entry| match &entry.payload {
            EntryPayload::Normal(command) => command.0.len() as u64,
            _ => 0,
        })
        .sum()
}
