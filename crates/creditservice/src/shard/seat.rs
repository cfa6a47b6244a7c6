//! This process's seat among those of the service: a lease, its share of the shards, and a view of who owns the others.
//!
//! ```text
//!   lease ── process key ── feed of the cluster ──┬── a shard is vacant, and we have less than our share: a tenure begins
//!      │                                          └── we have more than our share: one tenure is told to make way
//!      └── lost: every tenure is cut off, and all begins again with another lease
//! ```

use std::{collections::HashMap, sync::Arc, time::Duration};

use creditservice_ledger::Shard;
use photon_store::{Error, Lease};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    claim::Candidate,
    layout,
    owner::{Inbox, Term},
    spread,
    stored::{self, Process},
    tenure::{self, Terms},
};

/// How often it is looked whether all is as it should be, beside every change.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a shard that could not be owned is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// A journal that cannot be read does not mend by itself.
const RETRY_UNREADABLE_AFTER: Duration = Duration::from_secs(30);
/// Journals read at once.
const LOADS: usize = 8;
/// Before another lease is asked for.
const LEASE_AGAIN: Duration = Duration::from_millis(500);

/// Takes part until it is stopped.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // Nothing is asked of a store that is not the one it was, until it is accepted.
        if inner.store.change().is_none()
            && let Err(error) = Box::pin(live(&inner, &stop)).await
        {
            tracing::warn!(%error, "this process owns no shards at present");
        }
        inner.local.write().clear();
        let pause = tokio::time::sleep(LEASE_AGAIN);
        stop.run_until_cancelled(pause).await;
    }
}

/// A tenure, as the seat sees it.
struct Tenure {
    make_way: CancellationToken,
}

/// One life of a lease.
struct Seat<'a> {
    inner: &'a Arc<Inner>,
    lease: Arc<Lease>,
    candidate: Candidate,
    loads: Arc<Semaphore>,
    tenures: HashMap<Shard, Tenure>,
    tasks: JoinSet<(Shard, Result<(), Error>)>,
    /// Not before.
    not_before: HashMap<Shard, Instant>,
}

/// From one lease to its end. `Ok`: it was stopped, and has made way.
async fn live(inner: &Arc<Inner>, stop: &CancellationToken) -> Result<(), Error> {
    // A store that was accepted in the place of another one may spread projects differently, or not say yet how.
    let count = spread(&inner.store, inner.count).await?.count;
    if count != inner.count {
        let reason = format!(
            "projects are spread over {count} shards there, and over {} in this process: start it again",
            inner.count
        );
        return Err(Error::Unavailable { reason });
    }
    let lease = Arc::new(inner.store.lease(inner.lease_ttl).await?);
    register(inner, &lease).await?;
    let mut seat = Seat {
        inner,
        candidate: Candidate {
            instance: inner.instance.clone(),
            grpc: inner.grpc.clone(),
            lease: lease.id(),
        },
        lease: Arc::clone(&lease),
        loads: Arc::new(Semaphore::new(LOADS)),
        tenures: HashMap::new(),
        tasks: JoinSet::new(),
        not_before: HashMap::new(),
    };
    let mut feed = inner.store.feed(layout::CLUSTER);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = lease.lost() => {
                seat.cut_off().await;
                return Err(Error::LeaseLost);
            }
            () = stop.cancelled() => {
                seat.make_way().await;
                drop(seat);
                inner.local.write().clear();
                // Its keys go with it: others need not wait. A request that still holds it lets it run out.
                if let Some(lease) = Arc::into_inner(lease)
                    && let Err(error) = lease.revoke().await
                {
                    tracing::warn!(%error, "others have to wait until the lease is over");
                }
                return Ok(());
            }
            ended = seat.tasks.join_next(), if !seat.tasks.is_empty() => {
                match ended {
                    Some(Ok((shard, result))) => seat.ended(shard, result),
                    // After a panic nothing in memory is believed: all begins again.
                    Some(Err(error)) => {
                        seat.cut_off().await;
                        return Err(Error::Protocol(format!("a shard's owner broke: {error}")));
                    }
                    None => {}
                }
            }
            event = feed.next() => match event {
                Ok(event) => {
                    inner.view.send_modify(|view| view.apply(event));
                    inner.forget_peers(&inner.view.borrow());
                }
                Err(error) => {
                    seat.cut_off().await;
                    return Err(error);
                }
            },
            _ = look.tick() => {
                // What is in memory is of another store, and so is the lease.
                if let Some(change) = inner.store.change() {
                    seat.cut_off().await;
                    return Err(Error::StoreChanged(change));
                }
            }
        }
        seat.balance();
    }
}

