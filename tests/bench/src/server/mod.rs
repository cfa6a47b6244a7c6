//! The servers that are compared: started for a measure, with their data on the same disk, killed after it.

mod cluster;
mod daemon;
pub(crate) mod http;
mod process;
mod scrape;
mod single;
mod store;

pub(crate) use cluster::Cluster;
pub(crate) use daemon::Daemon;
pub(crate) use process::{Process, Usage, own_cpu_s};
pub(crate) use single::{Addresses, Single};
pub(crate) use store::Store;

use std::path::PathBuf;

/// Which program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian's etcd (or any other etcd binary).
    Etcd(PathBuf),
    /// ChainFire.
    Chainfire(PathBuf),
    /// This program's own constant service.
    Ceiling(PathBuf),
}

impl Kind {
    /// The name in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Etcd(_) => "etcd",
            Self::Chainfire(_) => "ChainFire",
            Self::Ceiling(_) => "ceiling",
        }
    }
}
