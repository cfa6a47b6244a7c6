//! The use cases of VMs: they change what is wanted. What comes of it is the controller's.

use jiff::Timestamp;
use parking_lot::Mutex;
use photon_auth::Context;
use photon_core::{Code, Error};
use photon_service::{
    audit::Act,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
};
use photon_store::Stored;
use plasmavmc_model::{
    Account, GuestData, Power, State, Status, Vm, VmId, Wanted, pool as model_pool, vm::index,
};

use super::{
    NewVm, VmChange, VmFilter, guest,
    request::{self, Change, Request},
    state,
};
use crate::{
    app::App,
    controller,
    image::{
        self,
        resolve::{Chosen, resolve},
    },
    money::{Taken, plan},
    network,
    operation::{self, VmOperation},
    placement::{self, Lacking, Need},
    pool, refusal,
};

pub(crate) fn named(id: VmId) -> String {
    format!("vm {id}")
}

pub(crate) fn home(vm: &Stored<Vm>) -> Home {
    Home {
        org: vm.value.org.clone(),
        project: vm.value.project.clone(),
    }
}

pub(crate) fn act(vm: &Vm) -> Act {
    Act::new("vm", vm.id, &vm.project)
}

/// Now, in whole seconds, as it is shown.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Writes down that a VM is to be made. What no host could take at this moment is refused at once; the operation decides.
pub(crate) async fn create(app: &App, ctx: &Context, new: NewVm) -> Result<Versioned<Vm>, Error> {
    scope::allow_new(ctx, &new.home)?;
    if let Some(pool) = &new.pool {
        pool::check(app, pool)?;
    }
    network::door::check(app, ctx, &new.home, &new.interfaces).await?;
    let offers = controller::offers(app).await?;
    let chosen = resolve(app, &new.home, new.image.as_deref()).await;
    let chosen = chosen.map_err(|error| {
        // Where nothing is, it is not the image that is at fault.
        if !offers.is_empty() || new.image.is_some() && !is_missing(&error) {
            return error;
        }
        refusal::no_capacity(new.size.into(), &Lacking::Host)
    })?;
    let disk_gib = disk_size(new.size.disk_gib, &chosen)?;
    if disk_gib.is_none() && new.pool.is_some() {
        let message =
            "pool is where the root disk lies, and this VM has none: give disk_size_gb, too";
        return Err(Error::validation("pool", "value", message));
    }
    let record = chosen.record.clone();
    let reservation = new.reservation.clone();
    let (mut vm, data) = of(app, new, chosen, disk_gib);
    let need = Need::of(&vm);
    placement::place(&offers, &need, &app.config.placement)
        .map_err(|why| refusal::no_capacity(need.size, &why))?;
    if let Some(id) = &reservation {
        app.money
            .name_reservation(&mut vm, id, ctx.deadline)
            .await?;
    }
    let taken = take(app, ctx, &mut vm).await?;
    let operation = operation::begin(operation::CREATE, &vm, ctx, vm.created_at);
    vm.operation = Some(operation.id);
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &vm.key(), &vm)?;
    transaction.create(&app.records(), &operation.key(), &operation)?;
    if let Some(data) = &data {
        transaction.create(&app.records(), &vm.key(), data)?;
    }
    if let Some(record) = &record {
        // As long as it is there, or a VM of it, its content is kept.
        transaction.unchanged(&app.records(), record)?;
    }
    let act = act(&vm)
        .detail("vcpus", vm.vcpus)
        .detail("memory_mib", vm.memory_mib)
        .detail("image", image::shown(vm.image.digest));
    match app.commit_new(ctx, transaction, &act).await {
        Ok(revision) => Ok(Versioned::new(vm, revision)),
        Err(error) => {
            // Otherwise it may have been written.
            if is_certain(&error) {
                app.money.give_back(&taken, None).await;
            }
            Err(error.into())
        }
    }
}

/// Whether nothing was written.
fn is_certain(error: &photon_store::Error) -> bool {
    matches!(
        error,
        photon_store::Error::Done { .. }
            | photon_store::Error::AlreadyExists { .. }
            | photon_store::Error::Conflict { .. }
    )
}

/// Takes what a VM needs that is to be made: its units and, if it is to run, the money of the first period.
async fn take(app: &App, ctx: &Context, vm: &mut Vm) -> Result<Vec<Taken>, Error> {
    let units = app.money.take_units(vm, ctx.deadline).await?;
    if vm.wanted.power != Power::Running {
        return Ok(vec![units]);
    }
    match app.money.take_start(vm, ctx.deadline).await {
        Ok(hold) => Ok(vec![units, hold]),
        Err(error) => {
            app.money.give_back(&[units], None).await;
            Err(error)
        }
    }
}

/// Whether nothing of that name was found.
fn is_missing(error: &Error) -> bool {
    error
        .details()
        .is_some_and(|details| details["constraint"] == "exists")
}

