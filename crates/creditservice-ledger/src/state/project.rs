//! What belongs to one project.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};
use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::{
    answer::Figures,
    id::ReservationId,
    money::Currency,
    rating::{Covered, Exact, Sku},
    text::ResourceId,
    time::Time,
    units::{Limit, ResourceKind, Units},
    wallet::{Settings, Status},
};

/// The accounts of a project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Project {
    pub(crate) wallet: Option<Box<Wallet>>,
    /// Units held and used; kinds with neither are left out.
    pub(crate) units: BTreeMap<ResourceKind, UnitUse>,
    /// Limits of its own.
    pub(crate) limits: BTreeMap<ResourceKind, Limit>,
    /// Which resource uses which units.
    pub(crate) claims: OrdMap<ResourceId, Units>,
    /// Its open reservations by the moment they are over.
    pub(crate) open: OrdSet<(Time, ReservationId)>,
    /// Rated and not yet posted; nothing is left out.
    pub(crate) carries: BTreeMap<Sku, Exact>,
    pub(crate) meters: OrdMap<Meter, Covered>,
}

/// What a resource uses of a SKU is counted once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Meter {
    pub(crate) resource_id: ResourceId,
    pub(crate) sku: Sku,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitUse {
    pub(crate) held: i64,
    pub(crate) used: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wallet {
    pub(crate) org: Name,
    pub(crate) currency: Currency,
    pub(crate) status: Status,
    pub(crate) settings: Settings,
    /// The account `wallet`.
    pub(crate) free: i64,
    /// The account `hold`.
    pub(crate) held: i64,
}

impl Project {
    /// Whole minor units of usage that could not be taken yet.
    pub(crate) fn owed(&self) -> i64 {
        self.carries
            .values()
            .fold(0, |sum, carry| sum.saturating_add(carry.floor()))
    }

    pub(crate) fn figures(&self) -> Option<Figures> {
        self.wallet.as_ref().map(|wallet| Figures {
            balance: wallet.free + wallet.held,
            reserved: wallet.held,
            available: wallet.free,
            owed: self.owed(),
            currency: wallet.currency,
            status: wallet.status,
        })
    }

    pub(crate) fn use_of(&self, kind: &ResourceKind) -> UnitUse {
        self.units.get(kind).copied().unwrap_or_default()
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.wallet.is_none()
            && self.units.is_empty()
            && self.limits.is_empty()
            && self.claims.is_empty()
            && self.open.is_empty()
            && self.carries.is_empty()
            && self.meters.is_empty()
    }
}
