//! What the workers of volumes tell, for whoever reports it and for VMs that have them.

use std::collections::{BTreeMap, BTreeSet};

use plasmavmc_model::{ObservedSnapshot, ObservedVolumeState, VolumeId};

use crate::{feed::Records, outcome::Outcomes};

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOutcome {
    /// The generation that it is worked by.
    pub generation: u64,
    /// How it is.
    pub state: ObservedVolumeState,
    /// Its size in truth, in GiB; 0 before it is there.
    pub size_gib: u32,
    /// What there is to say.
    pub reason: String,
    /// Its snapshots.
    pub snapshots: Vec<ObservedSnapshot>,
    /// The number of the last revert that was done.
    pub reverted: u64,
}

/// All that is told of volumes.
#[derive(Clone, Debug, Default)]
pub struct VolumesTold {
    /// How they are.
    pub volumes: BTreeMap<VolumeId, VolumeOutcome>,
    /// Of which nothing is left.
    pub gone: BTreeSet<VolumeId>,
    /// What there is to say of those that are ordered away, and are still there.
    pub ordered: BTreeMap<VolumeId, String>,
    /// The generations that are to be worked by.
    expected: BTreeMap<VolumeId, u64>,
    /// Volumes that the store knows; `None` before it was asked. What was told of others is taken back.
    pub known: Option<BTreeSet<VolumeId>>,
    /// Orders to remove volumes; `None` before the store was asked.
    pub orders: Option<BTreeSet<VolumeId>>,
}

impl Outcomes {
    /// What was told of a volume last.
    pub(crate) fn volume(&self, volume: VolumeId) -> Option<VolumeOutcome> {
        self.volumes.lock().volumes.get(&volume).cloned()
    }

    /// Tells of a volume.
    pub(crate) fn put_volume(&self, volume: VolumeId, outcome: VolumeOutcome) {
        let is_new = {
            let mut told = self.volumes.lock();
            told.gone.remove(&volume);
            told.ordered.remove(&volume);
            let before = told.volumes.insert(volume, outcome.clone());
            before.as_ref() != Some(&outcome)
        };
        if is_new {
            self.changed.notify_one();
        }
    }

    /// Tells why one that is ordered away is still there.
    pub(crate) fn tell_of_order(&self, volume: VolumeId, reason: &str) {
        let before = {
            let mut told = self.volumes.lock();
            told.volumes.remove(&volume);
            told.ordered.insert(volume, reason.to_owned())
        };
        if before.as_deref() != Some(reason) {
            self.changed.notify_one();
        }
    }

    /// Tells that nothing of a volume is left.
    pub(crate) fn put_volume_gone(&self, volume: VolumeId) {
        let is_new = {
            let mut told = self.volumes.lock();
            told.volumes.remove(&volume);
            told.ordered.remove(&volume);
            told.expected.remove(&volume);
            told.gone.insert(volume)
        };
        if is_new {
            self.changed.notify_one();
        }
    }

    /// Nobody works at that volume any more.
    pub(crate) fn forget_volume(&self, volume: VolumeId) {
        {
            let mut told = self.volumes.lock();
            told.volumes.remove(&volume);
            told.ordered.remove(&volume);
            told.expected.remove(&volume);
            told.gone.remove(&volume);
        }
        self.changed.notify_one();
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_volume_gone(&self, volume: VolumeId) -> bool {
        self.volumes.lock().gone.contains(&volume)
    }

    /// Somebody is to look at it by that generation.
    pub(crate) fn expect_volume(&self, volume: VolumeId, generation: u64) {
        self.volumes.lock().expected.insert(volume, generation);
    }

    /// Whether somebody is at work on it, or is about to look whether there is something to do: it is not to be opened now. One of which
    /// nothing is known is not: its store may be away.
    pub(crate) fn is_busy(&self, volume: VolumeId) -> bool {
        let told = self.volumes.lock();
        let Some(expected) = told.expected.get(&volume) else {
            return false;
        };
        told.volumes.get(&volume).is_none_or(|outcome| {
            outcome.generation < *expected || outcome.state == ObservedVolumeState::Preparing
        })
    }

    /// What the store knows.
    pub(crate) fn know_volumes(&self, records: &Records) {
        let volumes = records.volumes.keys().chain(records.volumes_gone.keys());
        let known: BTreeSet<VolumeId> = volumes
            .chain(records.unreadable_volumes.keys())
            .copied()
            .collect();
        let orders: BTreeSet<VolumeId> = records.volumes_gone.keys().copied().collect();
        let is_new = {
            let mut told = self.volumes.lock();
            let is_new = told.known.as_ref() != Some(&known);
            let is_new = is_new || told.orders.as_ref() != Some(&orders);
            (told.known, told.orders) = (Some(known), Some(orders));
            is_new
        };
        if is_new {
            self.changed.notify_one();
        }
    }
}
