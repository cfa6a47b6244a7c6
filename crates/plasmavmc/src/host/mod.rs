//! Hosts: what is told to their agents and what they tell.
//!
//! ```text
//!   /photon/plasmavmc/host/…  ──feed──> Hosts ──> images, room, how VMs are
//!                                         └──> the controller's queues: which VMs and volumes are to be looked at
//! ```
//!
//! Every process follows it; what it knows is lost and read again.

pub(crate) mod grpc;
pub(crate) mod rest;
mod seen;
pub(crate) mod service;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use photon_core::Name;
use photon_reconcile::Queue;
use photon_store::{FeedEvent, Store};
use plasmavmc_model::{Digest, HeldImage, ObservedAgent, ObservedPool, VmId, VolumeId, key};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::seen::{Seen, Thing};
use crate::{vm::state::HostView, volume::state::VolumeView};

/// After an error that trying again at once does not help against.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known of hosts. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seen: RwLock<Seen>,
    /// Whether everything was told at least once.
    complete: watch::Sender<bool>,
    /// Where it is said which VMs were spoken of.
    queue: Queue<VmId>,
    /// The same of volumes.
    volumes: Queue<VolumeId>,
    /// Volumes that wait for a VM to let them go. What is lost with the process is found again by looking.
    waiting: Mutex<HashMap<VmId, BTreeSet<VolumeId>>>,
}

/// A host, as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) host: Name,
    pub(crate) alive: bool,
    pub(crate) since: Option<Timestamp>,
    pub(crate) agent: Option<ObservedAgent>,
}

/// What is said most often; of what is said as often, the least.
fn most_said(said: impl Iterator<Item = u64>) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for one in said {
        *counts.entry(one).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(one, count)| (*count, Reverse(*one)));
    most.map(|(one, _)| one)
}

impl Hosts {
    /// Nothing yet; the queues hear of every VM and every volume that was spoken of.
    pub(crate) fn new(queue: Queue<VmId>, volumes: Queue<VolumeId>) -> Self {
        Self(Arc::new(Inner {
            seen: RwLock::default(),
            complete: watch::Sender::new(false),
            queue,
            volumes,
            waiting: Mutex::default(),
        }))
    }

    /// Waits until everything was told once.
    pub(crate) async fn complete(&self) {
        let mut complete = self.0.complete.subscribe();
        // The sender lives as long as this.
        let _ = complete.wait_for(|complete| *complete).await;
    }

    /// What is known of a VM on its host.
    pub(crate) fn view(&self, host: &Name, vm: VmId) -> HostView {
        self.0.seen.read().view(host, vm)
    }

    /// Whether a host has said that nothing of a VM is left there.
    pub(crate) fn is_gone(&self, host: &Name, vm: VmId) -> bool {
        self.0.seen.read().is_gone(host, vm)
    }

    /// What is known of a volume on its host.
    pub(crate) fn volume(&self, host: &Name, volume: VolumeId) -> VolumeView {
        self.0.seen.read().volume(host, volume)
    }

    /// Whether a host has said that nothing of a volume is left there.
    pub(crate) fn is_volume_gone(&self, host: &Name, volume: VolumeId) -> bool {
        self.0.seen.read().is_volume_gone(host, volume)
    }

    /// A pool as a host tells of it, or told when it was last heard of.
    pub(crate) fn pool(&self, host: &Name, name: &Name) -> Option<ObservedPool> {
        self.0.seen.read().pool(host, name)
    }

    /// Has a volume looked at when a VM is next spoken of. To be asked for before it is looked how the VM is.
    pub(crate) fn listen(&self, vm: VmId, volume: VolumeId) {
        self.0.waiting.lock().entry(vm).or_default().insert(volume);
    }

    /// Has the volumes looked at that wait for a VM.
    pub(crate) fn wake(&self, vm: VmId) {
        let waiting = self.0.waiting.lock().remove(&vm);
        let volumes = waiting.into_iter().flatten();
        volumes.for_each(|volume| self.0.volumes.add(volume));
    }

    /// Those that report, and what they say of themselves.
    pub(crate) fn alive(&self) -> Vec<(Name, ObservedAgent)> {
        self.0.seen.read().alive()
    }

    /// All images that any host has said that it holds, each once.
    pub(crate) fn images(&self) -> BTreeSet<HeldImage> {
        self.0.seen.read().images()
    }

    /// The length of content that some host holds, as most of those say that do; nobody has checked it.
    pub(crate) fn blob_bytes(&self, digest: Digest) -> Option<u64> {
        let alive = self.alive();
        let blobs = alive.iter().flat_map(|(_, agent)| &agent.blobs);
        let said = blobs.filter(|blob| blob.digest == digest);
        most_said(said.map(|blob| blob.bytes))
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Shown> {
        self.0.seen.read().all()
    }

    /// Follows what is told, until it is stopped.
    pub(crate) async fn follow(self, store: Store, stop: CancellationToken) {
        let mut feed = store.feed(key::HOSTS);
        loop {
            match stop.run_until_cancelled(feed.next_batch()).await {
                Some(Ok(events)) => self.take(&store, events),
                Some(Err(error)) => {
                    tracing::warn!(%error, "what hosts report cannot be followed");
                    if stop
                        .run_until_cancelled(tokio::time::sleep(PAUSE))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    fn take(&self, store: &Store, events: Vec<FeedEvent>) {
        let mut spoken_of = BTreeSet::new();
        let mut is_complete = false;
        {
            let mut seen = self.0.seen.write();
            for event in events {
                match event {
                    FeedEvent::Snapshot { entries, .. } => {
                        spoken_of.extend(seen.forget());
                        for entry in entries {
                            spoken_of.extend(seen.put(store, entry));
                        }
                        is_complete = true;
                    }
                    FeedEvent::Put(entry) => spoken_of.extend(seen.put(store, entry)),
                    FeedEvent::Delete { key, .. } => {
                        spoken_of.extend(seen.delete(&key, Timestamp::now()));
                    }
                    FeedEvent::Synced { .. } => {}
                }
            }
        }
        if is_complete {
            self.0.complete.send_replace(true);
        }
        for thing in spoken_of {
            match thing {
                Thing::Vm(vm) => {
                    self.0.queue.add(vm);
                    self.wake(vm);
                }
                Thing::Volume(volume) => self.0.volumes.add(volume),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_that_errs_is_not_believed() {
        assert_eq!(most_said([0, 7, 7].into_iter()), Some(7));
        assert_eq!(most_said([9, 7].into_iter()), Some(7));
        assert_eq!(most_said([].into_iter()), None);
    }
}
