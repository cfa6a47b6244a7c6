//! Why a command is refused. Nothing has changed then.

use photon_core::Name;
use serde_json::{Value, json};

use crate::{
    money::MAX_MINOR, rating::Sku, replay_error::ReplayError, text::ResourceId, time::Time,
    units::ResourceKind,
};

/// A refusal, with what a caller needs to do better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value that the types let through and the rules do not.
    #[error("{field} {reason}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// `required`, `max`, `unknown`.
        constraint: &'static str,
        /// What follows the field in a sentence.
        reason: String,
    },
    /// The project has no wallet.
    #[error("project {project} has no wallet")]
    WalletNotFound {
        /// The project.
        project: Name,
    },
    /// It has one.
    #[error("project {project} has a wallet already")]
    WalletExists {
        /// The project.
        project: Name,
    },
    /// It may not be charged now.
    #[error("the wallet of project {project} is suspended")]
    WalletSuspended {
        /// The project.
        project: Name,
    },
    /// It may not be used any more.
    #[error("the wallet of project {project} is closed")]
    WalletClosed {
        /// The project.
        project: Name,
    },
    /// A wallet with open reservations is not closed.
    #[error("the wallet has {open} open reservations")]
    WalletHasReservations {
        /// How many.
        open: u64,
    },
    /// A wallet with credit or debts is not closed.
    #[error("the wallet is not empty: its balance is {balance}, {owed} is owed")]
    WalletNotEmpty {
        /// Minor units in it.
        balance: i64,
        /// Minor units of usage not yet paid.
        owed: i64,
    },
    /// A lower overdraft than is used.
    #[error("{used} of the overdraft is used")]
    OverdraftInUse {
        /// Minor units below zero.
        used: i64,
    },
    /// There is not enough.
    #[error("{required} is required, {available} is available, {missing} is missing")]
    InsufficientCredit {
        /// Minor units asked for.
        required: i64,
        /// Minor units that may be spent, overdraft included.
        available: i64,
        /// The difference.
        missing: i64,
    },
    /// A sum beyond what a balance may be.
    #[error("a balance cannot be beyond {MAX_MINOR}")]
    BalanceOutOfRange,
    /// No reservation of the caller's.
    #[error("reservation not found")]
    ReservationNotFound,
    /// It was committed.
    #[error("the reservation is committed already")]
    ReservationCommitted {
        /// When.
        at: Time,
    },
    /// It was released.
    #[error("the reservation is released already")]
    ReservationReleased {
        /// When.
        at: Time,
    },
    /// Its time is over.
    #[error("the reservation has expired")]
    ReservationExpired {
        /// When.
        at: Time,
    },
    /// More than is held.
    #[error("{actual} is more than the {held} that is held")]
    ExceedsReservation {
        /// Minor units held.
        held: i64,
        /// Minor units asked for.
        actual: i64,
    },
    /// More units than are held.
    #[error("{actual} is more than the {held} {kind} that are held")]
    UnitsExceedReservation {
        /// Of which kind.
        kind: ResourceKind,
        /// Held.
        held: i64,
        /// Asked for.
        actual: i64,
    },
    /// A project may only have so many at once.
    #[error("a project may have at most {limit} open reservations")]
    TooManyReservations {
        /// How many.
        limit: usize,
    },
    /// Limits do not allow it.
    #[error("quota exceeded: {}", lacks(.lacking))]
    QuotaExceeded {
        /// Every kind that lacks.
        lacking: Vec<Lack>,
    },
    /// Nobody knows such a kind.
    #[error("{kind} is not a registered resource kind")]
    LimitNotRegistered {
        /// The kind.
        kind: ResourceKind,
    },
    /// The resource uses nothing.
    #[error("{claimant} uses no units")]
    ClaimNotFound {
        /// The resource.
        claimant: ResourceId,
    },
    /// The resource uses less.
    #[error("{requested} is more than the {used} {kind} in use")]
    ClaimTooSmall {
        /// Of which kind.
        kind: ResourceKind,
        /// In use.
        used: i64,
        /// To be given back.
        requested: i64,
    },
    /// More than the charge took.
    #[error("at most {refundable} of it can be refunded")]
    RefundExceedsCharge {
        /// Minor units that are left of it.
        refundable: i64,
    },
    /// The charge is too old.
    #[error("it could be refunded until {}", .until.seconds())]
    RefundTooLate {
        /// Until when it could.
        until: Time,
    },
    /// Part of the interval was counted, and part was not.
    #[error("part of the usage of {sku} by {resource_id} was counted before")]
    UsageOverlaps {
        /// The resource.
        resource_id: ResourceId,
        /// What it used.
        sku: Sku,
        /// The interval, in seconds.
        interval: (i64, i64),
    },
    /// Nobody knows any more what was counted then.
    #[error("usage before {oldest} is not taken any more")]
    UsageTooOld {
        /// In seconds.
        oldest: i64,
    },
    /// Too many gaps between what was counted.
    #[error("the usage of {sku} by {resource_id} has too many gaps")]
    UsageTooScattered {
        /// The resource.
        resource_id: ResourceId,
        /// What it used.
        sku: Sku,
    },
    /// No rate is effective then.
    #[error("{sku} has no price at {at}")]
    PriceNotFound {
        /// Of what.
        sku: Sku,
        /// In seconds.
        at: i64,
    },
    /// Another rate is effective from that second.
    #[error("{sku} has another price from {at} on")]
    PriceFixed {
        /// Of what.
        sku: Sku,
        /// In seconds.
        at: i64,
    },
    /// The same key, another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// So many keys are remembered that no more can be.
    #[error("too many idempotency keys are remembered")]
    TooManyKeys,
    /// A defect of this crate: what it decided does not follow from its state. The state must be dropped.
    #[error("the ledger contradicts itself")]
    Defect(#[source] ReplayError),
}

