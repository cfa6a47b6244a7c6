//! The use cases of volumes: they change what is wanted. What comes of it is the controller's.

use std::cmp::Reverse;

use jiff::Timestamp;
use parking_lot::Mutex;
use photon_auth::Context;
use photon_authz::Permission;
use photon_core::{Code, Error, Name};
use photon_service::{
    audit::Act,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
};
use photon_store::{Record, Stored, Transaction};
use plasmavmc_model::{
    AttachedTo, Attachment, DesiredVolume, Power, State, Vm, VmId, Volume, VolumeId, VolumeState,
    VolumeStatus, vm,
    volume::{self, MOST_VOLUMES},
};
use serde_json::json;

use super::{NewVolume, VolumeChange, VolumeFilter, state};
use crate::{
    app::App,
    controller,
    money::More,
    placement::Offer,
    pool::{self, Slot},
    refusal, snapshot,
    vm::service::now,
};

pub(crate) fn named(id: VolumeId) -> String {
    format!("volume {id}")
}

fn home(volume: &Stored<Volume>) -> Home {
    Home {
        org: volume.value.org.clone(),
        project: volume.value.project.clone(),
    }
}

fn act(volume: &Volume) -> Act {
    Act::new("volume", volume.id, &volume.project)
}

/// What a request has held at CreditService, over all its attempts.
type Held = Mutex<Vec<String>>;

/// Gives back what a request has held and not written down. Where nobody knows whether it was written, it ends by itself, or is used.
async fn settle(app: &App, id: VolumeId, result: &Result<Versioned<Volume>, Error>, held: Held) {
    let held = held.into_inner();
    if held.is_empty() {
        return;
    }
    match result {
        Ok(volume) => {
            app.money
                .give_back_of_volume(&held, Some(&volume.value))
                .await
        }
        Err(_) => {
            let all = app.records::<Volume>();
            if let Ok(found) = all.get_by_index(&volume::index(id)).await {
                let volume = found.as_ref().map(|found| &found.value);
                app.money.give_back_of_volume(&held, volume).await;
            }
        }
    }
}

/// Writes down that a volume is to be made, with the room that it takes; attached, if a VM is named.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewVolume,
) -> Result<Versioned<Volume>, Error> {
    scope::allow_new(ctx, &new.home)?;
    pool::check(app, &new.pool)?;
    let (id, held) = (VolumeId::generate(), Held::default());
    let result = contended(ctx, || try_create(app, ctx, id, &new, &held)).await;
    settle(app, id, &result, held).await;
    result
}

async fn try_create(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    new: &NewVolume,
    held: &Held,
) -> Result<Versioned<Volume>, Lost> {
    let mut vm = match new.vm {
        Some(vm) => {
            let scope = new.home.scope();
            ctx.allow_permission(&permission("plasmavmc.volumes.attach")?, &scope)?;
            let vm = its_vm(app, ctx, &new.home, vm).await?;
            check_takes(&vm.value)?;
            nothing_is_taken(app, &vm.value).await?;
            Some(vm)
        }
        None => None,
    };
    let at = vm.as_ref().and_then(|vm| vm.value.host.as_ref());
    let offers = controller::offers(app).await?;
    let offer = place(app, &offers, new, at)?;
    let now = now();
    let mut volume = Volume {
        id,
        name: new.name.clone(),
        org: new.home.org.clone(),
        project: new.home.project.clone(),
        size_gib: new.size_gib,
        pool: new.pool.clone(),
        host: offer.host.clone(),
        labels: new.labels.clone(),
        generation: 1,
        attached: None,
        snapshots: Vec::new(),
        revert: None,
        deleting: None,
        units: None,
        status: VolumeStatus {
            state: VolumeState::Creating,
            reason: String::new(),
            since: now,
        },
        created_at: now,
        updated_at: now,
    };
    let more = More {
        volumes: 1,
        gib: new.size_gib,
    };
    let taken = app
        .money
        .take_volume(&mut volume, more, "new", ctx.deadline);
    let taken = taken.await?;
    held.lock().extend(taken);
    let mut transaction = app.store.transaction();
    let space = offer.space(&new.pool);
    let space = space.ok_or_else(|| Error::internal("a host was chosen that lacks the pool"))?;
    let slot = Slot::of(&space.pool, &offer.host);
    let then = space.given.with(new.size_gib.into());
    if !slot
        .change(app, space.given, then, &mut transaction)
        .await?
    {
        return Err(Lost::Race);
    }
    if let Some(vm) = &mut vm {
        give(vm, &mut volume, now)?;
        transaction.replace(&app.records(), vm)?;
    }
    transaction.create(&app.records(), &volume.key(), &volume)?;
    let act = act(&volume)
        .detail("size_gb", volume.size_gib)
        .detail("pool", volume.pool.as_str());
    let committed = app.commit_new(ctx, transaction, &act).await;
    let revision = committed.map_err(Lost::to_create)?;
    Ok(Versioned::new(volume, revision))
}

