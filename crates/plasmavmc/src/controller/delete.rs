//! Deleting a VM. It has no undo and no deadline: what may still run is not forgotten.
//!
//! | step | does |
//! |---|---|
//! | `take_down` | has its host take it down, and waits until it has |
//! | `release` | lets its ports go |
//! | `settle` | what it used is charged, what was held or counted for it is given back |
//! | `forget` | VM, index, snapshots, room and order; its volumes are free; in the transaction that ends the operation |

use std::time::Duration;

use photon_core::Error;
use photon_reconcile::{Acted, Operation, Steps};
use photon_store::Transaction;
use plasmavmc_model::GuestData;

use super::{
    Controller,
    take_down::{LOOK, TakenDown},
};
use crate::operation::{FORGET, Ours, RELEASE, SETTLE, TAKE_DOWN};

/// The steps of `vm.delete`.
pub(super) struct Delete<'a>(pub(super) &'a Controller);

impl Steps<Ours> for Delete<'_> {
    async fn act(&self, operation: &Operation<Ours>, step: &str) -> Result<Acted, Error> {
        let vm = self.0.target(operation).await?;
        let app = &self.0.app;
        let mut writes = app.store.transaction();
        match step {
            TAKE_DOWN => match self.0.take_down(&vm).await? {
                TakenDown::Done => Ok(Acted::Done(writes)),
                TakenDown::Waiting(what) => Ok(Acted::Wait { what, within: LOOK }),
            },
            RELEASE => self.0.release_ports(vm).await,
            // From when it was asked to go it costs nothing more, however long that takes.
            SETTLE => {
                let end = vm.value.deleting;
                self.0.settle_all(vm, end).await
            }
            FORGET => {
                writes.delete(&app.records(), &vm)?;
                let told = app.records::<GuestData>();
                if let Some(data) = told.get(&vm.value.key()).await? {
                    writes.delete(&told, &data)?;
                }
                self.0.forget_snapshots(&vm.value, &mut writes).await?;
                if let Some(host) = &vm.value.host {
                    if let Some(order) = self.0.given_order(host, vm.value.id).await? {
                        writes.delete(&app.records(), &order)?;
                    }
                    if let Some(given) = self.0.given_back(host, vm.value.size()).await? {
                        writes.replace(&app.records(), &given)?;
                    }
                    self.0.disk_given_back(host, &vm.value, &mut writes).await?;
                }
                self.0.free_volumes(&vm.value, &mut writes).await?;
                tracing::info!(vm = %vm.value.id, project = %vm.value.project, "a vm is gone");
                Ok(Acted::Done(writes))
            }
            other => Ok(Acted::Failed(format!("nobody knows the step {other:?}"))),
        }
    }

    async fn undo(&self, _operation: &Operation<Ours>, _step: &str) -> Result<Acted, Error> {
        Ok(Acted::Done(self.0.app.store.transaction()))
    }

    fn deadline(&self, _step: &str) -> Option<Duration> {
        None
    }

    async fn end(
        &self,
        _operation: &Operation<Ours>,
        _transaction: &mut Transaction,
    ) -> Result<(), Error> {
        Ok(())
    }
}
