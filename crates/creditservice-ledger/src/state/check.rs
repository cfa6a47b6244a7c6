//! Invariants of a whole state, from scratch: for tests, simulations, and after a load. Takes as long as the state is large.

use std::collections::BTreeMap;

use photon_core::Name;

use super::{Project, State};
use crate::{
    entry::Account,
    units::{ResourceKind, Units},
};

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(String);

fn violated(text: impl Into<String>) -> Result<(), Violation> {
    Err(Violation(text.into()))
}

impl State {
    /// Checks every invariant that can be seen in a state.
    pub fn check(&self) -> Result<(), Violation> {
        for (name, project) in &self.projects {
            self.check_wallet(name, project)?;
            self.check_units(name, project)?;
            self.check_meters(name, project)?;
        }
        self.check_sums()?;
        self.check_indexes()
    }

    fn open_of<'a>(&'a self, project: &'a Project) -> impl Iterator<Item = &'a super::OpenHold> {
        project.open.iter().filter_map(|(_, id)| self.holds.get(id))
    }

    fn check_wallet(&self, name: &Name, project: &Project) -> Result<(), Violation> {
        let held: i128 = self
            .open_of(project)
            .map(|hold| i128::from(hold.amount))
            .sum();
        let Some(wallet) = &project.wallet else {
            return if held == 0 && project.carries.is_empty() {
                Ok(())
            } else {
                violated(format!("{name} has no wallet and holds or owes"))
            };
        };
        if i128::from(wallet.held) != held {
            return violated(format!("{name} holds {}, not {held}", wallet.held));
        }
        if wallet.free < -wallet.settings.overdraft.get() {
            return violated(format!("{name} is below its overdraft"));
        }
        if project.is_empty() {
            return violated(format!("{name} is empty and kept"));
        }
        Ok(())
    }

    fn check_units(&self, name: &Name, project: &Project) -> Result<(), Violation> {
        let sum = |all: &mut dyn Iterator<Item = &Units>| {
            let mut sums: BTreeMap<ResourceKind, i128> = BTreeMap::new();
            for (kind, count) in all.flat_map(Units::iter) {
                *sums.entry(kind.clone()).or_default() += i128::from(count);
            }
            sums
        };
        let said = |of: fn(&super::UnitUse) -> i64| -> BTreeMap<ResourceKind, i128> {
            let counts = project.units.iter().map(|(kind, units)| (kind, of(units)));
            counts
                .filter(|(_, count)| *count != 0)
                .map(|(kind, count)| (kind.clone(), i128::from(count)))
                .collect()
        };
        if sum(&mut self.open_of(project).map(|hold| &hold.units)) != said(|units| units.held) {
            return violated(format!("{name}: units held are not those of its holds"));
        }
        if sum(&mut project.claims.values()) != said(|units| units.used) {
            return violated(format!("{name}: units used are not those of its claims"));
        }
        Ok(())
    }

    fn check_meters(&self, name: &Name, project: &Project) -> Result<(), Violation> {
        for (meter, covered) in &project.meters {
            let age = (covered.end(), name.clone(), meter.clone());
            if !self.meter_ages.contains(&age) {
                return violated(format!("{name}: a meter without its age"));
            }
        }
        Ok(())
    }

    /// All accounts of a ledger sum to zero.
    fn check_sums(&self) -> Result<(), Violation> {
        let mut sums: BTreeMap<Option<&ResourceKind>, i128> = BTreeMap::new();
        for (account, total) in &self.totals {
            if let Account::Wallet | Account::Hold | Account::Held(_) | Account::Used(_) = account {
                return violated(format!("{account} among the accounts of the shard"));
            }
            *sums.entry(account.kind()).or_default() += total;
        }
        for project in self.projects.values() {
            if let Some(wallet) = &project.wallet {
                *sums.entry(None).or_default() += i128::from(wallet.free) + i128::from(wallet.held);
            }
            for (kind, units) in &project.units {
                *sums.entry(Some(kind)).or_default() +=
                    i128::from(units.held) + i128::from(units.used);
            }
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            Some((kind, sum)) => violated(format!(
                "{} sums to {sum}",
                kind.map_or("money", Name::as_str)
            )),
            None => Ok(()),
        }
    }

    fn check_indexes(&self) -> Result<(), Violation> {
        let open: usize = self.projects.values().map(|one| one.open.len()).sum();
        let meters: usize = self.projects.values().map(|one| one.meters.len()).sum();
        if self.holds.len() != self.expiry.len() || self.holds.len() != open {
            return violated("holds, their expiry and their projects disagree");
        }
        if self.meter_ages.len() != meters {
            return violated("meters and their ages disagree");
        }
        for (id, hold) in &self.holds {
            let due = (hold.expires_at, *id);
            let of_project = self
                .project(&hold.project)
                .is_some_and(|one| one.open.contains(&due));
            if !of_project || !self.expiry.contains(&due) {
                return violated(format!("{id} is not where it belongs"));
            }
        }
        Ok(())
    }
}
