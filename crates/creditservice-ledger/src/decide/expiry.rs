//! Holds whose time has come.

use super::{Draft, Postings, reservation};
use crate::{
    entry::{Entry, What},
    id::ReservationId,
    refusal::Refusal,
    state::State,
    time::Time,
};

/// Adds the entry that a hold has expired.
pub(super) fn expire(draft: &mut Draft<'_>, id: ReservationId) -> Result<(), Refusal> {
    let Some(hold) = draft.state.holds.get(&id) else {
        return Err(Refusal::ReservationNotFound);
    };
    let postings = reservation::give_back(Postings::default(), hold);
    draft.enter(What::Expired { reservation: id }, postings, None)
}

impl State {
    /// The entry that a hold has expired, alone.
    pub(super) fn expiry_of(&self, id: ReservationId, at: Time) -> Result<Vec<Entry>, Refusal> {
        let Some(hold) = self.holds.get(&id) else {
            return Err(Refusal::ReservationNotFound);
        };
        let mut draft = Draft::without_expiry(self, at, None, &hold.project);
        expire(&mut draft, id)?;
        Ok(draft.finish())
    }
}
