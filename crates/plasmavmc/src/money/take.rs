//! What requests take: the units of a VM to be made, the money of a start. It is written down with what they change; what is not
//! written down is given back, or ends by itself.

use jiff::Timestamp;
use photon_core::{Code, Error};
use plasmavmc_model::{Bill, Hold, UnitsOf, Vm, VmId};
use serde_json::json;
use tokio::time::Instant;

use super::{Money, client, now, plan, price::price};

/// Those who start a VM within the same stretch of so many seconds share one hold: a hundred starts at once are one.
const SHARED_SECONDS: i64 = 60;

/// What a request has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it is written down, or given back"]
pub(crate) struct Taken {
    units: Option<String>,
    hold: Option<String>,
}

impl Taken {
    /// Whether a VM has it.
    fn is_of(&self, vm: &Vm) -> (bool, bool) {
        let account = &vm.account;
        let units = match &account.units {
            Some(UnitsOf::Held { reservation }) => Some(reservation) == self.units.as_ref(),
            Some(UnitsOf::Used) => true,
            None => false,
        };
        let hold = account.bill.as_ref().and_then(|bill| bill.hold.as_ref());
        (
            units,
            hold.map(|hold| &hold.reservation) == self.hold.as_ref(),
        )
    }
}

impl Money {
    /// Takes the units of a VM that is to be made, and writes them into its record.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `WALLET_…`, `UNAVAILABLE`.
    pub(crate) async fn take_units(&self, vm: &mut Vm, deadline: Instant) -> Result<Taken, Error> {
        let Some(inner) = &self.0 else {
            return Ok(Taken::default());
        };
        if vm.account.units.is_some() {
            return Ok(Taken::default());
        }
        let units = inner.heard(inner.client.hold_units(vm, deadline).await)?;
        vm.account.units = units
            .clone()
            .map(|reservation| UnitsOf::Held { reservation });
        Ok(Taken { units, hold: None })
    }

    /// Takes what a VM becomes larger by, and writes it into its record; what it becomes smaller by is given back by the controller,
    /// which counts it as it is then. Answers with the reservation, if there is one: it is to be given back if the record is not
    /// written. `attempt` is the request's own.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `WALLET_…`, `UNAVAILABLE`.
    pub(crate) async fn take_growth(
        &self,
        before: &Vm,
        after: &mut Vm,
        attempt: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        // What could not be made counts nothing.
        if before.host.is_none() {
            return Ok(None);
        }
        // What it became larger by before, if the controller has not come to that yet.
        if let Some(UnitsOf::Held { reservation }) = &before.account.units {
            inner.heard(inner.client.use_units(before, reservation).await)?;
        }
        let client = &inner.client;
        let held = client.hold_growth(before, after, attempt, deadline).await;
        let held = inner.heard(held)?;
        after.account.units = held
            .clone()
            .map(|reservation| UnitsOf::Held { reservation });
        Ok(held)
    }

    /// Takes the money of the first period of a VM that is to run from now on, and writes it into its record; nothing, if that is
    /// there already.
    ///
    /// # Errors
    /// `INSUFFICIENT_CREDIT`, `PRICE_NOT_FOUND`, `WALLET_…`, `UNAVAILABLE`.
    pub(crate) async fn take_start(&self, vm: &mut Vm, deadline: Instant) -> Result<Taken, Error> {
        vm.account.stopped_for = None;
        let Some(inner) = &self.0 else {
            return Ok(Taken::default());
        };
        let is_paid = |bill: &Bill| bill.hold.is_some() || bill.due.is_some();
        if vm.account.bill.as_ref().is_some_and(is_paid) {
            return Ok(Taken::default());
        }
        let now = now();
        let of = now.as_second() - now.as_second().rem_euclid(SHARED_SECONDS);
        let of = Timestamp::from_second(of).unwrap_or(now);
        let client = &inner.client;
        let hold = client.hold_start(vm, of, &inner.terms, deadline).await;
        let hold = inner.heard(hold)?;
        let taken = Taken {
            units: None,
            hold: Some(hold.reservation.clone()),
        };
        vm.account.reservation = None;
        vm.account.bill = Some(self.bill_with(vm, hold, now));
        Ok(taken)
    }

