//! Makes hosts do what is wanted of VMs, and VMs show what hosts tell.
//!
//! ```text
//!   vm/…  ──feed──┐                               ┌─ an operation is under way ──> its steps: create.rs, delete.rs
//!   host/… ──────>│ queue ──> look(vm), one at a time ─┤
//!   resync ───────┘                               └─ none ──> keep.rs: desired record, state, what follows from it
//! ```
//! Volumes have a queue and workers of their own (volumes.rs).
//!
//! One process of all leads. Everything it writes carries its fence; what it does is derived from the records, so a new leader
//! needs nothing else.

mod create;
mod delete;
mod follow;
mod keep;
mod money;
mod ports;
mod snapshots;
mod take_down;
mod volumes;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use photon_core::{Error, Name};
use photon_reconcile::{
    Again, Operation, lead,
    operation::{self as operations, Driven, Driver, KEPT_FOR},
    work,
};
use photon_store::{Fence, PageRequest, Record, Stored};
use plasmavmc_model::{HostUse, ObservedAgent, Vm, VmId, Volume, vm::index};
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    image,
    operation::{self, CREATE, DELETE, Ours, VmOperation},
    placement::Offer,
    pool::Given,
};

/// Under which the processes elect who leads.
const LEADER: &str = "/photon/plasmavmc/leader";
/// How long after a crash the next process leads.
const LEASE: Duration = Duration::from_secs(15);
/// VMs that are looked at together.
const WORKERS: usize = 64;
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often old operations are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// Leads, whenever it is this process's turn, until it is stopped.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    app.hosts.complete().await;
    let who = format!("process {}", std::process::id());
    lead(
        app.store.clone(),
        LEADER,
        &who,
        LEASE,
        stop,
        |fence, over| {
            let controller = Controller {
                app: Arc::clone(&app),
                driver: Driver {
                    store: app.store.clone(),
                    fence,
                },
            };
            work_on(Arc::new(controller), over)
        },
    )
    .await;
}

async fn work_on(controller: Arc<Controller>, over: CancellationToken) {
    let queue = controller.app.queue.clone();
    let looking = Arc::clone(&controller);
    let working = work(queue, WORKERS, PATIENCE, over.clone(), move |vm| {
        let controller = Arc::clone(&looking);
        async move { Box::pin(controller.look(vm)).await }
    });
    let (app, fence) = (&controller.app, controller.fence());
    let looking = Arc::clone(&controller);
    let volumes = app.volumes.clone();
    let keeping = work(volumes, WORKERS, PATIENCE, over.clone(), move |volume| {
        let controller = Arc::clone(&looking);
        async move { Box::pin(controller.look_at_volume(volume)).await }
    });
    let store = &app.store;
    tokio::join!(
        working,
        keeping,
        // Volumes that are waited for with a VM that is gone are free.
        follow::follow(store, Vm::ROOT, &app.queue, &over, |vm| app.hosts.wake(vm)),
        follow::follow(store, Volume::ROOT, &app.volumes, &over, |_| ()),
        controller.sweep(&over),
        image::tidy::run(app, fence, &over),
        image::fetch::run(app, fence, &over),
    );
}

/// Who leads.
struct Controller {
    app: Arc<App>,
    driver: Driver,
}

impl Controller {
    fn fence(&self) -> &Fence {
        &self.driver.fence
    }

    /// Looks at a VM and does what is to be done now.
    async fn look(&self, id: VmId) -> Result<Again, Error> {
        match Box::pin(self.try_look(id)).await {
            // Its owner, or the last leader, has changed it meanwhile: as it is now, it is looked at again.
            Err(error) if error.code() == photon_core::Code::CONFLICT => Ok(Again::Now),
            done => done,
        }
    }

    async fn try_look(&self, id: VmId) -> Result<Again, Error> {
        let Some(vm) = self.app.records::<Vm>().get_by_index(&index(id)).await? else {
            return Ok(Again::WhenAdded);
        };
        let Some(under_way) = vm.value.operation else {
            return self.keep(vm).await;
        };
        let all = self.app.records::<VmOperation>();
        let Some(operation) = all.get_by_index(&operation::index(under_way)).await? else {
            return Err(Error::internal(format!(
                "{id} names {under_way}, which is not there"
            )));
        };
        match self.drive(operation).await? {
            Driven::Over => Ok(Again::Now),
            Driven::Waiting(within) => {
                self.show_progress(id).await?;
                Ok(Again::Within(within))
            }
        }
    }

    async fn drive(&self, operation: Stored<VmOperation>) -> Result<Driven, Error> {
        match operation.value.kind.as_str() {
            CREATE => operations::drive(&self.driver, operation, &create::Create(self)).await,
            DELETE => operations::drive(&self.driver, operation, &delete::Delete(self)).await,
            other => Err(Error::internal(format!("nobody knows how to do {other:?}"))),
        }
    }

    /// Removes operations that ended long ago, now and then.
    async fn sweep(&self, over: &CancellationToken) {
        while over
            .run_until_cancelled(tokio::time::sleep(SWEEP))
            .await
            .is_some()
        {
            let before = Timestamp::now() - KEPT_FOR;
            match operations::sweep::<Ours>(&self.app.store, before).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "old operations are gone"),
                Err(error) => tracing::warn!(%error, "old operations could not be looked for"),
            }
        }
    }

    /// The VM that an operation is about, which is there as long as the operation runs.
    async fn target(&self, operation: &Operation<Ours>) -> Result<Stored<Vm>, Error> {
        let id: VmId = operation.target.parse().map_err(Error::internal)?;
        let found = self.app.records::<Vm>().get_by_index(&index(id)).await?;
        found.ok_or_else(|| Error::conflict(format!("vm {id} is gone")))
    }

    /// What a host's VMs were given, less that.
    async fn given_back(
        &self,
        host: &Name,
        size: HostUse,
    ) -> Result<Option<Stored<HostUse>>, Error> {
        let all = self.app.records::<HostUse>();
        let mut found = all.get(&HostUse::key(host)).await?;
        if let Some(found) = &mut found {
            found.value = found.value.without(size);
        }
        Ok(found)
    }
}

/// The hosts that report, with what their VMs were given.
pub(crate) async fn offers(app: &App) -> Result<Vec<Offer>, Error> {
    let alive: Vec<(Name, ObservedAgent)> = app.hosts.alive();
    if alive.is_empty() {
        return Ok(Vec::new());
    }
    let given = app
        .records::<HostUse>()
        .list(&PageRequest::default())
        .await?;
    let used = |host: &Name| {
        let key = HostUse::key(host);
        let found = given.items.iter().find(|given| given.key == key);
        found.map_or_else(HostUse::default, |found| found.value)
    };
    let pools = Given::read(app).await?;
    let offers = alive.into_iter().map(|(host, agent)| Offer {
        used: used(&host),
        pools: pools.spaces(&host, &agent),
        host,
        agent,
    });
    Ok(offers.collect())
}
