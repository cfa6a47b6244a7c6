//! What may be snapshotted and reverted, and when. Pure; the tables are in `docs/vm.md`.

use photon_core::{Code, Error};
use plasmavmc_model::{
    Power, Shape, Snapshot, SnapshotState, SnapshotWish, State, Vm, Volume, VolumeState,
    snapshot::MOST_SNAPSHOTS,
};
use serde_json::json;

use crate::refusal;

/// What the words of a refusal are about.
const OF_A_VM: &str = "snapshots of one VM";
const OF_A_VOLUME: &str = "snapshots of one volume";

/// Something else is being done that has to be over first.
pub(super) fn under_way(what: &str) -> Error {
    Error::conflict(format!("{what}: one thing at a time"))
}

/// Whether a snapshot of a VM may be taken.
///
/// # Errors
/// `DELETING`, `FAILED_PRECONDITION`, `LIMIT_EXCEEDED`.
pub(super) fn may_take(vm: &Vm) -> Result<(), Error> {
    is_made(vm)?;
    let is_good = matches!(
        (vm.status.state, vm.wanted.power),
        (State::Stopped, Power::Stopped)
            | (State::Running, Power::Running)
            | (State::Paused, Power::Paused | Power::Running)
    );
    if !is_good {
        return Err(Error::failed_precondition(format!(
            "vm {} is {}: a snapshot is taken of one that is stopped, running or paused, and stays so",
            vm.id, vm.status.state
        )));
    }
    if vm.disk_gib.is_none() && vm.volumes.is_empty() {
        return Err(Error::failed_precondition(format!(
            "vm {} has neither a root disk nor a volume: there is no place for a snapshot",
            vm.id
        )));
    }
    if vm.snapshots.len() >= MOST_SNAPSHOTS {
        return Err(refusal::too_many(OF_A_VM, MOST_SNAPSHOTS));
    }
    Ok(())
}

fn is_made(vm: &Vm) -> Result<(), Error> {
    if vm.deleting.is_some() {
        return Err(refusal::deleting(vm.id));
    }
    if vm.operation.is_some() || vm.status.failed.is_some() || vm.host.is_none() {
        let message = format!("vm {} is not made", vm.id);
        return Err(Error::failed_precondition(message));
    }
    Ok(())
}

/// What a VM is, as a snapshot has it.
pub(super) fn shape(vm: &Vm) -> Shape {
    Shape {
        vcpus: vm.vcpus,
        memory_mib: vm.memory_mib,
        disk_gib: vm.disk_gib,
        volumes: vm.volumes.iter().map(|one| one.volume).collect(),
    }
}

/// By what a VM differs from what it was: its memory then fits nothing else. Its disk has its old size again.
fn differences(vm: &Vm, was: &Shape) -> Vec<&'static str> {
    let is = shape(vm);
    let sorted = |of: &Shape| {
        let mut ids: Vec<String> = of.volumes.iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    let all = [
        ("vcpus", is.vcpus != was.vcpus),
        ("memory_mib", is.memory_mib != was.memory_mib),
        ("volumes", sorted(&is) != sorted(was)),
    ];
    let differ = all.into_iter().filter(|(_, differs)| *differs);
    differ.map(|(what, _)| what).collect()
}

/// Whether a snapshot may be reverted to at all; with its memory, if that is not said otherwise and it has one.
///
/// # Errors
/// `FAILED_PRECONDITION`.
pub(super) fn with_memory(snapshot: &Snapshot, memory: Option<bool>) -> Result<bool, Error> {
    if snapshot.state != SnapshotState::Ready {
        return Err(Error::failed_precondition(format!(
            "snapshot {} is {}: only one that is Ready can be reverted to",
            snapshot.id,
            snapshot.state.as_str()
        )));
    }
    if memory == Some(true) && !snapshot.memory {
        let message = format!("snapshot {} has no memory: revert without", snapshot.id);
        return Err(Error::failed_precondition(message));
    }
    Ok(memory.unwrap_or(snapshot.memory))
}

