//! A volume: its host is told what is wanted of it, and it shows what its host tells.
//!
//! ```text
//!   volume/… ──feed──┐                        ┌─ being deleted ──> order, the host's word, units, then forgotten with its room
//!   host/…   ──────> │ queue ──> look(volume) ─┤
//!   resync ──────────┘                        └─ else ──> let go by its VM? desired record, state, units
//! ```

use std::time::Duration;

use jiff::Timestamp;
use photon_core::{Code, Error, Name};
use photon_reconcile::Again;
use photon_store::{Stored, Transaction};
use plasmavmc_model::{
    AttachedTo, DesiredVolume, UnitsOf, Vm, VmId, Volume, VolumeGoneOrder, VolumeId, vm, volume,
};

use super::{Controller, take_down::LOOK};
use crate::{
    pool::{self, Slot},
    vm::{service::now, state::HostView},
    volume::state::{self, VolumeView},
};

/// How often CreditService is asked again while it is away.
const ASK: Duration = Duration::from_secs(5);

impl Controller {
    /// Looks at a volume and does what is to be done now.
    pub(super) async fn look_at_volume(&self, id: VolumeId) -> Result<Again, Error> {
        match self.try_look_at_volume(id).await {
            // Somebody has changed it meanwhile: as it is now, it is looked at again.
            Err(error) if error.code() == Code::CONFLICT => Ok(Again::Now),
            done => done,
        }
    }

    async fn try_look_at_volume(&self, id: VolumeId) -> Result<Again, Error> {
        let Some(volume) = self.read_volume(id).await? else {
            return Ok(Again::WhenAdded);
        };
        if volume.value.deleting.is_some() {
            return self.remove_volume(volume).await;
        }
        self.keep_volume(volume).await
    }

    async fn read_volume(&self, id: VolumeId) -> Result<Option<Stored<Volume>>, Error> {
        let all = self.app.records::<Volume>();
        Ok(all.get_by_index(&volume::index(id)).await?)
    }

    async fn keep_volume(&self, mut volume: Stored<Volume>) -> Result<Again, Error> {
        let before = volume.value.clone();
        let mut waits = None;
        if let Some(AttachedTo {
            vm,
            detaching: Some(_),
        }) = before.attached
        {
            if self.has_let_go(vm, before.id).await? {
                volume.value.attached = None;
                volume.value.generation += 1;
            } else {
                waits = Some(LOOK);
            }
        }
        let view = self.app.hosts.volume(&before.host, before.id);
        let mut writes = self.app.store.transaction();
        let carried = self.carry_of_volume(&mut volume.value, &view, &mut writes);
        let carried = carried.await?;
        let limits = &self.app.config.deadlines;
        let look = state::look(&volume.value, &view, limits, now());
        volume.value.status = look.status;
        let is_carried = carried.as_ref().is_some_and(|carried| carried.is_written);
        self.tell_volume(&volume, &before, writes, is_carried)
            .await?;
        if self.app.money.is_volume_uncounted(&before) {
            return self.count_volume(before.id).await;
        }
        let carried = carried.and_then(|carried| carried.within);
        let within = [look.within, waits, carried].into_iter().flatten().min();
        Ok(within.map_or(Again::WhenAdded, Again::Within))
    }

    /// Whether a VM does not have a volume open that it was asked to let go.
    async fn has_let_go(&self, id: VmId, volume: VolumeId) -> Result<bool, Error> {
        // Before it is looked: what is told afterwards has it looked at again.
        self.app.hosts.listen(id, volume);
        let found = self
            .app
            .records::<Vm>()
            .get_by_index(&vm::index(id))
            .await?;
        let Some(vm) = found.map(|found| found.value) else {
            return Ok(true);
        };
        let Some(host) = &vm.host else {
            return Ok(true);
        };
        if self.app.hosts.is_gone(host, id) {
            return Ok(true);
        }
        Ok(match self.app.hosts.view(host, id) {
            HostView::Alive {
                observed: Some(seen),
                ..
            } => seen.generation >= vm.wanted.generation && !seen.volumes.contains(&volume),
            HostView::Alive { .. } | HostView::Silent { .. } => false,
        })
    }

    /// Writes what has changed of a volume, together with what its host is to be told of it, and what is in the transaction already, if that
    /// is something.
    async fn tell_volume(
        &self,
        volume: &Stored<Volume>,
        before: &Volume,
        mut writes: Transaction,
        is_something: bool,
    ) -> Result<(), Error> {
        let all = self.app.records::<DesiredVolume>();
        let (host, id) = (&volume.value.host, volume.value.id);
        let wish = volume.value.desired();
        let key = volume::desired_key(host, id);
        let is_told = match all.get(&key).await? {
            Some(told) if told.value == wish => true,
            Some(mut told) => {
                told.value = wish;
                writes.replace(&all, &told)?;
                false
            }
            None => {
                writes.create(&all, &key, &wish)?;
                false
            }
        };
        if is_told && !is_something && volume.value == *before {
            return Ok(());
        }
        // Unchanged, it must still be as it was read: it may have been told to another host meanwhile, or be deleted.
        writes
            .replace(&self.app.records(), volume)?
            .fenced(self.fence());
        writes.commit().await?;
        Ok(())
    }

