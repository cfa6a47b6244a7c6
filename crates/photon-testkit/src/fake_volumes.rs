//! The volumes of a [`crate::fake_host::FakeHost`]: numbers, too, kept by the contract of `docs/vm.md` ("Volumes").

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a test that fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Store;
use plasmavmc_model::{
    DesiredVm, DesiredVolume, ObservedState, ObservedVm, ObservedVolume, ObservedVolumeState, VmId,
    VolumeGone, VolumeGoneOrder, VolumeId, volume,
};

use crate::fake_host::{State, below, put, remove};

/// What a host does with volumes beside its work.
#[derive(Clone, Debug, Default)]
pub struct VolumeHabits {
    /// It cannot make them, or make them larger.
    pub broken: Option<String>,
    /// None is ever ready.
    pub slow: bool,
    /// It removes nothing.
    pub stuck: bool,
    /// Guests do not let go what is taken from them.
    pub clinging_guests: bool,
    /// It does nothing with volumes, and says nothing of them: a test does.
    pub mute: bool,
}

/// What is there.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// Their sizes, in GiB.
    sizes: BTreeMap<VolumeId, u32>,
    /// What VMs have open.
    open: BTreeMap<VmId, BTreeSet<VolumeId>>,
    /// How often one was removed.
    removed: Vec<VolumeId>,
}

impl Volumes {
    pub(crate) fn size(&self, id: VolumeId) -> Option<u32> {
        self.sizes.get(&id).copied()
    }

    pub(crate) fn removed(&self, id: VolumeId) -> usize {
        self.removed.iter().filter(|one| **one == id).count()
    }

    pub(crate) fn close(&mut self, vm: VmId) {
        self.open.remove(&vm);
    }
}

/// Says which volumes a VM has open: what it is to have while it is up, and what it does not let go.
pub(crate) fn open(state: &mut State, wish: &DesiredVm, told: &mut ObservedVm) {
    let is_up = matches!(
        told.state,
        ObservedState::Running
            | ObservedState::Stopping
            | ObservedState::Paused
            | ObservedState::Suspended
    );
    if !is_up {
        state.volumes.close(wish.id);
        return;
    }
    let wanted = wish.disks.iter().filter_map(|disk| disk.volume);
    // What is not there yet it gets as soon as it is.
    let is_there = |id: &VolumeId| state.volumes.sizes.contains_key(id);
    let wanted: BTreeSet<VolumeId> = wanted.map(|volume| volume.id).filter(is_there).collect();
    let clings = state.habits.volumes.clinging_guests;
    let open = state.volumes.open.entry(wish.id).or_default();
    if !clings {
        open.clear();
    }
    open.extend(wanted);
    told.volumes = open.iter().copied().collect();
}

/// Does what is wanted of volumes, and tells of it.
pub(crate) async fn look(store: &Store, host: &Name, state: &Mutex<State>) {
    if state.lock().unwrap().habits.volumes.mute {
        return;
    }
    let mut wanted = BTreeSet::new();
    for wish in below::<DesiredVolume>(store, format!("{host}/desired/volume/")).await {
        let wish = wish.value;
        wanted.insert(wish.id);
        let told = act(&mut state.lock().unwrap(), &wish);
        tell(store, &volume::observed_key(host, wish.id), told).await;
    }
    let orders = below::<VolumeGoneOrder>(store, format!("{host}/desired/volume-gone/")).await;
    for order in &orders {
        let id = order.value.id;
        let done = volume::gone_key(host, id);
        let found = store.collection::<VolumeGone>().get(&done).await.unwrap();
        if found.is_some() {
            continue;
        }
        {
            let mut state = state.lock().unwrap();
            if state.habits.volumes.stuck {
                continue;
            }
            state.volumes.sizes.remove(&id);
            state.volumes.removed.push(id);
        }
        let at = Timestamp::now();
        put(store, &done, VolumeGone { id, at }).await;
    }
    let told = format!("{host}/observed/volume/");
    for told in below::<ObservedVolume>(store, told).await {
        let id = told.key.rsplit('/').next().unwrap().parse().unwrap();
        if !wanted.contains(&id) {
            remove::<ObservedVolume>(store, &told.key).await;
        }
    }
    for done in below::<VolumeGone>(store, format!("{host}/observed/volume-gone/")).await {
        let key = volume::gone_order_key(host, done.value.id);
        let order = store.collection::<VolumeGoneOrder>().get(&key).await;
        if order.unwrap().is_none() {
            remove::<VolumeGone>(store, &done.key).await;
        }
    }
}

/// Writes what is seen, unless only its time is new.
async fn tell(store: &Store, key: &str, told: ObservedVolume) {
    let before = store.collection::<ObservedVolume>().get(key).await.unwrap();
    let same = before.is_some_and(|before| {
        ObservedVolume {
            since: told.since,
            ..before.value
        } == told
    });
    if !same {
        put(store, key, told).await;
    }
}

fn act(state: &mut State, wish: &DesiredVolume) -> ObservedVolume {
    let habits = state.habits.volumes.clone();
    let volumes = &mut state.volumes;
    let is_open = volumes.open.values().any(|open| open.contains(&wish.id));
    let has = volumes.size(wish.id).unwrap_or(0);
    let is_lacking = has < wish.size_gib;
    let (told, reason) = match habits.broken {
        Some(why) if is_lacking => (ObservedVolumeState::Failed, why),
        _ if is_lacking && is_open => {
            let why = "its VM has it open".to_owned();
            (ObservedVolumeState::Preparing, why)
        }
        _ if is_lacking && habits.slow => (ObservedVolumeState::Preparing, String::new()),
        _ => {
            volumes.sizes.insert(wish.id, has.max(wish.size_gib));
            (ObservedVolumeState::Ready, String::new())
        }
    };
    ObservedVolume {
        generation: wish.generation,
        state: told,
        size_gib: volumes.size(wish.id).unwrap_or(0),
        reason,
        snapshots: Vec::new(),
        reverted: 0,
        since: Timestamp::now(),
    }
}
