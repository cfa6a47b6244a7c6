//! What the workers tell, for whoever reports it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use parking_lot::Mutex;
use plasmavmc_model::{
    Capacity, End, Hardware, HeldBlob, HeldImage, Hypervisor, ObservedPool, ObservedSnapshot,
    ObservedState, OrphanVm, Probe, VmId, VolumeId,
};
use tokio::sync::Notify;

use crate::volumes::told::VolumesTold;

/// How a VM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The generation that it is worked by.
    pub generation: u64,
    /// How it is.
    pub state: ObservedState,
    /// The boot that runs, or ran last.
    pub boot: u64,
    /// When that one began, if it runs.
    pub started: Option<Timestamp>,
    /// How that ended, if none runs.
    pub ended: Option<End>,
    /// What there is to say.
    pub reason: String,
    /// What runs it.
    pub hypervisor: Option<Hypervisor>,
    /// The volumes that what runs has open.
    pub volumes: Vec<VolumeId>,
    /// Its snapshots.
    pub snapshots: Vec<ObservedSnapshot>,
    /// The number of the last revert that was done.
    pub reverted: u64,
}

/// What the agent tells of itself and its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The driver and the versions of what it drives.
    pub driver: String,
    /// What the machine has for VMs.
    pub capacity: Capacity,
    /// What runs guests; `None` while it is tried.
    pub probe: Option<Probe>,
    /// The profile of new VMs; `None` while the probe is not over.
    pub hardware: Option<Hardware>,
    /// Images here.
    pub images: Vec<HeldImage>,
    /// Content here.
    pub blobs: Vec<HeldBlob>,
    /// Pools here, `local` first.
    pub pools: Vec<ObservedPool>,
    /// Where the door is.
    pub door: Option<String>,
    /// What is wrong with the files of images, and with looking.
    pub problems: BTreeMap<&'static str, Vec<String>>,
    /// VMs that nobody knows, and about which nobody has decided.
    pub orphans: Vec<OrphanVm>,
    /// VMs that the store knows or that are here; `None` before both were asked. What was told of others is taken back.
    pub known: Option<BTreeSet<VmId>>,
    /// Orders to take VMs down; `None` before the store was asked.
    pub orders: Option<BTreeSet<VmId>>,
}

/// Everything that is told.
#[derive(Debug, Default)]
pub struct Outcomes {
    vms: Mutex<BTreeMap<VmId, Outcome>>,
    gone: Mutex<BTreeSet<VmId>>,
    facts: Mutex<Facts>,
    pub(crate) volumes: Mutex<VolumesTold>,
    /// That something changed.
    pub changed: Notify,
}

impl Outcomes {
    /// Tells of a VM.
    pub fn put(&self, vm: VmId, outcome: Outcome) {
        // It may have been taken down before, and be made anew.
        self.gone.lock().remove(&vm);
        let before = self.vms.lock().insert(vm, outcome.clone());
        if before.as_ref() != Some(&outcome) {
            self.changed.notify_one();
        }
    }

    /// Tells that nothing of a VM is left.
    pub fn put_gone(&self, vm: VmId) {
        self.vms.lock().remove(&vm);
        if self.gone.lock().insert(vm) {
            self.changed.notify_one();
        }
    }

    /// Nobody works at that VM any more.
    pub fn forget(&self, vm: VmId) {
        let had = self.vms.lock().remove(&vm).is_some();
        let was_gone = self.gone.lock().remove(&vm);
        if had || was_gone {
            self.changed.notify_one();
        }
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_gone(&self, vm: VmId) -> bool {
        self.gone.lock().contains(&vm)
    }

    /// Changes what is told of the agent.
    pub fn change(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.facts.lock();
        let before = facts.clone();
        change(&mut facts);
        if *facts != before {
            self.changed.notify_one();
        }
    }

    /// What is told of the agent.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.lock().clone()
    }

    /// What is told of VMs, and of which nothing is left.
    #[must_use]
    pub fn vms(&self) -> (BTreeMap<VmId, Outcome>, BTreeSet<VmId>) {
        (self.vms.lock().clone(), self.gone.lock().clone())
    }
}
