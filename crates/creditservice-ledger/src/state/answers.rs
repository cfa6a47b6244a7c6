//! The answer to a command, from its last entry and the state after it: the same at every replay.

use super::State;
use crate::{
    answer::{Answer, Figures, ReservationStatus, ReservationView},
    entry::{Entry, Line, What},
    id::{Place, ReservationId},
};

impl State {
    pub(crate) fn answer(&self, entry: &Entry) -> Answer {
        match &entry.what {
            What::WalletCreated { settings, .. } | What::WalletUpdated { settings, .. } => {
                let settings = settings.clone();
                self.figures_of(entry)
                    .map_or(Answer::Done, |figures| Answer::Wallet { figures, settings })
            }
            What::Collected { deposit, .. } => {
                let place = Place {
                    at: entry.at,
                    shard: self.shard,
                    seq: *deposit,
                };
                self.transaction(place, entry)
            }
            What::Deposit { .. } | What::Adjustment | What::Charge { .. } | What::Refund { .. } => {
                let place = Place {
                    at: entry.at,
                    shard: self.shard,
                    seq: entry.seq,
                };
                self.transaction(place, entry)
            }
            What::Reserved(_) => self.about(entry.reservation_id(self.shard)),
            What::Extended { reservation, .. }
            | What::Committed { reservation, .. }
            | What::Released { reservation }
            | What::Expired { reservation } => self.about(*reservation),
            What::Used { lines } => Answer::Usage {
                charged: charged(lines),
                billed: true,
                figures: self.figures_of(entry),
                next: None,
            },
            What::Settled {
                lines,
                billed,
                next,
                ..
            } => Answer::Usage {
                charged: charged(lines),
                billed: *billed,
                figures: self.figures_of(entry),
                next: next
                    .as_ref()
                    .and_then(|_| self.reservation(entry.reservation_id(self.shard)))
                    .map(Box::new),
            },
            What::LimitRegistered { .. }
            | What::LimitSet { .. }
            | What::UnitsFreed { .. }
            | What::UnitsRecounted { .. }
            | What::PricePublished { .. } => Answer::Done,
        }
    }

    fn figures_of(&self, entry: &Entry) -> Option<Figures> {
        self.project(entry.project.as_ref()?)?.figures()
    }

    fn transaction(&self, place: Place, entry: &Entry) -> Answer {
        let id = place.id();
        self.figures_of(entry)
            .map_or(Answer::Done, |figures| Answer::Transaction { id, figures })
    }

    fn about(&self, id: ReservationId) -> Answer {
        self.reservation(id)
            .map_or(Answer::Done, |view| Answer::Reservation(Box::new(view)))
    }

    /// A reservation that is open, or was resolved lately (then without its units).
    #[must_use]
    pub fn reservation(&self, id: ReservationId) -> Option<ReservationView> {
        if let Some(hold) = self.holds.get(&id) {
            return Some(ReservationView {
                id,
                project: hold.project.clone(),
                amount: hold.amount,
                units: hold.units.clone(),
                status: ReservationStatus::Active,
                expires_at: hold.expires_at,
                resource: hold.resource.clone(),
            });
        }
        self.resolved.get(id).map(|resolution| ReservationView {
            id,
            project: resolution.project.clone(),
            amount: resolution.amount,
            units: crate::units::Units::none(),
            status: resolution.status,
            expires_at: resolution.expires_at,
            resource: resolution.resource.clone(),
        })
    }
}

fn charged(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.posted).sum()
}
