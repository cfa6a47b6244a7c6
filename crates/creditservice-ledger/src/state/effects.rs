//! What entries do beside moving accounts.

use photon_core::Name;

use super::{Meter, OpenHold, Project, Resolution, State, Wallet};
use crate::{
    answer::ReservationStatus,
    entry::{Collected, Entry, Held, Line, What},
    id::ReservationId,
    rating::{Exact, Sku},
    replay_error::ReplayError,
    text::ResourceId,
    units::Units,
    wallet::Status,
};

/// An entry that cannot be, in the making: `seq` is known where it is had.
struct At(u64);

impl At {
    fn impossible(&self, what: &'static str) -> ReplayError {
        ReplayError::Impossible { seq: self.0, what }
    }
}

impl State {
    /// What must be there before the postings.
    pub(super) fn prepare(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        let What::WalletCreated {
            org,
            currency,
            settings,
        } = &entry.what
        else {
            return Ok(());
        };
        let at = At(entry.seq);
        let project = self.project_of(entry)?;
        if project.wallet.is_some() {
            return Err(at.impossible("a second wallet"));
        }
        project.wallet = Some(Box::new(Wallet {
            org: org.clone(),
            currency: *currency,
            status: Status::Active,
            settings: settings.clone(),
            free: 0,
            held: 0,
        }));
        Ok(())
    }

    pub(super) fn effects(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        match &entry.what {
            What::WalletCreated { .. }
            | What::Deposit { .. }
            | What::Adjustment
            | What::Charge { .. } => {}
            What::WalletUpdated { status, settings } => {
                let at = At(entry.seq);
                let project = self.project_of(entry)?;
                let wallet = project
                    .wallet
                    .as_mut()
                    .ok_or_else(|| at.impossible("no wallet"))?;
                wallet.status = *status;
                wallet.settings = settings.clone();
                if *status == Status::Closed {
                    // Less than a minor unit each; nobody will ever pay it.
                    project.carries.clear();
                }
            }
            What::Collected { lines, .. } => {
                let project = self.project_of(entry)?;
                for Collected { sku, carry, .. } in lines {
                    set_carry(project, sku, *carry);
                }
            }
            What::Refund { of, .. } => {
                *self.refunds.entry(*of).or_default() += entry.amount();
            }
            What::Reserved(held) => self.open(entry, held)?,
            What::Extended {
                reservation,
                expires_at,
            } => {
                let hold = self.close(entry, *reservation)?;
                let expires_at = *expires_at;
                self.insert_hold(*reservation, OpenHold { expires_at, ..hold });
            }
            What::Committed {
                reservation,
                charged,
                units,
                resource,
            } => {
                let status = ReservationStatus::Committed {
                    at: entry.at,
                    charged: *charged,
                };
                self.resolve(entry, *reservation, status)?;
                self.put_to_use(entry, resource.id.as_ref(), units)?;
            }
            What::Released { reservation } => {
                let status = ReservationStatus::Released { at: entry.at };
                self.resolve(entry, *reservation, status)?;
            }
            What::Expired { reservation } => {
                let at = self
                    .holds
                    .get(reservation)
                    .map_or(entry.at, |hold| hold.expires_at);
                self.resolve(entry, *reservation, ReservationStatus::Expired { at })?;
            }
            What::Used { lines } => self.count(entry, lines)?,
            What::Settled {
                reservation,
                lines,
                units,
                resource,
                next,
                ..
            } => {
                if let Some(reservation) = reservation {
                    let status = ReservationStatus::Committed {
                        at: entry.at,
                        charged: lines.iter().map(|line| line.posted).sum(),
                    };
                    self.resolve(entry, *reservation, status)?;
                }
                self.count(entry, lines)?;
                self.put_to_use(entry, resource.id.as_ref(), units)?;
                if let Some(next) = next {
                    self.open(entry, next)?;
                }
            }
            What::LimitRegistered { kind, default } => {
                self.limits.insert(kind.clone(), *default);
            }
            What::LimitSet { kind, limit } => {
                let project = self.project_of(entry)?;
                match limit {
                    Some(limit) => project.limits.insert(kind.clone(), *limit),
                    None => project.limits.remove(kind),
                };
            }
            What::UnitsFreed { claimant, units } => self.unclaim(entry, claimant, units)?,
            What::UnitsRecounted { claimant, units } => {
                let project = self.project_of(entry)?;
                if units.is_empty() {
                    project.claims.remove(claimant);
                } else {
                    project.claims.insert(claimant.clone(), units.clone());
                }
            }
            What::PricePublished {
                sku,
                effective_from,
                rate,
            } => self.prices.publish(sku.clone(), *effective_from, *rate),
        }
        Ok(())
    }

