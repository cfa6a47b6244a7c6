//! The words between the agent and what drives a hypervisor: a machine as it is to be defined, a domain as it is found.

use std::path::PathBuf;

use plasmavmc_model::{AttachedVolume, Hardware, Hypervisor, ObservedState, VmId, VolumeId};

/// A machine, with everything resolved to what is on this host. None of it is a text that a tenant chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whose; its UUID is the domain's, its text the domain's name.
    pub id: VmId,
    /// The boot that it is defined for.
    pub boot: u64,
    /// The last revert that was done before that boot.
    pub reverted: u64,
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
    /// Its disks, in order: its own, and volumes.
    pub disks: Vec<Disk>,
    /// The volume that tells its guest of itself: read-only, behind its disks.
    pub seed: Option<PathBuf>,
    /// Its interfaces, in order.
    pub interfaces: Vec<Interface>,
    /// Where everything is kept that it writes to its serial console.
    pub console: PathBuf,
    /// The socket to that console, which the hypervisor makes.
    pub console_socket: PathBuf,
}

/// A disk that is written to; qcow2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its file.
    pub path: PathBuf,
    /// That it is a volume.
    pub volume: Option<AttachedVolume>,
}

/// A volume that a domain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldVolume {
    /// Which.
    pub id: VolumeId,
    /// Its number on the bus of volumes; none on another bus, which lets it go at the next boot only.
    pub lun: Option<u8>,
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
    /// The volumes that it has, if it runs, or will have, if its memory is on disk.
    pub volumes: Vec<HeldVolume>,
    /// The last revert that was done before the boot that it runs, or was defined for last.
    pub reverted: u64,
    /// What is on disk of its memory.
    pub memory: Option<Memory>,
}

/// What is on disk of a domain's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All of it: that boot can go on from there.
    Whole(u64),
    /// Nothing that it could go on from: writing it was cut off.
    Broken,
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
    /// It stands still because somebody said so: the agent, or a person on this host.
    Held,
    /// It stands still since a call of the agent that was to write or to read its memory. Nobody wants it to.
    Halted,
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

    /// How it is, in the words that are told, whatever is wanted of it.
    #[must_use]
    pub fn observed(&self) -> ObservedState {
        match self.state {
            DomainState::Off(_) if matches!(self.memory, Some(Memory::Whole(_))) => {
                ObservedState::Suspended
            }
            DomainState::Off(_) => ObservedState::Stopped,
            // What halted is about to go on.
            DomainState::Starting | DomainState::Halted => ObservedState::Starting,
            DomainState::Running => ObservedState::Running,
            DomainState::Ending => ObservedState::Stopping,
            DomainState::Full | DomainState::Held | DomainState::Paused(_) => ObservedState::Paused,
        }
    }
}
