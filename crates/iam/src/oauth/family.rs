//! Refresh tokens: `phr_<family>_<32 random bytes>`, each good for one use.
//!
//! All tokens that come one from another are a family, one record under a lease: the SHA-256 of the one that counts. Any
//! other token of the family was used before, so two have had it, and nobody knows which of them is the thief: the family
//! ends.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use photon_auth::Context;
use photon_authz::{PrincipalRef, Revoked, Scope};
use photon_core::Error;
use photon_store::{Record, Stored, Transaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::refuse;
use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
    credential::Secret,
    token::{Issued, Subject, Terms, service},
};

const PREFIX: &str = "phr_";
const SECRET_BYTES: usize = 32;
const SECRET_DIGITS: usize = 43;
/// How long a family lives, however often it is used.
const LIVES: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A family.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Family {
    /// Whose; the client, too.
    pub(super) client: PrincipalRef,
    pub(super) scope: Scope,
    /// SHA-256 of the token that counts, hexadecimal.
    sha256: String,
    /// Counts for nothing when everything of the client or its project was revoked later, in seconds since 1970.
    since: i64,
    pub(super) expires_at: Timestamp,
    /// When the last of its access tokens ends by itself, in seconds since 1970. They all name the family (`sid`), and
    /// end with it.
    access_until: i64,
}

impl Record for Family {
    const ROOT: &'static str = "/photon/iam/refresh/";
}

/// What a refresh token names and shows.
#[derive(Debug)]
pub(super) struct Shown {
    family: String,
    digest: String,
}

impl Shown {
    /// `None` for what is no refresh token.
    pub(super) fn read(token: &str) -> Option<Self> {
        let (family, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = family.len() == 32 && family.bytes().all(hex) && secret.len() == SECRET_DIGITS;
        fits.then(|| Self {
            family: family.to_owned(),
            digest: digest(token),
        })
    }

    fn is_of(&self, family: &Family) -> bool {
        bool::from(family.sha256.as_bytes().ct_eq(self.digest.as_bytes()))
    }
}

fn digest(token: &str) -> String {
    crate::hex::encode(&Sha256::digest(token))
}

fn new_token(family: &str) -> Result<Secret, Error> {
    let mut random = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::internal("no random bytes"))?;
    let random = URL_SAFE_NO_PAD.encode(random);
    Ok(Secret::from(format!("{PREFIX}{family}_{random}")))
}

fn gone() -> Error {
    refuse("invalid_grant", "the refresh token is not accepted")
}

/// The id of a family that is to begin.
pub(super) fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Begins a family with an access token of it that was just issued.
pub(super) async fn begin(
    app: &App,
    ctx: &Context,
    subject: &Subject,
    id: &str,
    issued: &Issued,
) -> Result<Secret, Error> {
    let token = new_token(id)?;
    let family = Family {
        client: subject.principal.clone(),
        scope: subject.scope.clone(),
        sha256: digest(token.expose()),
        since: issued.claims.iat,
        expires_at: Timestamp::now()
            .checked_add(LIVES)
            .map_err(Error::internal)?,
        access_until: issued.claims.exp,
    };
    // Dropped, it is not renewed: the family ends when it is over.
    let lease = app.store.lease(LIVES.unsigned_abs()).await?;
    let mut transaction = app.store.transaction();
    transaction.create_under(&app.records(), id, &family, lease.id())?;
    app.commit(ctx, transaction, act(id, &family)).await?;
    Ok(token)
}

fn act(id: &str, family: &Family) -> Act {
    Act::new("refresh_token", id, family.scope.clone())
        .detail("principal", family.client.to_string())
}

/// The next access token and the next refresh token.
pub(super) async fn refresh(
    app: &App,
    ctx: &Context,
    client: &PrincipalRef,
    shown: &Shown,
    ttl_seconds: i64,
) -> Result<(Issued, Secret, Scope), Error> {
    let done = contended(ctx, || try_refresh(app, ctx, client, shown, ttl_seconds)).await?;
    done.ok_or_else(gone)
}

