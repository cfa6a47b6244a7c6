//! The hub's books: who watches what, who is behind, and the recent revisions.
//!
//! ```text
//!            create(start <= current)                    create(start > current or 0)
//!                      |                                            |
//!                      v          reached the current revision      v
//!                 catching up  ---------------------------------> synced
//!                   ^     ^                                         |
//!      client reads |     +-----------------------------------------+
//!                   v                 its queue is full
//!         (stream blocked: waits, costs nothing)
//! ```
//!
//! Invariants:
//! 1. A watcher's `cursor` is the first revision it may still have to be sent; everything before it is
//!    queued, delivered or of no interest to it.
//! 2. `synced` watchers have no event in a published revision below `revision + 1` that is not queued.
//! 3. A stream with watchers in `catching_up` is in `ready` (once) or in `blocked`; the catch-up thread
//!    passes over blocked ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    matcher::{Matcher, WatcherKey},
    options::WatchOptions,
    queue::{Delivery, Part, Queue},
    ring::Ring,
    shared::Revision,
    spec::{CreateError, KeyRange, NO_WATCH_ID, WatchItem, WatchSpec},
};

/// Identifies a stream inside the hub; never reused.
pub(super) type StreamKey = u64;

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) stream: StreamKey,
    /// The id on the stream.
    pub(super) id: i64,
    pub(super) spec: Arc<WatchSpec>,
    pub(super) range: KeyRange,
    /// Invariant 1.
    pub(super) cursor: i64,
    pub(super) synced: bool,
    /// Something was queued for it since its last periodic progress notice was due.
    spoken: bool,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) queue: Arc<Queue>,
    watchers: BTreeMap<i64, WatcherKey>,
    next_id: i64,
    /// Watchers that are not synced and not in the hands of the catch-up thread; may name some that
    /// are gone.
    catching_up: VecDeque<WatcherKey>,
    /// Watchers that are not synced.
    unsynced: usize,
    /// Whether the stream is in `State::ready`.
    in_ready: bool,
    /// A progress request that could not be answered yet.
    progress_requested: bool,
    next_notice: Option<Instant>,
}

/// What the hub counts, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// Open streams.
    pub streams: usize,
    /// Watchers.
    pub watchers: usize,
    /// Watchers that are behind.
    pub unsynced: usize,
    /// Revisions in the ring.
    pub ring_revisions: usize,
    /// Bytes in the ring.
    pub ring_bytes: usize,
    /// Bytes queued for clients.
    pub queued_bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: WatchOptions,
    /// The newest published revision.
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) ring: Ring,
    matcher: Matcher,
    watchers: HashMap<WatcherKey, Watcher>,
    streams: HashMap<StreamKey, Stream>,
    /// Streams with watchers to catch up and room in their queue, in turn.
    ready: VecDeque<StreamKey>,
    /// Streams with watchers to catch up but no room.
    blocked: HashSet<StreamKey>,
    /// Streams with an unanswered progress request.
    asking: HashSet<StreamKey>,
    next_key: u64,
}

/// A watcher in the hands of the catch-up thread.
#[derive(Debug)]
pub(super) struct Lagging {
    pub(super) key: WatcherKey,
    pub(super) cursor: i64,
    pub(super) range: KeyRange,
    pub(super) spec: Arc<WatchSpec>,
}

/// A creation that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    pub(super) id: i64,
    /// False when the watcher was ended at once, its start being compacted.
    pub(super) watching: bool,
}

/// How far the catch-up thread got with a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything before this revision is queued or of no interest.
    Reached(i64),
    /// As `Reached`, but the queue had no room for more.
    Full(i64),
    /// The history it needs is gone.
    Compacted,
    /// The history could not be read.
    Failed,
}

impl State {
    pub(super) fn new(options: WatchOptions, revision: i64, compacted: i64) -> Self {
        Self {
            ring: Ring::new(revision + 1, options.ring_revisions, options.ring_bytes),
            options,
            revision,
            compacted,
            matcher: Matcher::default(),
            watchers: HashMap::new(),
            streams: HashMap::new(),
            ready: VecDeque::new(),
            blocked: HashSet::new(),
            asking: HashSet::new(),
            next_key: 0,
        }
    }

    pub(super) fn stats(&self) -> WatchStats {
        WatchStats {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            unsynced: self.streams.values().map(|s| s.unsynced).sum(),
            ring_revisions: self.ring.len(),
            ring_bytes: self.ring.bytes(),
            queued_bytes: 0, // counted by the queues; see WatchHub::stats
        }
    }

