//! Carries what hosts tell of snapshots into their records, and what comes of that into what is wanted.
//!
//! They are looked at with their VM, or their volume.

use std::time::Duration;

use super::Controller;
use crate::{
    snapshot::{
        carry::{Fate, Told, fate},
        records,
    },
    vm::{service::now, state::HostView},
    volume::state::VolumeView,
};
use photon_core::Error;
use photon_service::scope::Home;
use photon_store::Transaction;
use plasmavmc_model::{
    DesiredSnapshot, ObservedState, ObservedVolumeState, Snapshot, SnapshotWish, Vm, Volume,
};

/// What came of the snapshots of a VM, or of a volume.
pub(super) struct Carried {
    /// What is wanted of them from now on.
    pub(super) wished: Vec<DesiredSnapshot>,
    /// Whether records were changed.
    pub(super) is_written: bool,
    /// When time alone may change something.
    pub(super) within: Option<Duration>,
}

impl Controller {
    /// Writes what a host tells into the records that are named.
    async fn carry(
        &self,
        home: &Home,
        named: &[DesiredSnapshot],
        told: &Told<'_>,
        writes: &mut Transaction,
    ) -> Result<Carried, Error> {
        let all = self.app.records::<Snapshot>();
        let (limit, now) = (self.app.config.deadlines.snapshot(), now());
        let mut found = records(&self.app, home, named).await?;
        let mut carried = Carried {
            wished: Vec::new(),
            is_written: false,
            within: None,
        };
        for one in named {
            let at = found.iter().position(|stored| stored.value.id == one.id);
            let Some(mut snapshot) = at.map(|at| found.swap_remove(at)) else {
                // Of what there is no record, nothing is done: least of all is it removed.
                let is_told = told.snapshots.iter().any(|seen| seen.id == one.id);
                if is_told || !told.is_current || one.wish == SnapshotWish::Kept {
                    carried.wished.push(*one);
                }
                continue;
            };
            let mut wish = one.wish;
            match fate(&snapshot.value, one.wish, told, limit, now) {
                Fate::Stays(within) => {
                    carried.within = carried.within.into_iter().chain(within).min();
                }
                Fate::Is(now) => {
                    snapshot.value = now;
                    writes.replace(&all, &snapshot)?;
                    carried.is_written = true;
                }
                Fate::Failed(now) => {
                    tracing::info!(snapshot = %now.id, why = now.reason, "a snapshot could not be taken");
                    snapshot.value = now;
                    writes.replace(&all, &snapshot)?;
                    carried.is_written = true;
                    wish = SnapshotWish::Gone;
                }
                Fate::Gone => {
                    writes.delete(&all, &snapshot)?;
                    carried.is_written = true;
                    continue;
                }
            }
            carried.wished.push(DesiredSnapshot { id: one.id, wish });
        }
        Ok(carried)
    }

    /// Carries what its host tells of a VM's snapshots, and changes what is wanted of them.
    pub(super) async fn carry_of_vm(
        &self,
        vm: &mut Vm,
        host: &HostView,
        writes: &mut Transaction,
    ) -> Result<Option<Carried>, Error> {
        let HostView::Alive {
            since,
            observed: Some(seen),
        } = host
        else {
            return Ok(None);
        };
        if vm.snapshots.is_empty() {
            return Ok(None);
        }
        let told = Told {
            snapshots: &seen.snapshots,
            is_current: seen.generation >= vm.wanted.generation
                && seen.state != ObservedState::Preparing,
            since: *since,
        };
        let home = Home {
            org: vm.org.clone(),
            project: vm.project.clone(),
        };
        let carried = self.carry(&home, &vm.snapshots, &told, writes).await?;
        if carried.wished != vm.snapshots {
            vm.snapshots.clone_from(&carried.wished);
            vm.wanted.generation += 1;
        }
        Ok(Some(carried))
    }

    /// Removes the records of a VM's snapshots, which go with its disks.
    pub(super) async fn forget_snapshots(
        &self,
        vm: &Vm,
        writes: &mut Transaction,
    ) -> Result<(), Error> {
        let home = Home {
            org: vm.org.clone(),
            project: vm.project.clone(),
        };
        for snapshot in records(&self.app, &home, &vm.snapshots).await? {
            writes.delete(&self.app.records(), &snapshot)?;
        }
        Ok(())
    }

    /// Carries what its host tells of a volume's own snapshots, and changes what is wanted of them.
    pub(super) async fn carry_of_volume(
        &self,
        volume: &mut Volume,
        view: &VolumeView,
        writes: &mut Transaction,
    ) -> Result<Option<Carried>, Error> {
        let VolumeView::Alive { since, observed } = view else {
            return Ok(None);
        };
        if volume.snapshots.is_empty() {
            return Ok(None);
        }
        let is_current = observed.as_ref().is_some_and(|seen| {
            let is_looked_at = match seen.state {
                ObservedVolumeState::Ready => true,
                ObservedVolumeState::Failed => seen.size_gib > 0,
                ObservedVolumeState::Preparing => false,
            };
            seen.generation >= volume.generation && is_looked_at
        });
        let told = Told {
            snapshots: observed.as_ref().map_or(&[], |seen| &seen.snapshots),
            is_current,
            since: *since,
        };
        let home = Home {
            org: volume.org.clone(),
            project: volume.project.clone(),
        };
        let carried = self.carry(&home, &volume.snapshots, &told, writes).await?;
        if carried.wished != volume.snapshots {
            volume.snapshots.clone_from(&carried.wished);
            volume.generation += 1;
        }
        Ok(Some(carried))
    }
}