    fn project_of(&mut self, entry: &Entry) -> Result<&mut Project, ReplayError> {
        let id = name_of(entry)?;
        Ok(self.projects.entry(id.clone()).or_default())
    }

    fn open(&mut self, entry: &Entry, held: &Held) -> Result<(), ReplayError> {
        let hold = OpenHold {
            project: name_of(entry)?.clone(),
            amount: held.amount,
            units: held.units.clone(),
            expires_at: held.expires_at,
            resource: held.resource.clone(),
            description: entry.description.clone(),
        };
        self.insert_hold(entry.reservation_id(self.shard), hold);
        Ok(())
    }

    pub(super) fn insert_hold(&mut self, id: ReservationId, hold: OpenHold) {
        let due = (hold.expires_at, id);
        let project = self.projects.entry(hold.project.clone()).or_default();
        project.open.insert(due);
        self.expiry.insert(due);
        self.holds.insert(id, hold);
    }

    /// Takes a hold out of everything that knows it.
    fn close(&mut self, entry: &Entry, id: ReservationId) -> Result<OpenHold, ReplayError> {
        let hold = self
            .holds
            .remove(&id)
            .filter(|hold| entry.project.as_ref() == Some(&hold.project))
            .ok_or_else(|| At(entry.seq).impossible("no such reservation of the project's"))?;
        let due = (hold.expires_at, id);
        self.expiry.remove(&due);
        if let Some(project) = self.projects.get_mut(&hold.project) {
            project.open.remove(&due);
        }
        Ok(hold)
    }

    fn resolve(
        &mut self,
        entry: &Entry,
        id: ReservationId,
        status: ReservationStatus,
    ) -> Result<(), ReplayError> {
        let hold = self.close(entry, id)?;
        let resolution = Resolution {
            project: hold.project,
            amount: hold.amount,
            status,
            expires_at: hold.expires_at,
            resource: match &entry.what {
                // It may have been named only now.
                What::Committed { resource, .. } => resource.clone(),
                _ => hold.resource,
            },
        };
        self.resolved.remember(entry.at, id, resolution);
        Ok(())
    }

    fn put_to_use(
        &mut self,
        entry: &Entry,
        claimant: Option<&ResourceId>,
        units: &Units,
    ) -> Result<(), ReplayError> {
        if units.is_empty() {
            return Ok(());
        }
        let claimant = claimant.ok_or_else(|| At(entry.seq).impossible("units of nobody"))?;
        let project = self.project_of(entry)?;
        let claim = project.claims.entry(claimant.clone()).or_default();
        for (kind, count) in units.iter() {
            claim.add(kind, count);
        }
        Ok(())
    }

    fn unclaim(
        &mut self,
        entry: &Entry,
        claimant: &ResourceId,
        units: &Units,
    ) -> Result<(), ReplayError> {
        let at = At(entry.seq);
        let project = self.project_of(entry)?;
        let claim = project
            .claims
            .get_mut(claimant)
            .ok_or_else(|| at.impossible("no such claim"))?;
        for (kind, count) in units.iter() {
            if claim.of(kind) < count {
                return Err(at.impossible("more units than are claimed"));
            }
            claim.add(kind, -count);
        }
        if claim.is_empty() {
            project.claims.remove(claimant);
        }
        Ok(())
    }

    /// Usage is counted, and what is left of it carried.
    fn count(&mut self, entry: &Entry, lines: &[Line]) -> Result<(), ReplayError> {
        for line in lines {
            let name = name_of(entry)?;
            let project = self.projects.entry(name.clone()).or_default();
            set_carry(project, &line.usage.sku, line.carry);
            let meter = Meter {
                resource_id: line.usage.resource_id.clone(),
                sku: line.usage.sku.clone(),
            };
            let covered = project.meters.entry(meter.clone()).or_default();
            let age = |end| (end, name.clone(), meter.clone());
            self.meter_ages.remove(&age(covered.end()));
            covered.add(line.usage.interval);
            self.meter_ages.insert(age(covered.end()));
        }
        Ok(())
    }
}

fn name_of(entry: &Entry) -> Result<&Name, ReplayError> {
    entry
        .project
        .as_ref()
        .ok_or_else(|| At(entry.seq).impossible("no project"))
}

fn set_carry(project: &mut Project, sku: &Sku, carry: Exact) {
    if carry == Exact::ZERO {
        project.carries.remove(sku);
    } else {
        project.carries.insert(sku.clone(), carry);
    }
}
