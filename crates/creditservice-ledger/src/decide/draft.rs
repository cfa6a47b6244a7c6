//! Entries in the making, and a project's accounts as they will be after them.

use std::collections::BTreeMap;

use photon_core::Name;

use crate::{
    entry::{Account, Entry, Posting, Signal, What, balanced},
    money::in_range,
    refusal::Refusal,
    state::{Project, State, UnitUse, Wallet},
    text::{Actor, Description},
    time::Time,
    units::ResourceKind,
    wallet::{Status, Thresholds},
};

/// What one command will write.
pub(crate) struct Draft<'a> {
    pub(crate) state: &'a State,
    pub(crate) at: Time,
    by: Option<&'a Actor>,
    project: Option<Name>,
    purse: Option<Purse>,
    units: BTreeMap<ResourceKind, UnitUse>,
    /// Open reservations.
    open: usize,
    /// What was available before the command.
    before: Option<i64>,
    thresholds: Thresholds,
    entries: Vec<Entry>,
}

/// A wallet as it will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    pub(crate) free: i64,
    pub(crate) held: i64,
    pub(crate) overdraft: i64,
}

impl<'a> Draft<'a> {
    /// For what concerns no project.
    pub(crate) fn of_shard(state: &'a State, at: Time, by: Option<&'a Actor>) -> Self {
        Self {
            state,
            at,
            by,
            project: None,
            purse: None,
            units: BTreeMap::new(),
            open: 0,
            before: None,
            thresholds: Thresholds::default(),
            entries: Vec::new(),
        }
    }

    /// For a project's accounts. Holds of its own whose time has come are released first, so that nobody waits for
    /// whoever looks at the clock.
    pub(crate) fn of_project(
        state: &'a State,
        at: Time,
        by: Option<&'a Actor>,
        project: &Name,
    ) -> Result<Self, Refusal> {
        let mut draft = Self::without_expiry(state, at, by, project);
        let due: Vec<_> = draft
            .known()
            .into_iter()
            .flat_map(|known| known.open.iter())
            .take_while(|(expires_at, _)| *expires_at <= at)
            .map(|(_, id)| *id)
            .collect();
        for id in due {
            super::expiry::expire(&mut draft, id)?;
        }
        Ok(draft)
    }

    pub(super) fn without_expiry(
        state: &'a State,
        at: Time,
        by: Option<&'a Actor>,
        project: &Name,
    ) -> Self {
        let known = state.project(project);
        let wallet = known.and_then(|known| known.wallet.as_deref());
        Self {
            project: Some(project.clone()),
            purse: wallet.map(|wallet| Purse {
                free: wallet.free,
                held: wallet.held,
                overdraft: wallet.settings.overdraft.get(),
            }),
            open: known.map_or(0, |known| known.open.len()),
            before: wallet.map(|wallet| wallet.free),
            thresholds: wallet
                .map(|wallet| wallet.settings.low_balance.clone())
                .unwrap_or_default(),
            ..Self::of_shard(state, at, by)
        }
    }

