//! Making a VM.
//!
//! | step | does | undo |
//! |---|---|---|
//! | `quota` | has its units counted; what it needs was taken by the request | given back, with the money of a start |
//! | `ports` | ports of its interfaces, made or bound at PrismNET | let go |
//! | `place` | a host with room: VM, `use/<host>`, `desired/vm` in one transaction | taken down there; host and room given back |
//! | `bind` | has PrismNET put them on that host | nothing of its own |
//! | `prepare` | waits until the host has made what it needs | nothing of its own |

use std::time::Duration;

use jiff::Timestamp;
use photon_core::Error;
use photon_reconcile::{Acted, Operation, OperationState, Steps};
use photon_store::{Stored, Transaction};
use plasmavmc_model::{DesiredVm, HostUse, ObservedState, State, Vm, desired};

use super::{
    Controller,
    take_down::{LOOK, TakenDown},
};
use crate::{
    image::copies,
    operation::{BIND, Ours, PLACE, PORTS, PREPARE, QUOTA},
    placement::{self, Need},
    pool::{self, Slot},
    vm::state::HostView,
};

/// How often hosts are asked for room again.
const ASK: Duration = Duration::from_secs(5);

/// The steps of `vm.create`.
pub(super) struct Create<'a>(pub(super) &'a Controller);

impl Steps<Ours> for Create<'_> {
    async fn act(&self, operation: &Operation<Ours>, step: &str) -> Result<Acted, Error> {
        let vm = self.0.target(operation).await?;
        match step {
            QUOTA => self.0.count(vm).await,
            PORTS => self.0.acquire_ports(operation, vm).await,
            PLACE => self.place(vm).await,
            BIND => self.0.bind_ports(operation, vm).await,
            PREPARE => self.prepare(vm).await,
            other => Ok(Acted::Failed(format!("nobody knows the step {other:?}"))),
        }
    }

    async fn undo(&self, operation: &Operation<Ours>, step: &str) -> Result<Acted, Error> {
        let vm = self.0.target(operation).await?;
        match step {
            PORTS => self.0.release_ports(vm).await,
            PLACE => self.displace(vm).await,
            // It has not been seen running: what it may have used so far is forgiven.
            QUOTA => self.0.settle_all(vm, None).await,
            _ => Ok(Acted::Done(self.nothing())),
        }
    }

    fn deadline(&self, step: &str) -> Option<Duration> {
        let limits = &self.0.app.config.deadlines;
        match step {
            PORTS | BIND => Some(limits.connecting()),
            QUOTA => Some(limits.quota()),
            PLACE => Some(limits.placing()),
            _ => Some(limits.preparing()),
        }
    }

    async fn end(
        &self,
        operation: &Operation<Ours>,
        transaction: &mut Transaction,
    ) -> Result<(), Error> {
        let mut vm = self.0.target(operation).await?;
        if vm.value.operation == Some(operation.id) {
            vm.value.operation = None;
            if operation.state != OperationState::Done {
                let status = &mut vm.value.status;
                status.state = State::Error;
                status.since = Timestamp::now();
                status.reason.clone_from(&operation.error);
                status.failed = Some(operation.error.clone());
            }
            transaction.replace(&self.0.app.records(), &vm)?;
        }
        Ok(())
    }
}

