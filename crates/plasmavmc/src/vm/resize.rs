//! Making a VM that is off larger or smaller.
//!
//! ```text
//!   what it becomes larger by is held at CreditService ──> one transaction: VM, what its host gives ──> the controller has it counted
//! ```
//! What is refused, or lost on the way, leaves the VM as it was; what was held is given back, or ends by itself.

use std::time::Duration;

use parking_lot::Mutex;
use photon_auth::Context;
use photon_core::{Error, Name};
use photon_service::{
    contention::{Lost, contended},
    scope::Owner,
    versioned::Versioned,
};
use photon_store::Transaction;
use plasmavmc_model::{
    HostUse, ObservedState, OperationId, Power, SnapshotWish, State, UnitsOf, Vm, VmId, vm::index,
};
use tokio::time::Instant;

use super::{
    Size,
    service::{act, find, now},
    state::HostView,
};
use crate::{
    app::App,
    controller,
    placement::{self, Need, Offer},
    pool::{self, Slot},
    refusal,
};

/// How long a request waits for what is about to be over: the last run is being charged, memory on disk thrown away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How large a VM is to be; what is absent stays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resize {
    pub(crate) vcpus: Option<u64>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) disk_gib: Option<u64>,
}

impl Resize {
    /// The size that a VM has then.
    ///
    /// # Errors
    /// 400 naming the field: nothing is given, out of range, a disk that would become smaller.
    fn of(self, vm: &Vm) -> Result<Size, Error> {
        if self.vcpus.is_none() && self.memory_mib.is_none() && self.disk_gib.is_none() {
            let message = "one of vcpus, memory_mib and disk_size_gb is required";
            return Err(Error::validation("vcpus", "required", message));
        }
        let (vcpus, memory_mib) = (self.vcpus, self.memory_mib);
        let size = Size::new(
            vcpus.unwrap_or(vm.vcpus.into()),
            memory_mib.unwrap_or(vm.memory_mib),
            self.disk_gib.or(vm.disk_gib.map(u64::from)),
        )?;
        match (vm.disk_gib, size.disk_gib) {
            (Some(has), Some(wanted)) if wanted < has => {
                Err(refusal::range("disk_size_gb", has.into(), super::MOST_DISK))
            }
            (None, Some(_)) => Err(Error::failed_precondition(format!(
                "vm {} was made without a root disk, and cannot be given one",
                vm.id
            ))),
            _ => Ok(size),
        }
    }
}

/// Changes how large a VM is, and answers with it as it then is.
pub(crate) async fn resize(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    resize: Resize,
) -> Result<Versioned<Vm>, Error> {
    let end = ctx.deadline.min(Instant::now() + PATIENCE);
    // A name that nobody else can give: what is held under it is this request's own.
    let name = OperationId::generate().to_string();
    let held: Mutex<Vec<String>> = Mutex::default();
    let asked = Asked { resize, end, name };
    let attempt = || try_resize(app, ctx, id, owner, &asked, &held);
    let result = contended(ctx, attempt).await;
    give_back(app, id, &held.into_inner()).await;
    result
}

/// What one request asks.
struct Asked {
    resize: Resize,
    /// When it waits no more.
    end: Instant,
    name: String,
}

/// Gives back what was held and is not in the VM's record.
async fn give_back(app: &App, id: VmId, held: &[String]) {
    if held.is_empty() {
        return;
    }
    // Who cannot be asked keeps it for a while: it ends by itself.
    let Ok(found) = app.records::<Vm>().get_by_index(&index(id)).await else {
        return;
    };
    let units = found.and_then(|found| found.value.account.units);
    for reservation in held {
        let is_its =
            matches!(&units, Some(UnitsOf::Held { reservation: its }) if its == reservation);
        // If it is counted by now, that changes nothing.
        if !is_its && let Err(error) = app.money.release(reservation).await {
            tracing::debug!(%error, reservation, "a hold ends by itself");
        }
    }
}

