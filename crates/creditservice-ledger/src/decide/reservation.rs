//! Two-phase transfers: hold, then commit, release or expire, once.
//!
//! Semantics of TigerBeetle's pending, post and void, and its timeouts (`docs/coding/two-phase-transfers.md` there).

use std::collections::BTreeMap;

use photon_core::Name;

use super::{Draft, Outcome, Postings, money, quota};
use crate::{
    answer::{Answer, ReservationStatus},
    command::{Billing, Commit, Extend, Hold, MAX_USAGE, Payer, Release, Reserve, Resource},
    entry::{Account, Held, What},
    id::ReservationId,
    money::MAX_MINOR,
    rating::{Exact, Forecast, Sku},
    refusal::Refusal,
    state::{OpenHold, State},
    text::ResourceId,
    time::Time,
    units::Units,
    wallet::{Mode, Status},
};

pub(super) fn reserve(draft: &mut Draft<'_>, command: &Reserve) -> Result<Outcome, Refusal> {
    if command.hold.is_none() && command.units.is_empty() {
        return Err(Refusal::Invalid {
            field: "amount",
            constraint: "required",
            reason: "is required".to_owned(),
        });
    }
    draft.not_barred()?;
    if draft.open() >= draft.state.bounds.max_open {
        let limit = draft.state.bounds.max_open;
        return Err(Refusal::TooManyReservations { limit });
    }
    // Units alone want no wallet, unless the org requires one.
    let pays = match (&command.hold, command.payer) {
        (None, Payer::Caller) => false,
        (_, payer) => wallet_pays(draft, payer)?,
    };
    let amount = match &command.hold {
        Some(hold) if pays => amount_of(draft, hold)?,
        _ => 0,
    };
    draft.require(amount)?;
    quota::require(draft, &command.units)?;
    let held = Held {
        amount,
        units: command.units.clone(),
        expires_at: draft.at.plus_seconds(command.ttl.seconds()),
        resource: command.resource.clone(),
    };
    let postings = hold_back(Postings::default(), &held);
    draft.enter(What::Reserved(held), postings, command.description.as_ref())?;
    Ok(Outcome::Entered)
}

/// Whether the project's wallet pays for what this payer asks.
pub(super) fn wallet_pays(draft: &Draft<'_>, payer: Payer) -> Result<bool, Refusal> {
    match (payer, draft.wallet()) {
        (Payer::Caller, _) => draft.usable_wallet().map(|_| true),
        (Payer::Service(Billing::Required), None) => Err(Refusal::WalletNotFound {
            project: draft.name(),
        }),
        (Payer::Service(Billing::Optional), None) => Ok(false),
        (Payer::Service(_), Some(wallet)) => Ok(wallet.settings.mode == Mode::Metered),
    }
}

fn amount_of(draft: &Draft<'_>, hold: &Hold) -> Result<i64, Refusal> {
    match hold {
        Hold::Amount(amount) => Ok(amount.get()),
        Hold::Priced(forecast) => price(draft, forecast),
    }
}

/// What a period will cost, rounded up per SKU: never less than what is charged for it, whatever is carried.
pub(super) fn price(draft: &Draft<'_>, forecast: &Forecast) -> Result<i64, Refusal> {
    if forecast.lines.len() > MAX_USAGE {
        return Err(super::rate_usage::too_many("lines"));
    }
    let mut costs: BTreeMap<&Sku, Exact> = BTreeMap::new();
    for line in &forecast.lines {
        let cost = super::rate_usage::cost(draft, &line.sku, forecast.interval, line.quantity)?;
        let sum = costs.entry(&line.sku).or_default();
        *sum = sum.plus(cost).ok_or(Refusal::BalanceOutOfRange)?;
    }
    costs
        .values()
        .try_fold(0_i64, |sum, cost| sum.checked_add(cost.ceil()))
        .filter(|sum| *sum <= MAX_MINOR)
        .ok_or(Refusal::BalanceOutOfRange)
}

/// The postings of taking a hold.
pub(super) fn hold_back(postings: Postings, held: &Held) -> Postings {
    let postings = postings.transfer(Account::Wallet, Account::Hold, held.amount);
    held.units.iter().fold(postings, |postings, (kind, count)| {
        let (pool, held) = (Account::Pool(kind.clone()), Account::Held(kind.clone()));
        postings.transfer(pool, held, count)
    })
}

/// The postings of giving a hold back, all of it.
pub(super) fn give_back(postings: Postings, hold: &OpenHold) -> Postings {
    let postings = postings.transfer(Account::Hold, Account::Wallet, hold.amount);
    hold.units.iter().fold(postings, |postings, (kind, count)| {
        let (pool, held) = (Account::Pool(kind.clone()), Account::Held(kind.clone()));
        postings.transfer(held, pool, count)
    })
}

