//! What happened, in the unit the watch hub works with: everything of one revision together.

use std::{io, sync::Arc};

use photon_proto::mvccpb::{Event, KeyValue};

/// Every change of one revision, in the order it was made.
///
/// A DELETE's `kv` has only the key and the revision. `prev_kv` is filled when somebody wanted it while the
/// revision was applied; if it is absent on a DELETE or on a PUT of version 2 and above, ask [`History::previous`].
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionEvents {
    /// The revision all of them have.
    pub revision: i64,
    /// The changes.
    pub events: Vec<Arc<Event>>,
}

/// The store's past, for watches that have to catch up.
pub trait History: Send + Sync {
    /// The newest revision readers see.
    fn revision(&self) -> i64;

    /// The compacted revision; -1 before the first compaction.
    fn compacted(&self) -> i64;

    /// Whole revisions in ascending order, `from` and `through` included, until `max_revisions` or `max_bytes`
    /// (of keys and values) is reached; at least one if there is any. Revisions below the compacted one are
    /// incomplete: the caller compares with [`History::compacted`] after the call.
    ///
    /// # Errors
    /// The store could not be read.
    fn events(
        &self,
        from: i64,
        through: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> io::Result<Vec<RevisionEvents>>;

    /// The key as it was just before revision `before`; `None` if it was absent or that state is compacted.
    ///
    /// # Errors
    /// The store could not be read.
    fn previous(&self, key: &[u8], before: i64) -> io::Result<Option<KeyValue>>;
}