/// The host that a new volume is put on: that of its VM, or of those with the pool the one with most room.
fn place<'a>(
    app: &App,
    offers: &'a [Offer],
    new: &NewVolume,
    at: Option<&Name>,
) -> Result<&'a Offer, Error> {
    let config = &app.config.placement;
    let with_pool = offers
        .iter()
        .filter(|offer| at.is_none_or(|at| *at == offer.host))
        .filter_map(|offer| Some((offer.room(&new.pool, config)?, offer)));
    let best = with_pool.max_by_key(|(room, offer)| (*room, Reverse(offer.host.clone())));
    let size = u64::from(new.size_gib);
    match best {
        Some((room, offer)) if room >= size => Ok(offer),
        Some((room, _)) => Err(refusal::pool_full(&new.pool, size, Some(room))),
        None => Err(refusal::pool_full(&new.pool, size, None)),
    }
}

fn permission(text: &str) -> Result<Permission, Error> {
    Permission::new(text).map_err(Error::internal)
}

/// A VM of the same project, which the caller may change.
async fn its_vm(app: &App, ctx: &Context, home: &Home, id: VmId) -> Result<Stored<Vm>, Error> {
    let found = app.records::<Vm>().get_by_index(&vm::index(id)).await?;
    let found = found.filter(|vm| vm.value.org == home.org && vm.value.project == home.project);
    let vm = found.ok_or_else(|| {
        let message = format!("vm_id {id} is no VM of project {}", home.project);
        Error::validation("vm_id", "exists", message)
    })?;
    ctx.allow_permission(&permission("plasmavmc.vms.update")?, &home.scope())?;
    Ok(vm)
}

/// While a snapshot of a VM is taken, it keeps the volumes that it has: they are in it.
async fn nothing_is_taken(app: &App, vm: &Vm) -> Result<(), Error> {
    let home = Home {
        org: vm.org.clone(),
        project: vm.project.clone(),
    };
    match snapshot::service::being_taken(app, &home, &vm.snapshots).await? {
        Some(id) => Err(Error::conflict(format!(
            "snapshot {id} of vm {} is being taken",
            vm.id
        ))),
        None => Ok(()),
    }
}

/// Whether a VM may be given a volume as it is.
fn check_takes(vm: &Vm) -> Result<(), Error> {
    let id = vm.id;
    let refused = |why: &str| Err(Error::failed_precondition(format!("vm {id} {why}")));
    if vm.deleting.is_some() {
        return Err(refusal::deleting(id));
    }
    if vm.operation.is_some() {
        return refused("is being made");
    }
    if vm.host.is_none() {
        return refused("could not be made, and is on no host: start it first");
    }
    if vm.wanted.power == Power::Suspended || vm.status.state == State::Suspended {
        return refused("is suspended: resume or stop it first");
    }
    if vm.volumes.len() >= MOST_VOLUMES {
        let message = format!("vm {id} has {MOST_VOLUMES} volumes, and takes no more");
        let details = json!({ "limit": MOST_VOLUMES });
        return Err(Error::new(Code::LIMIT_EXCEEDED, message).with_details(details));
    }
    Ok(())
}

