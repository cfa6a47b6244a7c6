//! Wallets: made once, changed, closed for good.

use super::{Draft, Outcome, Postings, draft::Purse, money};
use crate::{
    answer::Answer,
    command::{CreateWallet, UpdateWallet, WalletChanges},
    entry::{Account, What},
    refusal::Refusal,
    wallet::{Settings, Status},
};

pub(super) fn create(draft: &mut Draft<'_>, command: &CreateWallet) -> Result<Outcome, Refusal> {
    if draft.wallet().is_some() {
        return Err(Refusal::WalletExists {
            project: command.project.clone(),
        });
    }
    draft.set_purse(Purse {
        free: 0,
        held: 0,
        overdraft: command.settings.overdraft.get(),
    });
    draft.set_thresholds(command.settings.low_balance.clone());
    let what = What::WalletCreated {
        org: command.org.clone(),
        currency: command.currency,
        settings: command.settings.clone(),
    };
    let postings = Postings::default().transfer(
        Account::External(money::well_known("initial")),
        Account::Wallet,
        command.initial_balance.get(),
    );
    draft.enter(what, postings, None)?;
    Ok(Outcome::Entered)
}

pub(super) fn update(draft: &mut Draft<'_>, command: &UpdateWallet) -> Result<Outcome, Refusal> {
    let wallet = draft.usable_wallet()?;
    let status = command.changes.status.unwrap_or(wallet.status);
    let settings = changed(&wallet.settings, &command.changes);
    if status == wallet.status && settings == wallet.settings {
        let figures = draft.known().and_then(|project| project.figures());
        return Ok(Outcome::Unchanged(figures.map_or(
            Answer::Done,
            |figures| Answer::Wallet { figures, settings },
        )));
    }
    if let Some(purse) = draft.purse() {
        let overdraft = settings.overdraft.get();
        if purse.free < -overdraft {
            return Err(Refusal::OverdraftInUse { used: -purse.free });
        }
        draft.set_purse(Purse { overdraft, ..purse });
    }
    if status == Status::Closed {
        can_close(draft)?;
    }
    draft.set_thresholds(settings.low_balance.clone());
    draft.enter(
        What::WalletUpdated { status, settings },
        Postings::default(),
        None,
    )?;
    Ok(Outcome::Entered)
}

fn changed(settings: &Settings, changes: &WalletChanges) -> Settings {
    Settings {
        mode: changes.mode.unwrap_or(settings.mode),
        overdraft: changes.overdraft.unwrap_or(settings.overdraft),
        allow_overage: changes.allow_overage.unwrap_or(settings.allow_overage),
        low_balance: changes
            .low_balance
            .clone()
            .unwrap_or_else(|| settings.low_balance.clone()),
    }
}

/// Whoever closes a wallet settles it first: what is in it, and what is owed, would be lost.
fn can_close(draft: &Draft<'_>) -> Result<(), Refusal> {
    if draft.open() > 0 {
        return Err(Refusal::WalletHasReservations {
            open: draft.open() as u64,
        });
    }
    let balance = draft.purse().map_or(0, |purse| purse.free + purse.held);
    let owed = draft.known().map_or(0, |project| project.owed());
    if balance != 0 || owed != 0 {
        return Err(Refusal::WalletNotEmpty { balance, owed });
    }
    Ok(())
}
