//! Shards: who owns which, and how anybody asks the owner.
//!
//! ```text
//!   any door ── Shards::ask ──> owner in this process ──> Inbox
//!                    │          owner in another one  ──> Peers ──gRPC──> Shards::ask_here there ──> its Inbox
//!                    └── nobody now: waits for the view to change, within the request's time
//!
//!   seat (one task): lease, view of the cluster ── vacant ──> tenure (a task a shard): claim, load, own, give up
//! ```
//!
//! | module | what |
//! |---|---|
//! | `raw` | what is asked of the store |
//! | `layout` `stored` `block` | keys, records, the chained journal |
//! | `claim` | becoming owner, and the fence of its writes |
//! | `load` `snapshot` | the state from the newest snapshot and the journal behind it |
//! | `group` `owner` | commands in groups, one transaction each |
//! | `public` | what others follow |
//! | `tenure` | one ownership, from the claim to its end |
//! | `view` `seat` | who is there, and a fair share for each |
//! | `ask` `peers` | questions and answers between processes |

pub(crate) mod ask;
pub(crate) mod block;
mod claim;
mod group;
pub(crate) mod layout;
mod load;
mod owner;
mod peers;
pub(crate) mod public;
pub(crate) mod raw;
mod seat;
#[cfg(test)]
mod simulation;
pub(crate) mod snapshot;
pub(crate) mod stored;
mod tenure;
mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use creditservice_ledger::{Place, Shard};
use parking_lot::RwLock;
use photon_core::{Code, Error, Id, Kind, Name};
use photon_store::{Store, TlsFiles};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use self::claim::Claim;
use self::{
    ask::{Ask, Outcome, Reply},
    owner::Inbox,
    peers::Peers,
    stored::Spread,
    view::{Owned, View},
};
use crate::{clock::LedgerClock, config::ShardsConfig, export::Exports};

/// How long a request waits for an owner, if its own deadline is not nearer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Kept of a request's time to render its answer.
const MARGIN: Duration = Duration::from_millis(200);
/// Pauses between attempts grow to this; a change of owners ends them.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How long answers of an owner that made way may be on their way.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// This process among those of the service. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// This process; another one after each start.
    instance: String,
    /// Where other processes reach it.
    grpc: String,
    lease_ttl: Duration,
    count: u16,
    /// After so many entries the state is written as a whole.
    snapshot_entries: u64,
    /// Where old blocks go, if they go anywhere.
    exports: Option<Arc<Exports>>,
    clock: Arc<LedgerClock>,
    peers: Peers,
    view: watch::Sender<View>,
    /// The shards owned here.
    local: RwLock<HashMap<Shard, Inbox>>,
}

impl Shards {
    /// Reads, or on the very first start writes, into how many shards projects are spread.
    ///
    /// # Errors
    /// A store that does not answer, or that was written by a newer version.
    pub(crate) async fn open(
        store: Store,
        grpc: String,
        config: &ShardsConfig,
        exports: Option<Arc<Exports>>,
        tls: Option<TlsFiles>,
    ) -> photon_store::Result<Self> {
        let count = spread(&store, config.count).await?.count;
        Ok(Self(Arc::new(Inner {
            store,
            instance: Uuid::now_v7().to_string(),
            grpc,
            lease_ttl: config.lease(),
            snapshot_entries: config.snapshot_entries,
            exports,
            count,
            clock: Arc::new(LedgerClock::new()),
            peers: Peers::new(tls),
            view: watch::Sender::new(View::default()),
            local: RwLock::default(),
        })))
    }

    /// Owns a fair share of the shards until it is stopped; then makes way in order.
    pub(crate) async fn run(self, stop: CancellationToken) {
        seat::run(self.0, stop).await;
    }

    /// Where a project's wallet and quotas are.
    pub(crate) fn of_project(&self, project: &Name) -> Shard {
        let digest = Sha256::digest(project.as_str());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let number = u64::from_be_bytes(first) % u64::from(self.0.count);
        // Below the count, which is one of a shard.
        Shard::new(u16::try_from(number).unwrap_or(0)).unwrap_or_default()
    }

    /// Where something with an id of the ledger is; `None` if no ledger here can have given it.
    pub(crate) fn of_id<K: Kind>(&self, id: Id<K>) -> Option<Shard> {
        let shard = Place::of(id)?.shard;
        (shard.number() < self.0.count).then_some(shard)
    }