/// Whether a VM may be reverted.
///
/// # Errors
/// `DELETING`, `FAILED_PRECONDITION`; what differs from what it was is in `details`.
pub(super) fn may_revert(vm: &Vm, snapshot: &Snapshot, memory: bool) -> Result<(), Error> {
    is_made(vm)?;
    let is_wished = |wish| wish == SnapshotWish::Kept;
    let has_it = |vm: &Vm| {
        let mut all = vm.snapshots.iter();
        all.any(|one| one.id == snapshot.id && is_wished(one.wish))
    };
    if !has_it(vm) {
        let message = format!("vm {} does not have snapshot {}", vm.id, snapshot.id);
        return Err(Error::failed_precondition(message));
    }
    let state = vm.status.state;
    if !memory {
        let is_off =
            vm.wanted.power == Power::Stopped && matches!(state, State::Stopped | State::Error);
        return if is_off {
            Ok(())
        } else {
            Err(Error::failed_precondition(format!(
                "vm {} is {state}: its disks are reverted while it is stopped",
                vm.id
            )))
        };
    }
    if matches!(state, State::Creating | State::Deleting | State::Unknown) {
        let message = format!("vm {} is {state}", vm.id);
        return Err(Error::failed_precondition(message));
    }
    let differ = snapshot
        .shape
        .as_ref()
        .map_or_else(Vec::new, |shape| differences(vm, shape));
    if differ.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the memory in snapshot {} does not fit vm {}, which has other {} now; its disks alone can be reverted, with memory false",
        snapshot.id,
        vm.id,
        differ.join(", ")
    );
    Err(Error::failed_precondition(message).with_details(json!({ "differ": differ })))
}

/// Whether a volume may be snapshotted or reverted, as far as it is its own.
///
/// # Errors
/// `DELETING`, `FAILED_PRECONDITION`.
pub(super) fn is_still(volume: &Volume) -> Result<(), Error> {
    if volume.deleting.is_some() {
        let message = format!("volume {} is being deleted", volume.id);
        return Err(Error::new(Code::DELETING, message));
    }
    let is_being_detached = volume.attached.is_some_and(|one| one.detaching.is_some());
    let is_good = match volume.status.state {
        VolumeState::Available => volume.attached.is_none(),
        VolumeState::InUse => volume.attached.is_some() && !is_being_detached,
        _ => false,
    };
    if is_good {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "volume {} is {}: it must be available, or its VM stopped",
        volume.id, volume.status.state
    )))
}

