//! The use cases of snapshots: they change what is wanted. What comes of it is the controller's.

use jiff::Timestamp;
use parking_lot::Mutex;
use photon_auth::Context;
use photon_core::Error;
use photon_service::{
    audit::Act,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
};
use photon_store::Stored;
use plasmavmc_model::{
    DesiredSnapshot, ObservedState, ObservedVm, ObservedVolume, Power, Revert, Snapshot,
    SnapshotId, SnapshotOf, SnapshotState, SnapshotWish, State, Vm, VmId, Volume, VolumeId,
    VolumeState, Wanted, snapshot::index, vm, volume,
};

use super::{NewSnapshot, SnapshotFilter, records, rules};
use crate::{
    app::App,
    money::Taken,
    vm::{
        request,
        service::{self as vms, named, now},
        state::{self, HostView},
    },
};

fn what(id: SnapshotId) -> String {
    format!("snapshot {id}")
}

fn home(snapshot: &Stored<Snapshot>) -> Home {
    Home {
        org: snapshot.value.org.clone(),
        project: snapshot.value.project.clone(),
    }
}

fn home_of_volume(volume: &Stored<Volume>) -> Home {
    Home {
        org: volume.value.org.clone(),
        project: volume.value.project.clone(),
    }
}

fn act(snapshot: &Snapshot) -> Act {
    let act = Act::new("snapshot", snapshot.id, &snapshot.project);
    match snapshot.of {
        SnapshotOf::Vm(vm) => act.detail("vm", vm.to_string()),
        SnapshotOf::Volume(volume) => act.detail("volume", volume.to_string()),
    }
}

/// A snapshot, if the caller may do what it asks for in its project, and means that owner's.
async fn find(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
) -> Result<Stored<Snapshot>, Error> {
    let found = app.records::<Snapshot>().get_by_index(&index(id)).await?;
    let snapshot = scope::allow_found(ctx, found, home, &what(id))?;
    if !owner.is(&snapshot.value.org, &snapshot.value.project) {
        return Err(Error::not_found(what(id)));
    }
    Ok(snapshot)
}

async fn vm_by_id(app: &App, id: VmId) -> Result<Option<Stored<Vm>>, Error> {
    Ok(app.records::<Vm>().get_by_index(&vm::index(id)).await?)
}

async fn volume_by_id(app: &App, id: VolumeId) -> Result<Option<Stored<Volume>>, Error> {
    let all = app.records::<Volume>();
    Ok(all.get_by_index(&volume::index(id)).await?)
}

/// Reads a snapshot.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
) -> Result<Versioned<Snapshot>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

/// Lists the snapshots the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &SnapshotFilter,
    ask: &Ask,
) -> Result<Listing<Snapshot>, Error> {
    let visible = ctx.visible()?;
    let keep = |snapshot: &Snapshot| {
        filter.keeps(snapshot) && scope::is_visible(ctx, &visible, &snapshot.project)
    };
    let prefix = filter.owner.prefix(ctx);
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Writes down that a snapshot is to be taken.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: &NewSnapshot,
) -> Result<Versioned<Snapshot>, Error> {
    let id = SnapshotId::generate();
    match new.of {
        SnapshotOf::Vm(vm) => contended(ctx, || of_vm(app, ctx, id, new, vm)).await,
        SnapshotOf::Volume(volume) => contended(ctx, || of_volume(app, ctx, id, new, volume)).await,
    }
}

fn blank(id: SnapshotId, new: &NewSnapshot, home: Home) -> Snapshot {
    Snapshot {
        id,
        name: new.name.clone(),
        org: home.org,
        project: home.project,
        of: new.of,
        shape: None,
        state: SnapshotState::Creating,
        reason: String::new(),
        taken_at: None,
        memory: false,
        memory_bytes: 0,
        created_at: now(),
    }
}

fn kept(id: SnapshotId) -> DesiredSnapshot {
    DesiredSnapshot {
        id,
        wish: SnapshotWish::Kept,
    }
}

