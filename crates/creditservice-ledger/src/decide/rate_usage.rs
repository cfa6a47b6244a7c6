//! Usage to lines: counted once, priced exactly, whole minor units taken as far as they can be paid.

use std::collections::BTreeMap;

use super::{Draft, USAGE_AHEAD_SECONDS, USAGE_SECONDS};
use crate::{
    command::MAX_USAGE,
    entry::Line,
    rating::{Covered, Exact, Interval, NoPrice, Overlap, Quantity, Sku, Usage, WhyNot},
    refusal::Refusal,
    state::Meter,
    time::month_of,
};

/// The lines of what was not counted before. `payable` is what may be taken for them.
pub(super) fn lines(
    draft: &Draft<'_>,
    usage: &[Usage],
    payable: i64,
) -> Result<Vec<Line>, Refusal> {
    if usage.len() > MAX_USAGE {
        return Err(too_many("usage"));
    }
    let mut rating = Rating {
        draft,
        meters: BTreeMap::new(),
        carries: BTreeMap::new(),
        payable,
    };
    let mut lines = Vec::new();
    for one in usage {
        if rating.count(one)? {
            lines.push(rating.rate(one)?);
        }
    }
    Ok(lines)
}

pub(super) fn too_many(field: &'static str) -> Refusal {
    Refusal::Invalid {
        field,
        constraint: "max_items",
        reason: format!("must be at most {MAX_USAGE}"),
    }
}

pub(super) fn cost(
    draft: &Draft<'_>,
    sku: &Sku,
    interval: Interval,
    quantity: Quantity,
) -> Result<Exact, Refusal> {
    let cost = draft.state.prices.cost(sku, interval, quantity);
    cost.map_err(|why| match why {
        WhyNot::NoPrice(NoPrice { sku, at }) => Refusal::PriceNotFound { sku, at },
        WhyNot::OutOfRange => Refusal::BalanceOutOfRange,
    })
}

/// Meters and carries as they will be.
struct Rating<'a> {
    draft: &'a Draft<'a>,
    meters: BTreeMap<Meter, Covered>,
    carries: BTreeMap<Sku, Exact>,
    payable: i64,
}

impl Rating<'_> {
    /// Counts a usage; false if it was before.
    fn count(&mut self, usage: &Usage) -> Result<bool, Refusal> {
        self.in_time(usage.interval)?;
        let meter = Meter {
            resource_id: usage.resource_id.clone(),
            sku: usage.sku.clone(),
        };
        let draft = self.draft;
        let known = || {
            let meters = draft.known().map(|project| &project.meters);
            meters
                .and_then(|meters| meters.get(&meter))
                .cloned()
                .unwrap_or_default()
        };
        let covered = self.meters.entry(meter.clone()).or_insert_with(known);
        match covered.overlap(usage.interval) {
            Overlap::Counted => return Ok(false),
            Overlap::Partly => {
                return Err(Refusal::UsageOverlaps {
                    resource_id: meter.resource_id,
                    sku: meter.sku,
                    interval: usage.interval.into(),
                });
            }
            Overlap::New => covered.add(usage.interval),
        }
        if covered.stretches() > Covered::MAX_STRETCHES {
            return Err(Refusal::UsageTooScattered {
                resource_id: meter.resource_id,
                sku: meter.sku,
            });
        }
        Ok(true)
    }

    fn in_time(&self, interval: Interval) -> Result<(), Refusal> {
        let now = self.draft.at.seconds();
        if interval.end() > now + USAGE_AHEAD_SECONDS {
            return Err(Refusal::Invalid {
                field: "usage",
                constraint: "past",
                reason: "must not be in the future".to_owned(),
            });
        }
        let oldest = now - USAGE_SECONDS;
        if interval.start() < oldest {
            return Err(Refusal::UsageTooOld { oldest });
        }
        Ok(())
    }

    fn rate(&mut self, usage: &Usage) -> Result<Line, Refusal> {
        let draft = self.draft;
        let exact = cost(draft, &usage.sku, usage.interval, usage.quantity)?;
        let known = || {
            let carries = draft.known().map(|project| &project.carries);
            carries
                .and_then(|carries| carries.get(&usage.sku))
                .copied()
                .unwrap_or_default()
        };
        let carry = self.carries.entry(usage.sku.clone()).or_insert_with(known);
        let total = carry.plus(exact).ok_or(Refusal::BalanceOutOfRange)?;
        let posted = total.floor().min(self.payable);
        *carry = total
            .minus_whole(posted)
            .ok_or(Refusal::BalanceOutOfRange)?;
        self.payable -= posted;
        Ok(Line {
            usage: usage.clone(),
            exact,
            posted,
            carry: *carry,
            adjustment: month_of(usage.interval.end() - 1) < month_of(draft.at.seconds()),
        })
    }
}
