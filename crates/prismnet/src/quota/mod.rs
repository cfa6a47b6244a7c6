//! Quotas: how much a project may have, which CreditService counts.
//!
//! ```text
//!   create:  hold ──> transaction, with claim/<id> "held" ──> commit at CreditService ──> claim gone
//!              │ refused: QUOTA_EXCEEDED      │ failed: release
//!   delete:  transaction, with claim/<id> "free" ──> free at CreditService ──> claim gone
//!
//!   sweep:   claims that are still there after a while ──> say how it is (recount, free) ──> claim gone
//! ```
//!
//! A claim is written in the transaction of the change it is about: whatever is cut off in between, by a crash or because
//! CreditService is away, is told later. What is told may be told twice.

mod claim;
mod client;
mod sweep;

use std::{collections::HashMap, fmt, sync::Arc};

use futures::StreamExt as _;
use parking_lot::Mutex;
use photon_auth::Context;
use photon_core::{Error, Name};
use photon_store::{Store, Transaction};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    claim::{Claim, Want},
    client::Client,
};
use crate::config::Config;

/// What waits to be told at once; the rest is found by the sweep.
const QUEUE: usize = 1_024;
/// What is told side by side.
const SIDE_BY_SIDE: usize = 16;

/// What CreditService counts, in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    Vpc,
    Subnet,
    Port,
    Group,
    Rule,
    Route,
    FloatingIp,
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::Port => "port",
            Self::Group => "security_group",
            Self::Rule => "security_group_rule",
            Self::Route => "route",
            Self::FloatingIp => "floating_ip",
        }
    }
}

/// The seam to CreditService; nothing is limited where it is not configured.
#[derive(Clone)]
pub(crate) struct Quota(Option<Arc<Inner>>);

struct Inner {
    store: Store,
    client: Client,
    tell: mpsc::Sender<Told>,
    /// Taken by the task that tells.
    told: Mutex<Option<mpsc::Receiver<Told>>>,
}

/// A claim as it was written.
#[derive(Debug)]
struct Told {
    claim: Claim,
    revision: i64,
}

/// Units that are held for a thing that is being made.
#[derive(Debug)]
#[must_use = "say whether the thing was made"]
pub(crate) struct Held(Option<Claim>);

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Quota").field(&self.0.is_some()).finish()
    }
}

impl Quota {
    /// As configured.
    ///
    /// # Errors
    /// An address that cannot be, certificates that cannot be read.
    pub(crate) fn open(store: Store, config: &Config) -> anyhow::Result<Self> {
        let Some(url) = &config.quota.endpoint else {
            tracing::info!("no quota.endpoint: nothing is limited");
            return Ok(Self(None));
        };
        let (tell, told) = mpsc::channel(QUEUE);
        Ok(Self(Some(Arc::new(Inner {
            store,
            client: Client::new(url, config.store.tls_files())?,
            tell,
            told: Mutex::new(Some(told)),
        }))))
    }

    /// Holds a unit for a thing that is about to be made.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `WALLET_…`; `UNAVAILABLE` when CreditService does not answer.
    pub(crate) async fn hold(
        &self,
        ctx: &Context,
        project: &Name,
        unit: Unit,
        id: &str,
    ) -> Result<Held, Error> {
        let Some(inner) = &self.0 else {
            return Ok(Held(None));
        };
        let mut claim = Claim::new(project, unit, id, Want::Held);
        claim.reservation = inner.client.reserve(&claim, ctx.deadline).await?;
        // Without a reservation the kind is one that nobody has limited.
        Ok(Held(claim.reservation.is_some().then_some(claim)))
    }

    /// Makes the thing's transaction remember that CreditService is to be told of it.
    pub(crate) fn remember(
        &self,
        transaction: &mut Transaction,
        held: &Held,
    ) -> photon_store::Result<()> {
        match &held.0 {
            Some(claim) => claim.put(transaction),
            None => Ok(()),
        }
    }

    /// The thing was made by a transaction that remembers it.
    pub(crate) fn made(&self, held: Held, revision: i64) {
        if let Some(claim) = held.0 {
            self.tell(claim, revision);
        }
    }

    /// The thing was not made, or nobody knows: then the sweep finds out, if the hold has ended by then.
    pub(crate) async fn give_up(&self, held: Held) {
        if let (Some(inner), Some(claim)) = (&self.0, held.0) {
            inner.client.release(&claim).await;
        }
    }

    /// Makes the transaction that deletes a thing remember that its unit is free.
    pub(crate) fn forget(
        &self,
        transaction: &mut Transaction,
        project: &Name,
        unit: Unit,
        id: &str,
    ) -> photon_store::Result<Held> {
        if self.0.is_none() {
            return Ok(Held(None));
        }
        let claim = Claim::new(project, unit, id, Want::Free);
        claim.put(transaction)?;
        Ok(Held(Some(claim)))
    }

    fn tell(&self, claim: Claim, revision: i64) {
        if let Some(inner) = &self.0 {
            // What finds no room is found by the sweep.
            let _ = inner.tell.try_send(Told { claim, revision });
        }
    }

    /// Tells CreditService what is to be told, until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Some(inner) = self.0 else {
            return;
        };
        let Some(told) = inner.told.lock().take() else {
            return; // it runs already
        };
        let waiting = futures::stream::unfold(told, |mut told| async move {
            let one = told.recv().await?;
            Some((one, told))
        });
        let telling = waiting.for_each_concurrent(SIDE_BY_SIDE, |one| {
            let inner = Arc::clone(&inner);
            async move { inner.say_once(&one).await }
        });
        let both = async { tokio::join!(telling, sweep::run(&inner)) };
        stop.run_until_cancelled(both).await;
    }
}

impl Inner {
    /// Tells CreditService of a claim that was just written; if that fails the sweep will.
    async fn say_once(&self, told: &Told) {
        let Told { claim, revision } = told;
        if let Err(error) = self.say(claim, *revision, false).await {
            tracing::debug!(%error, id = claim.id, "CreditService is told later");
        }
    }

    /// Tells CreditService of a claim, and removes it unless it has become another one since. `again`: it may have been told
    /// before.
    async fn say(&self, claim: &Claim, revision: i64, again: bool) -> Result<(), Error> {
        match (claim.want, &claim.reservation) {
            (Want::Held, Some(reservation)) if !again => {
                self.client.commit(claim, reservation).await?;
            }
            (Want::Held, _) => self.client.recount(claim).await?,
            (Want::Free, _) => self.client.free(claim).await?,
        }
        match claim.remove(&self.store, revision).await {
            Ok(()) => Ok(()),
            // It was deleted while we said that it is there; its unit may have been freed before it was committed.
            Err(photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. })
                if claim.want == Want::Held =>
            {
                self.client.free(claim).await
            }
            Err(photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. }) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The units of several kinds, for a message.
fn one(unit: &str) -> HashMap<String, i64> {
    HashMap::from([(unit.to_owned(), 1)])
}
