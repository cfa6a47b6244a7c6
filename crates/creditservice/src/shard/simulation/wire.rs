//! The way of one process to the store, where requests and answers are late, get lost or arrive twice.
//!
//! ```text
//!   request ──┬── refused: certainly not done
//!             ├── lost on the way: nobody knows, and it is not done
//!             ├── arrives, the answer is lost: nobody knows, and it is done
//!             ├── arrives long after the caller gave up, perhaps after another owner's claim
//!             └── arrives, is answered; sometimes a copy of it arrives again later
//! ```
//! A request that has left arrives whatever becomes of its caller. A process that was killed sends nothing any more.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use photon_store::{Entry, Error, Scan, Scanned};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use super::world::{Broken, SHARD, World};
use crate::shard::{
    layout,
    raw::{Changes, RawStore, Requirement, Write},
};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// One life of a process, and its way to the store. Clones are one.
#[derive(Clone)]
pub(super) struct Wire {
    world: Arc<World>,
    dead: Arc<AtomicBool>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            dead: Arc::default(),
        }
    }

    /// The process is no more: whatever of it still waits does so for ever.
    pub(super) fn cut(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    async fn while_alive(&self) {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn latency(&self) -> Duration {
        if self.world.fault("slow", 2) {
            self.world.millis(50..700)
        } else {
            self.world.millis(0..4)
        }
    }

    /// A request that changes nothing, or may be repeated.
    async fn ask<T>(&self, look: impl FnOnce(&World) -> T + Send) -> Result<T, Error> {
        self.while_alive().await;
        let (there, back) = (self.latency(), self.latency());
        sleep(there).await;
        let failed = self.world.fault("read fails", 1);
        let answer = (!failed).then(|| look(&self.world));
        sleep(back).await;
        self.while_alive().await;
        answer.ok_or_else(|| Error::Unavailable {
            reason: "simulated".to_owned(),
        })
    }

    /// A new lease.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<i64, Error> {
        self.ask(|world| world.disk.lock().grant(ttl)).await
    }

    /// Whether the lease goes on.
    pub(super) async fn renew(&self, id: i64, ttl: Duration) -> Result<bool, Error> {
        self.ask(|world| world.disk.lock().renew(id, ttl)).await
    }

    /// Sends, now; the answer comes if it comes.
    fn send(&self, changes: Changes, there: Duration) -> oneshot::Receiver<Result<i64, Error>> {
        let (answer, answered) = oneshot::channel();
        let (world, back) = (Arc::clone(&self.world), self.latency());
        let copy = self.world.fault("copied", 1).then(|| {
            let later = self.world.millis(1..9_000);
            (changes.clone(), later)
        });
        tokio::spawn(async move {
            sleep(there).await;
            let result = world.disk.lock().commit(&changes);
            sleep(back).await;
            // Its caller may be gone.
            let _ = answer.send(result);
            if let Some((copy, later)) = copy {
                sleep(later).await;
                let _ = world.disk.lock().commit(&copy);
            }
        });
        answered
    }
}

impl RawStore for Wire {
    async fn read(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.ask(|world| world.disk.lock().read(key)).await
    }

    async fn range(&self, scan: &Scan) -> Result<Scanned, Error> {
        self.ask(|world| world.disk.lock().range(scan)).await
    }

    async fn commit(&self, mut changes: Changes) -> Result<i64, Error> {
        let broken = self.world.broken;
        if let Some(broken) = broken {
            ignore(broken, &mut changes);
        }
        let writes_block = writes(&changes, &layout::head(SHARD));
        match (self.deliver(changes).await, broken) {
            (Err(_), Some(Broken::Acknowledgement)) if writes_block => Ok(i64::MAX),
            (Err(Error::Unknown { reason }), Some(Broken::Unknown)) => {
                Err(Error::Unavailable { reason })
            }
            (answer, _) => answer,
        }
    }

    /// Here and now, so that a run is the same every time; what it comes to is late.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let done = work();
        sleep(self.latency()).await;
        self.while_alive().await;
        Ok(done)
    }
}

fn writes(changes: &Changes, wanted: &str) -> bool {
    changes.writes.iter().any(|write| match write {
        Write::Put { key, .. } => key == wanted,
        Write::Delete(_) => false,
    })
}

/// Leaves out what a broken store does not compare.
fn ignore(broken: Broken, changes: &mut Changes) {
    let epoch = layout::epoch(SHARD);
    let is_claim = writes(changes, &epoch);
    let ignored = |key: &str| match broken {
        Broken::Epoch => key == epoch && !is_claim,
        Broken::Head => {
            key == layout::head(SHARD) || key.starts_with(layout::journal(SHARD).as_str())
        }
        Broken::Paged => key == layout::paged(SHARD),
        _ => false,
    };
    changes
        .requirements
        .retain(|requirement| match requirement {
            Requirement::Absent(key) | Requirement::AtRevision(key, _) => !ignored(key),
        });
}

impl Wire {
    /// Sends changes, and waits for the answer.
    async fn deliver(&self, changes: Changes) -> Result<i64, Error> {
        self.while_alive().await;
        let end = Instant::now() + PATIENCE;
        let unknown = || Error::Unknown {
            reason: "simulated".to_owned(),
        };
        if self.world.fault("refused", 1) {
            sleep(self.latency()).await;
            self.while_alive().await;
            return Err(Error::Unavailable {
                reason: "simulated".to_owned(),
            });
        }
        if self.world.fault("request lost", 1) {
            tokio::time::sleep_until(end).await;
            self.while_alive().await;
            return Err(unknown());
        }
        let there = if self.world.fault("late", 1) {
            PATIENCE + self.world.millis(1..9_000)
        } else {
            self.latency()
        };
        let answered = self.send(changes, there);
        let answer = if self.world.fault("answer lost", 1) {
            sleep(self.world.millis(1..1_000)).await;
            Err(unknown())
        } else {
            match timeout_at(end, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(unknown()),
            }
        };
        self.while_alive().await;
        answer
    }
}
