//! What can be read of a ledger.

use photon_core::Name;

use super::State;
use crate::{
    answer::{Figures, ReservationView},
    entry::Account,
    id::{ReservationId, Shard},
    rating::PriceBook,
    text::ResourceId,
    time::Time,
    units::{Limit, ResourceKind, Units},
    wallet::Settings,
};

/// A project's wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletView {
    /// Whose.
    pub project: Name,
    /// The project's org.
    pub org: Name,
    /// What is in it.
    pub figures: Figures,
    /// How it behaves.
    pub settings: Settings,
}

/// What a project may have of a kind, and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// The kind.
    pub kind: ResourceKind,
    /// Its own limit, or the default.
    pub limit: Limit,
    /// Whether the limit is its own.
    pub own: bool,
    /// Units in use.
    pub used: i64,
    /// Units reserved.
    pub reserved: i64,
}

impl State {
    /// Which ledger it is.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The number of the last entry; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The time of the last entry.
    #[must_use]
    pub fn at(&self) -> Time {
        self.at
    }

    /// A project's wallet.
    #[must_use]
    pub fn wallet(&self, project: &Name) -> Option<WalletView> {
        let found = self.project(project)?;
        let wallet = found.wallet.as_ref()?;
        Some(WalletView {
            project: project.clone(),
            org: wallet.org.clone(),
            figures: found.figures()?,
            settings: wallet.settings.clone(),
        })
    }

    /// All wallets from a project's on, by project: for pages.
    pub fn wallets(&self, after: Option<&Name>) -> impl Iterator<Item = WalletView> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.projects
            .range::<_, Name>((from, Unbounded))
            .filter_map(|(project, _)| self.wallet(project))
    }

    /// The open reservations of a project, by the moment they are over.
    pub fn reservations(&self, project: &Name) -> impl Iterator<Item = ReservationView> {
        self.project(project)
            .into_iter()
            .flat_map(|project| &project.open)
            .filter_map(|(_, id)| self.reservation(*id))
    }

    /// Every registered kind, as it is for a project.
    pub fn quotas(&self, project: &Name) -> impl Iterator<Item = QuotaView> {
        let found = self.project(project);
        self.limits.iter().map(move |(kind, default)| {
            let own = found.and_then(|found| found.limits.get(kind));
            let units = found.map(|found| found.use_of(kind)).unwrap_or_default();
            QuotaView {
                kind: kind.clone(),
                limit: *own.unwrap_or(default),
                own: own.is_some(),
                used: units.used,
                reserved: units.held,
            }
        })
    }

    /// The units that a resource uses.
    #[must_use]
    pub fn claim(&self, project: &Name, claimant: &ResourceId) -> Option<&Units> {
        self.project(project)?.claims.get(claimant)
    }

    /// The price book.
    #[must_use]
    pub fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// The sum of an account over the shard; 0 for one that nothing was posted to. Not for those of projects.
    #[must_use]
    pub fn total(&self, account: &Account) -> i128 {
        self.totals.get(account).copied().unwrap_or(0)
    }

    /// When the next hold is over.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.expiry.get_min().map(|(at, _)| *at)
    }

    /// Those whose time has come, first come first, if there are any.
    pub(crate) fn due(&self, now: Time) -> Option<ReservationId> {
        let (at, id) = self.expiry.get_min()?;
        (*at <= now).then_some(*id)
    }

    /// About how many rows a snapshot would have.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let rows = self.projects.len() + self.holds.len() + self.resolved.len() + self.keys.len();
        rows as u64
    }

    /// How many reservations are open, how many resolved ones and how many keys are remembered: for metrics.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.holds.len(), self.resolved.len(), self.keys.len())
    }
}
