//! A VM that nothing is being done to: its host is told what is wanted, and it shows what its host tells.

use jiff::Timestamp;
use photon_core::Error;
use photon_reconcile::Again;
use photon_store::{Stored, Transaction};
use plasmavmc_model::{DesiredVm, Power, State, Vm, VmId, Wanted, desired, vm::index};

use super::Controller;
use crate::{
    operation::{self, VmOperation},
    vm::state::{self, HostView, Look, Then},
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
        vm.value.status = status;
        if let Some(then) = then {
            vm.value.wanted = follow(&vm.value, then, now);
            tracing::info!(vm = %vm.value.id, ?then, "what is wanted of a vm follows from how it is");
        }
        self.tell(vm, &before).await?;
        Ok(within.map_or(Again::WhenAdded, Again::Within))
    }

    /// Tells its host what is wanted of it now, if that is not what it was told last.
    pub(super) async fn tell_host(&self, vm: Stored<Vm>) -> Result<Stored<Vm>, Error> {
        let before = vm.value.clone();
        self.tell(vm.clone(), &before).await?;
        Ok(vm)
    }

    /// Writes what has changed of a VM, together with what its host is to be told of it.
    async fn tell(&self, vm: Stored<Vm>, before: &Vm) -> Result<(), Error> {
        let mut writes = self.app.store.transaction();
        let is_told = self.add_wish(&vm.value, &mut writes).await?;
        if is_told && vm.value == *before {
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
        let (Some(host), Some(wish), None) = (&vm.host, vm.desired(), vm.deleting) else {
            return Ok(true);
        };
        let all = self.app.records::<DesiredVm>();
        let key = desired::vm_key(host, vm.id);
        match all.get(&key).await? {
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

/// Now, in whole seconds, as it is shown.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