/// Gives a VM a volume: both records say so.
fn give(vm: &mut Stored<Vm>, volume: &mut Volume, now: Timestamp) -> Result<(), Error> {
    let vm = &mut vm.value;
    let most = u8::try_from(MOST_VOLUMES).map_err(Error::internal)?;
    let is_free = |lun: &u8| vm.volumes.iter().all(|one| one.lun != *lun);
    let lun = (0..most).find(is_free);
    let lun =
        lun.ok_or_else(|| Error::internal("a VM with room for a volume has no number left"))?;
    vm.volumes.push(Attachment {
        volume: volume.id,
        lun,
        size_gib: volume.size_gib,
        pool: volume.pool.clone(),
    });
    vm.wanted.generation += 1;
    vm.updated_at = now;
    volume.attached = Some(AttachedTo {
        vm: vm.id,
        detaching: None,
    });
    Ok(())
}

/// A volume, if the caller may do what it asks for in its project, and means that owner's.
async fn find(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
) -> Result<Stored<Volume>, Error> {
    let all = app.records::<Volume>();
    let found = all.get_by_index(&volume::index(id)).await?;
    let volume = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&volume.value.org, &volume.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(volume)
}

/// One that is to be changed.
async fn find_live(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
) -> Result<Stored<Volume>, Error> {
    let volume = find(app, ctx, id, owner).await?;
    if volume.value.deleting.is_some() {
        let message = format!("volume {id} is being deleted");
        return Err(Error::new(Code::DELETING, message));
    }
    Ok(volume)
}

/// Reads a volume.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
) -> Result<Versioned<Volume>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

/// Lists the volumes the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &VolumeFilter,
    ask: &Ask,
) -> Result<Listing<Volume>, Error> {
    let visible = ctx.visible()?;
    let keep = |volume: &Volume| {
        let name = filter.name.as_ref();
        let vm = volume.attached.map(|attached| attached.vm);
        filter.owner.is(&volume.org, &volume.project)
            && name.is_none_or(|name| name == volume.name.as_str())
            && filter.vm.is_none_or(|wanted| vm == Some(wanted))
            && filter
                .state
                .is_none_or(|state| state == volume.status.state)
            && scope::is_visible(ctx, &visible, &volume.project)
    };
    let prefix = filter.owner.prefix(ctx);
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Changes what people call it and what it is sorted by.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    change: &VolumeChange,
    expected: Option<i64>,
) -> Result<Versioned<Volume>, Error> {
    contended(ctx, || async {
        let mut volume = find_live(app, ctx, id, owner).await?;
        expect(&volume, expected)?;
        let before = volume.value.clone();
        if let Some(name) = &change.name {
            volume.value.name = name.clone();
        }
        if let Some(labels) = &change.labels {
            volume.value.labels = labels.clone();
        }
        if volume.value == before {
            return Ok(volume.into());
        }
        let act = act(&volume.value).changed(&before, &volume.value);
        commit(app, ctx, volume, app.store.transaction(), &act).await
    })
    .await
}

/// Writes a changed volume with what belongs to it.
async fn commit(
    app: &App,
    ctx: &Context,
    mut volume: Stored<Volume>,
    mut transaction: Transaction,
    act: &Act,
) -> Result<Versioned<Volume>, Lost> {
    volume.value.updated_at = now();
    transaction.replace(&app.records(), &volume)?;
    let committed = app.commit(ctx, &transaction, act).await;
    let revision = committed.map_err(Lost::to_create)?;
    Ok(Versioned::new(volume.value, revision))
}

/// Gives a volume to a VM of its project.
pub(crate) async fn attach(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    vm: VmId,
) -> Result<Versioned<Volume>, Error> {
    contended(ctx, || try_attach(app, ctx, id, owner, vm)).await
}

async fn try_attach(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    vm: VmId,
) -> Result<Versioned<Volume>, Lost> {
    let mut volume = find_live(app, ctx, id, owner).await?;
    let mut vm = its_vm(app, ctx, &home(&volume), vm).await?;
    match volume.value.attached {
        Some(attached) if attached.vm == vm.value.id && attached.detaching.is_none() => {
            return Ok(volume.into());
        }
        Some(attached) => return Err(refusal::has_it(id, attached.vm).into()),
        None => {}
    }
    check_takes(&vm.value)?;
    nothing_is_taken(app, &vm.value).await?;
    check_free(app, &volume.value)?;
    let now = now();
    let mut transaction = app.store.transaction();
    let host = vm.value.host.clone();
    if let Some(host) = host.filter(|host| *host != volume.value.host) {
        move_to(app, &mut volume.value, host, &mut transaction).await?;
    }
    give(&mut vm, &mut volume.value, now)?;
    volume.value.generation += 1;
    volume.value.status = state::found(&volume.value, VolumeState::InUse, String::new(), now);
    transaction.replace(&app.records(), &vm)?;
    let act = act(&volume.value).detail("vm", vm.value.id.to_string());
    commit(app, ctx, volume, transaction, &act).await
}

