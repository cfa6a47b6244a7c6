//! What a host is to do: written by the control plane, read by that host's agent.
//!
//! That such a record is absent is no order (decision 9): only a [`GoneOrder`] takes a VM away.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{
    AttachedVolume, DesiredGuest, DesiredSnapshot, Digest, DiskFormat, Hardware, Hypervisor,
    PortId, Power, Revert, VmId, key,
};

/// A VM as it is to be on a host; at `<host>/desired/vm/<vm>`. All that the agent needs, and enough to adopt the VM if the store
/// should forget it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredVm {
    /// The VM; its UUID is the domain's.
    pub id: VmId,
    /// What people call it. For people only.
    pub name: String,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// Raised with every change of this record; told back in [`crate::ObservedVm::generation`].
    pub generation: u64,
    /// Whether it is to run.
    pub power: Power,
    /// The number of the boot that is to run, from 1; 0 before the first. See `docs/vm.md`, "Boots".
    pub boot: u64,
    /// Seconds that the guest has to shut down after it was asked to by ACPI, before it is powered off, when it is to stop or to
    /// boot anew. 0: it is not asked, but powered off.
    pub grace_seconds: u32,
    /// CPUs.
    pub vcpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// What it sees of its machine.
    pub hardware: Hardware,
    /// What is to run it. `None`, or KVM where it does not work: as the host's configuration allows, and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// What it boots.
    pub boots_from: Boot,
    /// Its disks, in order.
    #[serde(default)]
    pub disks: Vec<DesiredDisk>,
    /// Its interfaces, in order.
    #[serde(default)]
    pub ports: Vec<DesiredPort>,
    /// Its snapshots: those that are to be there, and those that are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<DesiredSnapshot>,
    /// To be as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Revert>,
    /// What its guest is told by cloud-init's seed; without it, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<DesiredGuest>,
}

impl DesiredVm {
    /// The content that it needs on its host.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        let disks = self.disks.iter().filter_map(|disk| disk.base);
        self.boots_from.blobs().into_iter().chain(disks).collect()
    }
}

/// What a VM boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Boot {
    /// A kernel, directly; the files are in the host's image directory by their digests.
    Kernel {
        /// The kernel's file.
        kernel: Digest,
        /// The initramfs's file.
        initramfs: Digest,
        /// Its command line: the image's, never a tenant's.
        cmdline: String,
    },
    /// The first disk.
    Disk,
}

impl Boot {
    /// The content that is booted, beside disks.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Kernel {
                kernel, initramfs, ..
            } => vec![*kernel, *initramfs],
            Self::Disk => Vec::new(),
        }
    }
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredDisk {
    /// What it is called within the VM: `root`, or the id of a volume. `[a-z0-9][a-z0-9._-]{0,62}`.
    pub name: Name,
    /// Its size, in GiB.
    pub size_gib: u32,
    /// The content it begins with, which is never written to; empty without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// The format of `base`.
    #[serde(default, skip_serializing_if = "DiskFormat::is_default")]
    pub base_format: DiskFormat,
    /// Where it lies; without, in the host's `local` pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// That it is a volume: made and removed by its own [`crate::DesiredVolume`], and attached to what runs as soon as it is named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<AttachedVolume>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredPort {
    /// The port, which prismnet-agent of the host plugs.
    pub port: PortId,
    /// The interface's MAC: the port's.
    pub mac_address: String,
}

impl Record for DesiredVm {
    const ROOT: &'static str = key::HOSTS;
}

/// The order to take a VM down with everything that is its own: domain, files, taps; at `<host>/desired/gone/<vm>`. Written in the
/// transaction that removes its [`DesiredVm`]; removed when the host said [`crate::GoneDone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneOrder {
    /// The VM that was.
    pub id: VmId,
    /// When it was ordered.
    pub at: Timestamp,
}

impl Record for GoneOrder {
    const ROOT: &'static str = key::HOSTS;
}

/// Where a host's orders begin, below the collection; ends with a slash.
#[must_use]
pub fn prefix(host: &Name) -> String {
    format!("{host}/desired/")
}

/// Where a host is told of a VM, below the collection.
#[must_use]
pub fn vm_key(host: &Name, vm: VmId) -> String {
    format!("{host}/desired/vm/{vm}")
}

/// Where a host is told to take a VM down, below the collection.
#[must_use]
pub fn gone_key(host: &Name, vm: VmId) -> String {
    format!("{host}/desired/gone/{vm}")
}

/// Where a host is told of content that it is to have, below the collection.
#[must_use]
pub fn blob_key(host: &Name, digest: Digest) -> String {
    format!("{host}/desired/blob/{digest}")
}

/// Where all content begins that a host is to have, below the collection; ends with a slash.
#[must_use]
pub fn blob_prefix(host: &Name) -> String {
    format!("{host}/desired/blob/")
}
