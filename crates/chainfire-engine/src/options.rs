//! What can be set about an engine.

use std::time::Duration;

use crate::{auth::TOKEN_TTL, watch::WatchOptions};

/// Sizes and limits. The defaults suit one member with a few million small keys in about 350 MB.
#[derive(Clone, Debug)]
pub struct Options {
    /// RocksDB's block cache in bytes, indexes and filters included.
    pub block_cache_bytes: usize,
    /// All memtables together in bytes.
    pub memtable_bytes: usize,
    /// When [`Size::live`](crate::Size::live) passes this many bytes the member raises the NOSPACE alarm; 0 or less: no
    /// quota.
    pub quota_bytes: i64,
    /// The most operations a transaction may have.
    pub max_txn_ops: usize,
    /// History entries one step of physical compaction looks at. Between steps writes go first.
    pub compaction_step: usize,
    /// A range at an older revision is read as the newest one with at most this many changes taken back (ten times
    /// as many for a count); beyond it, from the history.
    pub walk_changes: usize,
    /// How long a token of etcd's authentication lives since its last use on this member.
    pub token_ttl: Duration,
    /// The watch hub's settings.
    pub watch: WatchOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            memtable_bytes: 40 << 20,
            quota_bytes: 64 << 30,
            max_txn_ops: 128,
            compaction_step: 500,
            walk_changes: 2_000,
            token_ttl: TOKEN_TTL,
            watch: WatchOptions::default(),
        }
    }
}