async fn try_resize(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    asked: &Asked,
    held: &Mutex<Vec<String>>,
) -> Result<Versioned<Vm>, Lost> {
    let mut vm = find(app, ctx, id, owner).await?;
    let before = vm.value.clone();
    let size = asked.resize.of(&before)?;
    check(&before)?;
    if let Some(what) = not_over(app, &before) {
        if Instant::now() < asked.end {
            return Err(Lost::Race);
        }
        return Err(Error::unavailable(format!("vm {id} cannot be resized yet: {what}")).into());
    }
    vm.value.vcpus = size.vcpus;
    vm.value.memory_mib = size.memory_mib;
    vm.value.disk_gib = size.disk_gib;
    if vm.value == before {
        return Ok(vm.into());
    }
    let is_kept = |wish| wish == SnapshotWish::Kept;
    let has_snapshots = before.snapshots.iter().any(|one| is_kept(one.wish));
    if vm.value.disk_gib != before.disk_gib && has_snapshots {
        let message = format!("vm {id} has snapshots: its disk grows when they are deleted");
        return Err(Error::failed_precondition(message).into());
    }
    let mut transaction = app.store.transaction();
    if let Some(host) = &before.host {
        give_room(app, host, &before, &vm.value, &mut transaction).await?;
        let attempt = format!("{}/{}", asked.name, before.wanted.generation);
        let money = &app.money;
        let growth = money.take_growth(&before, &mut vm.value, &attempt, ctx.deadline);
        let growth = growth.await?;
        held.lock().extend(growth);
    }
    vm.value.wanted.generation += 1;
    vm.value.updated_at = now();
    let act = act(&vm.value).changed(&Shown::of(&before), &Shown::of(&vm.value));
    transaction.replace(&app.records(), &vm)?;
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(vm.value, revision))
}

/// What the audit trail has of it.
#[derive(serde::Serialize)]
struct Shown {
    vcpus: u32,
    memory_mib: u64,
    disk_gib: Option<u32>,
}

impl Shown {
    fn of(vm: &Vm) -> Self {
        Self {
            vcpus: vm.vcpus,
            memory_mib: vm.memory_mib,
            disk_gib: vm.disk_gib,
        }
    }
}

/// Whether it is off, and stays so.
fn check(vm: &Vm) -> Result<(), Error> {
    if vm.deleting.is_some() {
        return Err(refusal::deleting(vm.id));
    }
    // What could not be made is nowhere yet.
    let is_nowhere = vm.status.failed.is_some();
    let is_off = matches!(vm.status.state, State::Stopped | State::Error)
        && vm.wanted.power == Power::Stopped;
    if vm.operation.is_none() && (is_off || is_nowhere) {
        return Ok(());
    }
    let message = format!(
        "vm {} is {}: only one that is stopped can be resized",
        vm.id, vm.status.state
    );
    Err(Error::failed_precondition(message))
}

/// What is not over yet of its last run, though it is off.
fn not_over(app: &App, vm: &Vm) -> Option<&'static str> {
    // It is charged by the size that it had.
    if vm.account.bill.is_some() {
        return Some("what it used is not charged yet");
    }
    let host = vm.host.as_ref()?;
    let HostView::Alive { observed, .. } = app.hosts.view(host, vm.id) else {
        return None;
    };
    match observed?.state {
        ObservedState::Suspended => Some("its memory is on disk, and being thrown away"),
        ObservedState::Starting
        | ObservedState::Running
        | ObservedState::Stopping
        | ObservedState::Paused => Some("its host says that it runs"),
        ObservedState::Preparing | ObservedState::Stopped | ObservedState::Failed => None,
    }
}

