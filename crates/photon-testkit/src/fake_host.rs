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
    HeldImage, Hypervisor, ObservedAgent, ObservedState, ObservedVm, Power, Probe, VmId, desired,
    observed,
};
use tokio::task::JoinHandle;

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
}

#[derive(Debug, Default)]
struct State {
    habits: Habits,
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

async fn put<T: Record + PartialEq>(store: &Store, key: &str, value: T) {
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

async fn remove<T: Record>(store: &Store, key: &str) {
    match store.collection::<T>().delete(key, Expected::Any).await {
        Ok(_) | Err(photon_store::Error::NotFound { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// All records of a type below a prefix of a host.
async fn below<T: Record>(store: &Store, prefix: String) -> Vec<Stored<T>> {
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
        });
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
        machine.ended = Some(End {
            boot,
            by,
            at: Timestamp::now(),
        });
    }
}

async fn look(store: &Store, host: &Name, state: &Mutex<State>) {
    for wish in below::<DesiredVm>(store, format!("{host}/desired/vm/")).await {
        let wish = wish.value;
        let told = act(&mut state.lock().unwrap(), &wish);
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
    let seen = |state, machine: &Machine, reason: String| ObservedVm {
        generation: wish.generation,
        state,
        boot: machine.running.unwrap_or(machine.last_boot),
        ended: machine.ended.clone().filter(|_| machine.running.is_none()),
        reason,
        hypervisor: machine.running.map(|_| Hypervisor::Qemu),
        volumes: Vec::new(),
        snapshots: Vec::new(),
        reverted: 0,
        since: Timestamp::now(),
    };
    if let Some(why) = habits.broken {
        return seen(ObservedState::Failed, &Machine::default(), why);
    }
    if habits.slow {
        return seen(ObservedState::Preparing, &Machine::default(), String::new());
    }
    let machine = state.machines.entry(wish.id).or_default();
    let is_wanted = wish.power == Power::Running;
    let mut reason = String::new();
    if let Some(boot) = machine.running {
        if is_wanted && boot >= wish.boot {
            machine.asked = None;
            return seen(ObservedState::Running, machine, reason);
        }
        let asked = *machine.asked.get_or_insert_with(Timestamp::now);
        let waited = Timestamp::now().duration_since(asked).as_secs_f64();
        let is_over = waited >= f64::from(wish.grace_seconds);
        if habits.stuck || (habits.deaf_guests && !is_over) {
            return seen(ObservedState::Stopping, machine, reason);
        }
        if wish.grace_seconds == 0 || habits.deaf_guests {
            end(machine, EndedBy::PoweredOff);
            "powered off".clone_into(&mut reason);
        } else {
            end(machine, EndedBy::Asked);
        }
        return seen(ObservedState::Stopped, machine, reason);
    }
    let is_over = machine
        .ended
        .as_ref()
        .is_some_and(|ended| ended.boot >= wish.boot && ended.by == EndedBy::Guest);
    if is_wanted && !is_over {
        machine.running = Some(wish.boot);
        machine.last_boot = wish.boot;
        machine.starts += 1;
        return seen(ObservedState::Running, machine, reason);
    }
    if machine
        .ended
        .as_ref()
        .is_some_and(|ended| ended.by == EndedBy::PoweredOff)
    {
        "powered off".clone_into(&mut reason);
    }
    seen(ObservedState::Stopped, machine, reason)
}