/// The size of the root disk, in GiB: at least that of what it begins with, and that if nothing is asked.
fn disk_size(asked: Option<u32>, chosen: &Chosen) -> Result<Option<u32>, Error> {
    if chosen.base.is_none() {
        return Ok(asked);
    }
    let least = chosen.virtual_bytes.div_ceil(1 << 30).max(1);
    let least = u32::try_from(least).map_err(Error::internal)?;
    match asked {
        Some(asked) if asked < least => {
            let message = format!(
                "disk_size_gb must be at least {least}: so large is the disk of image {}",
                chosen.image.name
            );
            Err(Error::validation("disk_size_gb", "range", message))
        }
        asked => Ok(Some(asked.unwrap_or(least))),
    }
}

/// The record of a VM that nobody has seen yet.
fn of(app: &App, new: NewVm, chosen: Chosen, disk_gib: Option<u32>) -> (Vm, Option<GuestData>) {
    let config = &app.config.vm;
    let now = now();
    let id = VmId::generate();
    let (guest, data) = new.guest.of(id, &new.name);
    let vm = Vm {
        id,
        name: new.name,
        org: new.home.org,
        project: new.home.project,
        vcpus: new.size.vcpus,
        memory_mib: new.size.memory_mib,
        disk_gib,
        hypervisor: new.hypervisor,
        image: chosen.image,
        boots_from: chosen.boots_from,
        interfaces: new.interfaces,
        base: chosen.base,
        pool: disk_gib.map(|_| new.pool.unwrap_or_else(model_pool::local)),
        volumes: Vec::new(),
        snapshots: Vec::new(),
        revert: None,
        guest: Some(guest),
        labels: new.labels,
        deletion_protection: new.deletion_protection,
        wanted: Wanted {
            generation: 1,
            power: if new.start {
                Power::Running
            } else {
                Power::Stopped
            },
            boot: u64::from(new.start),
            grace_seconds: config.shutdown_timeout_seconds,
            asked_at: now,
        },
        host: None,
        hardware: None,
        deleting: None,
        operation: None,
        account: Account::default(),
        status: Status {
            state: State::Creating,
            reason: String::new(),
            since: now,
            hypervisor: None,
            unsettled_since: None,
            failed: None,
        },
        created_at: now,
        updated_at: now,
    };
    (vm, data)
}

/// Reads a VM.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
) -> Result<Versioned<Vm>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

/// A VM, if the caller may do what it asks for in its project, and means that owner's.
pub(crate) async fn find(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
) -> Result<Stored<Vm>, Error> {
    let found = app.records::<Vm>().get_by_index(&index(id)).await?;
    let vm = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&vm.value.org, &vm.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(vm)
}

/// Lists the VMs the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &VmFilter,
    ask: &Ask,
) -> Result<Listing<Vm>, Error> {
    let visible = ctx.visible()?;
    let keep = |vm: &Vm| {
        filter.owner.is(&vm.org, &vm.project)
            && filter
                .name
                .as_ref()
                .is_none_or(|name| name == vm.name.as_str())
            && filter.state.is_none_or(|state| state == vm.status.state)
            && scope::is_visible(ctx, &visible, &vm.project)
    };
    let prefix = filter.owner.prefix(ctx);
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Changes what people call it and what it is sorted by, and whether it may be deleted.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    change: &VmChange,
    expected: Option<i64>,
) -> Result<Versioned<Vm>, Error> {
    contended(ctx, || async {
        let mut vm = find(app, ctx, id, owner).await?;
        expect(&vm, expected)?;
        if vm.value.deleting.is_some() {
            return Err(refusal::deleting(id).into());
        }
        let before = vm.value.clone();
        let mut transaction = app.store.transaction();
        guest::change(app, &mut vm.value, &change.guest, &mut transaction).await?;
        if let Some(name) = &change.name {
            vm.value.name = name.clone();
        }
        if let Some(labels) = &change.labels {
            vm.value.labels = labels.clone();
        }
        if let Some(protection) = change.deletion_protection {
            vm.value.deletion_protection = protection;
        }
        if vm.value == before {
            return Ok(vm.into());
        }
        if vm.value.name != before.name {
            // Its host shows it by its name to whoever looks there.
            vm.value.wanted.generation = before.wanted.generation + 1;
        }
        vm.value.updated_at = now();
        let act = act(&vm.value).changed(&before, &vm.value);
        transaction.replace(&app.records(), &vm)?;
        let revision = app.commit(ctx, &transaction, &act).await?;
        Ok(Versioned::new(vm.value, revision))
    })
    .await
}

/// The seconds that a guest has.
pub(crate) fn grace(app: &App, force: bool) -> u32 {
    if force {
        0
    } else {
        app.config.vm.shutdown_timeout_seconds
    }
}

/// Changes whether it is to run, and answers with it as it then is.
pub(crate) async fn power(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    request: Request,
) -> Result<Versioned<Vm>, Error> {
    // What several attempts take is the same, but for a moment that may pass between them.
    let taken: Mutex<Vec<Taken>> = Mutex::default();
    let result = contended(ctx, || try_power(app, ctx, id, owner, request, &taken)).await;
    let written = result.as_ref().map(|vm| &vm.value);
    give_back(app, id, written, &taken.into_inner()).await;
    result
}

