//! Volumes on this host: a task for each of which something is wanted.
//!
//! ```text
//!   desired/volume, desired/volume-gone ──> plan ──> one step ──> qemu-img, files      while nobody has it open
//!                    file, note ──look──────^ └────> told ──> observed/volume, observed/volume-gone
//! ```
//!
//! Who attaches a volume is the VM's worker. What belongs to a volume lies with it, so that it is all there wherever its pool is.

mod files;
pub mod plan;
pub mod report;
mod strays;
pub mod told;
mod worker;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use plasmavmc_model::VolumeId;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::files::{FailedSnapshot, Note, VolumeFiles};
use self::{
    plan::{Wanted, plan},
    worker::Order,
};
use crate::{feed::Records, outcome::Outcomes, pools::Pools, workers::Wakes};

/// At how many volumes it is worked at one time.
const AT_ONCE: usize = 4;

/// The tasks, by volume.
#[derive(Debug)]
pub struct Volumes {
    pools: Pools,
    outcomes: Arc<Outcomes>,
    wakes: Wakes,
    resync: Duration,
    turns: Arc<Semaphore>,
    stop: CancellationToken,
    running: BTreeMap<VolumeId, Running>,
    /// Who looks for strays, if that has not ended.
    looking: Option<JoinHandle<Vec<String>>>,
}

/// How long it is waited for a look at the files of all pools.
const LOOK_FOR_STRAYS: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Running {
    wanted: watch::Sender<Wanted>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Volumes {
    /// None yet.
    #[must_use]
    pub fn new(
        pools: Pools,
        outcomes: Arc<Outcomes>,
        wakes: Wakes,
        resync: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self {
            pools,
            outcomes,
            wakes,
            resync,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            stop,
            running: BTreeMap::new(),
            looking: None,
        }
    }

    /// As the store says; before VMs are told that need them. Answers whether there may be other files that nobody wants than before.
    pub fn update(&mut self, records: &Records) -> bool {
        let unreadable = records.unreadable_volumes.iter();
        let unreadable =
            unreadable.map(|(volume, why)| format!("the record of {volume} cannot be read: {why}"));
        self.outcomes.change(|facts| {
            facts.problems.insert("volumes", unreadable.collect());
        });
        self.outcomes.know_volumes(records);
        let all = wanted(records);
        let over = self.running.keys().filter(|id| !all.contains_key(id));
        let over = Vec::from_iter(over.copied());
        for volume in &over {
            self.end(*volume);
        }
        let mut are_others = !over.is_empty();
        for (volume, wanted) in all {
            if let Wanted::Volume(desired) = &wanted {
                self.outcomes.expect_volume(volume, desired.generation);
            }
            // Of one that ended because nothing was left, nothing is left.
            let is_done = matches!(wanted, Wanted::Gone(_)) && self.outcomes.is_volume_gone(volume);
            let works = |running: &&Running| !running.task.is_finished();
            match self.running.get(&volume).filter(works) {
                Some(running) => {
                    running.wanted.send_if_modified(|now| {
                        let is_new = *now != wanted;
                        *now = wanted;
                        is_new
                    });
                }
                None if is_done => {}
                None => {
                    are_others = true;
                    self.start(volume, wanted);
                }
            }
        }
        are_others
    }

    fn start(&mut self, volume: VolumeId, wanted: Wanted) {
        let (sender, receiver) = watch::channel(wanted);
        let wake = Arc::new(Notify::new());
        self.wakes.volumes.lock().insert(volume, Arc::clone(&wake));
        let stop = self.stop.child_token();
        let order = Order {
            volume,
            pools: self.pools.clone(),
            outcomes: Arc::clone(&self.outcomes),
            wakes: self.wakes.clone(),
            wake,
            turns: Arc::clone(&self.turns),
            resync: self.resync,
            stop: stop.clone(),
        };
        let running = Running {
            wanted: sender,
            stop,
            task: tokio::spawn(order.work(receiver)),
        };
        self.running.insert(volume, running);
    }

    fn end(&mut self, volume: VolumeId) {
        if let Some(running) = self.running.remove(&volume) {
            running.stop.cancel();
        }
        self.wakes.volumes.lock().remove(&volume);
        self.outcomes.forget_volume(volume);
    }

    /// Nobody does anything any more; what was told stands.
    pub async fn stop(&mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            running.stop.cancel();
            let _ = running.task.await;
        }
        self.wakes.volumes.lock().clear();
    }

    /// Looks which files are in pools that nobody wants, and tells. A file system that does not answer holds up nobody: one look is left to
    /// itself until it does.
    pub async fn look_for_strays(&mut self, records: &Records) {
        let looking = self.looking.get_or_insert_with(|| {
            let (pools, records) = (self.pools.clone(), records.clone());
            tokio::task::spawn_blocking(move || strays::look(&pools, &records))
        });
        let Ok(looked) = tokio::time::timeout(LOOK_FOR_STRAYS, looking).await else {
            return;
        };
        self.looking = None;
        // One that panicked is in the log.
        let Ok(problems) = looked else { return };
        self.outcomes.change(|facts| {
            facts.problems.insert("strays", problems);
        });
    }
}

fn wanted(records: &Records) -> BTreeMap<VolumeId, Wanted> {
    let volumes = records.volumes.iter();
    let volumes = volumes.map(|(id, desired)| (*id, Wanted::Volume(Box::new(desired.clone()))));
    let orders = records.volumes_gone.iter();
    let orders = orders.map(|(id, order)| (*id, Wanted::Gone(order.pool.clone())));
    // An order counts, whatever else is said.
    volumes.chain(orders).collect()
}

/// What would be done next, of each volume of which there is something to do.
pub async fn would_do(pools: &Pools, records: &Records) -> BTreeMap<VolumeId, String> {
    let mut all = BTreeMap::new();
    for (volume, wanted) in wanted(records) {
        let plan = match worker::look(pools, volume, &wanted).await {
            Ok(found) => plan(&wanted, &found),
            Err(why) => {
                all.insert(volume, why);
                continue;
            }
        };
        if let Some(step) = plan.step {
            all.insert(volume, step.to_string());
        }
    }
    all
}
