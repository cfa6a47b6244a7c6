//! One task for each volume: looks, plans, acts, looks again, and tells what it saw. It does nothing when it ends.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use plasmavmc_model::{ObservedVolumeState, SnapshotId, VolumeId};
use rand::Rng as _;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    files::{FailedSnapshot, Note, VolumeFiles},
    plan::{Found, Plan, Step, Wanted, plan, snapshots},
    told::VolumeOutcome,
};
use crate::{
    disk::{self, SnapshotAct},
    driver::Error,
    outcome::Outcomes,
    pools::Pools,
    qcow2,
    worker::blocking,
    workers::Wakes,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether it is still open, if something waits for that.
const LOOK_WHETHER_OPEN: Duration = Duration::from_secs(5);
/// The most steps before others come in between: more than one for each snapshot that there may be.
const ROUNDS: usize = 200;

/// What a worker is made with.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) volume: VolumeId,
    pub(super) pools: Pools,
    pub(super) outcomes: Arc<Outcomes>,
    pub(super) wakes: Wakes,
    pub(super) wake: Arc<Notify>,
    pub(super) turns: Arc<Semaphore>,
    pub(super) resync: Duration,
    pub(super) stop: CancellationToken,
}

enum Pass {
    /// All is as it is wanted, or cannot be; it is looked again after that time.
    Done(Duration),
    /// Nothing of it is left, as it was ordered.
    Gone,
}

/// What is found of a volume.
///
/// # Errors
/// Why it cannot be looked.
pub(super) async fn look(
    pools: &Pools,
    volume: VolumeId,
    wanted: &Wanted,
) -> Result<Found, String> {
    let pool = match wanted {
        Wanted::Volume(desired) => desired.pool.clone(),
        Wanted::Gone(pool) => pool.clone(),
    };
    let is_ordered = matches!(wanted, Wanted::Gone(_));
    let pools = pools.clone();
    let look = move || {
        let files = VolumeFiles::of(&pools, &pool, volume).map_err(std::io::Error::other)?;
        let path = files.disk();
        let disk = match qcow2::read(&path) {
            // Whatever is in it, it is to go.
            Err(_) if is_ordered => None,
            read => read.map_err(|error| std::io::Error::other(format!("its file: {error}")))?,
        };
        let note = match files.note() {
            Err(_) if is_ordered => Note::default(),
            note => note?,
        };
        Ok(Found {
            disk,
            note,
            has_files: files.exist(),
            is_open: qcow2::is_in_use(&path)?,
        })
    };
    blocking(look).await
}

