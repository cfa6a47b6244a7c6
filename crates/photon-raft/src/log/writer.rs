//! Writing: one frame, one fdatasync, then everybody who waited for it is told.
//!
//! A thread of its own does it, so that replication goes on meanwhile. A node that is its own quorum has nothing to do
//! meanwhile: there the append itself writes, and saves waking two threads, which costs as much as the fdatasync.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Condvar, Mutex};

use crate::log::{
    frame,
    pending::{Batch, FRONT, Live, Waiter},
    record::{self, Change, STATE_LEN, State},
    segment::Segment,
};

/// What the writer and everybody else share.
pub(super) struct Shared {
    /// Never held while the disk is waited for.
    live: Mutex<Live>,
    work: Condvar,
    /// Locked by whoever has taken a batch.
    tail: Mutex<Tail>,
    /// Appends write themselves when nothing is being written.
    at_once: AtomicBool,
    /// Frames made durable since the start.
    pub(super) fsyncs: AtomicU64,
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

impl Shared {
    pub(super) fn new(live: Live, tail: Tail) -> Self {
        Self {
            live: Mutex::new(live),
            work: Condvar::new(),
            tail: Mutex::new(tail),
            at_once: AtomicBool::new(false),
            fsyncs: AtomicU64::new(0),
        }
    }

    /// Looks at the log, or changes what is not waited for.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Live) -> io::Result<T>) -> io::Result<T> {
        let mut live = self.live.lock();
        if live.closed {
            return Err(closed());
        }
        f(&mut live)
    }

    /// Whether appends write themselves; blocking the caller for as long as the disk takes.
    pub(super) fn write_at_once(&self, at_once: bool) {
        self.at_once.store(at_once, Ordering::Relaxed);
    }

    /// Changes the log and has `waiter` told when that is durable.
    pub(super) fn write<T>(
        &self,
        waiter: Waiter,
        f: impl FnOnce(&mut Live) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut wake = false;
        let mut mine = None;
        let done = self.with(|live| {
            let done = f(live)?;
            live.wait(waiter);
            if self.at_once.load(Ordering::Relaxed) {
                mine = live.next();
            }
            wake = mine.is_none() && std::mem::take(&mut live.parked);
            Ok(done)
        })?;
        if let Some(batch) = mine {
            let _guard = NoPanic;
            self.tail.lock().write(self, batch);
        } else if wake {
            self.work.notify_one();
        }
        Ok(done)
    }

    /// Writes until the log is closed. Ends the process if something cannot be written.
    pub(super) fn run(&self) {
        let _guard = NoPanic;
        while let Some(batch) = self.next() {
            self.tail.lock().write(self, batch);
        }
    }

    /// Lets the writer write what is left, and end.
    pub(super) fn close(&self) {
        self.live.lock().closed = true;
        self.work.notify_one();
    }

    /// The next batch, when there is one; `None` when the log is closed and everything is written.
    fn next(&self) -> Option<Batch> {
        let mut live = self.live.lock();
        loop {
            if let Some(batch) = live.next() {
                return Some(batch);
            }
            if live.closed && !live.writing {
                live.segments.clear();
                return None;
            }
            live.parked = true;
            self.work.wait(&mut live);
            live.parked = false;
        }
    }
}

/// Where the log goes on.
pub(super) struct Tail {
    pub(super) dir: PathBuf,
    /// Length of new files.
    pub(super) file_bytes: u64,
    /// Which log this is.
    pub(super) log: u64,
    /// Of the next frame.
    pub(super) number: u64,
    /// The file that is written, and where; `None`: there is none yet.
    pub(super) active: Option<(Arc<Segment>, u64)>,
}

impl Tail {
    fn write(&mut self, shared: &Shared, mut batch: Batch) {
        let mut doomed = Vec::new();
        if !batch.is_empty() {
            doomed = self.write_frame(shared, &mut batch);
        }
        batch.waiters.drain(..).for_each(Waiter::done);
        let wake = {
            let mut live = shared.live.lock();
            live.written(batch.buffer, batch.waiters);
            (live.is_due() || live.closed) && std::mem::take(&mut live.parked)
        };
        if wake {
            shared.work.notify_one();
        }
        remove(doomed);
    }

    /// Makes the batch durable and returns the files that are not needed any more.
    fn write_frame(&mut self, shared: &Shared, batch: &mut Batch) -> Vec<Arc<Segment>> {
        let whole = batch.buffer.len() as u64;
        let room = |segment: &Segment, offset| segment.bytes.saturating_sub(offset);
        let (segment, offset, start) = match self.active.take() {
            Some((segment, offset))
                if offset > 0 && room(&segment, offset) >= whole - STATE_LEN as u64 =>
            {
                (segment, offset, STATE_LEN)
            }
            // The first frame of a file has the state in it.
            active => {
                let empty =
                    active.filter(|(segment, offset)| *offset == 0 && segment.bytes >= whole);
                let segment = empty.map_or_else(|| self.create(whole), |(segment, _)| segment);
                put_state(batch, segment.bytes);
                (segment, 0, 0)
            }
        };
        let doomed = {
            let mut live = shared.live.lock();
            live.index.place(segment.number, offset, start as u64);
            if start == 0 {
                live.segments.insert(segment.number, Arc::clone(&segment));
            }
            match batch.needed_from {
                Some(needed_from) => {
                    let needed = live.segments.split_off(&needed_from.min(segment.number));
                    std::mem::replace(&mut live.segments, needed)
                }
                None => BTreeMap::new(),
            }
        };
        let frame = &mut batch.buffer[start..];
        let written = frame::seal(frame, self.log, self.number)
            .and_then(|()| segment.write_durably(frame, offset));
        if let Err(error) = written {
            die("writing the raft log", &error);
        }
        shared.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.number += 1;
        let end = offset + frame.len() as u64;
        self.active = Some((segment, end));
        doomed.into_values().collect()
    }

    /// Makes the file that begins with the next frame.
    fn create(&self, frame: u64) -> Arc<Segment> {
        match Segment::create(&self.dir, self.number, self.file_bytes.max(frame)) {
            Ok(segment) => Arc::new(segment),
            Err(error) => die("making room for the raft log", &error),
        }
    }
}

/// Fills the room for the state record, which then stands between header and body.
fn put_state(batch: &mut Batch, file_bytes: u64) {
    let mut state = Vec::with_capacity(STATE_LEN);
    let outline = batch.before;
    record::put(
        &mut state,
        &Change::State(State {
            outline,
            file_bytes,
        }),
    );
    batch.buffer[frame::HEADER..FRONT].copy_from_slice(&state);
}

/// Removes files, which are given oldest first. One that cannot be removed costs space and nothing else, and the next
/// start tries again; those behind it stay, because a file may only be missing before all others.
pub(super) fn remove(files: impl IntoIterator<Item = Arc<Segment>>) {
    for segment in files {
        if let Err(error) = std::fs::remove_file(&segment.path) {
            let path = segment.path.display();
            tracing::warn!(%error, %path, "a purged file of the raft log cannot be removed");
            return;
        }
    }
}

/// Without its writer the log would take entries and never tell anybody about them.
struct NoPanic;

impl Drop for NoPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// After a failed write or fsync nothing is known about what is on disk; a restart reads it back.
fn die(what: &str, error: &io::Error) -> ! {
    tracing::error!(%error, "{what} failed; ending the process, because its durability is unknown");
    std::process::abort()
}
