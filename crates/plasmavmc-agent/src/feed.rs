//! Follows what this host is to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    time::Duration,
};

use photon_core::Name;
use photon_store::{Entry, Error, Feed, FeedEvent, Record, Store};
use plasmavmc_model::{
    DesiredBlob, DesiredVm, DesiredVolume, Digest, GoneOrder, VmId, VolumeGoneOrder, VolumeId,
    desired,
};

/// Changes that come within this time are taken together.
const TOGETHER: Duration = Duration::from_millis(2);
/// So many times over: changes that never end are told, too.
const MOST_TOGETHER: usize = 20;

/// What is known, and the feed it comes from.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    feed: Feed,
    /// Below which keys.
    vms: String,
    orders: String,
    blobs: String,
    volumes: String,
    volume_orders: String,
    /// What the store says; complete after the first [`Follower::next`].
    pub records: Records,
    is_new: bool,
}

/// What the store says.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// VMs of this host.
    pub vms: BTreeMap<VmId, DesiredVm>,
    /// VMs to take down.
    pub gone: BTreeSet<VmId>,
    /// Content that is to be here.
    pub blobs: BTreeMap<Digest, DesiredBlob>,
    /// Records that cannot be read, with the reason. Their VMs are known, and left as they are.
    pub unreadable: BTreeMap<VmId, String>,
    /// Volumes of this host.
    pub volumes: BTreeMap<VolumeId, DesiredVolume>,
    /// Volumes to remove.
    pub volumes_gone: BTreeMap<VolumeId, VolumeGoneOrder>,
    /// Of volumes, as `unreadable` of VMs.
    pub unreadable_volumes: BTreeMap<VolumeId, String>,
}

impl Records {
    /// Whether the store knows the volume, whatever it says of it.
    #[must_use]
    pub fn know_volume(&self, volume: VolumeId) -> bool {
        self.volumes.contains_key(&volume)
            || self.volumes_gone.contains_key(&volume)
            || self.unreadable_volumes.contains_key(&volume)
    }

    /// Whether the store knows the VM, whatever it says of it.
    #[must_use]
    pub fn know(&self, vm: VmId) -> bool {
        self.vms.contains_key(&vm) || self.gone.contains(&vm) || self.unreadable.contains_key(&vm)
    }
}

impl Follower {
    /// From the beginning.
    #[must_use]
    pub fn new(store: Store, host: &Name) -> Self {
        let root = format!("{}{}", DesiredVm::ROOT, desired::prefix(host));
        Self {
            feed: store.feed(&root),
            store,
            vms: format!("{root}vm/"),
            orders: format!("{root}gone/"),
            blobs: format!("{root}blob/"),
            volumes: format!("{root}volume/"),
            volume_orders: format!("{root}volume-gone/"),
            records: Records::default(),
            is_new: false,
        }
    }

    /// Waits until something is known that was not. The first time, until everything is known. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn next(&mut self) -> Result<(), Error> {
        while !self.is_new {
            let batch = self.feed.next_batch().await?;
            self.take_all(batch);
        }
        for _ in 0..MOST_TOGETHER {
            match tokio::time::timeout(TOGETHER, self.feed.next_batch()).await {
                Ok(batch) => self.take_all(batch?),
                Err(_) => break,
            }
        }
        self.is_new = false;
        Ok(())
    }

    fn take_all(&mut self, batch: Vec<FeedEvent>) {
        for event in batch {
            self.is_new |= self.take(event);
        }
    }

    fn take(&mut self, event: FeedEvent) -> bool {
        match event {
            FeedEvent::Snapshot { entries, .. } => {
                self.records = Records::default();
                entries.into_iter().for_each(|entry| self.put(entry));
                true
            }
            FeedEvent::Put(entry) => {
                self.put(entry);
                true
            }
            FeedEvent::Delete { key, .. } => {
                if let Some(vm) = id(&key, &self.vms) {
                    self.records.vms.remove(&vm);
                    self.records.unreadable.remove(&vm);
                } else if let Some(vm) = id(&key, &self.orders) {
                    self.records.gone.remove(&vm);
                } else if let Some(digest) = id(&key, &self.blobs) {
                    self.records.blobs.remove(&digest);
                } else if let Some(volume) = id(&key, &self.volumes) {
                    self.records.volumes.remove(&volume);
                    self.records.unreadable_volumes.remove(&volume);
                } else if let Some(volume) = id(&key, &self.volume_orders) {
                    self.records.volumes_gone.remove(&volume);
                }
                true
            }
            FeedEvent::Synced { .. } => false,
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(vm) = id(&entry.key, &self.vms) {
            match self.read::<DesiredVm>(entry) {
                Ok(desired) if desired.id == vm => {
                    self.records.unreadable.remove(&vm);
                    self.records.vms.insert(vm, desired);
                }
                Ok(desired) => self.unreadable(vm, format!("it is about {}", desired.id)),
                Err(reason) => self.unreadable(vm, reason),
            }
        } else if let Some(vm) = id(&entry.key, &self.orders) {
            // Only an order that can be read takes anything down.
            let order = self.read::<GoneOrder>(entry);
            if order.is_ok_and(|order| order.id == vm) {
                self.records.gone.insert(vm);
            }
        } else if let Some(digest) = id(&entry.key, &self.blobs) {
            match self.read::<DesiredBlob>(entry) {
                Ok(blob) if blob.digest == digest => drop(self.records.blobs.insert(digest, blob)),
                _ => drop(self.records.blobs.remove(&digest)),
            }
        } else {
            self.put_volume(entry);
        }
    }

    fn put_volume(&mut self, entry: Entry) {
        if let Some(volume) = id(&entry.key, &self.volumes) {
            let read = self.read::<DesiredVolume>(entry);
            let records = &mut self.records;
            let why = match read {
                Ok(desired) if desired.id == volume => {
                    records.unreadable_volumes.remove(&volume);
                    records.volumes.insert(volume, desired);
                    return;
                }
                Ok(desired) => format!("it is about {}", desired.id),
                Err(reason) => reason,
            };
            records.volumes.remove(&volume);
            records.unreadable_volumes.insert(volume, why);
        } else if let Some(volume) = id(&entry.key, &self.volume_orders) {
            // Only an order that can be read removes anything.
            match self.read::<VolumeGoneOrder>(entry) {
                Ok(order) if order.id == volume => {
                    self.records.volumes_gone.insert(volume, order);
                }
                _ => drop(self.records.volumes_gone.remove(&volume)),
            }
        }
    }

    fn unreadable(&mut self, vm: VmId, reason: String) {
        self.records.vms.remove(&vm);
        self.records.unreadable.insert(vm, reason);
    }

    fn read<T: Record>(&self, entry: Entry) -> Result<T, String> {
        let read = self.store.collection::<T>().read(entry);
        read.map(|stored| stored.value)
            .map_err(|unreadable| unreadable.reason)
    }
}

fn id<T: FromStr>(key: &str, root: &str) -> Option<T> {
    key.strip_prefix(root)?.parse().ok()
}