async fn of_vm(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    new: &NewSnapshot,
    vm: VmId,
) -> Result<Versioned<Snapshot>, Lost> {
    let found = vm_by_id(app, vm).await?;
    let mut vm = scope::allow_found(ctx, found, vms::home, &named(vm))?;
    rules::may_take(&vm.value)?;
    let home = vms::home(&vm);
    nothing_under_way(app, &home, &vm.value).await?;
    let mut snapshot = blank(id, new, home);
    snapshot.shape = Some(rules::shape(&vm.value));
    vm.value.snapshots.push(kept(id));
    vm.value.wanted.generation += 1;
    vm.value.updated_at = now();
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &snapshot.key(), &snapshot)?;
    transaction.replace(&app.records(), &vm)?;
    let revision = app.commit_new(ctx, transaction, &act(&snapshot)).await?;
    Ok(Versioned::new(snapshot, revision))
}

async fn of_volume(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    new: &NewSnapshot,
    volume: VolumeId,
) -> Result<Versioned<Snapshot>, Lost> {
    let found = volume_by_id(app, volume).await?;
    let name = format!("volume {volume}");
    let mut volume = scope::allow_found(ctx, found, home_of_volume, &name)?;
    rules::is_still(&volume.value)?;
    rules::has_place(&volume.value)?;
    let mut transaction = app.store.transaction();
    if let Some(vm) = its_vm(app, &volume.value).await? {
        transaction.unchanged(&app.records(), &vm)?;
    }
    let home = home_of_volume(&volume);
    nothing_under_way_in(app, &home, &volume.value).await?;
    let snapshot = blank(id, new, home);
    volume.value.snapshots.push(kept(id));
    volume.value.generation += 1;
    volume.value.updated_at = now();
    transaction.create(&app.records(), &snapshot.key(), &snapshot)?;
    transaction.replace(&app.records(), &volume)?;
    let revision = app.commit_new(ctx, transaction, &act(&snapshot)).await?;
    Ok(Versioned::new(snapshot, revision))
}

/// The VM that has a volume, which is off and stays so.
async fn its_vm(app: &App, volume: &Volume) -> Result<Option<Stored<Vm>>, Error> {
    let Some(attached) = volume.attached else {
        return Ok(None);
    };
    let found = vm_by_id(app, attached.vm).await?;
    let is_off = |vm: &Vm| {
        let is_stopped = vm.status.state == State::Stopped && vm.wanted.power == Power::Stopped;
        let observed = observed(app, vm);
        let has_memory = observed.is_some_and(|seen| seen.state == ObservedState::Suspended);
        is_stopped && vm.operation.is_none() && vm.deleting.is_none() && !has_memory
    };
    match found {
        Some(vm) if is_off(&vm.value) => Ok(Some(vm)),
        _ => Err(Error::failed_precondition(format!(
            "vm {} has volume {}, and is not stopped",
            attached.vm, volume.id
        ))),
    }
}

/// What a VM's host tells of it now.
fn observed(app: &App, vm: &Vm) -> Option<ObservedVm> {
    match app.hosts.view(vm.host.as_ref()?, vm.id) {
        HostView::Alive { observed, .. } => observed,
        HostView::Silent { .. } => None,
    }
}

/// The snapshot that is being taken of those that are named, if one is.
///
/// # Errors
/// The store's failures.
pub(crate) async fn being_taken(
    app: &App,
    home: &Home,
    named: &[DesiredSnapshot],
) -> Result<Option<SnapshotId>, Error> {
    let all = records(app, home, named).await?;
    let mut new = all
        .iter()
        .filter(|one| one.value.state == SnapshotState::Creating);
    Ok(new.next().map(|one| one.value.id))
}

/// One snapshot or revert of a VM at a time. One that failed is no reason not to try another.
async fn nothing_under_way(app: &App, home: &Home, vm: &Vm) -> Result<(), Error> {
    if let Some(other) = being_taken(app, home, &vm.snapshots).await? {
        return Err(rules::under_way(&format!("{} is being taken", what(other))));
    }
    let seen = observed(app, vm);
    if vm.status.state != State::Error && state::is_reverting(vm, seen.as_ref()) {
        return Err(rules::under_way(&format!("vm {} is being reverted", vm.id)));
    }
    Ok(())
}

/// The same of a volume.
async fn nothing_under_way_in(app: &App, home: &Home, volume: &Volume) -> Result<(), Error> {
    if let Some(other) = being_taken(app, home, &volume.snapshots).await? {
        return Err(rules::under_way(&format!("{} is being taken", what(other))));
    }
    let done = reverted(app, volume).await?;
    let is_pending = volume.revert.is_some_and(|revert| revert.number > done);
    if is_pending && volume.status.state != VolumeState::Error {
        let message = format!("volume {} is being reverted", volume.id);
        return Err(rules::under_way(&message));
    }
    Ok(())
}

