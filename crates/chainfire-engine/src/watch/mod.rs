//! The watch hub: tells every client about every change it asked for, in order, once.
//!
//! ```text
//!  applying thread -- publish --> ring of recent revisions
//!                        |              |
//!                     matcher           |   catch-up thread <-- disk (History)
//!                        v              v        |
//!                  synced watchers   lagging watchers
//!                        \              /
//!                      one bounded queue per stream  -->  WatchReceiver  -->  door
//! ```
//!
//! What a client can rely on, for each watcher of a stream (etcd's API guarantees):
//!
//! 1. ordered: revisions ascend;
//! 2. unique: no event comes twice;
//! 3. reliable: no event is left out between two that arrive;
//! 4. atomic: all events of a revision are in one message;
//! 5. resumable: a new watcher from the last revision + 1 continues;
//! 6. bookmarkable: a progress revision is never ahead of an event not yet delivered.
//!
//! A client that reads slowly costs one full queue and nothing else: its watchers wait until there is
//! room and then catch up from the ring or the disk. If compaction overtakes one of them it is told so.

mod catch_up;
mod matcher;
mod options;
mod queue;
mod ring;
mod shared;
mod spec;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use parking_lot::{Condvar, Mutex};

pub use self::{
    options::WatchOptions,
    spec::{CreateError, KeyRange, NO_WATCH_ID, RangeEnd, WatchItem, WatchSpec},
    state::WatchStats,
    stream::{WatchReceiver, WatchStream},
};
use self::{
    queue::Queue,
    shared::Revision,
    state::{State, StreamKey},
};
use crate::events::{History, RevisionEvents};

/// What the hub, its thread and its streams share. Lock order: `state`, then a queue's own lock.
pub(in crate::watch) struct Shared {
    state: Mutex<State>,
    /// There is something for the catch-up thread to do.
    work: Condvar,
    history: Weak<dyn History>,
    stop: AtomicBool,
    /// Watchers that want the pair before each event.
    wanting_previous: AtomicUsize,
    queued_bytes: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The newest revision a reader can have seen, or 0 when the store is gone.
    fn current(&self) -> i64 {
        self.history.upgrade().map_or(0, |h| h.revision())
    }

    fn create(&self, stream: StreamKey, spec: WatchSpec) -> Result<i64, CreateError> {
        let wants_previous = spec.prev_kv;
        if wants_previous {
            // Before the watcher can match anything, so that the core starts to fill pairs in time.
            self.wanting_previous.fetch_add(1, Ordering::AcqRel);
        }
        let current = self.current();
        let created = self
            .state
            .lock()
            .create(stream, spec, current, Instant::now());
        if wants_previous && !created.is_ok_and(|created| created.watching) {
            self.wanting_previous.fetch_sub(1, Ordering::AcqRel);
        }
        // Also for one that is not behind: the thread has to learn about its progress notices.
        self.work.notify_one();
        created.map(|created| created.id)
    }

    /// Watchers with these specifications are gone.
    fn forget(&self, ended: &[Arc<WatchSpec>]) {
        let wanting = ended.iter().filter(|spec| spec.prev_kv).count();
        self.wanting_previous.fetch_sub(wanting, Ordering::AcqRel);
    }

    fn close(&self, stream: StreamKey) {
        let wanting = self.state.lock().close(stream);
        self.wanting_previous.fetch_sub(wanting, Ordering::AcqRel);
    }
}

/// The hub. Dropping it ends every stream.
#[derive(Debug)]
pub struct WatchHub {
    shared: Arc<Shared>,
    options: WatchOptions,
    thread: Option<thread::JoinHandle<()>>,
}

impl WatchHub {
    /// Starts the hub at the history's revision, with a thread of its own.
    #[must_use]
    pub(crate) fn new(history: Weak<dyn History>, options: WatchOptions) -> Self {
        let (revision, compacted) = history
            .upgrade()
            .map_or((0, -1), |h| (h.revision(), h.compacted()));
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(options.clone(), revision, compacted)),
            work: Condvar::new(),
            history,
            stop: AtomicBool::new(false),
            wanting_previous: AtomicUsize::new(0),
            queued_bytes: Arc::new(AtomicUsize::new(0)),
        });
        let thread = thread::Builder::new().name("watch".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || catch_up::run(&shared)
        });
        let thread =
            thread.unwrap_or_else(|error| panic!("the watch thread could not be started: {error}"));
        Self {
            shared,
            options,
            thread: Some(thread),
        }
    }

    /// Opens a stream for one client.
    #[must_use]
    pub fn open(&self) -> (WatchStream, WatchReceiver) {
        let queue = Arc::new(Queue::new(
            &self.options,
            Arc::clone(&self.shared.queued_bytes),
        ));
        let key = self.shared.state.lock().open(Arc::clone(&queue));
        let stream = WatchStream {
            shared: Arc::clone(&self.shared),
            key,
            queue: Arc::clone(&queue),
        };
        let receiver = WatchReceiver {
            shared: Arc::clone(&self.shared),
            key,
            queue,
        };
        (stream, receiver)
    }

    /// Whether any watcher wants the pair before each event.
    #[must_use]
    pub(crate) fn wants_previous(&self) -> bool {
        self.shared.wanting_previous.load(Ordering::Acquire) > 0
    }

    /// Tells the hub what was committed up to `revision`. Called by the applying thread, in order, after
    /// readers can see it; `batch` may be empty when the revision moved without an event.
    pub(crate) fn publish(&self, revision: i64, batch: Vec<RevisionEvents>) {
        let batch: Vec<Revision> = batch.into_iter().map(Revision::from).collect();
        let mut state = self.shared.state.lock();
        for revision in batch {
            state.publish(revision, &|revision, event| {
                if let Some(history) = self.shared.history.upgrade() {
                    catch_up::look_up(history.as_ref(), revision, event);
                }
            });
        }
        state.advance(revision);
    }

    /// Everything below `revision` is gone from the history.
    pub(crate) fn compacted(&self, revision: i64) {
        let mut state = self.shared.state.lock();
        state.compacted = state.compacted.max(revision);
    }

    /// The whole store was replaced by a later state.
    pub(crate) fn reset(&self) {
        let Some(history) = self.shared.history.upgrade() else {
            return;
        };
        self.shared
            .state
            .lock()
            .reset(history.revision(), history.compacted());
        self.shared.work.notify_one();
    }

    /// Counts, for metrics.
    #[must_use]
    pub fn stats(&self) -> WatchStats {
        WatchStats {
            queued_bytes: self.shared.queued_bytes.load(Ordering::Relaxed),
            ..self.shared.state.lock().stats()
        }
    }
}

impl Drop for WatchHub {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.state.lock().close_all();
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread may itself hold the last reference to the store for a moment, and so be the one
            // that drops the hub; it cannot wait for itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the watch thread had panicked");
            }
        }
    }
}
