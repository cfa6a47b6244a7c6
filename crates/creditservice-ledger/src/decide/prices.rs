//! The price book grows; what stands in it stays.

use super::{Draft, Outcome, Postings};
use crate::{
    answer::Answer, command::PublishPrice, entry::What, rating::Publish, refusal::Refusal,
    time::Time,
};

pub(super) fn publish(draft: &mut Draft<'_>, command: &PublishPrice) -> Result<Outcome, Refusal> {
    let PublishPrice {
        sku,
        effective_from,
        rate,
    } = command;
    if Time::from_seconds(*effective_from).seconds() != *effective_from {
        return Err(Refusal::Invalid {
            field: "effective_from",
            constraint: "range",
            reason: "must lie between 1970 and 9999".to_owned(),
        });
    }
    match draft
        .state
        .prices
        .would_publish(sku, *effective_from, *rate)
    {
        Publish::New => {}
        Publish::Known => return Ok(Outcome::Unchanged(Answer::Done)),
        Publish::Fixed => {
            return Err(Refusal::PriceFixed {
                sku: sku.clone(),
                at: *effective_from,
            });
        }
        Publish::OtherBasis => {
            return Err(Refusal::Invalid {
                field: "per_seconds",
                constraint: "basis",
                reason: "must be there if and only if the other rates of the SKU do".to_owned(),
            });
        }
    }
    let what = What::PricePublished {
        sku: sku.clone(),
        effective_from: *effective_from,
        rate: *rate,
    };
    draft.enter(what, Postings::default(), None)?;
    Ok(Outcome::Entered)
}
