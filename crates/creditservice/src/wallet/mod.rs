//! Wallets: what projects pay from.
//!
//! ```text
//!   (none) ── create ──> active <──> suspended        credit comes in by top-up, adjustment, refund;
//!                           └──────────┴──> closed    goes out by charge, and by reservations
//! ```

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;
pub(crate) mod shape;

use creditservice_ledger::{
    Amount, Charge, Currency, Description, Direction, EntryId, Figures, Resource, Settings, Sku,
};
use photon_core::{Error, Name};

/// A wallet to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewWallet {
    pub(crate) project: Name,
    pub(crate) org: Name,
    pub(crate) currency: Currency,
    pub(crate) initial_balance: Charge,
    pub(crate) settings: Settings,
}

/// A project's wallet.
#[derive(Clone, Debug)]
pub(crate) struct Wallet {
    pub(crate) project: Name,
    pub(crate) org: Name,
    pub(crate) figures: Figures,
    pub(crate) settings: Settings,
}

/// Credit that comes in.
#[derive(Clone, Debug)]
pub(crate) struct Deposit {
    pub(crate) amount: Amount,
    pub(crate) source: Name,
    pub(crate) description: Option<Description>,
}

/// A charge without a reservation.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    pub(crate) amount: Amount,
    pub(crate) sku: Option<Sku>,
    pub(crate) resource: Resource,
    pub(crate) description: Option<Description>,
}

/// A charge that is given back, or part of it.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub(crate) transaction: EntryId,
    pub(crate) amount: Amount,
    pub(crate) description: Option<Description>,
}

/// A correction by hand.
#[derive(Clone, Debug)]
pub(crate) struct Correction {
    pub(crate) direction: Direction,
    pub(crate) amount: Amount,
    pub(crate) reason: Description,
}

/// Which wallets of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalletFilter {
    pub(crate) org: Option<Name>,
    pub(crate) project: Option<Name>,
}

/// Where credit comes from if nobody says.
pub(crate) fn bank() -> Result<Name, Error> {
    Name::new("bank").map_err(Error::internal)
}

/// What a change of a balance came to.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) transaction: EntryId,
    pub(crate) project: Name,
    /// By how much the balance changed.
    pub(crate) amount: i64,
    /// The guide's word.
    pub(crate) kind: &'static str,
    pub(crate) description: Option<Description>,
    pub(crate) resource: Resource,
    /// What is in the wallet after it.
    pub(crate) figures: Figures,
}
