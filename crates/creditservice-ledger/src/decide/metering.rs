//! Usage, and the step from one period to the next.

use super::{Draft, Outcome, Postings, rate_usage, reservation};
use crate::{
    answer::Answer,
    command::{NextHold, Payer, RecordUsage, Settle},
    entry::{Account, Held, Line, What},
    id::ReservationId,
    refusal::Refusal,
    state::OpenHold,
    units::Units,
    wallet::Status,
};

pub(super) fn record_usage(
    draft: &mut Draft<'_>,
    command: &RecordUsage,
) -> Result<Outcome, Refusal> {
    let billed = reservation::wallet_pays(draft, Payer::Service(command.billing))?;
    if !billed {
        return Ok(Outcome::Unchanged(nothing_charged(draft, billed)));
    }
    draft.usable_wallet()?;
    let lines = rate_usage::lines(draft, &command.usage, draft.spendable())?;
    if lines.is_empty() {
        return Ok(Outcome::Unchanged(nothing_charged(draft, billed)));
    }
    let postings = charge_lines(Postings::default(), &lines);
    draft.enter(What::Used { lines }, postings, None)?;
    Ok(Outcome::Entered)
}

fn nothing_charged(draft: &Draft<'_>, billed: bool) -> Answer {
    Answer::Usage {
        charged: 0,
        billed,
        figures: draft.known().and_then(|project| project.figures()),
        next: None,
    }
}

fn charge_lines(postings: Postings, lines: &[Line]) -> Postings {
    lines.iter().fold(postings, |postings, line| {
        let revenue = Account::Revenue(line.usage.sku.clone());
        postings.transfer(Account::Wallet, revenue, line.posted)
    })
}

pub(super) fn settle(draft: &mut Draft<'_>, command: &Settle) -> Result<Outcome, Refusal> {
    let billed = reservation::wallet_pays(draft, Payer::Service(command.billing))?;
    if billed {
        draft.usable_wallet()?;
    }
    let old = old_hold(draft, command)?;
    let given_back = old.map_or(0, |(_, hold)| hold.amount);
    let lines = if billed {
        // The hold pays first, then what is available.
        rate_usage::lines(draft, &command.usage, draft.spendable() + given_back)?
    } else {
        Vec::new()
    };
    let charged: i64 = lines.iter().map(|line| line.posted).sum();
    let left = draft.spendable() + given_back - charged;
    let next = match &command.next {
        Some(next) => Some(take_next(
            draft,
            command,
            next,
            billed,
            old.is_some(),
            left,
        )?),
        None => None,
    };
    if old.is_none() && lines.is_empty() && next.is_none() {
        return Ok(Outcome::Unchanged(nothing_charged(draft, billed)));
    }
    enter_settled(draft, command, old, lines, billed, next)?;
    Ok(Outcome::Entered)
}

/// The old hold, if it still holds. One that ended, or that nobody remembers, holds nothing.
fn old_hold<'a>(
    draft: &Draft<'a>,
    command: &Settle,
) -> Result<Option<(ReservationId, &'a OpenHold)>, Refusal> {
    let Some(id) = command.reservation else {
        return Ok(None);
    };
    let found = reservation::open_hold(draft.state, id, Some(&command.project), draft.at);
    match found {
        Ok(hold) => Ok(Some((id, hold))),
        Err(Refusal::ReservationNotFound) if draft.state.reservation(id).is_some() => {
            Err(Refusal::ReservationNotFound)
        }
        Err(_) => Ok(None),
    }
}

/// The next hold; `left` is what may be spent on it.
fn take_next(
    draft: &Draft<'_>,
    command: &Settle,
    next: &NextHold,
    billed: bool,
    replaces: bool,
    left: i64,
) -> Result<Held, Refusal> {
    if draft
        .wallet()
        .is_some_and(|wallet| wallet.status != Status::Active)
    {
        draft.not_barred()?;
    }
    if !replaces && draft.open() >= draft.state.bounds.max_open {
        let limit = draft.state.bounds.max_open;
        return Err(Refusal::TooManyReservations { limit });
    }
    let amount = if billed {
        reservation::price(draft, &next.forecast)?
    } else {
        0
    };
    if amount > left {
        return Err(Refusal::InsufficientCredit {
            required: amount,
            available: left,
            missing: amount - left,
        });
    }
    Ok(Held {
        amount,
        units: Units::none(),
        expires_at: draft.at.plus_seconds(next.ttl.seconds()),
        resource: command.resource.clone(),
    })
}

fn enter_settled(
    draft: &mut Draft<'_>,
    command: &Settle,
    old: Option<(ReservationId, &OpenHold)>,
    lines: Vec<Line>,
    billed: bool,
    next: Option<Held>,
) -> Result<(), Refusal> {
    let mut postings = Postings::default();
    let mut resource = command.resource.clone();
    let mut units = Units::none();
    if let Some((id, hold)) = old {
        postings = reservation::give_back(postings, hold);
        postings = reservation::put_to_use(postings, &hold.units);
        units = hold.units.clone();
        resource = reservation::used_by(id, hold, command.resource.id.as_ref());
    }
    postings = charge_lines(postings, &lines);
    if let Some(next) = &next {
        postings = reservation::hold_back(postings, next);
    }
    let what = What::Settled {
        reservation: old.map(|(id, _)| id),
        lines,
        billed,
        units,
        resource,
        next,
    };
    draft.enter(what, postings, None)
}