    fn fresh_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    // ---- streams ----

    pub(super) fn open(&mut self, queue: Arc<Queue>) -> StreamKey {
        let key = self.fresh_key();
        self.streams.insert(
            key,
            Stream {
                queue,
                watchers: BTreeMap::new(),
                next_id: 0,
                catching_up: VecDeque::new(),
                unsynced: 0,
                in_ready: false,
                progress_requested: false,
                next_notice: None,
            },
        );
        key
    }

    /// Removes the stream and its watchers; returns how many of them wanted previous pairs.
    pub(super) fn close(&mut self, key: StreamKey) -> usize {
        let Some(stream) = self.streams.remove(&key) else {
            return 0;
        };
        stream.queue.close();
        self.blocked.remove(&key);
        self.asking.remove(&key);
        let mut wanted_previous = 0;
        for watcher in stream.watchers.values() {
            if let Some(watcher) = self.watchers.remove(watcher).map(|w| (w, *watcher)) {
                self.matcher.remove(&watcher.0.range, watcher.1);
                wanted_previous += usize::from(watcher.0.spec.prev_kv);
            }
        }
        wanted_previous
    }

    pub(super) fn close_all(&mut self) {
        for stream in self.streams.values() {
            stream.queue.close();
        }
        self.streams.clear();
        self.watchers.clear();
        self.matcher = Matcher::default();
        self.ready.clear();
        self.blocked.clear();
        self.asking.clear();
    }

    // ---- watchers ----

