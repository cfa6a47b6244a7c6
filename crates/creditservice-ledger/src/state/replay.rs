//! One entry more: check that it follows, move the accounts, have its effects.

use photon_core::Name;

use super::{State, UnitUse};
use crate::{
    answer::Answer,
    entry::{Account, Entry, Posting, balanced},
    money::in_range,
    replay_error::ReplayError,
};

impl State {
    /// Adds an entry of the journal. After an error the state must be dropped.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        self.fold(entry).map(drop)
    }

    /// Adds an entry. The answer to its command if it has a key.
    pub(crate) fn fold(&mut self, entry: &Entry) -> Result<Option<Answer>, ReplayError> {
        self.follows(entry)?;
        self.seq = entry.seq;
        self.at = entry.at;
        self.forget();
        self.prepare(entry)?;
        for posting in &entry.postings {
            self.post(entry, posting)?;
        }
        self.effects(entry)?;
        if let Some(project) = &entry.project {
            self.within_bounds(entry.seq, project)?;
            self.drop_if_empty(project);
        }
        let answer = entry.key.map(|key| {
            let answer = self.answer(entry);
            self.keys.remember(entry.at, &key, answer.clone());
            answer
        });
        Ok(answer)
    }

    fn follows(&self, entry: &Entry) -> Result<(), ReplayError> {
        let seq = entry.seq;
        let expected = self.seq + 1;
        if seq != expected {
            return Err(ReplayError::Sequence {
                found: seq,
                expected,
            });
        }
        if entry.at < self.at {
            return Err(ReplayError::Time { seq });
        }
        if !balanced(&entry.postings) {
            return Err(ReplayError::Unbalanced { seq });
        }
        Ok(())
    }

    fn post(&mut self, entry: &Entry, posting: &Posting) -> Result<(), ReplayError> {
        let impossible = |what| ReplayError::Impossible {
            seq: entry.seq,
            what,
        };
        let Posting(account, amount) = posting;
        if let Account::External(_) | Account::Revenue(_) | Account::Pool(_) = account {
            *self.totals.entry(account.clone()).or_default() += i128::from(*amount);
            return Ok(());
        }
        let project = entry.project.as_ref().ok_or(impossible("no project"))?;
        let project = self.projects.entry(project.clone()).or_default();
        let balance = match account {
            Account::Wallet => project.wallet.as_mut().map(|wallet| &mut wallet.free),
            Account::Hold => project.wallet.as_mut().map(|wallet| &mut wallet.held),
            Account::Held(kind) => Some(&mut project.units.entry(kind.clone()).or_default().held),
            Account::Used(kind) => Some(&mut project.units.entry(kind.clone()).or_default().used),
            Account::External(_) | Account::Revenue(_) | Account::Pool(_) => None,
        };
        let balance = balance.ok_or(impossible("no wallet"))?;
        *balance = balance
            .checked_add(*amount)
            .filter(|sum| in_range(*sum))
            .ok_or(impossible("a balance out of range"))?;
        Ok(())
    }

    /// What must hold of a project's accounts after every entry.
    fn within_bounds(&mut self, seq: u64, project: &Name) -> Result<(), ReplayError> {
        let impossible = |what| Err(ReplayError::Impossible { seq, what });
        let Some(project) = self.projects.get_mut(project) else {
            return Ok(());
        };
        if let Some(wallet) = &project.wallet {
            if wallet.free < -wallet.settings.overdraft.get() {
                return impossible("a wallet below its overdraft");
            }
            if wallet.held < 0 {
                return impossible("less than nothing held");
            }
        }
        if project
            .units
            .values()
            .any(|units| units.held < 0 || units.used < 0)
        {
            return impossible("less than no units");
        }
        project
            .units
            .retain(|_, units| *units != UnitUse::default());
        Ok(())
    }

    fn drop_if_empty(&mut self, project: &Name) {
        if self.projects.get(project).is_some_and(|one| one.is_empty()) {
            self.projects.remove(project);
        }
    }
}
