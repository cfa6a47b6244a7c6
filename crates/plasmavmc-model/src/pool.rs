//! Storage pools: where disks lie. A host declares its pools in its agent's configuration and tells how full they are.

use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

/// The pool that every host has: the agent's own directory.
pub const LOCAL: &str = "local";

/// The pool that every host has.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant that is a name")]
pub fn local() -> Name {
    Name::new(LOCAL).expect("a name")
}

/// What keeps the disks of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolDriver {
    /// Files in a directory.
    #[default]
    Directory,
}

impl PoolDriver {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
        }
    }
}

/// A pool, as one of its hosts tells of it; in [`crate::ObservedAgent::pools`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPool {
    /// What it is called; the same on all hosts that share it.
    pub name: Name,
    /// What keeps it.
    pub driver: PoolDriver,
    /// Whether all hosts that tell of a pool of this name see the same disks.
    #[serde(default)]
    pub shared: bool,
    /// Space for disks, in GiB; without what its configuration keeps for others.
    pub capacity_gib: u64,
    /// What is used of it in truth, in GiB, rounded up; by whatever lies there.
    pub used_gib: u64,
}

/// What disks of a pool were given: the sum of their sizes; changed in the transaction that makes or forgets one, so that two cannot both
/// have the last room. The key is `<pool>/<host>`, of a shared pool `<pool>/_`. Root disks of VMs made before there were pools are not in
/// it, but in [`crate::HostUse::disk_gib`] of their host, whose `local` pool they lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolUse {
    /// How many disks.
    pub disks: u64,
    /// Their sizes, in GiB.
    pub gib: u64,
}

impl Record for PoolUse {
    const ROOT: &'static str = "/photon/plasmavmc/pool-use/";
}

impl PoolUse {
    /// The key below the collection; `host` is none of a shared pool.
    #[must_use]
    pub fn key(pool: &Name, host: Option<&Name>) -> String {
        format!("{pool}/{}", host.map_or("_", Name::as_str))
    }

    /// With one more disk of that size.
    #[must_use]
    pub fn with(self, gib: u64) -> Self {
        Self {
            disks: self.disks.saturating_add(1),
            gib: self.gib.saturating_add(gib),
        }
    }

    /// Without one of that size.
    #[must_use]
    pub fn without(self, gib: u64) -> Self {
        Self {
            disks: self.disks.saturating_sub(1),
            gib: self.gib.saturating_sub(gib),
        }
    }
}
