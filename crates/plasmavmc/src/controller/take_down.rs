//! Having a VM taken down on its host.

use std::time::Duration;

use jiff::Timestamp;
use photon_core::{Error, Name};
use photon_store::Stored;
use plasmavmc_model::{DesiredVm, GoneOrder, Vm, VmId, desired};

use super::Controller;

/// How often it is looked at anyway whether a host has done it.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// How far a VM's taking down is.
pub(super) enum TakenDown {
    /// Nothing of it is left on its host, which still has the order; or it never had one.
    Done,
    /// Not yet.
    Waiting(String),
}

impl Controller {
    /// Orders a VM to be taken down, and says whether it is.
    pub(super) async fn take_down(&self, vm: &Stored<Vm>) -> Result<TakenDown, Error> {
        let (id, Some(host)) = (vm.value.id, &vm.value.host) else {
            return Ok(TakenDown::Done);
        };
        self.order(vm, host, id).await?;
        if self.app.hosts.is_gone(host, id) {
            return Ok(TakenDown::Done);
        }
        let what = match self.app.hosts.view(host, id) {
            crate::vm::state::HostView::Alive { .. } => "its host to take it down",
            crate::vm::state::HostView::Silent { .. } => {
                "its host, which is silent, to come back and take it down"
            }
        };
        Ok(TakenDown::Waiting(what.to_owned()))
    }

    /// The order instead of what was wanted; nothing if it was given already.
    async fn order(&self, vm: &Stored<Vm>, host: &Name, id: VmId) -> Result<(), Error> {
        let orders = self.app.records::<GoneOrder>();
        let wishes = self.app.records::<DesiredVm>();
        let key = desired::gone_key(host, id);
        let wish = wishes.get(&desired::vm_key(host, id)).await?;
        let order = orders.get(&key).await?;
        let mut transaction = self.app.store.transaction();
        // In this order: whoever follows hears of the order last.
        match (&wish, &order) {
            (None, Some(_)) => return Ok(()),
            (Some(wish), _) => transaction.delete(&wishes, wish)?,
            (None, None) => &mut transaction,
        };
        if order.is_none() {
            let order = GoneOrder {
                id,
                at: Timestamp::now(),
            };
            transaction.create(&orders, &key, &order)?;
        }
        transaction
            .unchanged(&self.app.records(), vm)?
            .fenced(self.fence());
        transaction.commit().await?;
        Ok(())
    }

    /// The order to a host, to be removed with what it was for.
    pub(super) async fn given_order(
        &self,
        host: &Name,
        id: VmId,
    ) -> Result<Option<Stored<GoneOrder>>, Error> {
        let orders = self.app.records::<GoneOrder>();
        Ok(orders.get(&desired::gone_key(host, id)).await?)
    }
}
