//! A ledger as a child would keep it: what the commands that were done come to.

use std::collections::BTreeMap;

use creditservice_ledger::ReservationId;
use photon_core::Name;

use super::client::Intent;

/// What each project has.
#[derive(Debug, Default)]
pub(super) struct Reference {
    balances: BTreeMap<Name, i64>,
    used: BTreeMap<Name, i64>,
    holds: BTreeMap<ReservationId, Hold>,
}

#[derive(Debug)]
struct Hold {
    project: Name,
    amount: i64,
    units: i64,
}

impl Reference {
    /// A command was done; its entry would make the reservation `id`.
    pub(super) fn apply(
        &mut self,
        project: &Name,
        intent: &Intent,
        id: ReservationId,
    ) -> Result<(), String> {
        match *intent {
            Intent::Create(amount) | Intent::TopUp(amount) => self.add(project, amount)?,
            Intent::Charge(amount) => self.add(project, -amount)?,
            Intent::Reserve { amount, units, .. } => {
                let hold = Hold {
                    project: project.clone(),
                    amount,
                    units,
                };
                self.holds.insert(id, hold);
                self.add(project, 0)?;
            }
            Intent::Commit(id, actual) => {
                let hold = self.resolve(id)?;
                let charged = actual.unwrap_or(hold.amount);
                if charged > hold.amount {
                    return Err(format!("{charged} were taken of {hold:?}"));
                }
                *self.used.entry(hold.project.clone()).or_default() += hold.units;
                self.add(&hold.project, -charged)?;
            }
            Intent::Release(id) => drop(self.resolve(id)?),
            Intent::Extend(id, _) => {
                self.holds
                    .get(&id)
                    .ok_or_else(|| format!("{id} was extended after its end"))?;
            }
        }
        Ok(())
    }

    /// A hold's time was over.
    pub(super) fn expire(&mut self, id: ReservationId) -> Result<(), String> {
        self.resolve(id).map(drop)
    }

    /// Balance, reserved, available; units used and reserved.
    pub(super) fn figures(&self, project: &Name) -> [i64; 5] {
        let balance = self.balances.get(project).copied().unwrap_or(0);
        let (mut held, mut units) = (0, 0);
        for hold in self.holds.values().filter(|hold| hold.project == *project) {
            held += hold.amount;
            units += hold.units;
        }
        let used = self.used.get(project).copied().unwrap_or(0);
        [balance, held, balance - held, used, units]
    }

    fn add(&mut self, project: &Name, amount: i64) -> Result<(), String> {
        *self.balances.entry(project.clone()).or_default() += amount;
        let [_, _, available, ..] = self.figures(project);
        if available < 0 {
            return Err(format!("{project} has {available}"));
        }
        Ok(())
    }

    fn resolve(&mut self, id: ReservationId) -> Result<Hold, String> {
        self.holds
            .remove(&id)
            .ok_or_else(|| format!("{id} was resolved twice, or was never there"))
    }
}
