//! What the VMs of a host are given.

use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

/// The sum over a host's VMs; at `<host>`. Changed in the transaction that places a VM there or forgets it, so that two
/// placements cannot both have the last room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUse {
    /// How many.
    pub vms: u64,
    /// Their CPUs.
    pub vcpus: u64,
    /// Their memory, in MiB.
    pub memory_mib: u64,
    /// Their disks, in GiB.
    pub disk_gib: u64,
}

impl Record for HostUse {
    const ROOT: &'static str = "/photon/plasmavmc/use/";
}

impl HostUse {
    /// The key below the collection.
    #[must_use]
    pub fn key(host: &Name) -> String {
        host.to_string()
    }

    /// With one more VM of that size.
    #[must_use]
    pub fn with(self, size: Self) -> Self {
        Self {
            vms: self.vms.saturating_add(size.vms),
            vcpus: self.vcpus.saturating_add(size.vcpus),
            memory_mib: self.memory_mib.saturating_add(size.memory_mib),
            disk_gib: self.disk_gib.saturating_add(size.disk_gib),
        }
    }

    /// Without one of that size.
    #[must_use]
    pub fn without(self, size: Self) -> Self {
        Self {
            vms: self.vms.saturating_sub(size.vms),
            vcpus: self.vcpus.saturating_sub(size.vcpus),
            memory_mib: self.memory_mib.saturating_sub(size.memory_mib),
            disk_gib: self.disk_gib.saturating_sub(size.disk_gib),
        }
    }
}
