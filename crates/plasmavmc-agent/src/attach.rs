//! Volumes that come and go while a VM runs. Pure.
//!
//! ```text
//!   wanted, and not had     attach it, if it is there
//!   had, and not wanted     detach it: asked again until it is gone
//!   its number is still taken by one that is to go   it waits
//!   its machine has no bus for them                  at its next boot
//! ```

use std::{collections::BTreeSet, time::Duration};

use plasmavmc_model::{DesiredVm, ObservedState, Power};

use crate::{
    machine::{Domain, HeldVolume},
    plan::{Found, Plan, Step},
};

/// When it is looked again whether a volume that was not there has come.
const LOOK_FOR_IT: Duration = Duration::from_secs(5);

/// Whether what runs has the volumes that are wanted, and no others.
#[must_use]
pub fn is_settled(desired: &DesiredVm, domain: &Domain) -> bool {
    let wanted = desired.disks.iter().filter_map(|disk| disk.volume);
    let wanted: BTreeSet<_> = wanted.map(|volume| volume.id).collect();
    let held: BTreeSet<_> = domain.volumes.iter().map(|volume| volume.id).collect();
    wanted == held
}

/// What is done beside the plan for what runs, or stands still.
#[must_use]
pub fn with_volumes(mut plan: Plan, desired: &DesiredVm, domain: &Domain, found: &Found) -> Plan {
    let is_up = matches!(plan.state, ObservedState::Running | ObservedState::Paused);
    if !is_up || !matches!(desired.power, Power::Running | Power::Paused) {
        return plan;
    }
    let held = &domain.volumes;
    let wanted = desired
        .disks
        .iter()
        .filter_map(|disk| disk.volume.map(|volume| (disk, volume)));
    let wanted = Vec::from_iter(wanted);
    let has = |id| held.iter().any(|volume| volume.id == id);
    let is_over = |one: &&HeldVolume| wanted.iter().all(|(_, volume)| volume.id != one.id);
    let (over, new): (Vec<_>, Vec<_>) = (
        held.iter().filter(is_over).collect(),
        wanted
            .iter()
            .filter(|(_, volume)| !has(volume.id))
            .collect(),
    );
    let mut said = Vec::new();
    for volume in over {
        match volume.lun {
            Some(_) => plan.steps.push(Step::DetachVolume(volume.id)),
            None => said.push(format!("{} goes at its next boot", volume.id)),
        }
    }
    for (disk, volume) in new {
        let is_taken = held.iter().any(|one| one.lun == Some(volume.lun));
        if desired.hardware.volume_bus.is_none() {
            let why = "its machine has no bus for volumes";
            said.push(format!("{} comes at its next boot: {why}", volume.id));
        } else if found.absent.contains(&volume.id) {
            said.push(format!("{} is not there yet", volume.id));
            let next = plan.next.unwrap_or(LOOK_FOR_IT);
            plan.next = Some(next.min(LOOK_FOR_IT));
        } else if is_taken {
            said.push(format!("{} waits for the place of another", volume.id));
        } else {
            plan.steps.push(Step::AttachVolume((*disk).clone()));
        }
    }
    if plan.reason.is_empty() {
        plan.reason = said.join("; ");
    }
    plan
}