/// `None`: it was used before, and the family has ended.
async fn try_refresh(
    app: &App,
    ctx: &Context,
    client: &PrincipalRef,
    shown: &Shown,
    ttl_seconds: i64,
) -> Result<Option<(Issued, Secret, Scope)>, Lost> {
    let families = app.records::<Family>();
    let Some(mut stored) = families.get(&shown.family).await? else {
        return Err(gone().into());
    };
    if stored.value.client != *client {
        return Err(gone().into());
    }
    if !shown.is_of(&stored.value) {
        end(app, ctx, &stored, "used twice").await?;
        tracing::warn!(
            request_id = %ctx.request_id, %client, family = stored.key,
            "a refresh token was used twice: everything that came from it has ended"
        );
        return Ok(None);
    }
    let now = Timestamp::now();
    let family = &mut stored.value;
    let subject = service::subject(app, client.clone(), family.scope.clone())
        .await
        .map_err(|error| gone().with_source(error))?;
    if now >= family.expires_at || family.since < subject.epoch {
        return Err(gone().into());
    }
    service::refuse_unbound(app, ctx, client, &subject.scope)
        .map_err(|error| gone().with_source(error))?;
    subject.wait().await?;
    let terms = Terms {
        client: Some(&client.id),
        family: Some(&stored.key),
        ..Terms::of(ttl_seconds)
    };
    let issued = subject.sign(&app.signing, terms)?;
    let next = new_token(&stored.key)?;
    family.sha256 = digest(next.expose());
    family.access_until = family.access_until.max(issued.claims.exp);
    let scope = family.scope.clone();
    let act = act(&stored.key, &stored.value);
    let mut transaction = app.store.transaction();
    transaction.replace(&families, &stored)?;
    // Who loses this race shows a token that was used meanwhile, and finds out above.
    app.commit(ctx, transaction, act).await?;
    Ok(Some((issued, next, scope)))
}

/// Ends a family, and with it every access token that came of it.
async fn end(
    app: &App,
    ctx: &Context,
    stored: &Stored<Family>,
    why: &'static str,
) -> Result<i64, Lost> {
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records::<Family>(), stored)?;
    end_access(app, &mut transaction, stored).await?;
    let act = act(&stored.key, &stored.value).detail("ended", why);
    app.publish(ctx, transaction, act)
        .await
        .map_err(Lost::to_create)
}

/// Refused from now on, until the last of them would have ended.
async fn end_access(
    app: &App,
    transaction: &mut Transaction,
    family: &Stored<Family>,
) -> Result<(), Lost> {
    let until = family.value.access_until;
    let left = until - Timestamp::now().as_second();
    let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
        return Ok(());
    };
    let lease = app
        .store
        .lease(Duration::from_secs(left) + service::MARGIN)
        .await?;
    let record = Revoked {
        jti: family.key.clone(),
        expires_at: Timestamp::from_second(until).unwrap_or(Timestamp::MAX),
    };
    transaction.create_under(&app.records(), &family.key, &record, lease.id())?;
    Ok(())
}

/// The family of a refresh token that counts.
pub(super) async fn look(app: &App, shown: &Shown) -> Result<Option<Family>, Error> {
    let stored = app.records::<Family>().get(&shown.family).await?;
    let Some(family) = stored.map(|stored| stored.value) else {
        return Ok(None);
    };
    if !shown.is_of(&family) || Timestamp::now() >= family.expires_at {
        return Ok(None);
    }
    let subject = service::subject(app, family.client.clone(), family.scope.clone()).await;
    let counts = subject.is_ok_and(|subject| family.since >= subject.epoch);
    Ok(counts.then_some(family))
}

/// Ends the family of a client's refresh token; whatever token of it is shown.
pub(super) async fn revoke(
    app: &App,
    ctx: &Context,
    shown: &Shown,
    client: &PrincipalRef,
) -> Result<(), Error> {
    contended(ctx, || async {
        let stored = app.records::<Family>().get(&shown.family).await?;
        match stored.filter(|stored| stored.value.client == *client) {
            Some(stored) => end(app, ctx, &stored, "revoked").await.map(drop),
            None => Ok(()),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn tokens_name_their_family_and_are_not_in_what_is_stored() {
        let id = new_id();
        let token = new_token(&id).unwrap();
        let shown = Shown::read(token.expose()).unwrap();
        assert_eq!(shown.family, id);
        assert!(!format!("{shown:?}").contains(&token.expose()[37..]));
        for bad in ["", "phr_", "phr__", &token.expose()[..79], "phk_1_2"] {
            assert!(Shown::read(bad).is_none(), "{bad}");
        }
    }
}