/// The number of the last revert of a volume that its host has done.
async fn reverted(app: &App, volume: &Volume) -> Result<u64, Error> {
    let key = volume::observed_key(&volume.host, volume.id);
    let seen = app.records::<ObservedVolume>().get(&key).await?;
    Ok(seen.map_or(0, |seen| seen.value.reverted))
}

/// Asks for a snapshot to be deleted, and answers with it as it then is.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Versioned<Snapshot>, Error> {
    contended(ctx, || try_delete(app, ctx, id, owner, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Versioned<Snapshot>, Lost> {
    let mut snapshot = find(app, ctx, id, owner).await?;
    if snapshot.value.state == SnapshotState::Deleting {
        return Ok(snapshot.into());
    }
    expect(&snapshot, expected)?;
    snapshot.value.state = SnapshotState::Deleting;
    snapshot.value.reason.clear();
    let act = act(&snapshot.value);
    let mut transaction = app.store.transaction();
    let is_there = match snapshot.value.of {
        SnapshotOf::Vm(vm) => match vm_by_id(app, vm).await? {
            Some(mut vm) => {
                if vm.value.deleting.is_some() {
                    return Err(crate::refusal::deleting(vm.value.id).into());
                }
                let seen = observed(app, &vm.value);
                let is_to_it = vm.value.revert.is_some_and(|revert| revert.snapshot == id);
                let is_under_way = vm.value.status.state != State::Error
                    && state::is_reverting(&vm.value, seen.as_ref());
                if is_to_it && is_under_way {
                    let message = format!("vm {} is being reverted to it", vm.value.id);
                    return Err(rules::under_way(&message).into());
                }
                if is_to_it && state::is_reverting(&vm.value, seen.as_ref()) {
                    // It failed, and can never be done: it is taken back.
                    vm.value.revert = None;
                }
                let is_there = unwish(&mut vm.value.snapshots, id);
                // Also of one that was to go already: whoever leads hears of the VM.
                vm.value.wanted.generation += 1;
                vm.value.updated_at = now();
                transaction.replace(&app.records(), &vm)?;
                is_there
            }
            None => false,
        },
        SnapshotOf::Volume(volume) => match volume_by_id(app, volume).await? {
            Some(mut volume) => {
                let done = reverted(app, &volume.value).await?;
                let is_to_it = |revert: Revert| revert.snapshot == id && revert.number > done;
                if volume.value.revert.is_some_and(is_to_it) {
                    volume.value.revert = match volume.value.status.state {
                        // It failed, and can never be done: it is taken back.
                        VolumeState::Error => None,
                        _ => volume.value.revert,
                    };
                }
                if volume.value.revert.is_some_and(is_to_it) {
                    let message = format!("volume {} is being reverted to it", volume.value.id);
                    return Err(rules::under_way(&message).into());
                }
                let is_there = unwish(&mut volume.value.snapshots, id);
                volume.value.generation += 1;
                volume.value.updated_at = now();
                transaction.replace(&app.records(), &volume)?;
                is_there
            }
            None => false,
        },
    };
    if is_there {
        transaction.replace(&app.records(), &snapshot)?;
    } else {
        // Nobody has it any more.
        transaction.delete(&app.records(), &snapshot)?;
    }
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(snapshot.value, revision))
}

/// Wishes that a snapshot be gone; false if it is not named at all.
fn unwish(named: &mut [DesiredSnapshot], id: SnapshotId) -> bool {
    let found = named.iter_mut().find(|one| one.id == id);
    found.map(|one| one.wish = SnapshotWish::Gone).is_some()
}

/// Has what a snapshot is of be as it was, and answers with the snapshot. With memory the VM runs afterwards.
pub(crate) async fn revert(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
    memory: Option<bool>,
) -> Result<Versioned<Snapshot>, Error> {
    // What several attempts take is the same, but for a moment that may pass between them.
    let taken: Mutex<Vec<(VmId, Taken)>> = Mutex::default();
    let result = contended(ctx, || try_revert(app, ctx, id, owner, memory, &taken)).await;
    for (vm, taken) in taken.into_inner() {
        let written = result.as_ref().map(|(_, vm)| vm.as_ref());
        match written {
            Ok(Some(written)) => vms::give_back(app, vm, Ok(written), &[taken]).await,
            Ok(None) => {}
            Err(error) => vms::give_back(app, vm, Err(error), &[taken]).await,
        }
    }
    result.map(|(snapshot, _)| snapshot)
}

async fn try_revert(
    app: &App,
    ctx: &Context,
    id: SnapshotId,
    owner: &Owner,
    memory: Option<bool>,
    taken: &Mutex<Vec<(VmId, Taken)>>,
) -> Result<(Versioned<Snapshot>, Option<Vm>), Lost> {
    let snapshot = find(app, ctx, id, owner).await?;
    let memory = rules::with_memory(&snapshot.value, memory)?;
    let mut transaction = app.store.transaction();
    // It must not go meanwhile.
    transaction.unchanged(&app.records(), &snapshot)?;
    let act = act(&snapshot.value).detail("memory", memory);
    let home = home(&snapshot);
    let reverted = match snapshot.value.of {
        SnapshotOf::Vm(vm) => {
            let found = vm_by_id(app, vm).await?;
            let mut vm = found.ok_or_else(|| Error::not_found(named(vm)))?;
            rules::may_revert(&vm.value, &snapshot.value, memory)?;
            nothing_under_way(app, &home, &vm.value).await?;
            let before = vm.value.wanted;
            revert_vm(app, &mut vm.value, id, memory);
            if memory && vms::begins(&mut vm.value, before) {
                let hold = app.money.take_start(&mut vm.value, ctx.deadline).await?;
                taken.lock().push((vm.value.id, hold));
            }
            show(&mut vm.value, before);
            transaction.replace(&app.records(), &vm)?;
            Some(vm.value)
        }
        SnapshotOf::Volume(volume) => {
            let found = volume_by_id(app, volume).await?;
            let mut volume = found.ok_or_else(|| Error::not_found(format!("volume {volume}")))?;
            let has_failed = volume.value.status.state == VolumeState::Error
                && volume.value.attached.is_none()
                && volume.value.deleting.is_none();
            if !has_failed {
                rules::is_still(&volume.value)?;
            }
            if let Some(vm) = its_vm(app, &volume.value).await? {
                transaction.unchanged(&app.records(), &vm)?;
            }
            nothing_under_way_in(app, &home, &volume.value).await?;
            let last = volume.value.revert.map_or(0, |revert| revert.number);
            // A store that went back knows fewer than its host has done.
            let last = last.max(self::reverted(app, &volume.value).await?);
            volume.value.revert = Some(Revert {
                number: after(last),
                snapshot: id,
                memory: false,
            });
            volume.value.generation += 1;
            volume.value.updated_at = now();
            transaction.replace(&app.records(), &volume)?;
            None
        }
    };
    app.commit(ctx, &transaction, &act).await?;
    Ok((snapshot.into(), reverted))
}

/// A number higher than the last, and than any that was taken back: the time, in milliseconds.
fn after(last: u64) -> u64 {
    let now = Timestamp::now().as_millisecond();
    u64::try_from(now).unwrap_or(0).max(last + 1)
}

/// Wants a VM to be as it was.
fn revert_vm(app: &App, vm: &mut Vm, snapshot: SnapshotId, memory: bool) {
    let done = observed(app, vm).map_or(0, |seen| seen.reverted);
    let last = vm.revert.map_or(0, |revert| revert.number).max(done);
    vm.revert = Some(Revert {
        number: after(last),
        snapshot,
        memory,
    });
    vm.wanted.generation += 1;
    vm.wanted.asked_at = now();
    if memory {
        vm.wanted.power = Power::Running;
        vm.wanted.boot += 1;
    }
}

/// Shows that it was heard.
fn show(vm: &mut Vm, before: Wanted) {
    let now = now();
    request::show(vm, before, now);
    if vm.status.state == State::Error && vm.wanted.power == Power::Stopped {
        vm.status.state = State::Stopped;
    }
    vm.status.reason = state::reverting(vm);
    vm.status.unsettled_since = Some(now);
    vm.updated_at = now;
}