    /// Has it counted as it is.
    async fn count_volume(&self, id: VolumeId) -> Result<Again, Error> {
        let Some(mut volume) = self.read_volume(id).await? else {
            return Ok(Again::WhenAdded);
        };
        if let Err(error) = self.app.money.count_volume(&volume.value).await {
            return match error.code() {
                Code::UNAVAILABLE => Ok(Again::Within(ASK)),
                _ => Err(error),
            };
        }
        volume.value.units = Some(UnitsOf::Used);
        let mut writes = self.app.store.transaction();
        writes
            .replace(&self.app.records(), &volume)?
            .fenced(self.fence());
        writes.commit().await?;
        Ok(Again::Now)
    }

    /// Orders a volume to be removed; when nothing of it is left it is forgotten.
    async fn remove_volume(&self, volume: Stored<Volume>) -> Result<Again, Error> {
        let app = &self.app;
        let (id, host) = (volume.value.id, &volume.value.host);
        self.order_volume_away(&volume).await?;
        let waiting_for = if !app.hosts.is_volume_gone(host, id) {
            match app.hosts.volume(host, id) {
                VolumeView::Alive { .. } => "its host to remove it",
                VolumeView::Silent { .. } => {
                    "its host, which is silent, to come back and remove it"
                }
            }
        } else if let Err(error) = app.money.free_volume(&volume.value).await {
            tracing::debug!(volume = %id, %error, "its units are not free yet");
            "CreditService"
        } else {
            self.forget_volume(&volume).await?;
            return Ok(Again::WhenAdded);
        };
        self.show_deleting(volume, waiting_for).await?;
        Ok(Again::Within(match waiting_for {
            "CreditService" => ASK,
            _ => LOOK,
        }))
    }

    /// The order instead of what was wanted; nothing if it was given already.
    async fn order_volume_away(&self, volume: &Stored<Volume>) -> Result<(), Error> {
        let orders = self.app.records::<VolumeGoneOrder>();
        let wishes = self.app.records::<DesiredVolume>();
        let (host, id) = (&volume.value.host, volume.value.id);
        let key = volume::gone_order_key(host, id);
        let wish = wishes.get(&volume::desired_key(host, id)).await?;
        let order = orders.get(&key).await?;
        let mut writes = self.app.store.transaction();
        // In this order: whoever follows hears of the order last.
        match (&wish, &order) {
            (None, Some(_)) => return Ok(()),
            (Some(wish), _) => writes.delete(&wishes, wish)?,
            (None, None) => &mut writes,
        };
        if order.is_none() {
            let order = VolumeGoneOrder {
                id,
                pool: volume.value.pool.clone(),
                at: Timestamp::now(),
            };
            writes.create(&orders, &key, &order)?;
        }
        writes
            .unchanged(&self.app.records(), volume)?
            .fenced(self.fence());
        writes.commit().await?;
        Ok(())
    }

    /// Volume, index, room and order, in one transaction.
    async fn forget_volume(&self, volume: &Stored<Volume>) -> Result<(), Error> {
        let app = &self.app;
        let Volume { id, host, pool, .. } = &volume.value;
        let orders = app.records::<VolumeGoneOrder>();
        let mut writes = app.store.transaction();
        writes.delete(&app.records(), volume)?;
        if let Some(order) = orders.get(&volume::gone_order_key(host, *id)).await? {
            writes.delete(&orders, &order)?;
        }
        let slot = Slot::at(app, pool, host);
        let gib = volume.value.size_gib.into();
        slot.give_back(app, gib, &mut writes).await?;
        writes.fenced(self.fence());
        writes.commit().await?;
        tracing::info!(volume = %id, project = %volume.value.project, "a volume is gone");
        Ok(())
    }

    async fn show_deleting(
        &self,
        mut volume: Stored<Volume>,
        waiting_for: &str,
    ) -> Result<(), Error> {
        let status = state::deleting(&volume.value, waiting_for, now());
        if volume.value.status == status {
            return Ok(());
        }
        volume.value.status = status;
        let mut writes = self.app.store.transaction();
        writes
            .replace(&self.app.records(), &volume)?
            .fenced(self.fence());
        writes.commit().await?;
        Ok(())
    }

    /// Adds that the volumes of a VM that is forgotten are nobody's; they stay.
    pub(super) async fn free_volumes(
        &self,
        vm: &Vm,
        writes: &mut Transaction,
    ) -> Result<(), Error> {
        for attachment in &vm.volumes {
            let Some(mut volume) = self.read_volume(attachment.volume).await? else {
                continue;
            };
            if volume.value.attached.map(|attached| attached.vm) != Some(vm.id) {
                continue;
            }
            volume.value.attached = None;
            volume.value.generation += 1;
            writes.replace(&self.app.records(), &volume)?;
        }
        Ok(())
    }

    /// Adds that the root disk of a VM is gone from its pool.
    pub(super) async fn disk_given_back(
        &self,
        host: &Name,
        vm: &Vm,
        writes: &mut Transaction,
    ) -> Result<(), Error> {
        let Some((pool, gib)) = pool::of_root(vm) else {
            return Ok(());
        };
        let slot = Slot::at(&self.app, pool, host);
        slot.give_back(&self.app, gib, writes).await
    }
}
