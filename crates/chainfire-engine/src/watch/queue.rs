//! What waits for one stream's client: a bounded queue between the hub and the door.
//!
//! Event messages are refused when the queue is full; the watcher then falls back to catching up.
//! Answers about watchers (created, canceled, progress, …) are always accepted: their number is bounded
//! by the number of watchers and by [`Queue::control_room`], which the door waits for before it takes
//! another request from the client.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use photon_proto::mvccpb::Event;
use tokio::sync::Notify;

use super::{
    options::WatchOptions,
    shared::Revision,
    spec::{NO_WATCH_ID, WatchItem},
};

/// What a queued message costs besides the events it shares.
const ENTRY_OVERHEAD: usize = 128;

/// The events of one revision that one watcher wants: indices into it, ascending.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) revision: Arc<Revision>,
    pub(super) events: Vec<u32>,
}

/// One message of events for one watcher.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) watch_id: i64,
    pub(super) header_revision: i64,
    pub(super) with_previous: bool,
    pub(super) parts: Vec<Part>,
}

impl Delivery {
    fn size(&self) -> usize {
        ENTRY_OVERHEAD + self.parts.iter().map(|p| p.revision.size).sum::<usize>()
    }

    fn into_item(self) -> WatchItem {
        let events: Vec<Event> = self
            .parts
            .iter()
            .flat_map(|part| {
                part.events
                    .iter()
                    .map(|i| &part.revision.events[*i as usize])
            })
            .map(|event| event.to_proto(self.with_previous))
            .collect();
        WatchItem::Events {
            watch_id: self.watch_id,
            revision: self.header_revision,
            events,
        }
    }
}

#[derive(Debug)]
enum Entry {
    Events { delivery: Delivery, size: usize },
    Control(WatchItem),
}

#[derive(Debug)]
struct Inner {
    entries: VecDeque<Entry>,
    event_entries: usize,
    bytes: usize,
    /// A message was refused: the hub wants to hear when there is room again.
    refused: bool,
    /// When the client last took something, or when a message was first refused since.
    progressed: Instant,
    closed: bool,
    /// The largest header revision queued so far.
    last_header: i64,
}

impl Inner {
    /// A stream's header revisions never go back: a watcher may be created at a revision that readers see
    /// already while the events of an earlier one are still on their way here.
    fn header(&mut self, revision: &mut i64) {
        self.last_header = self.last_header.max(*revision);
        *revision = self.last_header;
    }
}

/// What [`Queue::pop`] found.
pub(super) enum Popped {
    Item(WatchItem),
    Empty,
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Something was queued, or the queue was closed. One waiter: the receiver.
    arrived: Notify,
    /// Answers were taken. One waiter: the door.
    drained: Notify,
    total_bytes: Arc<AtomicUsize>,
    max_items: usize,
    max_bytes: usize,
    max_total_bytes: usize,
    max_control: usize,
}

