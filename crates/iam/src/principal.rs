//! What every service knows of a principal: where it is at home, whether it is disabled, and since when its tokens count.
//!
//! ```text
//!   (nothing) ──created──> live ──disabled──> disabled ──enabled──> live
//!                            └───────deleted──────┴──> tombstone ──created again──> live
//! ```
//!
//! The record outlives its principal, disabled and with its epoch: tokens issued before a deletion stay refused also when
//! somebody makes a principal of the same id.

use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::{PrincipalKind, PrincipalRef, PrincipalState, Scope};
use photon_core::{Error, Name};
use photon_store::{Stored, Transaction};

use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
};

/// `user:alice`, as a path below the collection.
pub(crate) fn key(principal: &PrincipalRef) -> String {
    principal.to_string().replacen(':', "/", 1)
}

pub(crate) fn user(id: &Name) -> PrincipalRef {
    of(PrincipalKind::User, id)
}

pub(crate) fn group(id: &Name) -> PrincipalRef {
    of(PrincipalKind::Group, id)
}

pub(crate) fn service_account(id: &Name) -> PrincipalRef {
    of(PrincipalKind::ServiceAccount, id)
}

fn of(kind: PrincipalKind, id: &Name) -> PrincipalRef {
    PrincipalRef {
        kind,
        id: id.clone(),
    }
}

/// The state of a principal, a tombstone too; groups and most services have none.
pub(crate) async fn read(
    app: &App,
    principal: &PrincipalRef,
) -> photon_store::Result<Option<Stored<PrincipalState>>> {
    app.records().get(&key(principal)).await
}

/// Makes, in a transaction, the state of a principal that is being made.
pub(crate) async fn begin(
    app: &App,
    transaction: &mut Transaction,
    principal: &PrincipalRef,
    home: Option<Scope>,
) -> Result<(), Lost> {
    let states = app.records::<PrincipalState>();
    match read(app, principal).await? {
        Some(mut left) => {
            left.value.home = home;
            left.value.disabled = false;
            transaction.replace(&states, &left)?;
        }
        // Nobody can have a token yet, but in dev mode, where it goes on to count.
        None => {
            let state = PrincipalState {
                principal: principal.clone(),
                home,
                disabled: false,
                epoch: 0,
            };
            transaction.create(&states, &key(principal), &state)?;
        }
    }
    Ok(())
}

/// Changes, in a transaction, whether a principal is disabled. Disabling ends its tokens for good.
pub(crate) async fn set_disabled(
    app: &App,
    transaction: &mut Transaction,
    principal: &PrincipalRef,
    disabled: bool,
) -> Result<(), Lost> {
    let states = app.records::<PrincipalState>();
    let Some(mut state) = read(app, principal).await? else {
        let missing = format!("{principal} has no state");
        return Err(Error::internal(missing).into());
    };
    state.value.disabled = disabled;
    if disabled {
        state.value.epoch = next_epoch(state.value.epoch);
    }
    transaction.replace(&states, &state)?;
    Ok(())
}

/// Ends every token issued to a principal so far. Decide before.
///
/// # Errors
/// 404 for a principal that is not known; in dev mode every id is.
pub(crate) async fn bump(app: &App, ctx: &Context, principal: &PrincipalRef) -> Result<i64, Error> {
    contended(ctx, || try_bump(app, ctx, principal)).await
}

async fn try_bump(app: &App, ctx: &Context, principal: &PrincipalRef) -> Result<i64, Lost> {
    let states = app.records::<PrincipalState>();
    let mut transaction = app.store.transaction();
    let state = read(app, principal).await?;
    let home = state
        .as_ref()
        .and_then(|state| state.value.home.clone())
        .unwrap_or(Scope::System);
    match state {
        Some(mut state) => {
            state.value.epoch = next_epoch(state.value.epoch);
            transaction.replace(&states, &state)?;
        }
        None if app.is_dev() || principal.kind == PrincipalKind::Service => {
            let state = PrincipalState {
                principal: principal.clone(),
                home: None,
                disabled: false,
                epoch: next_epoch(0),
            };
            transaction.create(&states, &key(principal), &state)?;
        }
        None => return Err(Error::not_found(principal).into()),
    }
    let act =
        Act::new(principal.kind.as_str(), principal.id.as_str(), home).detail("tokens", "revoked");
    // If somebody else made it first there is one to bump.
    let revision = app.publish(ctx, transaction, act).await;
    revision.map_err(Lost::to_create)
}

/// Requires, in a transaction, that a principal which is given something is there and stays.
///
/// In dev mode, where ids are taken as they come, any principal is there.
///
/// # Errors
/// A validation error about `field`.
pub(crate) async fn require_live(
    app: &App,
    transaction: &mut Transaction,
    principal: &PrincipalRef,
    field: &str,
) -> Result<(), Lost> {
    if app.is_dev() || principal.kind == PrincipalKind::Service {
        return Ok(());
    }
    let unknown = || {
        let message = format!("{field}: there is no {principal}");
        Lost::from(Error::validation(field, "exists", message))
    };
    if principal.kind == PrincipalKind::Group {
        let groups = app.records::<photon_authz::Group>();
        let group = groups.get(principal.id.as_str()).await?;
        transaction.unchanged(&groups, &group.ok_or_else(unknown)?)?;
        return Ok(());
    }
    let state = read(app, principal).await?.ok_or_else(unknown)?;
    // What a deleted one leaves behind is disabled, too.
    if state.value.disabled {
        let message = format!("{field}: {principal} is disabled or gone");
        return Err(Error::validation(field, "live", message).into());
    }
    transaction.unchanged(&app.records(), &state)?;
    Ok(())
}

/// The epoch that ends every token issued so far: none is dated later than now. Until it has begun, none is issued
/// ([`crate::token`]).
pub(crate) fn next_epoch(before: i64) -> i64 {
    before.max(Timestamp::now().as_second() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn epochs_end_what_was_issued_and_never_go_back() {
        let now = Timestamp::now().as_second();
        assert!(next_epoch(0) > now);
        assert_eq!(next_epoch(now + 1000), now + 1000);
    }

    #[test]
    fn keys_are_paths() {
        let id = Name::new("a.b-c").unwrap();
        assert_eq!(key(&service_account(&id)), "service_account/a.b-c");
    }
}
