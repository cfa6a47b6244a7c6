//! Money that comes in, goes out, or is put right, without a reservation.

use photon_core::Name;

use super::{Draft, Outcome, Postings, REFUNDABLE_SECONDS};
use crate::{
    command::{Adjust, DirectCharge, Direction, Refund, TopUp},
    entry::{Account, Collected, What},
    id::Place,
    refusal::Refusal,
};

/// A name that this crate gives to an account.
pub(super) fn well_known(name: &'static str) -> Name {
    #[expect(clippy::expect_used, reason = "literals of this crate, each in a test")]
    Name::new(name).expect("a name")
}

/// The revenue account where no SKU is named.
pub(super) fn direct() -> Account {
    Account::Revenue(well_known("direct"))
}

pub(super) fn top_up(draft: &mut Draft<'_>, command: &TopUp) -> Result<Outcome, Refusal> {
    draft.usable_wallet()?;
    let source = command.source.clone();
    let postings = Postings::default().transfer(
        Account::External(source.clone()),
        Account::Wallet,
        command.amount.get(),
    );
    let what = What::Deposit { source };
    draft.enter(what, postings, command.description.as_ref())?;
    collect(draft)?;
    Ok(Outcome::Entered)
}

/// Takes what could not be paid before, SKU by SKU, as far as it can be paid now.
fn collect(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let Some(project) = draft.known() else {
        return Ok(());
    };
    let mut left = draft.spendable();
    let mut lines = Vec::new();
    let mut postings = Postings::default();
    for (sku, carry) in &project.carries {
        let posted = carry.floor().min(left);
        if posted == 0 {
            continue;
        }
        left -= posted;
        postings = postings.transfer(Account::Wallet, Account::Revenue(sku.clone()), posted);
        lines.push(Collected {
            sku: sku.clone(),
            posted,
            carry: carry.minus_whole(posted).unwrap_or(*carry),
        });
    }
    if lines.is_empty() {
        return Ok(());
    }
    let deposit = draft.last_seq();
    draft.enter(What::Collected { deposit, lines }, postings, None)
}

pub(super) fn adjust(draft: &mut Draft<'_>, command: &Adjust) -> Result<Outcome, Refusal> {
    draft.usable_wallet()?;
    let amount = command.amount.get();
    let correction = Account::External(well_known("correction"));
    let postings = match command.direction {
        Direction::Credit => Postings::default().transfer(correction, Account::Wallet, amount),
        Direction::Debit => {
            draft.require(amount)?;
            Postings::default().transfer(Account::Wallet, correction, amount)
        }
    };
    draft.enter(What::Adjustment, postings, Some(&command.reason))?;
    Ok(Outcome::Entered)
}

pub(super) fn charge(draft: &mut Draft<'_>, command: &DirectCharge) -> Result<Outcome, Refusal> {
    draft.usable_wallet()?;
    draft.not_barred()?;
    draft.require(command.amount.get())?;
    let sku = command.sku.clone().unwrap_or_else(|| well_known("direct"));
    let postings = Postings::default().transfer(
        Account::Wallet,
        Account::Revenue(sku.clone()),
        command.amount.get(),
    );
    let what = What::Charge {
        sku,
        resource: command.resource.clone(),
    };
    draft.enter(what, postings, command.description.as_ref())?;
    Ok(Outcome::Entered)
}

pub(super) fn refund(draft: &mut Draft<'_>, command: &Refund) -> Result<Outcome, Refusal> {
    draft.usable_wallet()?;
    let of = &command.of;
    let place = Place::of(of.entry)
        .filter(|place| {
            place.shard == draft.state.shard && (1..=draft.state.seq).contains(&place.seq)
        })
        .ok_or_else(|| Refusal::Invalid {
            field: "entry_id",
            constraint: "exists",
            reason: "is not an entry of this wallet".to_owned(),
        })?;
    let until = place.at.plus_seconds(REFUNDABLE_SECONDS);
    if draft.at > until {
        return Err(Refusal::RefundTooLate { until });
    }
    let refunded = draft.state.refunds.get(&of.entry).copied().unwrap_or(0);
    let refundable = (of.charged.get() - refunded).max(0);
    if command.amount.get() > refundable {
        return Err(Refusal::RefundExceedsCharge { refundable });
    }
    let postings = Postings::default().transfer(
        Account::Revenue(of.sku.clone()),
        Account::Wallet,
        command.amount.get(),
    );
    let what = What::Refund {
        of: of.entry,
        charged: of.charged,
        sku: of.sku.clone(),
    };
    draft.enter(what, postings, command.description.as_ref())?;
    Ok(Outcome::Entered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_names() {
        for name in ["initial", "correction", "direct"] {
            assert_eq!(well_known(name).as_str(), name);
        }
    }
}
