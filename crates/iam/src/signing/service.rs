//! The use cases of signing keys.

use jiff::{SignedDuration, Timestamp};
use photon_auth::Context;
use photon_authz::{PublicKey, Scope};
use photon_core::{Error, Name};
use photon_store::Error as StoreError;

use super::{KeyState, rotation::Planned};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
};

/// The longest a new key may be published before it signs: a year.
const LONGEST_AHEAD_SECONDS: u32 = 366 * 24 * 3600;

/// The keys that tokens are signed with, public halves, the newest first.
pub async fn list(app: &App, ctx: &Context) -> Result<Vec<(PublicKey, KeyState)>, Error> {
    ctx.allow(&Scope::System)?;
    Ok(app.signing.keys(Timestamp::now()))
}

/// Publishes a new key that signs after so many seconds; without a number after those that are configured. With 0 it
/// signs at once, also for those who have not heard of it: the first step when a key was stolen, [`end`] the second.
pub async fn rotate(
    app: &App,
    ctx: &Context,
    ahead_seconds: Option<u32>,
) -> Result<(PublicKey, KeyState), Error> {
    ctx.allow(&Scope::System)?;
    let seconds = ahead_seconds.unwrap_or(app.signing.publish_ahead_seconds());
    if seconds > LONGEST_AHEAD_SECONDS {
        return Err(Error::validation(
            "signs_after_seconds",
            "range",
            format!("signs_after_seconds must be at most {LONGEST_AHEAD_SECONDS}"),
        ));
    }
    let kid = contended(ctx, || try_rotate(app, ctx, seconds)).await?;
    app.signing.reload().await?;
    let keys = app.signing.keys(Timestamp::now());
    let made = keys.into_iter().find(|(key, _)| key.kid == kid);
    made.ok_or_else(|| Error::conflict("the keys were changed meanwhile"))
}

async fn try_rotate(app: &App, ctx: &Context, seconds: u32) -> Result<String, Lost> {
    let ahead = SignedDuration::from_secs(i64::from(seconds));
    let Planned {
        transaction,
        kid,
        act,
    } = app.signing.plan_rotation(ahead, Timestamp::now()).await?;
    match app.publish_new(ctx, transaction, act).await {
        Ok(_) => Ok(kid),
        // Another process founded the keys of this mode at the same time.
        Err(StoreError::AlreadyExists { .. }) => Err(Lost::Race),
        Err(error) => Err(error.into()),
    }
}

/// Ends a key that does not sign any more, at once: whatever it signed is refused everywhere, as soon as the change is known
/// there. For a key that was stolen.
///
/// # Errors
/// `FAILED_PRECONDITION` while it signs or is to sign next.
pub async fn end(app: &App, ctx: &Context, kid: &Name) -> Result<(PublicKey, KeyState), Error> {
    ctx.allow(&Scope::System)?;
    contended(ctx, || try_end(app, ctx, kid)).await?;
    app.signing.reload().await?;
    find(app, kid, Timestamp::now())
}

fn find(app: &App, kid: &Name, now: Timestamp) -> Result<(PublicKey, KeyState), Error> {
    let mut keys = app.signing.keys(now).into_iter();
    let found = keys.find(|(key, _)| key.kid == kid.as_str());
    found.ok_or_else(|| Error::not_found(format!("signing key {kid}")))
}

async fn try_end(app: &App, ctx: &Context, kid: &Name) -> Result<(), Lost> {
    app.signing.reload().await?;
    let now = Timestamp::now();
    match find(app, kid, now)?.1 {
        KeyState::Retired => return Ok(()),
        KeyState::Verifying => {}
        state @ (KeyState::Signing | KeyState::Published) => {
            let message = format!(
                "signing key {kid} is {state}: make another one sign first (signs_after_seconds: 0)"
            );
            return Err(Error::failed_precondition(message).into());
        }
    }
    let keys = app.records::<PublicKey>();
    let Some(mut key) = keys.get(kid.as_str()).await? else {
        return Err(Error::not_found(format!("signing key {kid}")).into());
    };
    // What is told of times is in whole seconds, and this one is to be over.
    key.value.not_after = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&keys, &key)?;
    let act = Act::new("signing_key", kid, Scope::System).detail("ended", true);
    app.publish(ctx, transaction, act).await?;
    Ok(())
}