    /// Creates a watcher and queues the answer, which stands before everything else about it.
    /// `current` is the newest revision readers can have seen.
    pub(super) fn create(
        &mut self,
        stream_key: StreamKey,
        spec: WatchSpec,
        current: i64,
        now: Instant,
    ) -> Result<Created, CreateError> {
        let current = current.max(self.revision);
        let all_watchers = self.watchers.len();
        let key = self.fresh_key();
        let stream = self
            .streams
            .get_mut(&stream_key)
            .ok_or(CreateError::Closed)?;
        let checked = check(&spec, stream, &self.options, all_watchers);
        let (range, id) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                stream.queue.push_control(WatchItem::Rejected {
                    reason: error.to_string(),
                    revision: current,
                });
                return Err(error);
            }
        };

        let cursor = match spec.start_revision {
            0 => current + 1,
            start => start,
        };
        stream.queue.push_control(WatchItem::Created {
            watch_id: id,
            revision: current,
        });
        // A client that asks for a revision that is gone is told, even if the ring still has it (as in etcd);
        // one that has fallen behind later is spared as long as the ring knows what it missed.
        if cursor < self.compacted {
            stream.queue.push_control(WatchItem::Compacted {
                watch_id: id,
                revision: current,
                compact_revision: self.compacted,
            });
            return Ok(Created {
                id,
                watching: false,
            });
        }
        let synced = cursor > self.revision;
        stream.watchers.insert(id, key);
        if spec.progress_notify && stream.next_notice.is_none() {
            stream.next_notice = Some(now + jittered(self.options.progress_interval));
        }
        self.matcher.insert(&range, key);
        self.watchers.insert(
            key,
            Watcher {
                stream: stream_key,
                id,
                spec: Arc::new(spec),
                range,
                cursor,
                synced,
                spoken: false,
            },
        );
        if !synced {
            stream.unsynced += 1;
            self.enqueue(stream_key, key);
        }
        Ok(Created { id, watching: true })
    }

    /// Queues an answer that refuses a creation.
    pub(super) fn reject(&self, stream: StreamKey, reason: String, current: i64) {
        if let Some(stream) = self.streams.get(&stream) {
            stream.queue.push_control(WatchItem::Rejected {
                reason,
                revision: current.max(self.revision),
            });
        }
    }

    /// Cancels a watcher at the client's wish. Returns its specification if there was one.
    pub(super) fn cancel(
        &mut self,
        stream: StreamKey,
        id: i64,
        current: i64,
    ) -> Option<Arc<WatchSpec>> {
        let key = *self.streams.get(&stream)?.watchers.get(&id)?;
        let revision = current.max(self.revision);
        self.end(key, |watch_id| WatchItem::Canceled {
            watch_id,
            revision,
            reason: String::new(),
        })
    }

    /// Takes a watcher off the books and tells its client.
    fn end(
        &mut self,
        key: WatcherKey,
        message: impl FnOnce(i64) -> WatchItem,
    ) -> Option<Arc<WatchSpec>> {
        let watcher = self.watchers.remove(&key)?;
        self.matcher.remove(&watcher.range, key);
        if let Some(stream) = self.streams.get_mut(&watcher.stream) {
            stream.watchers.remove(&watcher.id);
            if !watcher.synced {
                stream.unsynced -= 1;
            }
            stream.queue.push_control(message(watcher.id));
        }
        self.answer_progress(watcher.stream);
        Some(watcher.spec)
    }

    // ---- events ----

    /// Hands one committed revision to the ring and to every synced watcher it concerns. `look_up` makes
    /// sure that the pair before an event is known.
    pub(super) fn publish(&mut self, revision: Revision, look_up: &dyn Fn(&Revision, usize)) {
        let revision = Arc::new(revision);
        self.revision = revision.revision;
        self.ring.push(Arc::clone(&revision));
        if self.watchers.is_empty() {
            return;
        }
        for (key, events) in matches(&self.matcher, &revision) {
            let Some(watcher) = self.watchers.get_mut(&key) else {
                continue;
            };
            if !watcher.synced || revision.revision < watcher.cursor {
                continue;
            }
            let events = admitted(&watcher.spec, &revision, events);
            let Some(stream) = self.streams.get_mut(&watcher.stream) else {
                continue;
            };
            if events.is_empty() {
                continue;
            }
            if watcher.spec.prev_kv {
                for event in &events {
                    look_up(&revision, *event as usize);
                }
            }
            let offered = stream.queue.offer(Delivery {
                watch_id: watcher.id,
                header_revision: revision.revision,
                with_previous: watcher.spec.prev_kv,
                parts: vec![Part {
                    revision: Arc::clone(&revision),
                    events,
                }],
            });
            match offered {
                Ok(()) => watcher.spoken = true,
                Err(_) => {
                    watcher.synced = false;
                    watcher.cursor = revision.revision;
                    stream.unsynced += 1;
                    stream.catching_up.push_back(key);
                    self.blocked.insert(watcher.stream);
                }
            }
        }
    }

    /// The store has reached `revision` (possibly without any event).
    pub(super) fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
        if !self.asking.is_empty() {
            for stream in self.asking.iter().copied().collect::<Vec<_>>() {
                self.answer_progress(stream);
            }
        }
    }

    /// The whole store was replaced by a later state: what was missed in between is read from there.
    pub(super) fn reset(&mut self, revision: i64, compacted: i64) {
        let published = self.revision;
        self.revision = revision;
        self.compacted = compacted;
        self.ring.reset(revision + 1);
        let mut behind = Vec::new();
        for (key, watcher) in &mut self.watchers {
            if !watcher.synced {
                continue;
            }
            watcher.cursor = watcher.cursor.max(published + 1);
            if watcher.cursor <= revision {
                watcher.synced = false;
                behind.push((watcher.stream, *key));
            }
        }
        behind.sort_unstable();
        for (stream_key, key) in behind {
            if let Some(stream) = self.streams.get_mut(&stream_key) {
                stream.unsynced += 1;
            }
            self.enqueue(stream_key, key);
        }
    }

    // ---- catching up ----

    /// Gives a watcher of a stream to the catch-up thread's line.
    fn enqueue(&mut self, stream_key: StreamKey, key: WatcherKey) {
        if let Some(stream) = self.streams.get_mut(&stream_key) {
            stream.catching_up.push_back(key);
            if !stream.in_ready && !self.blocked.contains(&stream_key) {
                stream.in_ready = true;
                self.ready.push_back(stream_key);
            }
        }
    }

    /// The client has read: the stream's watchers may catch up further.
    pub(super) fn resume(&mut self, key: StreamKey) {
        if self.blocked.remove(&key)
            && let Some(stream) = self.streams.get_mut(&key)
            && !stream.in_ready
        {
            stream.in_ready = true;
            self.ready.push_back(key);
        }
    }

    pub(super) fn has_lagging(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes up to `limit` watchers, `per_stream` at most from each stream, streams in turn.
    pub(super) fn take_lagging(&mut self, limit: usize, per_stream: usize) -> Vec<Lagging> {
        let mut taken = Vec::new();
        for _ in 0..self.ready.len() {
            if taken.len() >= limit {
                break;
            }
            let Some(stream_key) = self.ready.pop_front() else {
                break;
            };
            let Some(stream) = self.streams.get_mut(&stream_key) else {
                continue;
            };
            stream.in_ready = false;
            if self.blocked.contains(&stream_key) {
                continue;
            }
            let count = per_stream
                .min(limit - taken.len())
                .min(stream.catching_up.len());
            for key in stream.catching_up.drain(..count) {
                if let Some(watcher) = self.watchers.get(&key) {
                    taken.push(Lagging {
                        key,
                        cursor: watcher.cursor,
                        range: watcher.range.clone(),
                        spec: Arc::clone(&watcher.spec),
                    });
                }
            }
            if !stream.catching_up.is_empty() {
                stream.in_ready = true;
                self.ready.push_back(stream_key);
            }
        }
        taken
    }

    /// Queues what was found for a watcher, message by message, until its queue is full.
    /// Nothing when the watcher was canceled meanwhile.
    pub(super) fn deliver(
        &mut self,
        lagging: &Lagging,
        messages: Vec<Vec<Part>>,
        next: i64,
    ) -> Option<Outcome> {
        let watcher = self.watchers.get_mut(&lagging.key)?;
        let stream = self.streams.get(&watcher.stream)?;
        for parts in messages {
            let Some(first) = parts.first().map(|part| part.revision.revision) else {
                continue;
            };
            let offered = stream.queue.offer(Delivery {
                watch_id: watcher.id,
                header_revision: self.revision,
                with_previous: watcher.spec.prev_kv,
                parts,
            });
            match offered {
                Ok(()) => watcher.spoken = true,
                Err(_) => return Some(Outcome::Full(first)),
            }
        }
        Some(Outcome::Reached(next))
    }

    /// Gives a watcher back after `outcome`. Returns its specification if it was ended.
    pub(super) fn settle(&mut self, key: WatcherKey, outcome: Outcome) -> Option<Arc<WatchSpec>> {
        let stream_key = self.watchers.get(&key)?.stream;
        match outcome {
            Outcome::Compacted => {
                let (revision, compact_revision) = (self.revision, self.compacted);
                return self.end(key, |watch_id| WatchItem::Compacted {
                    watch_id,
                    revision,
                    compact_revision,
                });
            }
            Outcome::Failed => {
                let revision = self.revision;
                return self.end(key, |watch_id| WatchItem::Canceled {
                    watch_id,
                    revision,
                    reason: "etcdserver: the history could not be read".to_owned(),
                });
            }
            Outcome::Reached(cursor) | Outcome::Full(cursor) => {
                let watcher = self.watchers.get_mut(&key)?;
                watcher.cursor = watcher.cursor.max(cursor);
                watcher.synced = watcher.cursor > self.revision;
                if watcher.synced {
                    self.streams.get_mut(&stream_key)?.unsynced -= 1;
                    self.answer_progress(stream_key);
                } else if matches!(outcome, Outcome::Full(_)) {
                    self.block(stream_key, key);
                } else {
                    self.enqueue(stream_key, key);
                }
            }
        }
        None
    }

    /// The stream's queue refused a message: its watchers wait until the client reads.
    fn block(&mut self, stream_key: StreamKey, key: WatcherKey) {
        let Some(stream) = self.streams.get_mut(&stream_key) else {
            return;
        };
        stream.catching_up.push_back(key);
        self.blocked.insert(stream_key);
    }

    /// Drops the watchers of blocked streams whose history is gone and whose clients have read
    /// nothing for the stall timeout. Returns their specifications.
    pub(super) fn drop_stalled(&mut self, now: Instant) -> Vec<Arc<WatchSpec>> {
        let timeout = self.options.stall_timeout;
        let stalled: Vec<_> = self
            .blocked
            .iter()
            .filter_map(|key| self.streams.get(key))
            .filter(|stream| stream.queue.stalled_for(now).is_some_and(|t| t >= timeout))
            .flat_map(|stream| stream.catching_up.iter().copied())
            .collect();
        let mut dropped = Vec::new();
        for key in stalled {
            let Some(watcher) = self.watchers.get(&key) else {
                continue;
            };
            if watcher.cursor >= self.compacted || self.ring.covers(watcher.cursor) {
                continue;
            }
            tracing::warn!(
                watch_id = watcher.id,
                cursor = watcher.cursor,
                compacted = self.compacted,
                "dropping a watcher whose client reads nothing while its history was compacted"
            );
            if let Some(stream) = self.streams.get(&watcher.stream) {
                stream.queue.discard(watcher.id);
            }
            dropped.extend(self.settle(key, Outcome::Compacted));
        }
        dropped
    }

    /// Whether there are streams [`State::drop_stalled`] should be asked about.
    pub(super) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    // ---- progress ----

    /// The client wants to know how far the stream is; answered as soon as all its watchers are
    /// synced, and never when it has none (as in etcd).
    pub(super) fn request_progress(&mut self, stream_key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&stream_key) {
            stream.progress_requested = true;
            self.asking.insert(stream_key);
            self.answer_progress(stream_key);
        }
    }

    fn answer_progress(&mut self, stream_key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&stream_key) else {
            return;
        };
        if !stream.progress_requested {
            return;
        }
        let revision = self.revision;
        let all_synced = stream.unsynced == 0
            && stream.queue.last_header() <= revision
            && stream.watchers.values().all(|key| {
                self.watchers
                    .get(key)
                    .is_some_and(|watcher| watcher.has_reached(revision))
            });
        if all_synced {
            stream.progress_requested = false;
            self.asking.remove(&stream_key);
            if !stream.watchers.is_empty() {
                stream.queue.push_control(WatchItem::Progress {
                    watch_id: NO_WATCH_ID,
                    revision,
                });
            }
        }
    }

    /// Sends the periodic progress notices that are due; returns when the next ones are.
    pub(super) fn notify_progress(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for stream in self.streams.values_mut() {
            let Some(due) = stream.next_notice else {
                continue;
            };
            let mut following = due;
            if due <= now {
                following = now + jittered(self.options.progress_interval);
                // A client that has not read what is there needs no notice.
                let quiet = stream.queue.is_idle() && stream.queue.last_header() <= self.revision;
                for key in stream.watchers.values() {
                    let Some(watcher) = self.watchers.get_mut(key) else {
                        continue;
                    };
                    if watcher.spec.progress_notify
                        && !watcher.spoken
                        && watcher.has_reached(self.revision)
                        && quiet
                    {
                        stream.queue.push_control(WatchItem::Progress {
                            watch_id: watcher.id,
                            revision: self.revision,
                        });
                    }
                    watcher.spoken = false;
                }
                stream.next_notice = Some(following);
            }
            next = Some(next.map_or(following, |next| next.min(following)));
        }
        next
    }
}