    /// Every shard.
    pub(crate) fn all(&self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.0.count).filter_map(|number| Shard::new(number).ok())
    }

    /// Forgets who owns what, when the store has become another one. What is owned here was cut off when that was noticed.
    pub(crate) fn forget(&self) {
        self.0.local.write().clear();
        self.0.view.send_replace(View::default());
        self.0.peers.keep(|_| false);
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// How many shards have no owner that this process knows of, or are its own and not read yet.
    pub(crate) fn vacant(&self) -> usize {
        let view = self.0.view.borrow();
        let local = self.0.local.read();
        let serves = |(shard, owned): &(&Shard, &Owned)| {
            owned.owner.instance != self.0.instance || local.contains_key(*shard)
        };
        let served = view.owners.iter().filter(serves).count();
        usize::from(self.0.count).saturating_sub(served)
    }

    /// Asks a shard's owner, wherever it is. While there is none it waits.
    ///
    /// # Errors
    /// What the ledger refuses; 503 when no owner answered in time: `UNAVAILABLE` if nothing was done,
    /// `DEADLINE_EXCEEDED` if nobody knows. What may be repeated is, so there nothing was done, or the next attempt tells.
    pub(crate) async fn ask(
        &self,
        shard: Shard,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let now = Instant::now();
        let end = (now + PATIENCE).min(deadline - MARGIN).max(now);
        let mut view = self.0.view.subscribe();
        let mut pause = Duration::from_millis(2);
        loop {
            view.mark_unchanged();
            let attempt = self.attempt(shard, &ask, end);
            let outcome = tokio::time::timeout_at(end, attempt).await;
            let why = match outcome.unwrap_or_else(|_| Outcome::unknown("no answer in time")) {
                Outcome::Answered(reply) => {
                    return match *reply {
                        Reply::Refused(said) => Err(said.into()),
                        reply => Ok(reply),
                    };
                }
                Outcome::Unknown { why } if !ask.is_repeatable() => return Err(unknown(why)),
                Outcome::NotDone { why } | Outcome::Unknown { why } => why,
            };
            let wake = Instant::now() + pause.mul_f64(rand::random_range(0.5..1.0));
            if wake >= end {
                return Err(nobody(shard, why));
            }
            tokio::select! {
                // The sender is ours.
                _ = view.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, shard: Shard, ask: &Ask, end: Instant) -> Outcome {
        let local = self.0.local.read().get(&shard).cloned();
        if let Some(inbox) = local {
            return inbox.ask(ask.clone()).await;
        }
        let owner = self.0.view.borrow().owners.get(&shard).cloned();
        match owner {
            Some(owned) if owned.owner.instance != self.0.instance => {
                tokio::select! {
                    outcome = self.0.peers.ask(&owned.owner.grpc, shard, ask, end) => outcome,
                    () = self.replaced(shard, &owned) => Outcome::unknown("its owner was replaced"),
                }
            }
            Some(_) => Outcome::not_done("the journal is being read"),
            None => Outcome::not_done("nobody owns it now"),
        }
    }

    /// Waits until a shard is somebody else's: one that hangs answers nobody. Whoever made way has answered by then.
    async fn replaced(&self, shard: Shard, owned: &Owned) {
        let mut view = self.0.view.subscribe();
        let is_over = |view: &View| {
            let now = view.owners.get(&shard);
            now.is_none_or(|now| now.revision != owned.revision)
        };
        if view.wait_for(is_over).await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(LAST_ANSWERS).await;
    }

    /// Answers another process, if the shard is owned here.
    pub(crate) async fn ask_here(&self, shard: Shard, ask: Ask) -> Outcome {
        let local = self.0.local.read().get(&shard).cloned();
        match local {
            Some(inbox) => inbox.ask(ask).await,
            None => Outcome::not_done("it is not owned here"),
        }
    }
}

impl Inner {
    /// Forgets connections to processes that own nothing any more.
    fn forget_peers(&self, view: &View) {
        let owners: HashSet<&str> = view
            .owners
            .values()
            .map(|owned| owned.owner.grpc.as_str())
            .collect();
        self.peers.keep(|url| owners.contains(url));
    }
}

async fn spread(store: &Store, count: u16) -> photon_store::Result<Spread> {
    if let Some(entry) = store.get_raw(layout::SHARDS).await? {
        return stored::read(&entry);
    }
    let first = Spread { count };
    let mut transaction = store.transaction();
    transaction
        .absent(layout::SHARDS)?
        .put_raw(layout::SHARDS, stored::encode(&first)?, 0)?;
    match transaction.commit().await {
        Ok(_) => Ok(first),
        // Somebody else starts for the first time too; or it was written and the answer was lost.
        Err(photon_store::Error::AlreadyExists { .. } | photon_store::Error::Unknown { .. }) => {
            match store.get_raw(layout::SHARDS).await? {
                Some(entry) => stored::read(&entry),
                None => Err(photon_store::Error::Unavailable {
                    reason: "the number of shards could not be written".to_owned(),
                }),
            }
        }
        Err(error) => Err(error),
    }
}

fn nobody(shard: Shard, why: String) -> Error {
    tracing::warn!(shard = shard.number(), why, "no owner answered in time");
    Error::unavailable("nobody keeps this project's ledger at present; nothing was done")
        .with_details(json!({ "retry_after_seconds": 1 }))
}

fn unknown(why: String) -> Error {
    let message =
        "it is not known whether this was done; look, or use an Idempotency-Key and repeat it";
    Error::new(Code::DEADLINE_EXCEEDED, message)
        .with_details(json!({ "retry_after_seconds": 1 }))
        .with_source(why)
}
