//! Tells the store how volumes are.

use std::{collections::BTreeMap, str::FromStr};

use jiff::Timestamp;
use photon_agent::told::{put, remove};
use photon_core::Name;
use photon_store::{Error, PageRequest, Record, Store, Stored};
use plasmavmc_model::{ObservedVolume, VolumeGone, VolumeId, observed, volume};

use super::told::{VolumeOutcome, VolumesTold};

/// What was told, as the store has it.
#[derive(Debug, Default)]
pub struct Told {
    volumes: BTreeMap<VolumeId, Stored<ObservedVolume>>,
    gone: BTreeMap<VolumeId, Stored<VolumeGone>>,
}

impl Told {
    /// What an earlier run told.
    ///
    /// # Errors
    /// As any read.
    pub async fn read(store: &Store, host: &Name) -> Result<Self, Error> {
        let prefix = observed::prefix(host);
        Ok(Self {
            volumes: below(store, &format!("{prefix}volume/")).await?,
            gone: below(store, &format!("{prefix}volume-gone/")).await?,
        })
    }

    /// Tells what is not told yet, and takes back what is over.
    ///
    /// # Errors
    /// As any write.
    pub async fn tell(
        &mut self,
        store: &Store,
        host: &Name,
        now: VolumesTold,
    ) -> Result<(), Error> {
        for (id, outcome) in now.volumes {
            self.tell_volume(store, host, id, outcome).await?;
        }
        for (id, reason) in now.ordered {
            self.tell_of_order(store, host, id, reason).await?;
        }
        for id in now.gone {
            self.tell_gone(store, host, id).await?;
        }
        let (Some(known), Some(orders)) = (now.known, now.orders) else {
            return Ok(());
        };
        let over = self.volumes.keys().filter(|id| !known.contains(id));
        for id in Vec::from_iter(over.copied()) {
            let all = store.collection::<ObservedVolume>();
            remove(&all, &volume::observed_key(host, id)).await?;
            self.volumes.remove(&id);
        }
        let over = self.gone.keys().filter(|id| !orders.contains(id));
        for id in Vec::from_iter(over.copied()) {
            let all = store.collection::<VolumeGone>();
            remove(&all, &volume::gone_key(host, id)).await?;
            self.gone.remove(&id);
        }
        Ok(())
    }

    async fn tell_volume(
        &mut self,
        store: &Store,
        host: &Name,
        id: VolumeId,
        outcome: VolumeOutcome,
    ) -> Result<(), Error> {
        let before = self.volumes.get(&id);
        let same_state = before.filter(|before| before.value.state == outcome.state);
        let value = ObservedVolume {
            generation: outcome.generation,
            state: outcome.state,
            size_gib: outcome.size_gib,
            reason: outcome.reason,
            snapshots: outcome.snapshots,
            reverted: outcome.reverted,
            since: same_state.map_or_else(Timestamp::now, |before| before.value.since),
        };
        self.put(store, host, id, value).await
    }

    async fn put(
        &mut self,
        store: &Store,
        host: &Name,
        id: VolumeId,
        value: ObservedVolume,
    ) -> Result<(), Error> {
        let before = self.volumes.get(&id);
        if before.is_some_and(|before| before.value == value) {
            return Ok(());
        }
        let all = store.collection::<ObservedVolume>();
        let key = volume::observed_key(host, id);
        let stored = put(&all, &key, value, before.cloned()).await?;
        self.volumes.insert(id, stored);
        Ok(())
    }

    /// Beside what was told of it last.
    async fn tell_of_order(
        &mut self,
        store: &Store,
        host: &Name,
        id: VolumeId,
        reason: String,
    ) -> Result<(), Error> {
        match self.volumes.get(&id) {
            Some(before) => {
                let value = ObservedVolume {
                    reason,
                    ..before.value.clone()
                };
                self.put(store, host, id, value).await
            }
            None => Ok(()),
        }
    }

    /// In one transaction with what was told of the volume: whoever sees one does not see the other.
    async fn tell_gone(&mut self, store: &Store, host: &Name, id: VolumeId) -> Result<(), Error> {
        if self.gone.contains_key(&id) {
            return Ok(());
        }
        let all = store.collection::<VolumeGone>();
        let key = volume::gone_key(host, id);
        let done = VolumeGone {
            id,
            at: Timestamp::now(),
        };
        let mut transaction = store.transaction();
        transaction.create(&all, &key, &done)?;
        if let Some(before) = self.volumes.get(&id) {
            transaction.delete(&store.collection::<ObservedVolume>(), before)?;
        }
        transaction.commit().await?;
        self.volumes.remove(&id);
        if let Some(stored) = all.get(&key).await? {
            self.gone.insert(id, stored);
        }
        Ok(())
    }
}

async fn below<I: FromStr + Ord, T: Record>(
    store: &Store,
    prefix: &str,
) -> Result<BTreeMap<I, Stored<T>>, Error> {
    let request = PageRequest {
        prefix: prefix.to_owned(),
        ..PageRequest::default()
    };
    let page = store.collection::<T>().list(&request).await?;
    let records = page.items.into_iter().filter_map(|stored| {
        let id = stored.key.strip_prefix(prefix)?.parse().ok()?;
        Some((id, stored))
    });
    Ok(records.collect())
}