/// Gives back what a request has taken and not written down: into which record, or what it was refused with.
pub(crate) async fn give_back(app: &App, id: VmId, written: Result<&Vm, &Error>, taken: &[Taken]) {
    match written {
        Ok(vm) => app.money.give_back(taken, Some(vm)).await,
        // Nothing of it was written.
        Err(error)
            if [
                Code::DELETING,
                Code::CONFLICT,
                Code::NOT_FOUND,
                Code::FAILED_PRECONDITION,
            ]
            .contains(&error.code()) =>
        {
            if let Ok(found) = app.records::<Vm>().get_by_index(&index(id)).await {
                let vm = found.as_ref().map(|found| &found.value);
                app.money.give_back(taken, vm).await;
            }
        }
        Err(_) => {}
    }
}

async fn try_power(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    request: Request,
    taken: &Mutex<Vec<Taken>>,
) -> Result<Versioned<Vm>, Lost> {
    let mut vm = find(app, ctx, id, owner).await?;
    let mut transaction = app.store.transaction();
    let now = now();
    let before = vm.value.wanted;
    match request::change(&vm.value, request, now)? {
        Change::Nothing => return Ok(vm.into()),
        Change::Want(wanted) => {
            vm.value.wanted = wanted;
            let is_tried_again = request == Request::Start && before.power == Power::Running;
            if begins(&mut vm.value, before) || is_tried_again {
                let hold = app.money.take_start(&mut vm.value, ctx.deadline).await?;
                taken.lock().push(hold);
            }
        }
        Change::MakeAnew(wanted) => {
            vm.value.wanted = wanted;
            let all = take(app, ctx, &mut vm.value).await?;
            taken.lock().extend(all);
            vm.value.status = Status {
                state: State::Creating,
                reason: String::new(),
                since: now,
                hypervisor: None,
                unsettled_since: None,
                failed: None,
            };
            let operation = operation::begin(operation::CREATE, &vm.value, ctx, now);
            vm.value.operation = Some(operation.id);
            transaction.create(&app.records(), &operation.key(), &operation)?;
        }
    }
    request::show(&mut vm.value, before, now);
    vm.value.updated_at = now;
    let act = act(&vm.value).detail("boot", vm.value.wanted.boot);
    transaction.replace(&app.records(), &vm)?;
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(vm.value, revision))
}

/// Whether a VM that was wanted so begins to cost something. A run that goes on after it was suspended is counted apart.
pub(crate) fn begins(vm: &mut Vm, before: Wanted) -> bool {
    let is_other_boot = vm.wanted.boot > before.boot;
    match (before.power, vm.wanted.power) {
        (Power::Suspended, Power::Running) => {
            vm.account.resumed += u64::from(!is_other_boot);
            true
        }
        (Power::Stopped, Power::Running) => true,
        // A reboot of what runs goes on with its bill, and so does what stood still; of what has ended it is a start.
        (Power::Running | Power::Paused, Power::Running) => {
            vm.status.state == State::Error && vm.account.bill.is_none()
        }
        _ => false,
    }
}

/// Asks for a VM to be deleted, and answers with it as it then is. Whatever was being done to it ends.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Versioned<Vm>, Error> {
    contended(ctx, || try_delete(app, ctx, id, owner, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Versioned<Vm>, Lost> {
    let mut vm = find(app, ctx, id, owner).await?;
    if vm.value.deleting.is_some() {
        return Ok(vm.into());
    }
    expect(&vm, expected)?;
    if vm.value.deletion_protection {
        return Err(refusal::protected(id).into());
    }
    let now = now();
    let mut transaction = app.store.transaction();
    if let Some(under_way) = vm.value.operation {
        let all = app.records::<VmOperation>();
        let found = all.get_by_index(&operation::index(under_way)).await?;
        if let Some(mut found) = found {
            found.value.hand_over("the VM is deleted", now);
            transaction.replace(&all, &found)?;
        }
    }
    // Of what nobody hears, nothing is charged from when it fell silent.
    if vm.value.status.state == State::Unknown
        && let Some(bill) = vm.value.account.bill.clone()
        && bill.due.is_none()
    {
        let silent = plan::whole(vm.value.status.since);
        let end = bill.from.map(|from| silent.max(from));
        vm.value.account = plan::closed(&vm.value.account, &bill, end);
    }
    let operation = operation::begin(operation::DELETE, &vm.value, ctx, now);
    transaction.create(&app.records(), &operation.key(), &operation)?;
    vm.value.operation = Some(operation.id);
    vm.value.deleting = Some(now);
    vm.value.status = state::deleting(&vm.value, "", now);
    vm.value.updated_at = now;
    transaction.replace(&app.records(), &vm)?;
    let revision = app.commit(ctx, &transaction, &act(&vm.value)).await?;
    Ok(Versioned::new(vm.value, revision))
}
