//! What is too old is forgotten, by the ledger's time: at every entry, so that every replay forgets the same.

use super::State;
use crate::{
    decide::{REFUNDABLE_SECONDS, USAGE_SECONDS},
    id::Place,
    time::Time,
};

/// Meters that are forgotten at one entry. They grow old one by one; this only keeps an entry's cost small.
const METERS_AT_ONCE: usize = 16;

impl State {
    /// Answers from before this are forgotten.
    pub(crate) fn oldest_remembered(&self, now: Time) -> Time {
        now.plus_seconds(-self.bounds.remember_seconds)
    }

    pub(super) fn forget(&mut self) {
        let oldest = self.oldest_remembered(self.at);
        self.resolved.forget(oldest, self.bounds.max_resolved);
        self.keys.forget(oldest);
        self.forget_refunds();
        self.forget_meters();
    }

    fn forget_refunds(&mut self) {
        let oldest = self.at.plus_seconds(-REFUNDABLE_SECONDS);
        while let Some(&(first, _)) = self.refunds.get_min() {
            // One that is no place of ours was never let in.
            if Place::of(first).is_some_and(|place| place.at >= oldest) {
                break;
            }
            self.refunds.remove(&first);
        }
    }

    /// Usage that such a meter could count is refused as too old.
    fn forget_meters(&mut self) {
        let oldest = self.at.seconds() - USAGE_SECONDS;
        for _ in 0..METERS_AT_ONCE {
            let is_old = |(end, ..): &&(i64, _, _)| *end < oldest;
            let Some(oldest) = self.meter_ages.get_min().filter(is_old).cloned() else {
                break;
            };
            self.meter_ages.remove(&oldest);
            let (_, name, meter) = oldest;
            if let Some(project) = self.projects.get_mut(&name) {
                project.meters.remove(&meter);
                if project.is_empty() {
                    self.projects.remove(&name);
                }
            }
        }
    }
}
