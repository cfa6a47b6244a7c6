//! The words between the agent and what drives a hypervisor: a machine as it is to be defined, a domain as it is found.

use std::path::PathBuf;

use plasmavmc_model::{Hardware, Hypervisor, VmId};

/// A machine, with everything resolved to what is on this host. None of it is a text that a tenant chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whose; its UUID is the domain's, its text the domain's name.
    pub id: VmId,
    /// The boot that it is defined for.
    pub boot: u64,
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// CPUs.
    pub vcpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// What the guest sees.
    pub hardware: Hardware,
    /// What it boots.
    pub boots: Boots,
    /// Its disks' files, in order; qcow2.
    pub disks: Vec<PathBuf>,
    /// The volume that tells its guest of itself: read-only, behind its disks.
    pub seed: Option<PathBuf>,
    /// Its interfaces, in order.
    pub interfaces: Vec<Interface>,
    /// Where everything is kept that it writes to its serial console.
    pub console: PathBuf,
    /// The socket to that console, which the hypervisor makes.
    pub console_socket: PathBuf,
}

/// What a machine boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boots {
    /// A kernel, directly.
    Kernel {
        /// Its file.
        kernel: PathBuf,
        /// The initramfs's file.
        initramfs: PathBuf,
        /// Its command line.
        cmdline: String,
    },
    /// The first disk.
    Disk,
}

/// An interface: a tap that is there before the machine starts, made and attached by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The tap.
    pub device: String,
    /// The MAC that the guest sees.
    pub mac: String,
    /// Bytes of the largest packet.
    pub mtu: u32,
}

/// A domain of ours, as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Whose.
    pub id: VmId,
    /// The boot that it runs, or was defined for last.
    pub boot: u64,
    /// What the definition said, as a digest: the same definition need not be made twice.
    pub digest: String,
    /// What runs it, or would.
    pub hypervisor: Hypervisor,
    /// How it is.
    pub state: DomainState,
}

/// How a domain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// Nothing runs.
    Off(Off),
    /// Its start has begun and is not over. If whoever began it was killed, the hypervisor gives it up after a while, and tells nobody.
    Starting,
    /// It runs.
    Running,
    /// The guest has ended; what ran it has not yet.
    Ending,
    /// It stands still because a disk of it could not be written: the host's is full.
    Full,
    /// It stands still, with the reason in a sentence.
    Paused(String),
}

/// Why nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Nobody knows: it never ran, or whoever knew was restarted.
    Unknown,
    /// The guest ended.
    Guest,
    /// It was powered off from outside.
    Destroyed,
    /// What ran it died.
    Crashed,
}

impl Domain {
    /// Whether something runs, or holds what it needs to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !matches!(self.state, DomainState::Off(_))
    }
}