impl Queue {
    pub(super) fn new(options: &WatchOptions, total_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: VecDeque::new(),
                event_entries: 0,
                bytes: 0,
                refused: false,
                progressed: Instant::now(),
                closed: false,
                last_header: 0,
            }),
            arrived: Notify::new(),
            drained: Notify::new(),
            total_bytes,
            max_items: options.queue_items,
            max_bytes: options.queue_bytes,
            max_total_bytes: options.total_queue_bytes,
            max_control: options.control_items,
        }
    }

    /// Queues a message of events; gives it back when there is no room for it now.
    pub(super) fn offer(&self, mut delivery: Delivery) -> Result<(), Delivery> {
        let size = delivery.size();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Ok(()); // nobody will read it
        }
        let full = inner.event_entries >= self.max_items
            || inner.bytes + size > self.max_bytes
            || self.total_bytes.load(Ordering::Relaxed) + size > self.max_total_bytes;
        if full && inner.event_entries > 0 {
            if !inner.refused {
                inner.refused = true;
                inner.progressed = Instant::now();
            }
            return Err(delivery);
        }
        inner.header(&mut delivery.header_revision);
        inner.entries.push_back(Entry::Events { delivery, size });
        inner.event_entries += 1;
        inner.bytes += size;
        self.total_bytes.fetch_add(size, Ordering::Relaxed);
        drop(inner);
        self.arrived.notify_one();
        Ok(())
    }

    /// Queues an answer, always. A stream-wide progress answer that is still the last thing queued is
    /// brought up to date instead of doubled, so that asking without reading costs nothing.
    pub(super) fn push_control(&self, mut item: WatchItem) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        match &mut item {
            WatchItem::Created { revision, .. }
            | WatchItem::Rejected { revision, .. }
            | WatchItem::Compacted { revision, .. }
            | WatchItem::Canceled { revision, .. } => inner.header(revision),
            // Says something about delivery, so it must not be raised; the hub checks `last_header` before.
            WatchItem::Progress { revision, .. } | WatchItem::Events { revision, .. } => {
                inner.last_header = inner.last_header.max(*revision);
            }
        }
        let is_progress = |item: &WatchItem| {
            matches!(
                item,
                WatchItem::Progress {
                    watch_id: NO_WATCH_ID,
                    ..
                }
            )
        };
        match inner.entries.back_mut() {
            Some(Entry::Control(last)) if is_progress(last) && is_progress(&item) => *last = item,
            _ => inner.entries.push_back(Entry::Control(item)),
        }
        drop(inner);
        self.arrived.notify_one();
    }

    /// Takes the next message. The flag says that the hub must be told that there is room again.
    pub(super) fn pop(&self) -> (Popped, bool) {
        let mut inner = self.inner.lock();
        let popped = match inner.entries.pop_front() {
            None if inner.closed => return (Popped::Closed, false),
            None => return (Popped::Empty, false),
            Some(Entry::Control(item)) => Popped::Item(item),
            Some(Entry::Events { delivery, size }) => {
                self.forget(&mut inner, size);
                Popped::Item(delivery.into_item())
            }
        };
        inner.progressed = Instant::now();
        // Waking the hub only at half empty lets it send a batch instead of one message at a time.
        let room = inner.event_entries * 2 <= self.max_items && inner.bytes * 2 <= self.max_bytes;
        let resume = inner.refused && room;
        if resume {
            inner.refused = false;
        }
        let control_room = inner.entries.len() - inner.event_entries < self.max_control;
        drop(inner);
        if control_room {
            self.drained.notify_one();
        }
        (popped, resume)
    }

    /// Removes the queued events of a watcher that is being dropped.
    pub(super) fn discard(&self, watch_id: i64) {
        let mut inner = self.inner.lock();
        let mut freed = Vec::new();
        inner.entries.retain(|entry| match entry {
            Entry::Events { delivery, size } if delivery.watch_id == watch_id => {
                freed.push(*size);
                false
            }
            _ => true,
        });
        for size in freed {
            self.forget(&mut inner, size);
        }
    }

    fn forget(&self, inner: &mut Inner, size: usize) {
        inner.event_entries -= 1;
        inner.bytes -= size;
        self.total_bytes.fetch_sub(size, Ordering::Relaxed);
    }

    /// Waits until something is queued or the queue is closed. May wake for nothing.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until few enough answers are unread. False when the queue is closed.
    pub(super) async fn control_room(&self) -> bool {
        loop {
            {
                let inner = self.inner.lock();
                if inner.closed {
                    return false;
                }
                if inner.entries.len() - inner.event_entries < self.max_control {
                    return true;
                }
            }
            self.drained.notified().await;
        }
    }

    /// How long the client has taken nothing although something was refused.
    pub(super) fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let inner = self.inner.lock();
        inner
            .refused
            .then(|| now.saturating_duration_since(inner.progressed))
    }

    /// The largest header revision the client has been or will be shown.
    pub(super) fn last_header(&self) -> i64 {
        self.inner.lock().last_header
    }

    /// Whether nothing is waiting for the client.
    pub(super) fn is_idle(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }

    /// Ends the stream: what is queued is dropped, nothing more is accepted.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.entries.clear();
        self.total_bytes.fetch_sub(inner.bytes, Ordering::Relaxed);
        inner.bytes = 0;
        inner.event_entries = 0;
        drop(inner);
        self.arrived.notify_one();
        self.drained.notify_one();
    }
}