/// Whether a volume may have one more snapshot.
///
/// # Errors
/// `LIMIT_EXCEEDED`.
pub(super) fn has_place(volume: &Volume) -> Result<(), Error> {
    if volume.snapshots.len() < MOST_SNAPSHOTS {
        return Ok(());
    }
    Err(refusal::too_many(OF_A_VOLUME, MOST_SNAPSHOTS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use jiff::Timestamp;
    use plasmavmc_model::{DesiredSnapshot, SnapshotId, SnapshotOf};

    use super::*;
    use crate::vm::state::sample;

    const ALL: [Power; 4] = [
        Power::Running,
        Power::Stopped,
        Power::Paused,
        Power::Suspended,
    ];

    fn vm(state: State, power: Power) -> Vm {
        let mut vm = sample();
        vm.disk_gib = Some(1);
        vm.status.state = state;
        vm.wanted.power = power;
        vm
    }

    fn of(vm: &mut Vm, memory: bool) -> Snapshot {
        let id = SnapshotId::generate();
        vm.snapshots.push(DesiredSnapshot {
            id,
            wish: SnapshotWish::Kept,
        });
        Snapshot {
            id,
            name: vm.name.clone(),
            org: vm.org.clone(),
            project: vm.project.clone(),
            of: SnapshotOf::Vm(vm.id),
            shape: Some(shape(vm)),
            state: SnapshotState::Ready,
            reason: String::new(),
            taken_at: None,
            memory,
            memory_bytes: 0,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn code(result: Result<(), Error>) -> String {
        result.map_or_else(|error| error.code().to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn it_is_taken_of_what_is_still_or_runs_and_stays_so() {
        use State as S;
        for state in State::ALL {
            for power in ALL {
                let is_good = matches!(
                    (state, power),
                    (S::Stopped, Power::Stopped)
                        | (S::Running, Power::Running)
                        | (S::Paused, Power::Paused | Power::Running)
                );
                let found = code(may_take(&vm(state, power)));
                let expected = if is_good { "ok" } else { "FAILED_PRECONDITION" };
                assert_eq!(found, expected, "{state} {power:?}");
            }
        }
        let good = || vm(State::Stopped, Power::Stopped);
        let mut bare = good();
        bare.disk_gib = None;
        assert_eq!(code(may_take(&bare)), "FAILED_PRECONDITION");
        let mut going = good();
        going.deleting = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(code(may_take(&going)), "DELETING");
        let mut failed = good();
        failed.status.failed = Some("no host".to_owned());
        assert_eq!(code(may_take(&failed)), "FAILED_PRECONDITION");
        let mut full = good();
        for _ in 0..MOST_SNAPSHOTS {
            assert_eq!(code(may_take(&full)), "ok");
            of(&mut full, false);
        }
        assert_eq!(code(may_take(&full)), "LIMIT_EXCEEDED");
    }

    #[test]
    fn disks_are_reverted_of_what_is_off_and_memory_of_anything() {
        use State as S;
        for state in State::ALL {
            for power in ALL {
                let mut vm = vm(state, power);
                let snapshot = of(&mut vm, true);
                let is_off = power == Power::Stopped && matches!(state, S::Stopped | S::Error);
                let found = code(may_revert(&vm, &snapshot, false));
                let expected = if is_off { "ok" } else { "FAILED_PRECONDITION" };
                assert_eq!(found, expected, "{state} {power:?}");
                let is_known = !matches!(state, S::Creating | S::Deleting | S::Unknown);
                let found = code(may_revert(&vm, &snapshot, true));
                let expected = if is_known {
                    "ok"
                } else {
                    "FAILED_PRECONDITION"
                };
                assert_eq!(found, expected, "{state} {power:?}");
            }
        }
    }

    #[test]
    fn memory_fits_only_what_it_was() {
        let mut vm = vm(State::Stopped, Power::Stopped);
        let snapshot = of(&mut vm, true);
        vm.disk_gib = Some(2);
        assert_eq!(code(may_revert(&vm, &snapshot, true)), "ok");
        vm.memory_mib += 1;
        vm.vcpus += 1;
        let refused = may_revert(&vm, &snapshot, true).unwrap_err();
        let expected = json!({ "differ": ["vcpus", "memory_mib"] });
        assert_eq!(refused.details(), Some(&expected));
        assert_eq!(code(may_revert(&vm, &snapshot, false)), "ok");
        // One that is about to go is no place to go back to.
        vm.snapshots[0].wish = SnapshotWish::Gone;
        assert_eq!(
            code(may_revert(&vm, &snapshot, false)),
            "FAILED_PRECONDITION"
        );
    }

    #[test]
    fn memory_is_used_where_there_is_any_and_nobody_says_otherwise() {
        let mut vm = vm(State::Stopped, Power::Stopped);
        let (mut with, without) = (of(&mut vm, true), of(&mut vm, false));
        assert!(with_memory(&with, None).unwrap());
        assert!(!with_memory(&with, Some(false)).unwrap());
        assert!(!with_memory(&without, None).unwrap());
        with_memory(&without, Some(true)).unwrap_err();
        for state in [
            SnapshotState::Creating,
            SnapshotState::Error,
            SnapshotState::Deleting,
        ] {
            with.state = state;
            with_memory(&with, None).unwrap_err();
        }
    }
}
