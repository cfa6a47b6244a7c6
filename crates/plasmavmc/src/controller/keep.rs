//! A VM that nothing is being done to: its host is told what is wanted, and it shows what its host tells.

use std::time::Duration;

use jiff::Timestamp;
use photon_core::Error;
use photon_reconcile::Again;
use photon_store::{Stored, Transaction};
use plasmavmc_model::{DesiredVm, GuestData, Power, State, Vm, VmId, Wanted, desired, vm::index};

use super::Controller;
use crate::{
    money::{
        self,
        plan::{self, Step},
    },
    operation::{self, VmOperation},
    vm::{
        service::now,
        state::{self, HostView, Look, Then},
    },
};

impl Controller {
    /// Tells its host, and shows how it is.
    pub(super) async fn keep(&self, mut vm: Stored<Vm>) -> Result<Again, Error> {
        let now = now();
        let host = match &vm.value.host {
            Some(host) => self.app.hosts.view(host, vm.value.id),
            None => HostView::Silent { since: None },
        };
        let Look {
            status,
            then,
            within,
        } = state::look(&vm.value, &host, &self.app.config.deadlines, now);
        let before = vm.value.clone();
        let (step, paid) = self.step_of_bill(&before, &host);
        let mut writes = self.app.store.transaction();
        let carried = self.carry_of_vm(&mut vm.value, &host, &mut writes).await?;
        let is_written = carried.as_ref().is_some_and(|carried| carried.is_written);
        vm.value.status = status;
        if let Some(then) = then {
            vm.value.wanted = follow(&vm.value, then, now);
            tracing::info!(vm = %vm.value.id, ?then, "what is wanted of a vm follows from how it is");
        }
        match step {
            Step::Rest(_) => {}
            Step::Change(account) => vm.value.account = *account,
            Step::Stop(why) => {
                tracing::info!(vm = %vm.value.id, why, "a vm is stopped for lack of credit");
                stop(&mut vm.value, why, now);
            }
        }
        if let Some(terms) = self.app.money.terms()
            && let Some(remark) = plan::remark(&vm.value, terms)
        {
            let why = std::mem::take(&mut vm.value.status.reason);
            vm.value.status.reason = match why.as_str() {
                "" => remark,
                why => format!("{remark}; {why}"),
            };
        }
        let (id, account) = (vm.value.id, &vm.value.account);
        let is_due = account.bill.as_ref().is_some_and(|bill| bill.due.is_some());
        let is_uncounted = self.is_uncounted(&vm.value);
        self.tell(vm, &before, writes, is_written).await?;
        if is_uncounted {
            return self.count_late(id).await;
        }
        if is_due {
            return self.settle(id).await;
        }
        let taken = carried.and_then(|carried| carried.within);
        let within = [within, paid, taken].into_iter().flatten().min();
        Ok(within.map_or(Again::WhenAdded, Again::Within))
    }

    /// What is due of its bill, and when to look at it again.
    fn step_of_bill(&self, vm: &Vm, host: &HostView) -> (Step, Option<Duration>) {
        let step = match self.app.money.terms() {
            Some(terms) => plan::plan(vm, host, terms, money::now()),
            None => Step::Rest(None),
        };
        match step {
            Step::Rest(within) => (step, within),
            _ => (step, None),
        }
    }

    /// Tells its host what is wanted of it now, if that is not what it was told last.
    pub(super) async fn tell_host(&self, vm: Stored<Vm>) -> Result<Stored<Vm>, Error> {
        let before = vm.value.clone();
        let writes = self.app.store.transaction();
        self.tell(vm.clone(), &before, writes, false).await?;
        Ok(vm)
    }

    /// Writes what has changed of a VM, together with what its host is to be told of it, and with what is to be written besides, if
    /// that `is_written`.
    async fn tell(
        &self,
        vm: Stored<Vm>,
        before: &Vm,
        mut writes: Transaction,
        is_written: bool,
    ) -> Result<(), Error> {
        let is_told = self.add_wish(&vm.value, &mut writes).await?;
        if is_told && vm.value == *before && !is_written {
            return Ok(());
        }
        // Unchanged, it must still be as it was read: then this only compares.
        writes.replace(&self.app.records(), &vm)?;
        writes.fenced(self.fence());
        writes.commit().await?;
        Ok(())
    }

