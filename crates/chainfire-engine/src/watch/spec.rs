//! What a watcher asks for, and what a stream hears.

use bytes::Bytes;
use photon_proto::{
    etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType},
    mvccpb,
};

use super::shared::SharedEvent;

/// The watch id of answers that belong to no single watcher.
pub const NO_WATCH_ID: i64 = -1;

/// The keys `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// First key behind the range.
    pub end: RangeEnd,
}

/// Where a range of keys ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// The range is its first key alone.
    Single,
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Open,
}

impl KeyRange {
    /// Reads a key and range end as etcd's Watch does: an empty key is `\0`, an empty end means
    /// the key alone, an end of `\0` means no end.
    ///
    /// Nothing when the range is empty (`key >= range_end`).
    #[must_use]
    pub fn parse(key: &Bytes, range_end: &Bytes) -> Option<Self> {
        let start = if key.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            key.clone()
        };
        let end = match range_end.as_ref() {
            b"" => RangeEnd::Single,
            b"\0" => RangeEnd::Open,
            end if end <= start.as_ref() => return None,
            _ => RangeEnd::Before(range_end.clone()),
        };
        Some(Self { start, end })
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start.as_ref(),
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Open => key >= self.start.as_ref(),
        }
    }
}

/// A watcher to be created; field meanings are etcd's `WatchCreateRequest`.
#[derive(Clone, Debug, Default)]
pub struct WatchSpec {
    /// 0 lets the stream choose the lowest free id, counting up from 0.
    pub watch_id: i64,
    /// First key.
    pub key: Bytes,
    /// See [`KeyRange::parse`].
    pub range_end: Bytes,
    /// First revision to deliver; 0 means after the current one; a future one is waited for.
    pub start_revision: i64,
    /// Deliver the pair before each event.
    pub prev_kv: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
    /// Report progress when nothing happened for the configured interval.
    pub progress_notify: bool,
}

impl From<&WatchCreateRequest> for WatchSpec {
    fn from(request: &WatchCreateRequest) -> Self {
        let filtered = |kind: FilterType| request.filters.contains(&i32::from(kind));
        Self {
            watch_id: request.watch_id,
            key: request.key.clone(),
            range_end: request.range_end.clone(),
            start_revision: request.start_revision,
            prev_kv: request.prev_kv,
            no_put: filtered(FilterType::Noput),
            no_delete: filtered(FilterType::Nodelete),
            progress_notify: request.progress_notify,
        }
    }
}

impl WatchSpec {
    /// Whether the watcher's filters let the event through.
    pub(super) fn admits(&self, event: &SharedEvent) -> bool {
        if event.is_delete() {
            !self.no_delete
        } else {
            !self.no_put
        }
    }
}

/// Why a watcher was not created. The text is what etcd sends as `cancel_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// `key >= range_end`.
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    /// The id is taken on this stream (or is -1, which stands for no watcher).
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    /// A start revision below zero.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    NegativeStart,
    /// The stream or the member has as many watchers as it may have.
    #[error("etcdserver: too many requests")]
    TooMany,
    /// The stream is closed; nobody will read an answer.
    #[error("mvcc: watcher range is empty")]
    Closed,
}

/// One thing a stream hears, in order. `revision` is what the response's header says.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchItem {
    /// The watcher exists; always before anything else about it.
    Created {
        /// The watcher.
        watch_id: i64,
        /// The store's revision.
        revision: i64,
    },
    /// A creation was refused: rendered as created and canceled with watch id -1.
    Rejected {
        /// etcd's text.
        reason: String,
        /// The store's revision.
        revision: i64,
    },
    /// Events of one watcher: one or more whole revisions, ascending.
    Events {
        /// The watcher.
        watch_id: i64,
        /// The store's revision when they were queued; never below the last event's.
        revision: i64,
        /// Never empty.
        events: Vec<mvccpb::Event>,
    },
    /// Every event up to and including `revision` has been delivered.
    Progress {
        /// The watcher, or -1 for every watcher of the stream.
        watch_id: i64,
        /// How far.
        revision: i64,
    },
    /// The watcher is gone because the history it still needs is.
    Compacted {
        /// The watcher.
        watch_id: i64,
        /// The store's revision.
        revision: i64,
        /// The oldest revision a new watcher can start at.
        compact_revision: i64,
    },
    /// The watcher is gone, at the client's wish (no reason) or for the reason given.
    Canceled {
        /// The watcher.
        watch_id: i64,
        /// The store's revision.
        revision: i64,
        /// Empty when the client asked for it.
        reason: String,
    },
}