async fn register(inner: &Inner, lease: &Lease) -> Result<(), Error> {
    let process = Process {
        grpc: inner.grpc.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut transaction = inner.store.transaction();
    transaction.put_raw(
        &layout::process(&inner.instance),
        stored::encode(&process)?,
        lease.id(),
    )?;
    transaction.commit().await.map(|_| ())
}

impl Seat<'_> {
    /// Begins and ends tenures, so that every process has its share.
    fn balance(&mut self) {
        let view = self.inner.view.borrow();
        if !view.is_known || !view.processes.contains_key(&self.inner.instance) {
            return;
        }
        let share = view.share(usize::from(self.inner.count));
        let now = Instant::now();
        let staying = self
            .tenures
            .values()
            .filter(|tenure| !tenure.make_way.is_cancelled())
            .count();
        if staying > share {
            let makes_way = self.tenures.len() - staying;
            // One at a time: while it makes way, its requests wait.
            if makes_way == 0
                && let Some(tenure) = self.tenures.values().next()
            {
                tenure.make_way.cancel();
            }
            return;
        }
        let mut begin = Vec::new();
        for number in 0..self.inner.count {
            let Ok(shard) = Shard::new(number) else {
                continue;
            };
            if staying + begin.len() >= share {
                break;
            }
            let is_waiting = self.not_before.get(&shard).is_some_and(|at| now < *at);
            if self.tenures.contains_key(&shard) || is_waiting {
                continue;
            }
            match view.owners.get(&shard) {
                None => begin.push((shard, None)),
                // Ours, from a claim whose answer was lost, or a tenure that failed.
                Some(owned) if owned.owner.instance == self.inner.instance => {
                    begin.push((shard, Some(owned.revision)));
                }
                Some(_) => {}
            }
        }
        drop(view);
        for (shard, own) in begin {
            self.begin(shard, own);
        }
    }

    fn begin(&mut self, shard: Shard, own: Option<i64>) {
        let make_way = CancellationToken::new();
        let terms = Terms {
            store: self.inner.store.clone(),
            clock: Arc::clone(&self.inner.clock),
            lease: Arc::clone(&self.lease) as Arc<dyn Term>,
            candidate: self.candidate.clone(),
            loads: Arc::clone(&self.loads),
            snapshot_entries: self.inner.snapshot_entries,
            exports: self.inner.exports.clone(),
        };
        let inner = Arc::clone(self.inner);
        let seated = move |inbox: Option<Inbox>| match inbox {
            Some(inbox) => {
                inner.local.write().insert(shard, inbox);
                // Whoever waits for this shard tries again.
                inner.view.send_modify(|_| {});
            }
            None => drop(inner.local.write().remove(&shard)),
        };
        let tenure = Box::pin(tenure::hold(terms, shard, own, make_way.clone(), seated));
        self.tasks.spawn(async move { (shard, tenure.await) });
        self.tenures.insert(shard, Tenure { make_way });
    }

    /// Notes how a tenure ended.
    fn ended(&mut self, shard: Shard, result: Result<(), Error>) {
        self.tenures.remove(&shard);
        self.inner.local.write().remove(&shard);
        let pause = match result {
            Ok(()) => RETRY_AFTER,
            Err(error @ (Error::Corrupt { .. } | Error::TooNew { .. })) => {
                tracing::error!(shard = shard.number(), %error, "a shard's journal cannot be read");
                RETRY_UNREADABLE_AFTER
            }
            Err(error) => {
                tracing::warn!(shard = shard.number(), %error, "a shard is not owned here any more");
                RETRY_AFTER
            }
        };
        self.not_before.insert(shard, Instant::now() + pause);
    }

    /// The lease is over: somebody else may own everything.
    async fn cut_off(&mut self) {
        self.inner.local.write().clear();
        self.tasks.shutdown().await;
        self.tenures.clear();
    }

    /// Finishes what was taken, and gives all shards up.
    async fn make_way(&mut self) {
        for tenure in self.tenures.values() {
            tenure.make_way.cancel();
        }
        let lease = Arc::clone(&self.lease);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next() => ended,
                () = lease.lost() => return self.cut_off().await,
            };
            match ended {
                Some(Ok((shard, result))) => self.ended(shard, result),
                Some(Err(error)) => tracing::error!(%error, "a shard's owner broke"),
                None => return,
            }
        }
    }
}