/// A kind of which there is not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The kind.
    pub kind: ResourceKind,
    /// The project's limit.
    pub limit: i64,
    /// Units in use.
    pub used: i64,
    /// Units reserved.
    pub reserved: i64,
    /// Units asked for.
    pub requested: i64,
}

fn lacks(lacking: &[Lack]) -> String {
    let one = |lack: &Lack| {
        let Lack {
            kind,
            limit,
            used,
            reserved,
            requested,
        } = lack;
        format!("{requested} {kind} requested, limit {limit}, used {used}, reserved {reserved}")
    };
    lacking.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Refusal {
    /// The word clients match.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::LimitNotRegistered { .. } => "VALIDATION_ERROR",
            Self::WalletNotFound { .. } => "WALLET_NOT_FOUND",
            Self::WalletExists { .. } => "WALLET_EXISTS",
            Self::WalletSuspended { .. } => "WALLET_SUSPENDED",
            Self::WalletClosed { .. } => "WALLET_CLOSED",
            Self::WalletHasReservations { .. } => "WALLET_HAS_RESERVATIONS",
            Self::WalletNotEmpty { .. } => "WALLET_NOT_EMPTY",
            Self::OverdraftInUse { .. } => "OVERDRAFT_IN_USE",
            Self::InsufficientCredit { .. } => "INSUFFICIENT_CREDIT",
            Self::BalanceOutOfRange => "BALANCE_OUT_OF_RANGE",
            Self::ReservationNotFound => "RESERVATION_NOT_FOUND",
            Self::ReservationCommitted { .. } => "RESERVATION_COMMITTED",
            Self::ReservationReleased { .. } => "RESERVATION_RELEASED",
            Self::ReservationExpired { .. } => "RESERVATION_EXPIRED",
            Self::ExceedsReservation { .. } | Self::UnitsExceedReservation { .. } => {
                "EXCEEDS_RESERVATION"
            }
            Self::TooManyReservations { .. } => "TOO_MANY_RESERVATIONS",
            Self::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            Self::ClaimNotFound { .. } => "CLAIM_NOT_FOUND",
            Self::ClaimTooSmall { .. } => "CLAIM_TOO_SMALL",
            Self::RefundExceedsCharge { .. } => "REFUND_EXCEEDS_CHARGE",
            Self::RefundTooLate { .. } => "REFUND_TOO_LATE",
            Self::UsageOverlaps { .. } => "USAGE_OVERLAPS",
            Self::UsageTooOld { .. } => "USAGE_TOO_OLD",
            Self::UsageTooScattered { .. } => "USAGE_TOO_SCATTERED",
            Self::PriceNotFound { .. } => "PRICE_NOT_FOUND",
            Self::PriceFixed { .. } => "PRICE_FIXED",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::TooManyKeys => "TOO_MANY_KEYS",
            Self::Defect(_) => "INTERNAL",
        }
    }

    /// What a program may read; null where the code says it all. Times are microseconds since 1970.
    #[must_use]
    pub fn details(&self) -> Value {
        match self {
            Self::Invalid {
                field, constraint, ..
            } => json!({"field": field, "constraint": constraint}),
            Self::LimitNotRegistered { kind } => {
                json!({"field": "units", "constraint": "registered", "kind": kind})
            }
            Self::WalletNotFound { project }
            | Self::WalletExists { project }
            | Self::WalletSuspended { project }
            | Self::WalletClosed { project } => json!({"project_id": project}),
            Self::WalletHasReservations { open } => json!({"open": open}),
            Self::WalletNotEmpty { balance, owed } => json!({"balance": balance, "owed": owed}),
            Self::OverdraftInUse { used } => json!({"used": used}),
            Self::InsufficientCredit {
                required,
                available,
                missing,
            } => json!({"required": required, "available": available, "missing": missing}),
            Self::ReservationCommitted { at }
            | Self::ReservationReleased { at }
            | Self::ReservationExpired { at } => json!({"at": at}),
            Self::ExceedsReservation { held, actual } => json!({"held": held, "actual": actual}),
            Self::UnitsExceedReservation { kind, held, actual } => {
                json!({"kind": kind, "held": held, "actual": actual})
            }
            Self::TooManyReservations { limit } => json!({"limit": limit}),
            Self::QuotaExceeded { lacking } => {
                json!({"lacking": lacking.iter().map(Lack::details).collect::<Vec<_>>()})
            }
            Self::ClaimNotFound { claimant } => json!({"resource_id": claimant}),
            Self::ClaimTooSmall {
                kind,
                used,
                requested,
            } => json!({"kind": kind, "used": used, "requested": requested}),
            Self::RefundExceedsCharge { refundable } => json!({"refundable": refundable}),
            Self::RefundTooLate { until } => json!({"until": until}),
            Self::UsageOverlaps {
                resource_id,
                sku,
                interval,
            } => json!({"resource_id": resource_id, "sku": sku, "interval": interval}),
            Self::UsageTooOld { oldest } => json!({"oldest": oldest}),
            Self::UsageTooScattered { resource_id, sku } => {
                json!({"resource_id": resource_id, "sku": sku})
            }
            Self::PriceNotFound { sku, at } | Self::PriceFixed { sku, at } => {
                json!({"sku": sku, "at": at})
            }
            Self::BalanceOutOfRange
            | Self::ReservationNotFound
            | Self::KeyReused
            | Self::TooManyKeys
            | Self::Defect(_) => Value::Null,
        }
    }
}

impl Lack {
    fn details(&self) -> Value {
        json!({
            "kind": self.kind,
            "limit": self.limit,
            "used": self.used,
            "reserved": self.reserved,
            "requested": self.requested,
        })
    }
}
