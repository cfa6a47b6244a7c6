//! What hosts were told and have told, by host.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Entry, Record, Store};
use plasmavmc_model::{
    Alive, HeldImage, ObservedAgent, ObservedPool, ObservedVm, ObservedVolume, VmId, VolumeId, key,
};

use super::Shown;
use crate::{pool, vm::state::HostView, volume::state::VolumeView};

/// All hosts of which there is a key.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<Name, Host>);

#[derive(Debug, Default)]
struct Host {
    alive: Option<Alive>,
    /// When this process saw it go.
    gone_since: Option<Timestamp>,
    agent: Option<ObservedAgent>,
    /// VMs that it was told of.
    told: BTreeSet<VmId>,
    vms: HashMap<VmId, ObservedVm>,
    /// VMs of which it has said that nothing is left.
    gone: BTreeSet<VmId>,
    /// The same of volumes.
    told_volumes: BTreeSet<VolumeId>,
    volumes: HashMap<VolumeId, ObservedVolume>,
    gone_volumes: BTreeSet<VolumeId>,
}

/// What is to be looked at, because it was spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Vm(VmId),
    Volume(VolumeId),
}

/// What a key is about.
#[derive(Clone, Copy)]
enum About {
    Alive,
    Agent,
    Desired(VmId),
    Order(VmId),
    Observed(VmId),
    Gone(VmId),
    DesiredVolume(VolumeId),
    VolumeOrder(VolumeId),
    ObservedVolume(VolumeId),
    VolumeGone(VolumeId),
}

fn parse(key: &str) -> Option<(Name, About)> {
    let (host, rest) = key.strip_prefix(key::HOSTS)?.split_once('/')?;
    let about = match rest {
        "alive" => About::Alive,
        "observed/agent" => About::Agent,
        rest => {
            let (kind, id) = rest.rsplit_once('/')?;
            match kind {
                "desired/vm" => About::Desired(id.parse().ok()?),
                "desired/gone" => About::Order(id.parse().ok()?),
                "observed/vm" => About::Observed(id.parse().ok()?),
                "observed/gone" => About::Gone(id.parse().ok()?),
                "desired/volume" => About::DesiredVolume(id.parse().ok()?),
                "desired/volume-gone" => About::VolumeOrder(id.parse().ok()?),
                "observed/volume" => About::ObservedVolume(id.parse().ok()?),
                "observed/volume-gone" => About::VolumeGone(id.parse().ok()?),
                _ => return None,
            }
        }
    };
    Some((Name::new(host).ok()?, about))
}

fn read<T: Record>(store: &Store, entry: Entry) -> Option<T> {
    // What cannot be read is in the log, and as good as not reported.
    let stored = store.collection::<T>().read(entry).ok()?;
    Some(stored.value)
}

impl Host {
    /// Everything that it was told of or tells of.
    fn concerned(&self) -> Vec<Thing> {
        let vms = self.told.iter().chain(self.vms.keys()).copied();
        let volumes = self.told_volumes.iter().chain(self.volumes.keys()).copied();
        vms.map(Thing::Vm)
            .chain(volumes.map(Thing::Volume))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.alive.is_none()
            && self.agent.is_none()
            && self.told.is_empty()
            && self.vms.is_empty()
            && self.gone.is_empty()
            && self.told_volumes.is_empty()
            && self.volumes.is_empty()
            && self.gone_volumes.is_empty()
    }
}

impl Seen {
    /// Before everything is told anew; returns what was spoken of.
    pub(super) fn forget(&mut self) -> Vec<Thing> {
        let hosts = std::mem::take(&mut self.0);
        hosts.values().flat_map(Host::concerned).collect()
    }

    /// Takes what was told; returns what it may make a difference to.
    pub(super) fn put(&mut self, store: &Store, entry: Entry) -> Vec<Thing> {
        let Some((host, about)) = parse(&entry.key) else {
            return Vec::new();
        };
        let seen = self.0.entry(host).or_default();
        match about {
            About::Alive => {
                seen.gone_since = None;
                let was = seen.alive.take();
                seen.alive = read(store, entry);
                if was == seen.alive {
                    Vec::new()
                } else {
                    seen.concerned()
                }
            }
            About::Agent => {
                seen.agent = read(store, entry);
                Vec::new()
            }
            About::Desired(vm) | About::Order(vm) => {
                seen.told.insert(vm);
                vec![Thing::Vm(vm)]
            }
            About::Observed(vm) => {
                match read(store, entry) {
                    Some(observed) => seen.vms.insert(vm, observed),
                    None => seen.vms.remove(&vm),
                };
                vec![Thing::Vm(vm)]
            }
            About::Gone(vm) => {
                seen.gone.insert(vm);
                vec![Thing::Vm(vm)]
            }
            About::DesiredVolume(volume) | About::VolumeOrder(volume) => {
                seen.told_volumes.insert(volume);
                vec![Thing::Volume(volume)]
            }
            About::ObservedVolume(volume) => {
                match read(store, entry) {
                    Some(observed) => seen.volumes.insert(volume, observed),
                    None => seen.volumes.remove(&volume),
                };
                vec![Thing::Volume(volume)]
            }
            About::VolumeGone(volume) => {
                seen.gone_volumes.insert(volume);
                vec![Thing::Volume(volume)]
            }
        }
    }

