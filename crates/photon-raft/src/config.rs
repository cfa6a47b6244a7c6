//! How a group behaves.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{Error, NodeId};

/// Which cluster a node belongs to: asked with every call between peers, so it should cost next to nothing.
///
/// A node of another cluster is refused, whatever its id; 0 says that the node belongs to none yet.
#[derive(Clone)]
pub struct ClusterId(Arc<dyn Fn() -> u64 + Send + Sync>);

impl ClusterId {
    /// What `ask` answers. Once that is not 0 it must not change.
    pub fn new(ask: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn get(&self) -> u64 {
        (self.0)()
    }
}

impl Default for ClusterId {
    /// Groups that do not tell clusters apart.
    fn default() -> Self {
        Self::new(|| 0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({:x})", self.get())
    }
}

/// One node's part in one group.
#[derive(Debug, Clone)]
pub struct Config {
    /// The group's name, the same on all members; 1 to 63 of `[a-z0-9._-]`.
    pub group: String,
    /// This node; not 0, never reused within the cluster.
    pub node_id: NodeId,
    /// Which cluster it belongs to. Default: calls are not told apart by cluster.
    pub cluster: ClusterId,
    /// Holds `raft/` (log) and `snapshot/` (transfers). Created if missing.
    pub data_dir: PathBuf,
    /// A name for people.
    pub name: String,
    /// `host:port` where other members reach this node's [`crate::Transport`].
    pub advertise_peer: String,
    /// Where clients reach this node; stored in the membership, otherwise opaque.
    pub advertise_client: Vec<String>,
    /// Interval of the leader's heartbeats. Default 100 ms.
    pub heartbeat: Duration,
    /// Shortest time without a leader after which a voter asks for votes; counted from `election_max` after the
    /// leader's last word. Default 400 ms.
    pub election_min: Duration,
    /// Longest such time; also how long a leader may go unconfirmed before it refuses proposals, and
    /// how long after a leader's last word a voter gives its vote to nobody else. So nobody stands for election
    /// before `election_max + election_min`, and a lost leader is replaced within `2 * election_max` plus two round
    /// trips, unless two stand at the same moment. Default 700 ms.
    pub election_max: Duration,
    /// Entries after which the state machine is flushed and the log purged. Default 100,000.
    pub snapshot_every: u64,
    /// Bytes of commands after which the same happens. Default 512 MiB.
    pub snapshot_every_bytes: u64,
    /// Flushed entries kept in the log for followers that are behind. Default 50,000.
    pub keep_entries: u64,
    /// Size at which a log file is closed. Purging removes whole files. Default 64 MiB.
    pub log_file_bytes: usize,
    /// Memory for log entries that are read again (replication, apply). Default 64 MiB.
    pub log_cache_bytes: usize,
    /// Largest command. Default 2 MiB.
    pub max_command_bytes: usize,
    /// Proposals that may wait on this node. Default 16,384.
    pub max_waiting: usize,
    /// How long a snapshot transfer may make no progress. Default 30 s.
    pub snapshot_stall: Duration,
}

impl Config {
    /// The defaults, for a node that other members reach at `advertise_peer`.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        node_id: NodeId,
        data_dir: impl Into<PathBuf>,
        advertise_peer: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            node_id,
            cluster: ClusterId::default(),
            data_dir: data_dir.into(),
            name: String::new(),
            advertise_peer: advertise_peer.into(),
            advertise_client: Vec::new(),
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(400),
            election_max: Duration::from_millis(700),
            snapshot_every: 100_000,
            snapshot_every_bytes: 512 << 20,
            keep_entries: 50_000,
            log_file_bytes: 64 << 20,
            log_cache_bytes: 64 << 20,
            max_command_bytes: 2 << 20,
            max_waiting: 16_384,
            snapshot_stall: Duration::from_secs(30),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let fail = |text: &str| Err(Error::Invalid(text.to_owned()));
        if !valid_group(&self.group) {
            return fail("group must be 1 to 63 of [a-z0-9._-]");
        }
        if self.node_id == 0 {
            return fail("node_id must not be 0");
        }
        if self.advertise_peer.is_empty() {
            return fail("advertise_peer is required");
        }
        if self.heartbeat.is_zero() || self.heartbeat >= self.election_min {
            return fail("election_min must exceed a heartbeat, which is not 0");
        }
        // A voter waits for election_max before it begins to count.
        if self.heartbeat * 3 > self.election_max {
            return fail("election_max must be at least three heartbeats");
        }
        if self.election_min >= self.election_max {
            return fail("election_max must exceed election_min");
        }
        if self.snapshot_every == 0 || self.snapshot_every_bytes == 0 {
            return fail("snapshot_every and snapshot_every_bytes must not be 0");
        }
        if self.log_file_bytes < 4096 || self.max_command_bytes == 0 || self.max_waiting == 0 {
            return fail(
                "log_file_bytes must be at least 4096, max_command_bytes and max_waiting at least 1",
            );
        }
        Ok(())
    }
}

/// Whether `name` can name a group.
pub(crate) fn valid_group(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        })
}
