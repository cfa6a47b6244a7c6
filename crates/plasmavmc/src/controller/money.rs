//! Quota and money of VMs: what is due is written down, told to CreditService, and what came of it written down.

use std::time::Duration;

use photon_core::{Code, Error};
use photon_reconcile::{Acted, Again};
use photon_store::Stored;
use plasmavmc_model::{UnitsOf, Vm, VmId, vm::index};
use tokio::time::Instant;

use super::Controller;
use crate::money::{self, plan};

/// How often CreditService is asked again while it is away.
const ASK: Duration = Duration::from_secs(5);
/// How long a step waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Steps of a bill in one look: it takes three where nothing is as expected.
const MOST_STEPS: usize = 8;

fn credit_service() -> Acted {
    Acted::Wait {
        what: "CreditService".to_owned(),
        within: ASK,
    }
}

impl Controller {
    /// Writes a VM's record, and returns it as it is then.
    async fn write(&self, vm: &Stored<Vm>) -> Result<Stored<Vm>, Error> {
        let mut writes = self.app.store.transaction();
        writes
            .replace(&self.app.records(), vm)?
            .fenced(self.fence());
        writes.commit().await?;
        self.read(vm.value.id).await
    }

    async fn read(&self, id: VmId) -> Result<Stored<Vm>, Error> {
        let found = self.app.records::<Vm>().get_by_index(&index(id)).await?;
        found.ok_or_else(|| Error::conflict(format!("vm {id} is gone")))
    }

    /// Has the units of a VM counted. They were taken by the request that made it; if that is long ago, or CreditService was not
    /// there then, they are taken now.
    pub(super) async fn count(&self, mut vm: Stored<Vm>) -> Result<Acted, Error> {
        let money = &self.app.money;
        if money.terms().is_none() {
            return Ok(Acted::Done(self.app.store.transaction()));
        }
        for _ in 0..MOST_STEPS {
            match vm.value.account.units.clone() {
                Some(UnitsOf::Used) => return Ok(Acted::Done(self.app.store.transaction())),
                Some(UnitsOf::Held { reservation }) => {
                    match money.use_units(&vm.value, &reservation).await {
                        Ok(true) => return self.counted(&mut vm),
                        Ok(false) => {
                            vm.value.account.units = None;
                            vm.value.account.settled += 1;
                            vm = self.write(&vm).await?;
                        }
                        Err(_) => return Ok(credit_service()),
                    }
                }
                None => {
                    let deadline = Instant::now() + PATIENCE;
                    match money.take_units(&mut vm.value, deadline).await {
                        // Nobody has limited what it needs.
                        Ok(_) if vm.value.account.units.is_none() => return self.counted(&mut vm),
                        Ok(_) => vm = self.write(&vm).await?,
                        Err(error) if is_away(&error) => return Ok(credit_service()),
                        Err(error) => return Ok(Acted::Failed(error.message().to_owned())),
                    }
                }
            }
        }
        Ok(credit_service())
    }

    fn counted(&self, vm: &mut Stored<Vm>) -> Result<Acted, Error> {
        vm.value.account.units = Some(UnitsOf::Used);
        let mut writes = self.app.store.transaction();
        writes.replace(&self.app.records(), vm)?;
        Ok(Acted::Done(writes))
    }

    /// Whether a VM was made before there was anybody to count it, or has another size since it was counted.
    pub(super) fn is_uncounted(&self, vm: &Vm) -> bool {
        let is_there = vm.host.is_some() && vm.status.failed.is_none();
        let is_counted = vm.account.units == Some(UnitsOf::Used);
        is_there && !is_counted && self.app.money.terms().is_some()
    }

    /// Counts such a VM.
    pub(super) async fn count_late(&self, id: VmId) -> Result<Again, Error> {
        let mut vm = self.read(id).await?;
        match self.recount(&vm.value).await {
            Ok(()) => {
                vm.value.account.units = Some(UnitsOf::Used);
                self.write(&vm).await?;
                Ok(Again::Now)
            }
            Err(error) if is_away(&error) => Ok(Again::Within(ASK)),
            Err(error) => Err(error),
        }
    }

    /// Counts what is there, limits notwithstanding: what it became larger by was held when that was asked for.
    async fn recount(&self, vm: &Vm) -> Result<(), Error> {
        if let Some(UnitsOf::Held { reservation }) = &vm.account.units {
            self.app.money.use_units(vm, reservation).await?;
        }
        self.app.money.recount(vm).await
    }

    /// Charges what a VM has used until then, gives back what is held for it, and frees its units.
    pub(super) async fn settle_all(
        &self,
        mut vm: Stored<Vm>,
        end: Option<jiff::Timestamp>,
    ) -> Result<Acted, Error> {
        let mut steps = 0;
        while let Some(bill) = &vm.value.account.bill {
            if bill.due.is_none() {
                vm.value.account = plan::closed(&vm.value.account, bill, end);
                vm = self.write(&vm).await?;
            }
            vm = match self.tell_credit(vm).await {
                Ok(vm) => vm,
                Err(error) if error.code() == Code::CONFLICT => return Err(error),
                Err(_) => return Ok(credit_service()),
            };
            steps += 1;
            if steps == MOST_STEPS {
                return Ok(credit_service());
            }
        }
        if let Err(error) = self.free_units(&vm.value).await {
            tracing::debug!(vm = %vm.value.id, %error, "its units are not free yet");
            return Ok(credit_service());
        }
        let mut writes = self.app.store.transaction();
        if vm.value.account.units.take().is_some() {
            vm.value.account.settled += 1;
            writes.replace(&self.app.records(), &vm)?;
        }
        Ok(Acted::Done(writes))
    }

    async fn free_units(&self, vm: &Vm) -> Result<(), Error> {
        let units = &vm.account.units;
        // Of one that goes, somebody may have counted it who could not write that down.
        if units.is_none() && vm.deleting.is_none() {
            return Ok(());
        }
        if let Some(UnitsOf::Held { reservation }) = units {
            // Then nobody can use them any more, who is late; if somebody has, they are freed.
            self.app.money.release(reservation).await?;
        }
        self.app.money.free_units(vm).await
    }

    /// Tells CreditService what is due of a VM's bill, and returns the VM as it is then.
    async fn tell_credit(&self, mut vm: Stored<Vm>) -> Result<Stored<Vm>, Error> {
        let answered = self.app.money.settle(&vm.value).await?;
        vm.value.account = plan::settled(&vm.value.account, answered, money::now());
        self.write(&vm).await
    }

    /// Tells what is due of a VM that nothing else is being done to. It runs on, whatever comes of it.
    pub(super) async fn settle(&self, id: VmId) -> Result<Again, Error> {
        let vm = self.read(id).await?;
        let bill = vm.value.account.bill.as_ref();
        if bill.is_none_or(|bill| bill.due.is_none()) {
            return Ok(Again::Now);
        }
        match self.tell_credit(vm).await {
            Ok(_) => Ok(Again::Now),
            Err(error) if is_away(&error) => Ok(Again::Within(ASK)),
            Err(error) => Err(error),
        }
    }
}

fn is_away(error: &Error) -> bool {
    error.code() == Code::UNAVAILABLE
}
