//! A host without a hypervisor: an agent that keeps to the contract of `docs/vm.md` ("Control plane and agent"), by the same
//! model types as the real one, over machines that are numbers.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a test that fails"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Collection, Expected, PageRequest, Record, Store, Stored};
use plasmavmc_model::{
    Alive, Capacity, DesiredVm, Digest, End, EndedBy, Firmware, GoneDone, GoneOrder, Hardware,
    HeldImage, Hypervisor, ObservedAgent, ObservedPool, ObservedSnapshot, ObservedState,
    ObservedVm, Power, Probe, SnapshotId, SnapshotWish, VmId, desired, observed,
};
use tokio::task::JoinHandle;

pub use crate::fake_volumes::VolumeHabits;
use crate::fake_volumes::{self, Volumes};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(15);

/// What a host does beside its work.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// It looks at nothing: as an agent that was stopped, but is alive.
    pub idle: bool,
    /// Guests do not hear that they are asked to shut down.
    pub deaf_guests: bool,
    /// It does not even power off.
    pub stuck: bool,
    /// It cannot make what VMs need.
    pub broken: Option<String>,
    /// Nothing is ever ready.
    pub slow: bool,
    /// Where it can be asked, in truth by somebody else.
    pub door: Option<String>,
    /// What runs stands still, for that reason.
    pub full_disk: Option<String>,
    /// It neither pauses nor suspends what runs.
    pub restless: bool,
    /// It cannot take snapshots.
    pub no_snapshots: Option<String>,
    /// It does nothing about snapshots.
    pub slow_snapshots: bool,
    /// It does not revert.
    pub no_reverts: bool,
    /// Its pools; none: as an agent that knows of none.
    pub pools: Vec<ObservedPool>,
    /// What it does with volumes.
    pub volumes: VolumeHabits,
}

/// A machine.
#[derive(Clone, Debug, Default)]
struct Machine {
    running: Option<u64>,
    last_boot: u64,
    ended: Option<End>,
    /// When its guest was asked to shut down.
    asked: Option<Timestamp>,
    /// How often it was started.
    starts: u64,
    /// Whether it stands still.
    paused: bool,
    /// The boot whose memory is on disk.
    saved: Option<u64>,
    /// How often it went on from its memory, or was made to.
    resumes: u64,
    /// What was taken, or could not be.
    snapshots: BTreeMap<SnapshotId, ObservedSnapshot>,
    /// The number of the last revert.
    reverted: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) habits: Habits,
    pub(crate) volumes: Volumes,
    machines: BTreeMap<VmId, Machine>,
    /// Everything that was ever ordered to be taken down here.
    taken_down: Vec<VmId>,
}

/// A host, of which the store says what it is told; its agent works until it is dropped.
#[derive(Debug)]
pub struct FakeHost {
    /// What it is called.
    pub name: Name,
    store: Store,
    state: Arc<Mutex<State>>,
    working: Option<JoinHandle<()>>,
}

/// What every such host holds.
pub fn image() -> HeldImage {
    HeldImage {
        name: Name::new("photon-mini").unwrap(),
        arch: "x86_64".to_owned(),
        kernel: Digest::of(b"kernel"),
        initramfs: Digest::of(b"initramfs"),
        cmdline: "console=ttyS0".to_owned(),
        bytes: 16_000_000,
    }
}

/// What such a host says of itself.
#[must_use]
pub fn agent() -> ObservedAgent {
    ObservedAgent {
        version: "0.1.0".to_owned(),
        driver: "none".to_owned(),
        capacity: Capacity {
            cpus: 2,
            memory_mib: 24 * 1024,
            disk_gib: 1_000,
        },
        probe: Probe {
            kvm: false,
            emulation: true,
            reason: "a fake".to_owned(),
        },
        hardware: Hardware {
            machine: "pc-q35-7.2".to_owned(),
            cpu: "qemu64".to_owned(),
            firmware: Firmware::Bios,
            disk_bus: "virtio".to_owned(),
            nic_model: "virtio".to_owned(),
            volume_bus: Some("scsi".to_owned()),
        },
        images: vec![image()],
        blobs: Vec::new(),
        pools: Vec::new(),
        door: None,
        problems: Vec::new(),
        orphans: Vec::new(),
    }
}