    /// The bill of a VM with that hold: what was used without one is charged with it.
    fn bill_with(&self, vm: &Vm, hold: Hold, now: Timestamp) -> Bill {
        let until = |_| self.terms().map(|terms| terms.period_from(now).until);
        let before = vm.account.bill.as_ref();
        let from = before.and_then(|bill| bill.from);
        Bill {
            boot: before.map_or_else(|| plan::run_of(vm), |bill| bill.boot),
            hold: Some(hold),
            held_at: now,
            from,
            until: from.and_then(until),
            unpaid: None,
            due: None,
        }
    }

    /// Gives back what was taken and is not in a VM's record, if there is one. What cannot be given back ends by itself.
    pub(crate) async fn give_back(&self, taken: &[Taken], vm: Option<&Vm>) {
        let Some(inner) = &self.0 else {
            return;
        };
        for taken in taken {
            let (has_units, has_hold) = vm.map_or((false, false), |vm| taken.is_of(vm));
            let units = taken.units.as_ref().filter(|_| !has_units);
            let hold = taken.hold.as_ref().filter(|_| !has_hold);
            for reservation in units.into_iter().chain(hold) {
                if let Err(error) = inner.client.release(reservation).await {
                    tracing::debug!(%error, reservation, "a hold ends by itself");
                }
            }
        }
    }

    /// Gives the units back that are held for a VM.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn release(&self, reservation: &str) -> Result<(), Error> {
        match &self.0 {
            Some(inner) => inner.heard(inner.client.release(reservation).await),
            None => Ok(()),
        }
    }

    /// A reservation that is named to replace the first hold of a VM: the project's own, open, and enough for a period. Written
    /// into the VM's record, unless the project's wallet does not pay for use: then it is left alone.
    ///
    /// # Errors
    /// 400 naming the field; `RESERVATION_…`, `EXCEEDS_RESERVATION`, `PRICE_NOT_FOUND`, `UNAVAILABLE`.
    pub(crate) async fn name_reservation(
        &self,
        vm: &mut Vm,
        id: &str,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Some(inner) = &self.0 else {
            return Err(Error::failed_precondition(
                "no CreditService is configured here: reservation_id cannot be checked",
            ));
        };
        let client = &inner.client;
        let found = inner.heard(client.reservation(id, deadline).await)?;
        let found = found.filter(|found| found.project_id == vm.project.as_str());
        // What is held for another VM is nobody's to name.
        let found = found.filter(|found| found.resource_id.parse::<VmId>().is_err());
        let found = found.ok_or_else(|| {
            let message = format!("reservation_id {id:?} is no reservation of {}", vm.project);
            Error::validation("reservation_id", "exists", message)
        })?;
        let code = match found.status.as_str() {
            "active" => None,
            "committed" => Some(Code::RESERVATION_COMMITTED),
            "released" => Some(Code::RESERVATION_RELEASED),
            _ => Some(Code::RESERVATION_EXPIRED),
        };
        if let Some(code) = code {
            let message = format!("reservation {id} is {}", found.status);
            return Err(Error::new(code, message));
        }
        if !client.is_metered(vm, deadline).await? {
            return Ok(());
        }
        let seconds = inner.terms.period.as_secs();
        let book = client.prices(deadline).await?;
        let price = price(&book, client::skus(vm), now(), seconds)?;
        if found.amount < price {
            let message = format!(
                "reservation {id} holds {}, and the first {seconds} s cost {price}",
                found.amount
            );
            return Err(Error::new(Code::EXCEEDS_RESERVATION, message)
                .with_details(json!({ "held": found.amount, "actual": price })));
        }
        vm.account.reservation = Some(id.to_owned());
        Ok(())
    }
}