/// Changes what its host and its pool give it, if that has it.
async fn give_room(
    app: &App,
    host: &Name,
    before: &Vm,
    after: &Vm,
    transaction: &mut Transaction,
) -> Result<(), Lost> {
    let offers = controller::offers(app).await?;
    let offer = offers.iter().find(|offer| offer.host == *host);
    let all = app.records::<HostUse>();
    let given = all.get(&HostUse::key(host)).await?;
    let (has, wants) = (Need::of(before).size, Need::of(after).size);
    let grows = wants.vcpus > has.vcpus
        || wants.memory_mib > has.memory_mib
        || wants.disk_gib > has.disk_gib;
    if grows && offer.is_none() {
        let message = format!("the host of vm {} is silent: it may have no room", after.id);
        return Err(Error::failed_precondition(message).into());
    }
    let used = given
        .as_ref()
        .map_or_else(HostUse::default, |given| given.value);
    if let Some(offer) = offer {
        if offer.used != used {
            return Err(Lost::Race);
        }
        let pool = after.pool.as_ref();
        placement::regrow(offer, pool, has, wants, &app.config.placement)
            .map_err(|free| refusal::no_room(wants, free))?;
        give_disk(app, offer, before, after, transaction).await?;
    }
    let used = used.without(before.size()).with(after.size());
    match given {
        Some(mut given) => {
            given.value = used;
            transaction.replace(&all, &given)?;
        }
        None => {
            transaction.create(&all, &HostUse::key(host), &used)?;
        }
    }
    Ok(())
}

/// Changes what its root disk is given of its pool. Of one that is in no pool, that is what its host gives.
async fn give_disk(
    app: &App,
    offer: &Offer,
    before: &Vm,
    after: &Vm,
    transaction: &mut Transaction,
) -> Result<(), Lost> {
    let (Some((pool, wants)), Some((_, has))) = (pool::of_root(after), pool::of_root(before))
    else {
        return Ok(());
    };
    if has == wants {
        return Ok(());
    }
    let Some(space) = offer.space(pool) else {
        let message = format!("the host of vm {} does not report pool {pool}", after.id);
        return Err(Error::failed_precondition(message).into());
    };
    let slot = Slot::of(&space.pool, &offer.host);
    let then = space.given.without(has).with(wants);
    if slot.change(app, space.given, then, transaction).await? {
        Ok(())
    } else {
        Err(Lost::Race)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_core::Code;

    use super::*;
    use crate::vm::state::sample;

    fn field(error: &Error) -> String {
        let details = error.details().unwrap_or_default();
        details["field"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_disk_only_grows_and_something_has_to_be_said() {
        let mut vm = sample();
        vm.disk_gib = Some(10);
        let of = |resize: Resize| resize.of(&vm);
        let disk = |gib| Resize {
            disk_gib: Some(gib),
            ..Resize::default()
        };
        assert_eq!(field(&of(Resize::default()).unwrap_err()), "vcpus");
        for gib in [0, 9, 16_385] {
            assert_eq!(field(&of(disk(gib)).unwrap_err()), "disk_size_gb", "{gib}");
        }
        assert_eq!(of(disk(11)).unwrap().disk_gib, Some(11));
        let more = Resize {
            vcpus: Some(4),
            ..Resize::default()
        };
        let size = of(more).unwrap();
        assert_eq!(
            (size.vcpus, size.memory_mib, size.disk_gib),
            (4, 128, Some(10))
        );
        vm.disk_gib = None;
        let refused = disk(1).of(&vm).unwrap_err();
        assert_eq!(refused.code(), Code::FAILED_PRECONDITION);
        assert_eq!(more.of(&vm).unwrap().disk_gib, None);
    }

    #[test]
    fn only_what_is_off_changes() {
        for state in State::ALL {
            for power in [
                Power::Running,
                Power::Stopped,
                Power::Paused,
                Power::Suspended,
            ] {
                let mut vm = sample();
                vm.status.state = state;
                vm.wanted.power = power;
                let is_off =
                    power == Power::Stopped && matches!(state, State::Stopped | State::Error);
                assert_eq!(check(&vm).is_ok(), is_off, "{state} {power:?}");
            }
        }
        let mut failed = sample();
        failed.wanted.power = Power::Running;
        failed.status.state = State::Error;
        failed.status.failed = Some("no host".to_owned());
        check(&failed).unwrap();
    }
}
