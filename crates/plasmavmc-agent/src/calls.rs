//! Calls of the driver from async code: on threads of their own, one at a time for each VM, so many at once for all, each within its time.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use plasmavmc_model::{SnapshotId, VmId, VolumeId};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::{
    driver::{Driver, Error},
    machine::{Disk, Domain, Machine},
};

/// The most calls at once.
const AT_ONCE: usize = 8;
/// How long looking may take.
const LOOK: Duration = Duration::from_secs(20);
/// How long changing something may take.
const CHANGE: Duration = Duration::from_secs(60);
/// How long a start may take: disks are opened, memory is taken.
const START: Duration = Duration::from_secs(120);
/// How long it may take to write or to read all of a machine's memory.
const MEMORY: Duration = Duration::from_secs(1800);
/// The most of those at once: they take minutes, and nobody else is to wait for them.
const MEMORIES_AT_ONCE: usize = 4;

/// The driver, as async code has it.
///
/// A call that is late goes on: it keeps its VM's turn until it ends, so that nothing is done to that VM beside it.
#[derive(Clone)]
pub struct Calls {
    driver: Arc<dyn Driver>,
    room: Arc<Semaphore>,
    room_for_memory: Arc<Semaphore>,
    turns: Arc<Mutex<HashMap<VmId, Weak<AsyncMutex<()>>>>>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// Of that driver.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            room_for_memory: Arc::new(Semaphore::new(MEMORIES_AT_ONCE)),
            turns: Arc::default(),
        }
    }

    /// [`Driver::digest`].
    #[must_use]
    pub fn digest(&self, machine: &Machine) -> String {
        self.driver.digest(machine)
    }

    /// [`Driver::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, machine: &Machine) -> Result<(), String> {
        self.driver.check(machine)
    }

    /// [`Driver::list`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn list(&self) -> Result<Vec<Domain>, Error> {
        let call = self.run(None, &self.room, "looking", |driver| driver.list());
        late(LOOK, "looking at all domains", call).await
    }

    /// [`Driver::look`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn look(&self, vm: VmId) -> Result<Option<Domain>, Error> {
        self.on(vm, "looking", LOOK, move |driver| driver.look(vm))
            .await
    }

    /// [`Driver::define`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn define(&self, machine: Machine) -> Result<(), Error> {
        self.on(machine.id, "defining", CHANGE, move |driver| {
            driver.define(&machine)
        })
        .await
    }

    /// [`Driver::start`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn start(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "starting", START, move |driver| driver.start(vm))
            .await
    }

    /// [`Driver::press_power_button`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn press_power_button(&self, vm: VmId) -> Result<(), Error> {
        let press = move |driver: &dyn Driver| driver.press_power_button(vm);
        self.on(vm, "asking to shut down", CHANGE, press).await
    }

    /// [`Driver::resume`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn resume(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "letting it go on", CHANGE, move |driver| {
            driver.resume(vm)
        })
        .await
    }

    /// [`Driver::pause`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn pause(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "having it stand still", CHANGE, move |driver| {
            driver.pause(vm)
        })
        .await
    }

    /// [`Driver::save`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn save(&self, vm: VmId) -> Result<(), Error> {
        self.with_memory(vm, "writing its memory", move |driver| driver.save(vm))
            .await
    }

    /// [`Driver::restore`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn restore(&self, vm: VmId) -> Result<(), Error> {
        self.with_memory(vm, "reading its memory", move |driver| driver.restore(vm))
            .await
    }

    /// [`Driver::drop_memory`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn drop_memory(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "removing its memory", CHANGE, move |driver| {
            driver.drop_memory(vm)
        })
        .await
    }

    /// [`Driver::take_snapshot`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn take_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with_memory(vm, "taking a snapshot", move |driver| {
            driver.take_snapshot(vm, snapshot)
        })
        .await
    }

    /// [`Driver::remove_snapshot`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn remove_snapshot(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with_memory(vm, "removing a snapshot", move |driver| {
            driver.remove_snapshot(vm, snapshot)
        })
        .await
    }

    /// [`Driver::revert`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn revert(&self, vm: VmId, snapshot: SnapshotId) -> Result<(), Error> {
        self.with_memory(vm, "reverting to a snapshot", move |driver| {
            driver.revert(vm, snapshot)
        })
        .await
    }

    /// [`Driver::attach_volume`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn attach_volume(&self, vm: VmId, disk: Disk) -> Result<(), Error> {
        let attach = move |driver: &dyn Driver| driver.attach_volume(vm, &disk);
        self.on(vm, "attaching a volume", CHANGE, attach).await
    }

    /// [`Driver::detach_volume`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn detach_volume(&self, vm: VmId, volume: VolumeId) -> Result<(), Error> {
        let detach = move |driver: &dyn Driver| driver.detach_volume(vm, volume);
        self.on(vm, "detaching a volume", CHANGE, detach).await
    }

    /// [`Driver::power_off`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn power_off(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "powering off", CHANGE, move |driver| {
            driver.power_off(vm)
        })
        .await
    }

    /// [`Driver::undefine`].
    ///
    /// # Errors
    /// As there; [`Error::Late`].
    pub async fn undefine(&self, vm: VmId) -> Result<(), Error> {
        self.on(vm, "undefining", CHANGE, move |driver| driver.undefine(vm))
            .await
    }

    async fn on<T: Send + 'static>(
        &self,
        vm: VmId,
        what: &'static str,
        limit: Duration,
        call: impl FnOnce(&dyn Driver) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        late(limit, what, self.run(Some(vm), &self.room, what, call)).await
    }

    async fn with_memory(
        &self,
        vm: VmId,
        what: &'static str,
        call: impl FnOnce(&dyn Driver) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let room = &self.room_for_memory;
        late(MEMORY, what, self.run(Some(vm), room, what, call)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        vm: Option<VmId>,
        room: &Arc<Semaphore>,
        what: &'static str,
        call: impl FnOnce(&dyn Driver) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = match vm {
            Some(vm) => Some(self.turn(vm).lock_owned().await),
            None => None,
        };
        let room = Arc::clone(room).acquire_owned().await;
        let driver = Arc::clone(&self.driver);
        let called = tokio::task::spawn_blocking(move || {
            // Kept until the call has ended, even if nobody waits for it any more.
            let _kept = (turn, room);
            call(&*driver)
        });
        called
            .await
            .unwrap_or_else(|error| Err(Error::Refused(format!("{what} failed: {error}"))))
    }

    fn turn(&self, vm: VmId) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(&vm).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(vm, Arc::downgrade(&turn));
        turn
    }
}

async fn late<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let done = tokio::time::timeout(limit, call).await;
    done.unwrap_or_else(|_| Err(Error::Late(what.to_owned())))
}
