//! The use cases of VMs: they change what is wanted. What comes of it is the controller's.

use jiff::Timestamp;
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
use plasmavmc_model::{Power, State, Status, Vm, VmId, Wanted, vm::index};

use super::{
    NewVm, VmChange, VmFilter,
    request::{self, Change, Request},
    state,
};
use crate::{
    app::App,
    controller, image,
    operation::{self, VmOperation},
    placement::{self, Lacking, Need},
    refusal,
};

pub(crate) fn named(id: VmId) -> String {
    format!("vm {id}")
}

fn home(vm: &Stored<Vm>) -> Home {
    Home {
        org: vm.value.org.clone(),
        project: vm.value.project.clone(),
    }
}

fn act(vm: &Vm) -> Act {
    Act::new("vm", vm.id, &vm.project)
}

/// Now, in whole seconds, as it is shown.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Writes down that a VM is to be made. What no host could take at this moment is refused at once; the operation decides.
pub(crate) async fn create(app: &App, ctx: &Context, new: NewVm) -> Result<Versioned<Vm>, Error> {
    scope::allow_new(ctx, &new.home)?;
    let offers = controller::offers(app).await?;
    let vm = of(app, new, !offers.is_empty())?;
    let need = Need::of(&vm);
    placement::place(&offers, &need, &app.config.placement)
        .map_err(|why| refusal::no_capacity(need.size, &why))?;
    let operation = operation::begin(operation::CREATE, &vm, ctx, vm.created_at);
    let vm = Vm {
        operation: Some(operation.id),
        ..vm
    };
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &vm.key(), &vm)?;
    transaction.create(&app.records(), &operation.key(), &operation)?;
    let act = act(&vm)
        .detail("vcpus", vm.vcpus)
        .detail("memory_mib", vm.memory_mib)
        .detail("image", image::shown(vm.image.digest));
    let revision = app.commit_new(ctx, transaction, &act).await?;
    Ok(Versioned::new(vm, revision))
}

/// The record of a VM that nobody has seen yet.
fn of(app: &App, new: NewVm, is_any_host_there: bool) -> Result<Vm, Error> {
    let config = &app.config.vm;
    let text = new.image.as_deref().unwrap_or(&config.default_image);
    let (image, boots_from) = image::resolve(&app.hosts.images(), text).map_err(|error| {
        // Where nothing is, it is not the image that is at fault.
        if is_any_host_there {
            return error;
        }
        refusal::no_capacity(new.size.into(), &Lacking::Host)
    })?;
    let now = now();
    Ok(Vm {
        id: VmId::generate(),
        name: new.name,
        org: new.home.org,
        project: new.home.project,
        vcpus: new.size.vcpus,
        memory_mib: new.size.memory_mib,
        disk_gib: new.size.disk_gib,
        hypervisor: new.hypervisor,
        image,
        boots_from,
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
    })
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
async fn find(app: &App, ctx: &Context, id: VmId, owner: &Owner) -> Result<Stored<Vm>, Error> {
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
            vm.value.wanted.generation += 1;
        }
        vm.value.updated_at = now();
        let act = act(&vm.value).changed(&before, &vm.value);
        let mut transaction = app.store.transaction();
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
    contended(ctx, || try_power(app, ctx, id, owner, request)).await
}

async fn try_power(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    request: Request,
) -> Result<Versioned<Vm>, Lost> {
    let mut vm = find(app, ctx, id, owner).await?;
    let mut transaction = app.store.transaction();
    let now = now();
    match request::change(&vm.value, request, now)? {
        Change::Nothing => return Ok(vm.into()),
        Change::Want(wanted) => vm.value.wanted = wanted,
        Change::MakeAnew(wanted) => {
            vm.value.wanted = wanted;
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
    request::show(&mut vm.value, now);
    vm.value.updated_at = now;
    let act = act(&vm.value).detail("boot", vm.value.wanted.boot);
    transaction.replace(&app.records(), &vm)?;
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(vm.value, revision))
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
