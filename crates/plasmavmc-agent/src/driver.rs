//! What drives a hypervisor. The rest of the agent knows no libvirt: another driver (cloud-hypervisor, by its own API) has this
//! trait to fill.

use plasmavmc_model::{Hypervisor, SnapshotId, VmId, VolumeId};

use crate::machine::{Disk, Domain, Machine};

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What drives machines cannot be reached.
    #[error("the hypervisor cannot be reached: {0}")]
    Away(String),
    /// It does not do it.
    #[error("{0}")]
    Refused(String),
    /// It did not answer in time. It may still do it.
    #[error("{0} has not ended in time")]
    Late(String),
}

/// What is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The driver and the versions of what it drives, as `libvirt 9.0.0, qemu 7.2.22`.
    pub versions: String,
    /// The program that is a machine.
    pub emulator: String,
    /// The newest machine type, with its version.
    pub machine: String,
    /// CPUs of this host.
    pub cpus: u32,
    /// Memory of this host, in MiB.
    pub memory_mib: u64,
}

/// Drives the machines of this host.
///
/// Every call may be repeated and says what is, not what was asked: starting what runs, powering off what does not, removing what is
/// not there are no errors. Calls block, some for minutes: they are made by [`crate::calls::Calls`] alone, which keeps them off the
/// async threads, apart by VM, and within time. Domains that are not ours (no metadata of ours) are never shown and never touched.
pub trait Driver: Send + Sync + 'static {
    /// What is on this machine. Warms whatever is slow the first time.
    ///
    /// # Errors
    /// As said there.
    fn about(&self) -> Result<About, Error>;

    /// What the definition of a machine would say: [`Domain::digest`] of what [`Driver::define`] makes. Does not block.
    fn digest(&self, machine: &Machine) -> String;

    /// What a record says that cannot be in a definition, whoever wrote it. Does not block.
    ///
    /// # Errors
    /// The part at fault, in a sentence.
    fn check(&self, machine: &Machine) -> Result<(), String>;

    /// All domains of ours.
    ///
    /// # Errors
    /// As said there.
    fn list(&self) -> Result<Vec<Domain>, Error>;

    /// One domain of ours.
    ///
    /// # Errors
    /// As said there; [`Error::Refused`] if the name or the UUID is somebody else's.
    fn look(&self, vm: VmId) -> Result<Option<Domain>, Error>;

    /// Defines a machine, in place of what is defined. What runs is not changed by it.
    ///
    /// # Errors
    /// As said there.
    fn define(&self, machine: &Machine) -> Result<(), Error>;

    /// Starts what is defined.
    ///
    /// # Errors
    /// As said there.
    fn start(&self, vm: VmId) -> Result<(), Error>;

    /// Presses the power button (ACPI). What the guest makes of it is its own.
    ///
    /// # Errors
    /// As said there.
    fn press_power_button(&self, vm: VmId) -> Result<(), Error>;

    /// Has what runs stand still.
    ///
    /// # Errors
    /// As said there.
    fn pause(&self, vm: VmId) -> Result<(), Error>;

    /// Lets go on what stands still.
    ///
    /// # Errors
    /// As said there.
    fn resume(&self, vm: VmId) -> Result<(), Error>;

    /// Writes the memory of what runs to disk, and ends it.
    ///
    /// # Errors
    /// As said there.
    fn save(&self, vm: VmId) -> Result<(), Error>;

    /// Makes a machine of the memory on disk. It stands still then, and the memory on disk is gone.
    ///
    /// # Errors
    /// As said there.
    fn restore(&self, vm: VmId) -> Result<(), Error>;

    /// Removes the memory on disk.
    ///
    /// # Errors
    /// As said there.
    fn drop_memory(&self, vm: VmId) -> Result<(), Error>;

    /// Takes a snapshot of what runs: of its memory and all its disks, or of nothing. Nothing of it is kept but what is within the disks.
    ///
    /// # Errors
    /// As said there.
    fn take_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error>;

    /// Removes a snapshot from the disks of what runs.
    ///
    /// # Errors
    /// As said there.
    fn remove_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error>;

    /// Begins what is defined with the memory and the disks of a snapshot. It stands still then.
    ///
    /// # Errors
    /// As said there.
    fn revert(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error>;

    /// Gives a volume to what runs; one that it has is no error.
    ///
    /// # Errors
    /// As said there.
    fn attach_volume(&self, vm: VmId, disk: &Disk) -> Result<(), Error>;

    /// Asks what runs to let a volume go; one that it does not have is no error. Whether it is gone, [`Driver::look`] says.
    ///
    /// # Errors
    /// As said there.
    fn detach_volume(&self, vm: VmId, volume: VolumeId) -> Result<(), Error>;

    /// Takes the power away.
    ///
    /// # Errors
    /// As said there.
    fn power_off(&self, vm: VmId) -> Result<(), Error>;

    /// Forgets the definition of what does not run.
    ///
    /// # Errors
    /// As said there.
    fn undefine(&self, vm: VmId) -> Result<(), Error>;
}

/// The CPU model of new VMs, unless configured.
#[must_use]
pub fn default_cpu(hypervisor: Hypervisor) -> &'static str {
    match hypervisor {
        Hypervisor::Kvm => "host-model",
        Hypervisor::Qemu => "qemu64",
    }
}
