//! Quotas: limits, and units in use.

use super::{Draft, Outcome, Postings};
use crate::{
    answer::Answer,
    command::{FreeUnits, Recount, RegisterLimit, SetLimit},
    entry::{Account, What},
    refusal::{Lack, Refusal},
    units::{ResourceKind, Units},
};

/// There must be room for all of these; every kind that lacks is named.
pub(super) fn require(draft: &Draft<'_>, units: &Units) -> Result<(), Refusal> {
    let mut lacking = Vec::new();
    for (kind, requested) in units.iter() {
        let limit = draft
            .state
            .limit(&draft.name(), kind)
            .ok_or_else(|| Refusal::LimitNotRegistered { kind: kind.clone() })?;
        let known = draft.units_of(kind);
        // Each is at most 2⁵³−1, or they are refused as out of range when they are posted.
        let total = known.used + known.held + requested;
        if let Some(limit) = limit.count()
            && total > limit
        {
            lacking.push(Lack {
                kind: kind.clone(),
                limit,
                used: known.used,
                reserved: known.held,
                requested,
            });
        }
    }
    if lacking.is_empty() {
        Ok(())
    } else {
        Err(Refusal::QuotaExceeded { lacking })
    }
}

pub(super) fn register(draft: &mut Draft<'_>, command: &RegisterLimit) -> Result<Outcome, Refusal> {
    if draft.state.limits.get(&command.kind) == Some(&command.default) {
        return Ok(Outcome::Unchanged(Answer::Done));
    }
    let what = What::LimitRegistered {
        kind: command.kind.clone(),
        default: command.default,
    };
    draft.enter(what, Postings::default(), None)?;
    Ok(Outcome::Entered)
}

pub(super) fn set(draft: &mut Draft<'_>, command: &SetLimit) -> Result<Outcome, Refusal> {
    registered(draft, &command.kind)?;
    let own = draft
        .known()
        .and_then(|project| project.limits.get(&command.kind));
    if own.copied() == command.limit {
        return Ok(Outcome::Unchanged(Answer::Done));
    }
    let what = What::LimitSet {
        kind: command.kind.clone(),
        limit: command.limit,
    };
    draft.enter(what, Postings::default(), None)?;
    Ok(Outcome::Entered)
}

fn registered(draft: &Draft<'_>, kind: &ResourceKind) -> Result<(), Refusal> {
    if draft.state.limits.contains_key(kind) {
        Ok(())
    } else {
        Err(Refusal::LimitNotRegistered { kind: kind.clone() })
    }
}

pub(super) fn free(draft: &mut Draft<'_>, command: &FreeUnits) -> Result<Outcome, Refusal> {
    let claim = draft
        .known()
        .and_then(|project| project.claims.get(&command.claimant))
        .ok_or_else(|| Refusal::ClaimNotFound {
            claimant: command.claimant.clone(),
        })?;
    let units = command.units.as_ref().unwrap_or(claim);
    if let Some((kind, requested)) = units.iter().find(|(kind, count)| *count > claim.of(kind)) {
        return Err(Refusal::ClaimTooSmall {
            kind: kind.clone(),
            used: claim.of(kind),
            requested,
        });
    }
    if units.is_empty() {
        return Ok(Outcome::Unchanged(Answer::Done));
    }
    let postings = units
        .iter()
        .fold(Postings::default(), |postings, (kind, count)| {
            let (used, pool) = (Account::Used(kind.clone()), Account::Pool(kind.clone()));
            postings.transfer(used, pool, count)
        });
    let what = What::UnitsFreed {
        claimant: command.claimant.clone(),
        units: units.clone(),
    };
    draft.enter(what, postings, None)?;
    Ok(Outcome::Entered)
}

pub(super) fn recount(draft: &mut Draft<'_>, command: &Recount) -> Result<Outcome, Refusal> {
    for (kind, _) in command.units.iter() {
        registered(draft, kind)?;
    }
    let nothing = Units::none();
    let claim = draft
        .known()
        .and_then(|project| project.claims.get(&command.claimant))
        .unwrap_or(&nothing);
    if *claim == command.units {
        return Ok(Outcome::Unchanged(Answer::Done));
    }
    let pool = |kind: &ResourceKind| Account::Pool(kind.clone());
    let used = |kind: &ResourceKind| Account::Used(kind.clone());
    let mut postings = Postings::default();
    for (kind, count) in claim.iter() {
        postings = postings.transfer(used(kind), pool(kind), count);
    }
    for (kind, count) in command.units.iter() {
        postings = postings.transfer(pool(kind), used(kind), count);
    }
    let what = What::UnitsRecounted {
        claimant: command.claimant.clone(),
        units: command.units.clone(),
    };
    draft.enter(what, postings, None)?;
    Ok(Outcome::Entered)
}