pub(crate) async fn put<T: Record + PartialEq>(store: &Store, key: &str, value: T) {
    let all: Collection<T> = store.collection();
    let written = match all.get(key).await.unwrap() {
        Some(found) if found.value == value => return,
        Some(mut found) => {
            found.value = value;
            all.replace(found).await.map(|_| ())
        }
        None => all.create(key, value).await.map(|_| ()),
    };
    written.unwrap();
}

pub(crate) async fn remove<T: Record>(store: &Store, key: &str) {
    match store.collection::<T>().delete(key, Expected::Any).await {
        Ok(_) | Err(photon_store::Error::NotFound { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// All records of a type below a prefix of a host.
pub(crate) async fn below<T: Record>(store: &Store, prefix: String) -> Vec<Stored<T>> {
    let request = PageRequest {
        prefix,
        ..PageRequest::default()
    };
    store.collection::<T>().list(&request).await.unwrap().items
}

impl FakeHost {
    /// A host that works.
    pub async fn start(store: Store, name: &str) -> Self {
        Self::start_with(store, name, Habits::default()).await
    }

    /// A host that works as it pleases.
    pub async fn start_with(store: Store, name: &str, habits: Habits) -> Self {
        let agent = ObservedAgent {
            door: habits.door.clone(),
            pools: habits.pools.clone(),
            ..agent()
        };
        let state = State {
            habits,
            ..State::default()
        };
        let mut host = Self {
            name: Name::new(name).unwrap(),
            store,
            state: Arc::new(Mutex::new(state)),
            working: None,
        };
        put(&host.store, &observed::agent_key(&host.name), agent).await;
        host.come_back().await;
        host
    }

    /// What it was told to make of a VM.
    pub async fn wish(&self, vm: &str) -> DesiredVm {
        let key = desired::vm_key(&self.name, vm.parse().unwrap());
        let wish = self
            .store
            .collection::<DesiredVm>()
            .get(&key)
            .await
            .unwrap();
        wish.unwrap().value
    }

    /// Changes what it does.
    pub fn habits(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.state.lock().unwrap().habits);
    }

    /// Its agent dies, with its machines left as they are.
    pub async fn go_silent(&mut self) {
        if let Some(working) = self.working.take() {
            working.abort();
            let _ = working.await;
        }
        remove::<Alive>(&self.store, &observed::alive_key(&self.name)).await;
    }

    /// Its agent starts.
    pub async fn come_back(&mut self) {
        let alive = Alive {
            since: Timestamp::now(),
        };
        put(&self.store, &observed::alive_key(&self.name), alive).await;
        let (store, name, state) = (
            self.store.clone(),
            self.name.clone(),
            Arc::clone(&self.state),
        );
        self.working = Some(tokio::spawn(async move {
            loop {
                if !state.lock().unwrap().habits.idle {
                    look(&store, &name, &state).await;
                }
                tokio::time::sleep(LOOK).await;
            }
        }));
    }

    /// The guest of a VM powers itself off.
    pub fn power_off_from_within(&self, vm: &str) {
        let mut state = self.state.lock().unwrap();
        let machine = state.machines.get_mut(&vm.parse().unwrap()).unwrap();
        end(machine, EndedBy::Guest);
    }

    /// The whole machine is switched off and on.
    pub fn lose_power(&self) {
        let mut state = self.state.lock().unwrap();
        state.machines.values_mut().for_each(|machine| {
            machine.running = None;
            machine.asked = None;
            machine.paused = false;
        });
    }

    /// Whether the memory of a VM is on its disk.
    pub fn has_memory(&self, vm: &str) -> bool {
        self.of(vm, |machine| machine.saved.is_some())
    }

    /// How often a machine went on from a memory on disk.
    pub fn resumes(&self, vm: &str) -> u64 {
        self.of(vm, |machine| machine.resumes)
    }

    /// The snapshots that were taken of a VM and are there.
    pub fn snapshots(&self, vm: &str) -> Vec<String> {
        self.of(vm, |machine| {
            let all = machine.snapshots.values();
            let taken = all.filter(|one| one.failed.is_none());
            taken.map(|one| one.id.to_string()).collect()
        })
    }

    /// The number of the last revert of a VM.
    pub fn reverted(&self, vm: &str) -> u64 {
        self.of(vm, |machine| machine.reverted)
    }

    fn of<T: Default>(&self, vm: &str, look: impl FnOnce(&Machine) -> T) -> T {
        let state = self.state.lock().unwrap();
        let machine = state.machines.get(&vm.parse().unwrap());
        machine.map(look).unwrap_or_default()
    }

    /// Whether it has such a machine.
    pub fn has(&self, vm: &str) -> bool {
        self.state
            .lock()
            .unwrap()
            .machines
            .contains_key(&vm.parse().unwrap())
    }

    /// How often a machine was started.
    pub fn starts(&self, vm: &str) -> u64 {
        let state = self.state.lock().unwrap();
        state
            .machines
            .get(&vm.parse().unwrap())
            .map_or(0, |machine| machine.starts)
    }

    /// The size of a volume that is here, in GiB.
    pub fn volume_size(&self, volume: &str) -> Option<u32> {
        let state = self.state.lock().unwrap();
        state.volumes.size(volume.parse().unwrap())
    }

    /// How often a volume was removed.
    pub fn removed(&self, volume: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.volumes.removed(volume.parse().unwrap())
    }

    /// How often one was ordered away.
    pub fn taken_down(&self, vm: &str) -> usize {
        let vm: VmId = vm.parse().unwrap();
        let state = self.state.lock().unwrap();
        state.taken_down.iter().filter(|one| **one == vm).count()
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        if let Some(working) = &self.working {
            working.abort();
        }
    }
}

fn end(machine: &mut Machine, by: EndedBy) {
    if let Some(boot) = machine.running.take() {
        machine.asked = None;
        machine.paused = false;
        machine.ended = Some(End {
            boot,
            by,
            at: Timestamp::now(),
        });
    }
}

async fn look(store: &Store, host: &Name, state: &Mutex<State>) {
    fake_volumes::look(store, host, state).await;
    for wish in below::<DesiredVm>(store, format!("{host}/desired/vm/")).await {
        let wish = wish.value;
        let told = {
            let mut state = state.lock().unwrap();
            let mut told = act(&mut state, &wish);
            fake_volumes::open(&mut state, &wish, &mut told);
            told
        };
        tell(store, &observed::vm_key(host, wish.id), told).await;
    }
    let orders = below::<GoneOrder>(store, format!("{host}/desired/gone/")).await;
    for order in &orders {
        let id = order.value.id;
        let done = observed::gone_key(host, id);
        if store
            .collection::<GoneDone>()
            .get(&done)
            .await
            .unwrap()
            .is_some()
        {
            continue;
        }
        {
            let mut state = state.lock().unwrap();
            if state.habits.stuck {
                continue;
            }
            state.machines.remove(&id);
            state.volumes.close(id);
            state.taken_down.push(id);
        }
        remove::<ObservedVm>(store, &observed::vm_key(host, id)).await;
        let at = Timestamp::now();
        put(store, &done, GoneDone { id, at }).await;
    }
    for done in below::<GoneDone>(store, format!("{host}/observed/gone/")).await {
        let key = desired::gone_key(host, done.value.id);
        if store
            .collection::<GoneOrder>()
            .get(&key)
            .await
            .unwrap()
            .is_none()
        {
            remove::<GoneDone>(store, &done.key).await;
        }
    }
}

/// Writes what is seen, unless only its time is new.
async fn tell(store: &Store, key: &str, told: ObservedVm) {
    let before = store.collection::<ObservedVm>().get(key).await.unwrap();
    let same = before.is_some_and(|before| {
        ObservedVm {
            since: told.since,
            ..before.value
        } == told
    });
    if !same {
        put(store, key, told).await;
    }
}

/// Brings a machine a step closer to what is wanted of it.
fn act(state: &mut State, wish: &DesiredVm) -> ObservedVm {
    let habits = state.habits.clone();
    if let Some(why) = habits.broken {
        return seen(wish, ObservedState::Failed, &Machine::default(), why);
    }
    if habits.slow {
        let nothing = Machine::default();
        return seen(wish, ObservedState::Preparing, &nothing, String::new());
    }
    let machine = state.machines.entry(wish.id).or_default();
    revert(machine, wish, &habits);
    if !habits.slow_snapshots {
        take_snapshots(machine, wish, habits.no_snapshots.as_deref());
    }
    let (state, reason) = match machine.running {
        Some(boot) => go_on(machine, boot, wish, &habits),
        None => begin(machine, wish),
    };
    seen(wish, state, machine, reason)
}

/// What is told of a machine.
fn seen(wish: &DesiredVm, state: ObservedState, machine: &Machine, reason: String) -> ObservedVm {
    ObservedVm {
        generation: wish.generation,
        state,
        boot: machine.running.unwrap_or(machine.last_boot),
        ended: machine.ended.clone().filter(|_| machine.running.is_none()),
        reason,
        hypervisor: machine.running.map(|_| Hypervisor::Qemu),
        volumes: Vec::new(),
        snapshots: machine.snapshots.values().cloned().collect(),
        reverted: machine.reverted,
        since: Timestamp::now(),
    }
}

/// What runs, and what is wanted of it.
fn go_on(
    machine: &mut Machine,
    boot: u64,
    wish: &DesiredVm,
    habits: &Habits,
) -> (ObservedState, String) {
    let quiet = String::new;
    let is_its_boot = boot >= wish.boot;
    if wish.power.is_up() && is_its_boot {
        machine.asked = None;
        machine.paused = wish.power == Power::Paused && !habits.restless;
        return match (&habits.full_disk, machine.paused) {
            (Some(why), _) => (ObservedState::Paused, why.clone()),
            (None, true) => (ObservedState::Paused, quiet()),
            (None, false) => (ObservedState::Running, quiet()),
        };
    }
    if wish.power == Power::Suspended && is_its_boot {
        if habits.restless {
            return (ObservedState::Running, quiet());
        }
        machine.saved = machine.running.take();
        machine.paused = false;
        return (ObservedState::Suspended, quiet());
    }
    let asked = *machine.asked.get_or_insert_with(Timestamp::now);
    let waited = Timestamp::now().duration_since(asked).as_secs_f64();
    let is_over = waited >= f64::from(wish.grace_seconds);
    if habits.stuck || (habits.deaf_guests && !is_over) {
        return (ObservedState::Stopping, quiet());
    }
    if wish.grace_seconds == 0 || habits.deaf_guests {
        end(machine, EndedBy::PoweredOff);
        return (ObservedState::Stopped, "powered off".to_owned());
    }
    end(machine, EndedBy::Asked);
    (ObservedState::Stopped, quiet())
}

/// What does not run, and what is wanted of it.
fn begin(machine: &mut Machine, wish: &DesiredVm) -> (ObservedState, String) {
    let has_its_memory = machine.saved.is_some_and(|boot| boot >= wish.boot);
    match wish.power {
        Power::Suspended if has_its_memory => return (ObservedState::Suspended, String::new()),
        Power::Running | Power::Paused if has_its_memory => {
            machine.running = machine.saved.take();
            machine.resumes += 1;
            return (ObservedState::Starting, String::new());
        }
        Power::Suspended => {}
        // It is of a boot that nobody wants any more.
        _ => machine.saved = None,
    }
    let ended = machine.ended.as_ref();
    let is_over = ended.is_some_and(|ended| ended.boot >= wish.boot && ended.by == EndedBy::Guest);
    if wish.power.is_up() && !is_over {
        machine.running = Some(wish.boot);
        machine.last_boot = wish.boot;
        machine.starts += 1;
        return (ObservedState::Running, String::new());
    }
    let reason = match ended.map(|ended| ended.by) {
        Some(EndedBy::PoweredOff) => "powered off".to_owned(),
        _ => String::new(),
    };
    (ObservedState::Stopped, reason)
}

/// Makes a machine as it was, once for each number.
fn revert(machine: &mut Machine, wish: &DesiredVm, habits: &Habits) {
    let Some(revert) = wish
        .revert
        .filter(|revert| revert.number > machine.reverted)
    else {
        return;
    };
    if habits.no_reverts {
        return;
    }
    machine.running = None;
    machine.saved = None;
    machine.asked = None;
    machine.paused = false;
    machine.reverted = revert.number;
    if revert.memory && wish.power.is_up() {
        machine.running = Some(wish.boot);
        machine.last_boot = wish.boot;
        machine.resumes += 1;
    }
}

/// Takes what is to be there, once, and removes what is not.
fn take_snapshots(machine: &mut Machine, wish: &DesiredVm, cannot: Option<&str>) {
    let memory = machine.running.is_some();
    for wanted in &wish.snapshots {
        match wanted.wish {
            SnapshotWish::Gone => {
                machine.snapshots.remove(&wanted.id);
            }
            SnapshotWish::Kept => {
                machine
                    .snapshots
                    .entry(wanted.id)
                    .or_insert_with(|| ObservedSnapshot {
                        id: wanted.id,
                        failed: cannot.map(str::to_owned),
                        at: Timestamp::now(),
                        memory: memory && cannot.is_none(),
                        memory_bytes: if memory && cannot.is_none() {
                            1 << 20
                        } else {
                            0
                        },
                    });
            }
        }
    }
}
