//! The state of one shard: the fold of its entries.
//!
//! It holds balances and what is still open, and for a while what was resolved and answered; never the history.
//! Only [`State::replay`] changes it: what `apply` decides is written as entries, and these are replayed.

mod answers;
mod check;
mod effects;
mod forget;
mod project;
mod read;
mod remembered;
mod replay;
pub mod snapshot;

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};

use photon_core::Name;

pub use check::Violation;
pub(crate) use project::{Meter, Project, UnitUse, Wallet};
pub use read::{QuotaView, WalletView};
pub(crate) use remembered::{Keys, Known, Resolution, Resolved};

use crate::{
    command::Resource,
    entry::Account,
    id::{EntryId, ReservationId, Shard},
    rating::PriceBook,
    text::Description,
    time::Time,
    units::{Limit, ResourceKind, Units},
};

/// How much is remembered, and held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long idempotency keys and resolved reservations are remembered, in seconds.
    pub remember_seconds: i64,
    /// Open reservations of one project.
    pub max_open: usize,
    /// Resolved reservations remembered, at least 1; the oldest are forgotten first.
    pub max_resolved: usize,
    /// Idempotency keys remembered; none is forgotten early, new ones are refused.
    pub max_keys: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // 24 h are promised.
            remember_seconds: 25 * 3600,
            max_open: 100_000,
            max_resolved: 500_000,
            max_keys: 2_000_000,
        }
    }
}

/// The ledger of one shard.
///
/// Whatever may be large is a collection that shares its parts with its copies: a clone costs nothing, so that a snapshot is
/// written from one while commands go on.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) shard: Shard,
    pub(crate) bounds: Bounds,
    /// Of the last entry; 0 before the first.
    pub(crate) seq: u64,
    /// Of the last entry.
    pub(crate) at: Time,
    pub(crate) projects: OrdMap<Name, Project>,
    /// Open reservations.
    pub(crate) holds: OrdMap<ReservationId, OpenHold>,
    /// The same by the moment they are over.
    pub(crate) expiry: OrdSet<(Time, ReservationId)>,
    pub(crate) resolved: Resolved,
    pub(crate) keys: Keys,
    /// What was refunded of charges that may still be refunded. The ids sort by the time of the charge.
    pub(crate) refunds: OrdMap<EntryId, i64>,
    /// Registered kinds and their defaults.
    pub(crate) limits: BTreeMap<ResourceKind, Limit>,
    pub(crate) prices: PriceBook,
    /// The accounts of the shard: external, revenue, pools.
    pub(crate) totals: BTreeMap<Account, i128>,
    /// Meters by the second after the last one they counted.
    pub(crate) meter_ages: OrdSet<(i64, Name, Meter)>,
}

/// A reservation that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenHold {
    pub(crate) project: Name,
    pub(crate) amount: i64,
    pub(crate) units: Units,
    pub(crate) expires_at: Time,
    pub(crate) resource: Resource,
    pub(crate) description: Option<Description>,
}

impl State {
    /// An empty ledger.
    #[must_use]
    pub fn new(shard: Shard) -> Self {
        Self::with_bounds(shard, Bounds::default())
    }

    /// An empty ledger that remembers other amounts.
    #[must_use]
    pub fn with_bounds(shard: Shard, bounds: Bounds) -> Self {
        Self {
            shard,
            bounds,
            seq: 0,
            at: Time::START,
            projects: OrdMap::new(),
            holds: OrdMap::new(),
            expiry: OrdSet::new(),
            resolved: Resolved::default(),
            keys: Keys::default(),
            refunds: OrdMap::new(),
            limits: BTreeMap::new(),
            prices: PriceBook::default(),
            totals: BTreeMap::new(),
            meter_ages: OrdSet::new(),
        }
    }

    pub(crate) fn project(&self, id: &Name) -> Option<&Project> {
        self.projects.get(id)
    }

    /// The limit of a project, if the kind is registered.
    pub(crate) fn limit(&self, project: &Name, kind: &ResourceKind) -> Option<Limit> {
        let default = self.limits.get(kind)?;
        let own = self
            .project(project)
            .and_then(|project| project.limits.get(kind));
        Some(*own.unwrap_or(default))
    }
}
