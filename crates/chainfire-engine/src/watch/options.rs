//! Limits and intervals of the hub.

use std::time::Duration;

/// How much the hub may hold and how patient it is.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Recent revisions kept in memory for watchers that lag: at most this many …
    pub ring_revisions: usize,
    /// … and at most this many bytes of keys and values.
    pub ring_bytes: usize,
    /// Undelivered event messages one stream may have queued …
    pub queue_items: usize,
    /// … and their bytes. One message is always accepted by an empty queue.
    pub queue_bytes: usize,
    /// Bytes queued on all streams together; beyond it only empty queues accept a message, and
    /// watchers catch up from the ring or the disk instead.
    pub total_queue_bytes: usize,
    /// Answers other than events (created, canceled, …) one stream may have unread before its
    /// door waits with reading further requests.
    pub control_items: usize,
    /// Watchers of one stream.
    pub watchers_per_stream: usize,
    /// Watchers of all streams together.
    pub watchers: usize,
    /// A progress notice is due to watchers that asked for them when nothing was sent for this
    /// long (plus up to a tenth at random, so that they do not all come at once).
    pub progress_interval: Duration,
    /// A stream whose client has read nothing for this long loses its watchers whose history has
    /// been compacted away.
    pub stall_timeout: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            ring_revisions: 65_536,
            ring_bytes: 64 << 20,
            queue_items: 256,
            queue_bytes: 2 << 20,
            total_queue_bytes: 256 << 20,
            control_items: 1024,
            watchers_per_stream: 100_000,
            watchers: 1_000_000,
            progress_interval: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(30),
        }
    }
}