    /// Takes that something is not told any more; returns what it may make a difference to.
    pub(super) fn delete(&mut self, key: &str, now: Timestamp) -> Vec<Thing> {
        let Some((host, about)) = parse(key) else {
            return Vec::new();
        };
        let Some(seen) = self.0.get_mut(&host) else {
            return Vec::new();
        };
        let concerned = match about {
            About::Alive => {
                seen.alive = None;
                seen.gone_since = Some(now);
                seen.concerned()
            }
            About::Agent => {
                seen.agent = None;
                Vec::new()
            }
            About::Desired(vm) | About::Order(vm) => {
                // Of an order that takes the place of the other in one transaction, both are told.
                seen.told.remove(&vm);
                vec![Thing::Vm(vm)]
            }
            About::Observed(vm) => {
                seen.vms.remove(&vm);
                vec![Thing::Vm(vm)]
            }
            About::Gone(vm) => {
                seen.gone.remove(&vm);
                vec![Thing::Vm(vm)]
            }
            About::DesiredVolume(volume) | About::VolumeOrder(volume) => {
                seen.told_volumes.remove(&volume);
                vec![Thing::Volume(volume)]
            }
            About::ObservedVolume(volume) => {
                seen.volumes.remove(&volume);
                vec![Thing::Volume(volume)]
            }
            About::VolumeGone(volume) => {
                seen.gone_volumes.remove(&volume);
                vec![Thing::Volume(volume)]
            }
        };
        if seen.is_empty() {
            self.0.remove(&host);
        }
        concerned
    }

    pub(super) fn view(&self, host: &Name, vm: VmId) -> HostView {
        let Some(seen) = self.0.get(host) else {
            return HostView::Silent { since: None };
        };
        match &seen.alive {
            Some(alive) => HostView::Alive {
                since: alive.since,
                observed: seen.vms.get(&vm).cloned(),
            },
            None => HostView::Silent {
                since: seen.gone_since.map(whole),
            },
        }
    }

    pub(super) fn is_gone(&self, host: &Name, vm: VmId) -> bool {
        self.0.get(host).is_some_and(|seen| seen.gone.contains(&vm))
    }

    pub(super) fn volume(&self, host: &Name, volume: VolumeId) -> VolumeView {
        let Some(seen) = self.0.get(host) else {
            return VolumeView::Silent { since: None };
        };
        match &seen.alive {
            Some(alive) => VolumeView::Alive {
                since: alive.since,
                observed: seen.volumes.get(&volume).cloned(),
            },
            None => VolumeView::Silent {
                since: seen.gone_since.map(whole),
            },
        }
    }

    pub(super) fn is_volume_gone(&self, host: &Name, volume: VolumeId) -> bool {
        let seen = self.0.get(host);
        seen.is_some_and(|seen| seen.gone_volumes.contains(&volume))
    }

    pub(super) fn pool(&self, host: &Name, name: &Name) -> Option<ObservedPool> {
        let agent = self.0.get(host)?.agent.as_ref()?;
        let mut pools = pool::told(agent).into_iter();
        pools.find(|pool| pool.name == *name)
    }

    pub(super) fn alive(&self) -> Vec<(Name, ObservedAgent)> {
        let alive = self.0.iter().filter(|(_, seen)| seen.alive.is_some());
        alive
            .filter_map(|(host, seen)| Some((host.clone(), seen.agent.clone()?)))
            .collect()
    }

    pub(super) fn images(&self) -> BTreeSet<HeldImage> {
        let agents = self.0.values().filter_map(|seen| seen.agent.as_ref());
        agents
            .flat_map(|agent| agent.images.iter().cloned())
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Shown> {
        let shown = self.0.iter().map(|(host, seen)| Shown {
            host: host.clone(),
            alive: seen.alive.is_some(),
            since: seen
                .alive
                .as_ref()
                .map(|alive| alive.since)
                .or(seen.gone_since),
            agent: seen.agent.clone(),
        });
        shown.collect()
    }
}

/// Without the fraction of a second.
fn whole(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}
