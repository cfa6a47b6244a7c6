//! What a host tells: written by its agent, below its own prefix only.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Hardware, HeldBlob, HeldImage, Hypervisor, ObservedPool, ObservedSnapshot, VmId,
    VolumeId, key,
};

/// How a VM is on its host: the hypervisor's truth, never what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedState {
    /// What it needs is being made: files, the definition.
    Preparing,
    /// It is all there and does not run.
    Stopped,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It runs, and was asked to end.
    Stopping,
    /// It stands still without having ended: as was asked, or `reason` says why.
    Paused,
    /// It does not run, and its memory is on disk: it goes on from there.
    Suspended,
    /// It cannot be made as it is wanted; `reason` says why. The agent tries again, ever more slowly.
    Failed,
}

/// A VM as of a generation of its [`crate::DesiredVm`]; at `<host>/observed/vm/<vm>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVm {
    /// The generation that the agent works by.
    pub generation: u64,
    /// How it is.
    pub state: ObservedState,
    /// The number of the boot that runs; of the last one, if none does; 0 before the first.
    pub boot: u64,
    /// How the last boot ended, if none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<End>,
    /// Why it is not as it is wanted, or what is to be known of how it came; else empty. For people.
    #[serde(default)]
    pub reason: String,
    /// What runs it in truth; `None` while nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// The volumes that what runs has open, or what is suspended will have; none while nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeId>,
    /// Its snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<ObservedSnapshot>,
    /// The number of the last revert that was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reverted: u64,
    /// Since when it is in this state.
    pub since: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Which boot.
    pub boot: u64,
    /// Who ended it.
    pub by: EndedBy,
    /// When.
    pub at: Timestamp,
}

/// Who ended a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The guest, of its own: it is not started again.
    Guest,
    /// The guest, as it was asked.
    Asked,
    /// The host's power button: it was not asked, or did not answer in time.
    PoweredOff,
    /// Nobody: the hypervisor's process died, or the host. It is started again if it is wanted.
    Crash,
}

impl Record for ObservedVm {
    const ROOT: &'static str = key::HOSTS;
}

/// That nothing of a VM is left on the host; at `<host>/observed/gone/<vm>`. Written in answer to a [`crate::GoneOrder`], with the
/// VM's `observed/vm` removed; removed when the order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneDone {
    /// The VM that was.
    pub id: VmId,
    /// When it was done.
    pub at: Timestamp,
}

impl Record for GoneDone {
    const ROOT: &'static str = key::HOSTS;
}

/// An agent, as it says of itself and its host; at `<host>/observed/agent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedAgent {
    /// Of the program.
    pub version: String,
    /// The driver and the versions of what it drives, as `libvirt 9.0.0, qemu 7.2.22`.
    pub driver: String,
    /// What the machine has.
    pub capacity: Capacity,
    /// What runs guests here.
    pub probe: Probe,
    /// The profile of new VMs.
    pub hardware: Hardware,
    /// The images that are here.
    #[serde(default)]
    pub images: Vec<HeldImage>,
    /// The content that is here, that of `images` included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<HeldBlob>,
    /// Its pools, `local` first; none of an agent of before there were any: then `local` is as `capacity` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<ObservedPool>,
    /// Where the agent's door is, `https://address:port`; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// What is not as it should be, one sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// VMs that are here and that the store does not know, with no order to take them down.
    #[serde(default)]
    pub orphans: Vec<OrphanVm>,
}

impl ObservedAgent {
    /// Whether that content is here.
    #[must_use]
    pub fn holds(&self, digest: Digest) -> bool {
        let blobs = self.blobs.iter().map(|blob| blob.digest);
        let files = self.images.iter().flat_map(HeldImage::files);
        blobs.chain(files).any(|held| held == digest)
    }
}

impl Record for ObservedAgent {
    const ROOT: &'static str = key::HOSTS;
}

/// What a machine has for VMs; without what its configuration keeps for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// CPUs.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Space for disks, in GiB.
    pub disk_gib: u64,
}

/// What runs guests on a host, as a real boot has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// KVM has booted a guest.
    pub kvm: bool,
    /// Emulation is allowed, and there.
    pub emulation: bool,
    /// What was found, in a sentence.
    #[serde(default)]
    pub reason: String,
}

/// A VM that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanVm {
    /// What its domain says it is.
    pub id: VmId,
    /// What it was called.
    #[serde(default)]
    pub name: String,
    /// How it is.
    pub state: ObservedState,
}

/// That the agent runs; under its lease at `<host>/alive`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Since when.
    pub since: Timestamp,
}

impl Record for Alive {
    const ROOT: &'static str = key::HOSTS;
}

/// Where a host's reports begin, below the collection; ends with a slash.
#[must_use]
pub fn prefix(host: &Name) -> String {
    format!("{host}/observed/")
}

/// Where a VM's state is told, below the collection.
#[must_use]
pub fn vm_key(host: &Name, vm: VmId) -> String {
    format!("{host}/observed/vm/{vm}")
}

/// Where it is told that nothing of a VM is left, below the collection.
#[must_use]
pub fn gone_key(host: &Name, vm: VmId) -> String {
    format!("{host}/observed/gone/{vm}")
}

/// Where the agent tells of itself, below the collection.
#[must_use]
pub fn agent_key(host: &Name) -> String {
    format!("{host}/observed/agent")
}

/// The key under the agent's lease, below the collection.
#[must_use]
pub fn alive_key(host: &Name) -> String {
    format!("{host}/alive")
}