/// Whether a volume that no VM has may be given to one as it is.
fn check_free(app: &App, volume: &Volume) -> Result<(), Error> {
    let id = volume.id;
    let status = &volume.status;
    if status.state != VolumeState::Available {
        let message = format!("volume {id} is {}", status.state);
        return Err(Error::failed_precondition(match status.reason.as_str() {
            "" => message,
            reason => format!("{message}: {reason}"),
        }));
    }
    // Nothing can be done to it any more once a guest has it open.
    let view = app.hosts.volume(&volume.host, id);
    let Some(seen) = view.observed() else {
        return Ok(());
    };
    let why = if state::is_smaller(seen, volume) {
        "is being grown"
    } else if volume
        .revert
        .is_some_and(|revert| seen.reverted < revert.number)
    {
        "is being reverted"
    } else {
        return Ok(());
    };
    Err(Error::failed_precondition(format!("volume {id} {why}")))
}

/// Has another host be told of a volume that both see.
async fn move_to(
    app: &App,
    volume: &mut Volume,
    host: Name,
    transaction: &mut Transaction,
) -> Result<(), Error> {
    let is_shared = |host: &Name| {
        let pool = app.hosts.pool(host, &volume.pool);
        pool.is_some_and(|pool| pool.shared)
    };
    if !is_shared(&host) || !is_shared(&volume.host) {
        let message = format!(
            "volume {} lies on another host than the VM, in pool {}, which they do not share",
            volume.id, volume.pool
        );
        return Err(Error::failed_precondition(message));
    }
    let all = app.records::<DesiredVolume>();
    let key = volume::desired_key(&volume.host, volume.id);
    match all.get(&key).await? {
        Some(told) => transaction.delete(&all, &told)?,
        // Who leads may be about to tell it.
        None => transaction.absent(&format!("{}{key}", DesiredVolume::ROOT))?,
    };
    volume.host = host;
    Ok(())
}

/// Takes a volume from the VM that has it. It is free when the VM does not have it open any more.
pub(crate) async fn detach(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
) -> Result<Versioned<Volume>, Error> {
    contended(ctx, || async {
        let mut volume = find_live(app, ctx, id, owner).await?;
        let Some(attached) = volume.value.attached.filter(|one| one.detaching.is_none()) else {
            return Ok(volume.into());
        };
        let now = now();
        let mut transaction = app.store.transaction();
        let vms = app.records::<Vm>();
        if let Some(mut vm) = vms.get_by_index(&vm::index(attached.vm)).await? {
            nothing_is_taken(app, &vm.value).await?;
            vm.value.volumes.retain(|one| one.volume != id);
            vm.value.wanted.generation += 1;
            vm.value.updated_at = now;
            transaction.replace(&vms, &vm)?;
        }
        volume.value.attached = Some(AttachedTo {
            detaching: Some(now),
            ..attached
        });
        volume.value.generation += 1;
        volume.value.status =
            state::found(&volume.value, VolumeState::Detaching, String::new(), now);
        let act = act(&volume.value).detail("vm", attached.vm.to_string());
        commit(app, ctx, volume, transaction, &act).await
    })
    .await
}

/// Has a volume grow.
pub(crate) async fn resize(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    size_gib: u32,
) -> Result<Versioned<Volume>, Error> {
    let held = Held::default();
    let result = contended(ctx, || try_resize(app, ctx, id, owner, size_gib, &held)).await;
    settle(app, id, &result, held).await;
    result
}