    /// Adds what its host is to be told; true if it was told that already, or there is nobody to tell.
    async fn add_wish(&self, vm: &Vm, writes: &mut Transaction) -> Result<bool, Error> {
        let (Some(host), None) = (&vm.host, vm.deleting) else {
            return Ok(true);
        };
        let all = self.app.records::<DesiredVm>();
        let key = desired::vm_key(host, vm.id);
        let told = all.get(&key).await?;
        let Some(wish) = self.wish(vm, told.as_ref().map(|told| &told.value)).await? else {
            return Ok(true);
        };
        match told {
            Some(told) if told.value == wish => return Ok(true),
            Some(mut told) => {
                told.value = wish;
                writes.replace(&all, &told)?;
            }
            // Not as long as there is an order to take it down: whoever gave that knows what comes next.
            None if self.given_order(host, vm.id).await?.is_some() => return Ok(true),
            None => {
                writes.create(&all, &key, &wish)?;
            }
        }
        Ok(false)
    }

    /// What its host is to be told, with what its guest is: as it was told already, or as it is kept beside the VM.
    pub(super) async fn wish(
        &self,
        vm: &Vm,
        told: Option<&DesiredVm>,
    ) -> Result<Option<DesiredVm>, Error> {
        let Some(mut wish) = vm.desired() else {
            return Ok(None);
        };
        if let Some(guest) = &mut wish.guest
            && guest.guest.data.is_some()
        {
            let told = told.and_then(|told| told.guest.as_ref());
            guest.content = match told {
                Some(told) if told.guest.data == guest.guest.data => told.content.clone(),
                _ => {
                    let kept = self.app.records::<GuestData>().get(&vm.key()).await?;
                    kept.map(|kept| kept.value)
                }
            };
            let is_whole = guest.content.as_ref().map(GuestData::digest) == guest.guest.data;
            if !is_whole {
                // It was changed between two reads, and is looked at again after a pause.
                let problem = format!(
                    "what the guest of {} is told is not what it is known by",
                    vm.id
                );
                return Err(Error::internal(problem));
            }
        }
        Ok(Some(wish))
    }

    /// Shows what an operation waits for.
    pub(super) async fn show_progress(&self, id: VmId) -> Result<(), Error> {
        let Some(mut vm) = self.app.records::<Vm>().get_by_index(&index(id)).await? else {
            return Ok(());
        };
        let Some(under_way) = vm.value.operation else {
            return Ok(());
        };
        let all = self.app.records::<VmOperation>();
        let Some(operation) = all.get_by_index(&operation::index(under_way)).await? else {
            return Ok(());
        };
        let waiting_for = operation.value.waiting_for;
        let status = match operation.value.kind.as_str() {
            operation::DELETE => state::deleting(&vm.value, &waiting_for, now()),
            _ => state::creating(&vm.value, &waiting_for, now()),
        };
        if vm.value.status == status {
            return Ok(());
        }
        debug_assert!(matches!(status.state, State::Creating | State::Deleting));
        vm.value.status = status;
        let mut writes = self.app.store.transaction();
        writes
            .replace(&self.app.records(), &vm)?
            .fenced(self.fence());
        writes.commit().await?;
        Ok(())
    }
}

/// Nobody pays for it any more.
fn stop(vm: &mut Vm, why: String, now: Timestamp) {
    vm.account.stopped_for = Some(why);
    vm.wanted = Wanted {
        generation: vm.wanted.generation + 1,
        power: Power::Stopped,
        asked_at: now,
        ..vm.wanted
    };
}

/// What is wanted from now on.
fn follow(vm: &Vm, then: Then, now: Timestamp) -> Wanted {
    let wanted = Wanted {
        generation: vm.wanted.generation + 1,
        asked_at: now,
        ..vm.wanted
    };
    match then {
        Then::LetItBe => Wanted {
            power: Power::Stopped,
            ..wanted
        },
        Then::PowerOff => Wanted {
            grace_seconds: 0,
            ..wanted
        },
    }
}