impl Create<'_> {
    fn nothing(&self) -> Transaction {
        self.0.app.store.transaction()
    }

    async fn place(&self, mut vm: Stored<Vm>) -> Result<Acted, Error> {
        if vm.value.host.is_some() {
            return Ok(Acted::Done(self.nothing()));
        }
        let app = &self.0.app;
        let offers = super::offers(app).await?;
        let placed = placement::place(&offers, &Need::of(&vm.value), &app.config.placement);
        let offer = match placed {
            Ok(offer) => offer,
            Err(why) => {
                let what = format!("a host: {why}");
                return Ok(Acted::Wait { what, within: ASK });
            }
        };
        let host = &offer.host;
        vm.value.host = Some(host.clone());
        // From its first host, and the same ever after.
        let hardware = vm.value.hardware.take();
        vm.value.hardware = hardware.or_else(|| Some(offer.agent.hardware.clone()));
        let Some(wish) = self.0.wish(&vm.value, None).await? else {
            return Err(Error::internal("a VM with a host has nothing to be told"));
        };
        let mut writes = self.nothing();
        let given = app.records::<HostUse>();
        let size = vm.value.size();
        match given.get(&HostUse::key(host)).await? {
            // As it was when it was decided: somebody else may have placed something since.
            Some(mut found) if found.value == offer.used => {
                found.value = found.value.with(size);
                writes.replace(&given, &found)?;
            }
            None if offer.used == HostUse::default() => {
                writes.create(&given, &HostUse::key(host), &size)?;
            }
            _ => return Err(Error::conflict("something else was placed there meanwhile")),
        }
        if let Some((pool, gib)) = pool::of_root(&vm.value) {
            let Some(space) = offer.space(pool) else {
                return Err(Error::internal("a host was chosen that lacks the pool"));
            };
            let slot = Slot::of(&space.pool, host);
            let then = space.given.with(gib);
            if !slot.change(app, space.given, then, &mut writes).await? {
                return Err(Error::conflict("something else was put there meanwhile"));
            }
        }
        writes.create(
            &app.records::<DesiredVm>(),
            &desired::vm_key(host, vm.value.id),
            &wish,
        )?;
        copies::want(app, host, &offer.agent, &vm.value, &mut writes).await?;
        writes.replace(&app.records(), &vm)?;
        Ok(Acted::Done(writes))
    }

    /// Has it taken down where it was placed, and gives back what it was given there.
    async fn displace(&self, vm: Stored<Vm>) -> Result<Acted, Error> {
        match self.0.take_down(&vm).await? {
            TakenDown::Done => self.give_back(vm).await,
            TakenDown::Waiting(what) => Ok(Acted::Wait { what, within: LOOK }),
        }
    }

    async fn prepare(&self, vm: Stored<Vm>) -> Result<Acted, Error> {
        // What was asked for meanwhile is told, too: a start that is remembered begins here.
        let vm = self.0.tell_host(vm).await?;
        let Some(host) = &vm.value.host else {
            return Ok(Acted::Failed("it has no host".to_owned()));
        };
        let wait = |what: &str| Acted::Wait {
            what: what.to_owned(),
            within: LOOK,
        };
        let observed = match self.0.app.hosts.view(host, vm.value.id) {
            HostView::Silent { .. } => return Ok(wait("its host, which is silent")),
            HostView::Alive { observed, .. } => observed,
        };
        Ok(match observed {
            None => wait("its host to begin"),
            Some(seen) if seen.state == ObservedState::Preparing => wait("its host to prepare it"),
            Some(seen) if seen.state == ObservedState::Failed => {
                // Of what was wanted before, it is no answer.
                if seen.generation < vm.value.wanted.generation {
                    wait("its host to try again")
                } else {
                    Acted::Failed(seen.reason)
                }
            }
            Some(_) => Acted::Done(self.nothing()),
        })
    }

    /// What the host is no more to do, and was given for it.
    async fn give_back(&self, mut vm: Stored<Vm>) -> Result<Acted, Error> {
        let mut writes = self.nothing();
        if let Some(host) = vm.value.host.take() {
            if let Some(order) = self.0.given_order(&host, vm.value.id).await? {
                writes.delete(&self.0.app.records(), &order)?;
            }
            if let Some(given) = self.0.given_back(&host, vm.value.size()).await? {
                writes.replace(&self.0.app.records(), &given)?;
            }
            self.0
                .disk_given_back(&host, &vm.value, &mut writes)
                .await?;
            // Nobody has seen it run: the next host may offer another one.
            vm.value.hardware = None;
            writes.replace(&self.0.app.records(), &vm)?;
        }
        Ok(Acted::Done(writes))
    }
}
