//! What others may read of wallets: written with the block that changes it, below the service's public prefix.
//!
//! Services that create things follow it to know which projects have a wallet, and which have nothing left. It has no
//! balances: it would be written with every charge.

use std::collections::HashMap;

use creditservice_ledger::{Mode, State, Status, WalletView};
use photon_core::Name;
use serde::{Deserialize, Serialize};

/// The record of a wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) org: Name,
    #[serde(flatten)]
    pub(crate) flags: Flags,
    /// Whether it is a wallet that nobody has read of before.
    #[serde(skip)]
    pub(crate) is_new: bool,
}

/// What of it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flags {
    status: Status,
    mode: Mode,
    /// What is available is at or below one of its thresholds.
    low: bool,
    /// The lowest of those: it changes with every one that is crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<i64>,
    /// Nothing is available, the overdraft included.
    exhausted: bool,
    /// There is usage that could not be paid.
    owed: bool,
}

/// What is published of the wallets of a shard: those that are as most are (active, manual, with credit) are left out.
#[derive(Debug, Default)]
pub(crate) struct Known(HashMap<Name, Flags>);

impl Known {
    /// As it was written with the journal that led to this state.
    pub(crate) fn of(state: &State) -> Self {
        let unusual = state.wallets(None).filter_map(|wallet| {
            let flags = Flags::of(&wallet);
            (flags != Flags::default()).then_some((wallet.project, flags))
        });
        Self(unusual.collect())
    }

    /// The record to be written after an entry of a project, if it is another one than before.
    pub(crate) fn change(&self, state: &State, project: &Name, is_new: bool) -> Option<Published> {
        let wallet = state.wallet(project)?;
        let flags = Flags::of(&wallet);
        let before = self.0.get(project).copied().unwrap_or_default();
        (is_new || flags != before).then_some(Published {
            org: wallet.org,
            flags,
            is_new,
        })
    }

    /// It is written.
    pub(crate) fn note(&mut self, project: &Name, flags: Flags) {
        if flags == Flags::default() {
            self.0.remove(project);
        } else {
            self.0.insert(project.clone(), flags);
        }
    }
}

impl Flags {
    fn of(wallet: &WalletView) -> Self {
        let available = wallet.figures.available;
        // They are in order.
        let thresholds = wallet.settings.low_balance.as_slice();
        let threshold = thresholds.iter().copied().find(|one| available <= *one);
        Self {
            status: wallet.figures.status,
            mode: wallet.settings.mode,
            low: threshold.is_some(),
            threshold,
            exhausted: available + wallet.settings.overdraft.get() <= 0,
            owed: wallet.figures.owed > 0,
        }
    }
}