impl Order {
    /// Works until it is stopped, nobody wants anything any more, or nothing of the volume is left.
    pub(super) async fn work(self, mut wanted: watch::Receiver<Wanted>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let now = wanted.borrow_and_update().clone();
            let pass = tokio::select! {
                () = self.stop.cancelled() => return,
                pass = self.pass(&now) => pass,
            };
            let wait = match pass {
                Ok(Pass::Gone) => {
                    self.outcomes.put_volume_gone(self.volume);
                    return;
                }
                Ok(Pass::Done(next)) => {
                    pause = FIRST_PAUSE;
                    next
                }
                Err(problem) => {
                    tracing::warn!(volume = %self.volume, problem, "not done; trying again");
                    pause = (pause * 2).min(self.resync);
                    pause.mul_f64(rand::rng().random_range(0.5..1.0))
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn pass(&self, wanted: &Wanted) -> Result<Pass, String> {
        for _ in 0..ROUNDS {
            let found = match look(&self.pools, self.volume, wanted).await {
                Ok(found) => found,
                Err(why) => {
                    self.tell(wanted, None, ObservedVolumeState::Failed, &why);
                    return Err(why);
                }
            };
            let plan = plan(wanted, &found);
            let Some(step) = plan.step else {
                return Ok(self.rest(wanted, &found, &plan));
            };
            self.tell(wanted, Some(&found), plan.state, &plan.reason);
            let _turn = self
                .turns
                .acquire()
                .await
                .map_err(|error| error.to_string())?;
            match self.act(step, wanted, &found).await {
                Ok(()) => tracing::info!(volume = %self.volume, %step, "done"),
                Err(why) => {
                    let problem = format!("{step}: {why}");
                    self.tell(wanted, Some(&found), ObservedVolumeState::Failed, &problem);
                    return Err(problem);
                }
            }
        }
        Ok(Pass::Done(FIRST_PAUSE))
    }

    /// There is nothing to be done now.
    fn rest(&self, wanted: &Wanted, found: &Found, plan: &Plan) -> Pass {
        if matches!(wanted, Wanted::Gone(_)) && !plan.waits {
            return Pass::Gone;
        }
        self.tell(wanted, Some(found), plan.state, &plan.reason);
        Pass::Done(match plan.waits {
            true => LOOK_WHETHER_OPEN.min(self.resync),
            false => self.resync,
        })
    }

    async fn act(&self, step: Step, wanted: &Wanted, found: &Found) -> Result<(), String> {
        let pool = match wanted {
            Wanted::Volume(desired) => desired.pool.clone(),
            Wanted::Gone(pool) => pool.clone(),
        };
        let files = {
            let (pools, volume) = (self.pools.clone(), self.volume);
            let files = move || VolumeFiles::of(&pools, &pool, volume);
            blocking(move || files().map_err(std::io::Error::other)).await?
        };
        let mut note = found.note.clone();
        let path = files.disk();
        let said = |error: Error| error.to_string();
        match step {
            Step::Make(size) => return disk::make(&path, size, None).await,
            Step::Grow(size) => return disk::grow(&path, size).await,
            Step::Remove => return blocking(move || files.remove()).await,
            Step::Drop(id) => {
                let name = id.to_string();
                let dropped = disk::snapshot(&path, SnapshotAct::Remove, &name).await;
                return dropped.map_err(said);
            }
            Step::NoteMade => note.made = true,
            Step::NoteTaken(id) => drop(note.taken.insert(id, taken_at(found, id))),
            Step::Forget(id) => {
                note.taken.remove(&id);
                note.failed.remove(&id);
            }
            Step::Revert(id, number) => {
                let name = id.to_string();
                let reverted = disk::snapshot(&path, SnapshotAct::Apply, &name).await;
                reverted.map_err(said)?;
                note.reverted = number;
            }
            Step::Take(id) => {
                let name = id.to_string();
                match disk::snapshot(&path, SnapshotAct::Take, &name).await {
                    Ok(()) => drop(note.taken.insert(id, Timestamp::now())),
                    Err(error) => {
                        // Somebody was quicker, and has it open: then it was not tried yet.
                        if qcow2::is_in_use(&path).unwrap_or(true) {
                            return Err(said(error));
                        }
                        let failed = FailedSnapshot {
                            why: said(error),
                            at: Timestamp::now(),
                        };
                        note.failed.insert(id, failed);
                    }
                }
            }
        }
        blocking(move || files.keep_note(&note)).await
    }

    fn tell(
        &self,
        wanted: &Wanted,
        found: Option<&Found>,
        state: ObservedVolumeState,
        reason: &str,
    ) {
        let Wanted::Volume(desired) = wanted else {
            self.outcomes.tell_of_order(self.volume, reason);
            return;
        };
        let disk = found.and_then(|found| found.disk.as_ref());
        let size = disk.map_or(0, |disk| disk.size >> 30);
        let outcome = match (found, self.outcomes.volume(self.volume)) {
            (Some(found), _) => VolumeOutcome {
                generation: desired.generation,
                state,
                size_gib: u32::try_from(size).unwrap_or(u32::MAX),
                reason: reason.to_owned(),
                snapshots: snapshots(desired, found),
                reverted: found.note.reverted,
            },
            // What was seen last stands while it cannot be looked.
            (None, Some(before)) => VolumeOutcome {
                generation: desired.generation,
                state,
                reason: reason.to_owned(),
                ..before
            },
            // Of what was never seen nothing is said: who does not hear of a snapshot may take it for gone.
            (None, None) => VolumeOutcome {
                generation: desired.generation,
                state: ObservedVolumeState::Preparing,
                size_gib: 0,
                reason: reason.to_owned(),
                snapshots: Vec::new(),
                reverted: 0,
            },
        };
        self.outcomes.put_volume(self.volume, outcome);
        if state != ObservedVolumeState::Preparing
            && let Some(vm) = desired.attached
        {
            self.wakes.wake(vm);
        }
    }
}

/// When the disk says that it was taken.
fn taken_at(found: &Found, id: SnapshotId) -> Timestamp {
    let name = id.to_string();
    let mut kept = found.disk.iter().flat_map(|disk| &disk.snapshots);
    let at = kept.find(|kept| kept.name == name).map(|kept| kept.at);
    let at = at.and_then(|at| Timestamp::from_second(at.into()).ok());
    at.unwrap_or_else(Timestamp::now)
}
