//! Snapshots: how the disks of a VM, or a volume, were at a moment; of a VM that ran, with its memory.
//!
//! ```text
//!   create ──> a record, and a wish in the VM (or volume) ──> its host takes it, once ──> Ready, or Error
//!   delete ──> Deleting, and the wish that it be gone ──> its host tells of it no more ──> no record
//!   revert ──> a number in the VM (or volume), higher than the last ──> its host does it, once
//! ```
//!
//! | module | what |
//! |---|---|
//! | `rules` | what may be done when; pure |
//! | `carry` | what a snapshot is by what its host tells; pure |
//! | `service` | the use cases |
//! | `rest` `grpc` | the doors |

pub(crate) mod carry;
pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod rules;
pub(crate) mod service;

use photon_core::Error;
use photon_service::scope::{Home, Owner};
use photon_store::{PageRequest, Stored};
use plasmavmc_model::{
    DesiredSnapshot, Snapshot, SnapshotId, SnapshotOf, VmId, VmName, Volume, VolumeId,
};

use crate::app::App;

/// A snapshot to be taken.
#[derive(Clone, Debug)]
pub(crate) struct NewSnapshot {
    pub(crate) name: VmName,
    pub(crate) of: SnapshotOf,
}

impl NewSnapshot {
    /// Of one or the other.
    ///
    /// # Errors
    /// 400 naming `vm_id` or `volume_id`.
    pub(crate) fn new(
        name: VmName,
        vm: Option<VmId>,
        volume: Option<VolumeId>,
    ) -> Result<Self, Error> {
        let of = match (vm, volume) {
            (Some(vm), None) => SnapshotOf::Vm(vm),
            (None, Some(volume)) => SnapshotOf::Volume(volume),
            (None, None) => return Err(Error::required("vm_id")),
            (Some(_), Some(_)) => {
                let message = "a snapshot is of a VM or of a volume: give vm_id or volume_id";
                return Err(Error::validation("volume_id", "value", message));
            }
        };
        Ok(Self { name, of })
    }
}

/// Which snapshots.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotFilter {
    pub(crate) owner: Owner,
    pub(crate) vm: Option<VmId>,
    pub(crate) volume: Option<VolumeId>,
}

impl SnapshotFilter {
    fn keeps(&self, snapshot: &Snapshot) -> bool {
        let is_of = |vm: VmId| snapshot.of == SnapshotOf::Vm(vm);
        self.owner.is(&snapshot.org, &snapshot.project)
            && self.vm.is_none_or(is_of)
            && self.volume.is_none_or(|volume| has_part(snapshot, volume))
    }
}

/// Whether a part of a snapshot lies in a volume.
pub(crate) fn has_part(snapshot: &Snapshot, volume: VolumeId) -> bool {
    let shape = snapshot.shape.as_ref();
    snapshot.of == SnapshotOf::Volume(volume)
        || shape.is_some_and(|shape| shape.volumes.contains(&volume))
}

/// A snapshot that lies in a volume, if there is any: its own, or the part of a VM's that had it. Such a volume is neither deleted nor
/// grown.
///
/// # Errors
/// The store's failures.
pub(crate) async fn within(app: &App, volume: &Volume) -> Result<Option<SnapshotId>, Error> {
    if let Some(own) = volume.snapshots.first() {
        return Ok(Some(own.id));
    }
    let home = Home {
        org: volume.org.clone(),
        project: volume.project.clone(),
    };
    let mut request = PageRequest {
        prefix: home.prefix(),
        limit: 1_000,
        ..PageRequest::default()
    };
    loop {
        let page = app.records::<Snapshot>().list(&request).await?;
        let mut all = page.items.iter().map(|stored| &stored.value);
        if let Some(found) = all.find(|snapshot| has_part(snapshot, volume.id)) {
            return Ok(Some(found.id));
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(None),
        }
    }
}

/// The records of the snapshots that a VM or a volume of that owner names; those that are there.
///
/// # Errors
/// The store's failures.
pub(crate) async fn records(
    app: &App,
    home: &Home,
    named: &[DesiredSnapshot],
) -> Result<Vec<Stored<Snapshot>>, Error> {
    let all = app.records::<Snapshot>();
    let mut found = Vec::new();
    for one in named {
        found.extend(all.get(&format!("{}{}", home.prefix(), one.id)).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn it_is_of_one_thing() {
        let name = || VmName::try_from("before".to_owned()).unwrap();
        let (vm, volume) = (VmId::generate(), VolumeId::generate());
        let field = |vm, volume| {
            let refused = NewSnapshot::new(name(), vm, volume).unwrap_err();
            let details = refused.details().unwrap();
            details["field"].as_str().unwrap().to_owned()
        };
        assert_eq!(field(None, None), "vm_id");
        assert_eq!(field(Some(vm), Some(volume)), "volume_id");
        let of = |vm, volume| NewSnapshot::new(name(), vm, volume).unwrap().of;
        assert_eq!(of(Some(vm), None), SnapshotOf::Vm(vm));
        assert_eq!(of(None, Some(volume)), SnapshotOf::Volume(volume));
    }
}
