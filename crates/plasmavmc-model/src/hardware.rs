//! What a guest sees of its machine. It is chosen once, stored with the VM, and never changes by itself: a guest that wakes up in
//! another machine may not boot.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The profile of a machine, as the host it was placed on offered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The versioned machine type, as `pc-q35-7.2`.
    pub machine: String,
    /// The CPU model, in the hypervisor's words.
    pub cpu: String,
    /// What boots it.
    pub firmware: Firmware,
    /// The bus of disks, as `virtio`.
    pub disk_bus: String,
    /// The model of interfaces, as `virtio`.
    pub nic_model: String,
    /// The bus of volumes, as `scsi`, which takes and lets go what runs; none of those made before there were volumes: they have theirs on
    /// `disk_bus`, from the next boot on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_bus: Option<String>,
}

/// What boots a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// The classic one; also where a kernel is booted directly.
    #[default]
    Bios,
    /// UEFI.
    Uefi,
}

/// What runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hypervisor {
    /// With the CPU's help.
    Kvm,
    /// Emulated.
    Qemu,
}

impl Hypervisor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Kvm, Self::Qemu];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Hypervisor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or("must be kvm or qemu")
    }
}