impl Watcher {
    /// Whether "everything up to `revision` has been delivered" says something true and new.
    fn has_reached(&self, revision: i64) -> bool {
        self.synced && self.cursor <= revision + 1 && self.spec.start_revision <= revision
    }
}

fn check(
    spec: &WatchSpec,
    stream: &mut Stream,
    options: &WatchOptions,
    all_watchers: usize,
) -> Result<(KeyRange, i64), CreateError> {
    if spec.start_revision < 0 {
        return Err(CreateError::NegativeStart);
    }
    let range = KeyRange::parse(&spec.key, &spec.range_end).ok_or(CreateError::EmptyRange)?;
    if stream.watchers.len() >= options.watchers_per_stream || all_watchers >= options.watchers {
        return Err(CreateError::TooMany);
    }
    let id = if spec.watch_id == 0 {
        while stream.watchers.contains_key(&stream.next_id) {
            stream.next_id += 1;
        }
        stream.next_id += 1;
        stream.next_id - 1
    } else if spec.watch_id == NO_WATCH_ID || stream.watchers.contains_key(&spec.watch_id) {
        return Err(CreateError::DuplicateId);
    } else {
        spec.watch_id
    };
    Ok((range, id))
}

/// The watchers a revision concerns, each with the indices of its events, ascending.
pub(super) fn matches(matcher: &Matcher, revision: &Revision) -> Vec<(WatcherKey, Vec<u32>)> {
    let mut pairs: Vec<(WatcherKey, u32)> = Vec::new();
    for (index, event) in (0u32..).zip(&revision.events) {
        matcher.each(event.key(), |watcher| pairs.push((watcher, index)));
    }
    if revision.events.len() > 1 {
        pairs.sort_unstable();
    }
    let mut found: Vec<(WatcherKey, Vec<u32>)> = Vec::new();
    for (watcher, index) in pairs {
        match found.last_mut() {
            Some((last, indices)) if *last == watcher => indices.push(index),
            _ => found.push((watcher, vec![index])),
        }
    }
    found
}

/// Leaves out what the watcher's filters leave out.
pub(super) fn admitted(spec: &WatchSpec, revision: &Revision, mut events: Vec<u32>) -> Vec<u32> {
    events.retain(|index| spec.admits(&revision.events[*index as usize]));
    events
}

fn jittered(interval: Duration) -> Duration {
    interval + interval.mul_f64(rand::random::<f64>() / 10.0)
}
