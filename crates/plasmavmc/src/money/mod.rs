//! What VMs cost, and how many there may be: CreditService counts and holds, this service says what it is for.
//!
//! ```text
//!   doors:       a create takes the VM's units, a start the money of its first period: refused there if there is not enough
//!   controller:  plan.rs says what is due ──> written down ──> told to CreditService (client.rs) ──> plan.rs, what comes of it
//! ```
//!
//! It is service/plasmavmc that asks, on behalf of the project. Where no CreditService is configured nothing is limited and
//! nothing costs anything.

mod client;
pub(crate) mod plan;
mod price;
mod take;
mod volumes;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use photon_core::{Code, Error};
use plasmavmc_model::Vm;

use self::{
    client::Client,
    plan::{Answered, Terms},
};
pub(crate) use self::{take::Taken, volumes::More};
use crate::config::Config;

/// The seam to CreditService.
#[derive(Clone)]
pub(crate) struct Money(Option<Arc<Inner>>);

struct Inner {
    client: Client,
    terms: Terms,
    /// Whether it was said in the log that CreditService does not answer.
    is_away: AtomicBool,
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Money").field(&self.0.is_some()).finish()
    }
}

impl Money {
    /// As configured.
    ///
    /// # Errors
    /// An address that cannot be, certificates that cannot be read.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let Some(url) = &config.quota.endpoint else {
            tracing::info!("no quota.endpoint: nothing is limited, and nothing is charged");
            return Ok(Self(None));
        };
        Ok(Self(Some(Arc::new(Inner {
            client: Client::new(url, config.store.tls_files())?,
            terms: Terms::of(&config.billing),
            is_away: AtomicBool::new(false),
        }))))
    }

    /// By which time is counted, if anything is.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.0.as_ref().map(|inner| &inner.terms)
    }

    /// The units of a VM are used from now on; false if what held them has ended meanwhile.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn use_units(&self, vm: &Vm, reservation: &str) -> Result<bool, Error> {
        match &self.0 {
            Some(inner) => inner.heard(inner.client.use_units(vm, reservation).await),
            None => Ok(true),
        }
    }

    /// Counts a VM that is there and was never counted, limits notwithstanding.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn recount(&self, vm: &Vm) -> Result<(), Error> {
        match &self.0 {
            Some(inner) => inner.heard(inner.client.recount(vm).await),
            None => Ok(()),
        }
    }

    /// The VM uses nothing any more.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn free_units(&self, vm: &Vm) -> Result<(), Error> {
        match &self.0 {
            Some(inner) => inner.heard(inner.client.free_units(vm).await),
            None => Ok(()),
        }
    }

    /// Tells what is due of a VM's bill.
    ///
    /// # Errors
    /// `UNAVAILABLE`, and what only people can mend: it is to be told again.
    pub(crate) async fn settle(&self, vm: &Vm) -> Result<Answered, Error> {
        match &self.0 {
            Some(inner) => inner.heard(inner.client.settle(vm, &inner.terms).await),
            // It was configured, and is no more: what is held ends by itself.
            None => Ok(Answered::Settled(None)),
        }
    }
}

impl Inner {
    /// Says once in the log when CreditService goes away, and when it is back.
    fn heard<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Err(error) if error.code() == Code::UNAVAILABLE => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    let causes = error.causes();
                    tracing::warn!(%error, causes, "CreditService does not answer; VMs run on, and it is told later");
                }
            }
            _ => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!("CreditService answers again");
                }
            }
        }
        result
    }
}

/// Now, in whole seconds, as everything here is counted.
pub(crate) fn now() -> Timestamp {
    plan::whole(Timestamp::now())
}
