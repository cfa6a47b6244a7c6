//! What is answered, and remembered under an idempotency key.

use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::{
    command::Resource,
    id::{EntryId, ReservationId},
    money::Currency,
    time::Time,
    units::Units,
    wallet::{Settings, Status},
};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `CreateWallet` and `UpdateWallet`.
    Wallet {
        /// What is in it.
        figures: Figures,
        /// How it behaves.
        settings: Settings,
    },
    /// To `TopUp`, `Adjust`, `Charge` and `Refund`.
    Transaction {
        /// The entry.
        id: EntryId,
        /// What is in the wallet after it.
        figures: Figures,
    },
    /// To `Reserve`, `Commit`, `Release` and `Extend`.
    Reservation(Box<ReservationView>),
    /// To `RecordUsage` and `Settle`.
    Usage {
        /// Minor units taken now.
        charged: i64,
        /// Whether the wallet pays for usage at all.
        billed: bool,
        /// What is in the wallet; none if there is none.
        figures: Option<Figures>,
        /// The next hold.
        next: Option<Box<ReservationView>>,
    },
    /// To what is only done.
    Done,
}

/// What is in a wallet, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// All of it.
    pub balance: i64,
    /// What reservations hold.
    pub reserved: i64,
    /// What may be spent, without the overdraft.
    pub available: i64,
    /// Whole minor units of usage that could not be taken yet.
    pub owed: i64,
    /// Of what.
    pub currency: Currency,
    /// Whether it may be used.
    pub status: Status,
}

/// A reservation as its project sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
    /// Its id.
    pub id: ReservationId,
    /// Whose.
    pub project: Name,
    /// Credit held, in minor units.
    pub amount: i64,
    /// Units held.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// What it came to.
    pub status: ReservationStatus,
    /// When it is or would have been over.
    pub expires_at: Time,
    /// For what.
    #[serde(default, skip_serializing_if = "Resource::is_unknown")]
    pub resource: Resource,
}

/// What a reservation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservationStatus {
    /// It holds.
    Active,
    /// It was charged.
    Committed {
        /// When.
        at: Time,
        /// Minor units.
        charged: i64,
    },
    /// It was given back.
    Released {
        /// When.
        at: Time,
    },
    /// Its time was over.
    Expired {
        /// When.
        at: Time,
    },
}