/// The postings of using units that were given back just now.
pub(super) fn put_to_use(postings: Postings, units: &Units) -> Postings {
    units.iter().fold(postings, |postings, (kind, count)| {
        let (pool, used) = (Account::Pool(kind.clone()), Account::Used(kind.clone()));
        postings.transfer(pool, used, count)
    })
}

/// An open hold of the caller's. Someone else's is not there.
pub(super) fn open_hold<'a>(
    state: &'a State,
    id: ReservationId,
    caller: Option<&Name>,
    at: Time,
) -> Result<&'a OpenHold, Refusal> {
    let visible = |project: &Name| caller.is_none_or(|caller| caller == project);
    if let Some(hold) = state.holds.get(&id) {
        return match hold {
            hold if !visible(&hold.project) => Err(Refusal::ReservationNotFound),
            hold if hold.expires_at <= at => Err(Refusal::ReservationExpired {
                at: hold.expires_at,
            }),
            hold => Ok(hold),
        };
    }
    let resolution = state
        .resolved
        .get(id)
        .filter(|resolution| visible(&resolution.project));
    Err(match resolution.map(|resolution| resolution.status) {
        None | Some(ReservationStatus::Active) => Refusal::ReservationNotFound,
        Some(ReservationStatus::Committed { at, .. }) => Refusal::ReservationCommitted { at },
        Some(ReservationStatus::Released { at }) => Refusal::ReservationReleased { at },
        Some(ReservationStatus::Expired { at }) => Refusal::ReservationExpired { at },
    })
}

pub(super) fn commit(
    draft: &mut Draft<'_>,
    hold: &OpenHold,
    command: &Commit,
) -> Result<Outcome, Refusal> {
    let charged = command.actual.map_or(hold.amount, |actual| actual.get());
    if charged > hold.amount {
        may_exceed(draft, hold.amount, charged)?;
    }
    let units = command.units.as_ref().unwrap_or(&hold.units);
    within_hold(units, &hold.units)?;
    let resource = used_by(command.reservation, hold, command.resource_id.as_ref());
    let postings = give_back(Postings::default(), hold);
    let postings = put_to_use(postings, units);
    let postings = postings.transfer(Account::Wallet, money::direct(), charged);
    let what = What::Committed {
        reservation: command.reservation,
        charged,
        units: units.clone(),
        resource,
    };
    let description = command.description.as_ref().or(hold.description.as_ref());
    draft.enter(what, postings, description)?;
    Ok(Outcome::Entered)
}

/// More than is held is taken only where the wallet allows it, and from what is available.
fn may_exceed(draft: &Draft<'_>, held: i64, actual: i64) -> Result<(), Refusal> {
    let wallet = draft
        .wallet()
        .filter(|wallet| wallet.settings.allow_overage)
        .ok_or(Refusal::ExceedsReservation { held, actual })?;
    if wallet.status == Status::Suspended {
        return Err(Refusal::WalletSuspended {
            project: draft.name(),
        });
    }
    draft.require(actual - held)
}

fn within_hold(units: &Units, held: &Units) -> Result<(), Refusal> {
    match units.iter().find(|(kind, count)| *count > held.of(kind)) {
        Some((kind, actual)) => Err(Refusal::UnitsExceedReservation {
            kind: kind.clone(),
            held: held.of(kind),
            actual,
        }),
        None => Ok(()),
    }
}

/// What uses the units of a hold from now on: whatever is known to, or else something of the reservation's id.
pub(super) fn used_by(
    id: ReservationId,
    hold: &OpenHold,
    resource_id: Option<&ResourceId>,
) -> Resource {
    let known = resource_id.or(hold.resource.id.as_ref()).cloned();
    let named = || {
        (!hold.units.is_empty())
            .then(|| ResourceId::new(id.to_string()).ok())
            .flatten()
    };
    Resource {
        kind: hold.resource.kind.clone(),
        id: known.or_else(named),
    }
}

pub(super) fn release(
    draft: &mut Draft<'_>,
    hold: &OpenHold,
    command: &Release,
) -> Result<Outcome, Refusal> {
    let postings = give_back(Postings::default(), hold);
    let what = What::Released {
        reservation: command.reservation,
    };
    draft.enter(what, postings, command.reason.as_ref())?;
    Ok(Outcome::Entered)
}

pub(super) fn extend(
    draft: &mut Draft<'_>,
    hold: &OpenHold,
    command: &Extend,
) -> Result<Outcome, Refusal> {
    draft.not_barred()?;
    let expires_at = draft.at.plus_seconds(command.ttl.seconds());
    if expires_at <= hold.expires_at {
        let view = draft.state.reservation(command.reservation);
        let answer = view.map_or(Answer::Done, |view| Answer::Reservation(Box::new(view)));
        return Ok(Outcome::Unchanged(answer));
    }
    let what = What::Extended {
        reservation: command.reservation,
        expires_at,
    };
    draft.enter(what, Postings::default(), None)?;
    Ok(Outcome::Entered)
}