    /// The project as it is.
    pub(crate) fn known(&self) -> Option<&'a Project> {
        self.state.project(self.project.as_ref()?)
    }

    /// Its wallet as it is.
    pub(crate) fn wallet(&self) -> Option<&'a Wallet> {
        self.known()?.wallet.as_deref()
    }

    /// Its wallet, which must be there and not be closed.
    pub(crate) fn usable_wallet(&self) -> Result<&'a Wallet, Refusal> {
        let wallet = self.wallet().ok_or_else(|| Refusal::WalletNotFound {
            project: self.name(),
        })?;
        if wallet.status == Status::Closed {
            return Err(Refusal::WalletClosed {
                project: self.name(),
            });
        }
        Ok(wallet)
    }

    /// Its wallet, if there is one, must be active.
    pub(crate) fn not_barred(&self) -> Result<(), Refusal> {
        let project = || self.name();
        match self.wallet().map(|wallet| wallet.status) {
            None | Some(Status::Active) => Ok(()),
            Some(Status::Suspended) => Err(Refusal::WalletSuspended { project: project() }),
            Some(Status::Closed) => Err(Refusal::WalletClosed { project: project() }),
        }
    }

    /// Drafts of projects have a name, and only they need one.
    pub(crate) fn name(&self) -> Name {
        #[expect(
            clippy::expect_used,
            reason = "only commands of projects reach for it, and their drafts are made with one"
        )]
        self.project.clone().expect("a draft of a project")
    }

    /// What may be spent, overdraft included; never negative.
    pub(crate) fn spendable(&self) -> i64 {
        self.purse
            .map_or(0, |purse| (purse.free + purse.overdraft).max(0))
    }

    /// There must be so much to spend.
    pub(crate) fn require(&self, required: i64) -> Result<(), Refusal> {
        let available = self.spendable();
        if required <= available {
            return Ok(());
        }
        Err(Refusal::InsufficientCredit {
            required,
            available,
            missing: required - available,
        })
    }

    pub(crate) fn purse(&self) -> Option<Purse> {
        self.purse
    }

    /// A wallet is made by this draft, or its overdraft is changed.
    pub(crate) fn set_purse(&mut self, purse: Purse) {
        self.purse = Some(purse);
    }

    pub(crate) fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The `seq` of the entry that is written last so far.
    pub(crate) fn last_seq(&self) -> u64 {
        self.state.seq + self.entries.len() as u64
    }

    pub(crate) fn units_of(&self, kind: &ResourceKind) -> UnitUse {
        self.units.get(kind).copied().unwrap_or_else(|| {
            self.known()
                .map(|known| known.use_of(kind))
                .unwrap_or_default()
        })
    }

    /// Adds an entry.
    pub(crate) fn enter(
        &mut self,
        what: What,
        postings: Postings,
        description: Option<&Description>,
    ) -> Result<(), Refusal> {
        let postings = postings.0;
        debug_assert!(balanced(&postings), "{what:?} {postings:?}");
        for posting in &postings {
            self.post(posting)?;
        }
        if self
            .purse
            .is_some_and(|purse| !in_range(purse.free + purse.held))
        {
            return Err(Refusal::BalanceOutOfRange);
        }
        match &what {
            What::Reserved(_) => self.open += 1,
            What::Committed { .. } | What::Released { .. } | What::Expired { .. } => self.open -= 1,
            _ => {}
        }
        self.entries.push(Entry {
            seq: self.last_seq() + 1,
            at: self.at,
            project: self.project.clone(),
            what,
            postings,
            description: description.cloned(),
            by: self.by.cloned(),
            key: None,
            signals: Vec::new(),
        });
        Ok(())
    }

    fn post(&mut self, Posting(account, amount): &Posting) -> Result<(), Refusal> {
        let add = |balance: i64| {
            let sum = balance.checked_add(*amount);
            sum.filter(|sum| in_range(*sum))
                .ok_or(Refusal::BalanceOutOfRange)
        };
        match account {
            Account::Wallet | Account::Hold => {
                let project = || self.name();
                let mut purse = self
                    .purse
                    .ok_or_else(|| Refusal::WalletNotFound { project: project() })?;
                let balance = match account {
                    Account::Wallet => &mut purse.free,
                    _ => &mut purse.held,
                };
                *balance = add(*balance)?;
                self.purse = Some(purse);
            }
            Account::Held(kind) | Account::Used(kind) => {
                let mut units = self.units_of(kind);
                let count = match account {
                    Account::Held(_) => &mut units.held,
                    _ => &mut units.used,
                };
                *count = add(*count)?;
                self.units.insert(kind.clone(), units);
            }
            Account::External(_) | Account::Revenue(_) | Account::Pool(_) => {}
        }
        Ok(())
    }

    /// The entries; the last one says what others will want to know.
    pub(crate) fn finish(mut self) -> Vec<Entry> {
        let signals = self.signals();
        if let Some(last) = self.entries.last_mut() {
            last.signals = signals;
        }
        self.entries
    }

    fn signals(&self) -> Vec<Signal> {
        let Some(purse) = self.purse else {
            return Vec::new();
        };
        let available = purse.free;
        // A new wallet comes from above every threshold.
        let before = self.before.unwrap_or(i64::MAX);
        let crossed = |threshold: &i64| {
            let threshold = *threshold;
            match (before <= threshold, available <= threshold) {
                (false, true) => Some(Signal::LowBalance {
                    threshold,
                    available,
                }),
                (true, false) => Some(Signal::BalanceRestored {
                    threshold,
                    available,
                }),
                _ => None,
            }
        };
        self.thresholds
            .as_slice()
            .iter()
            .filter_map(crossed)
            .collect()
    }
}

/// Postings in the making: one per account, in the order they were named, none of nothing.
#[derive(Default)]
pub(crate) struct Postings(Vec<Posting>);

impl Postings {
    /// Moves an amount from one account to another.
    pub(crate) fn transfer(mut self, from: Account, to: Account, amount: i64) -> Self {
        self.add(from, -amount);
        self.add(to, amount);
        self
    }

    fn add(&mut self, account: Account, amount: i64) {
        match self.0.iter_mut().find(|posting| posting.0 == account) {
            // Amounts are below 2⁵⁴, and a command has few of them: this cannot overflow.
            Some(posting) => posting.1 += amount,
            None => self.0.push(Posting(account, amount)),
        }
        self.0.retain(|posting| posting.1 != 0);
    }
}