async fn try_resize(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    size_gib: u32,
    held: &Held,
) -> Result<Versioned<Volume>, Lost> {
    let mut volume = find_live(app, ctx, id, owner).await?;
    let before = volume.value.size_gib;
    let Some(more) = size_gib.checked_sub(before) else {
        let message = format!("size_gb must be at least {before}: volumes grow only");
        return Err(Error::validation("size_gb", "range", message).into());
    };
    if more == 0 {
        return Ok(volume.into());
    }
    if let Some(snapshot) = snapshot::within(app, &volume.value).await? {
        let message = format!("volume {id} has snapshots: delete them first");
        let details = json!({ "snapshot_id": snapshot });
        return Err(Error::failed_precondition(message)
            .with_details(details)
            .into());
    }
    let now = now();
    let mut transaction = app.store.transaction();
    match volume.value.attached {
        None => {
            if volume.value.status.state != VolumeState::Available {
                let state = volume.value.status.state;
                let message = format!("volume {id} is {state}: it grows while it is Available");
                return Err(Error::failed_precondition(message).into());
            }
        }
        Some(attached) => {
            let vms = app.records::<Vm>();
            let vm = vms.get_by_index(&vm::index(attached.vm)).await?;
            let is_off = |vm: &Stored<Vm>| {
                vm.value.wanted.power == Power::Stopped && vm.value.status.state == State::Stopped
            };
            let vm = vm.filter(|vm| is_off(vm) && attached.detaching.is_none());
            let Some(mut vm) = vm else {
                let message =
                    format!("volume {id} is in use: stop the VM, or detach it, and it may grow");
                let details = json!({ "vm_id": attached.vm });
                return Err(Error::failed_precondition(message)
                    .with_details(details)
                    .into());
            };
            let mut mine = vm.value.volumes.iter_mut().filter(|one| one.volume == id);
            mine.by_ref().for_each(|one| one.size_gib = size_gib);
            vm.value.wanted.generation += 1;
            vm.value.updated_at = now;
            transaction.replace(&vms, &vm)?;
        }
    }
    let offers = controller::offers(app).await?;
    let offer = offers.iter().find(|offer| offer.host == volume.value.host);
    let space = offer.and_then(|offer| Some((offer, offer.space(&volume.value.pool)?)));
    let Some((offer, space)) = space else {
        return Err(refusal::pool_full(&volume.value.pool, more.into(), None).into());
    };
    let room = offer.room(&volume.value.pool, &app.config.placement);
    if room.is_none_or(|room| room < u64::from(more)) {
        return Err(refusal::pool_full(&volume.value.pool, more.into(), room).into());
    }
    if app.money.is_volume_uncounted(&volume.value) {
        // What it became larger by before, if the controller has not come to that yet.
        app.money.count_volume(&volume.value).await?;
    }
    let attempt = format!("{}/{before}/{size_gib}", ctx.request_id);
    let growth = More {
        volumes: 0,
        gib: more,
    };
    let taken = app
        .money
        .take_volume(&mut volume.value, growth, &attempt, ctx.deadline);
    let taken = taken.await?;
    held.lock().extend(taken);
    let slot = Slot::of(&space.pool, &offer.host);
    let mut then = space.given;
    then.gib = then.gib.saturating_add(more.into());
    if !slot
        .change(app, space.given, then, &mut transaction)
        .await?
    {
        return Err(Lost::Race);
    }
    volume.value.size_gib = size_gib;
    volume.value.generation += 1;
    let act = act(&volume.value)
        .detail("from_gb", before)
        .detail("size_gb", size_gib);
    commit(app, ctx, volume, transaction, &act).await
}

/// Asks for a volume to be deleted, with all that is in it, and answers with it as it then is.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: VolumeId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Versioned<Volume>, Error> {
    contended(ctx, || async {
        let mut volume = find(app, ctx, id, owner).await?;
        if volume.value.deleting.is_some() {
            return Ok(volume.into());
        }
        expect(&volume, expected)?;
        if let Some(attached) = volume.value.attached {
            return Err(refusal::has_it(id, attached.vm).into());
        }
        if let Some(snapshot) = snapshot::within(app, &volume.value).await? {
            let message = format!("volume {id} has snapshots: delete them first");
            let details = json!({ "snapshot_id": snapshot });
            return Err(Error::new(Code::IN_USE, message)
                .with_details(details)
                .into());
        }
        let now = now();
        volume.value.deleting = Some(now);
        volume.value.status = state::deleting(&volume.value, "", now);
        let act = act(&volume.value);
        commit(app, ctx, volume, app.store.transaction(), &act).await
    })
    .await
}
