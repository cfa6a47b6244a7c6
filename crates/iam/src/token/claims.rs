//! What a token says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use photon_auth::{
    Actor, Claims, ScopeType,
    token::{AUDIENCE, TYPE},
};
use photon_authz::{PrincipalRef, Scope};
use photon_core::{Error, Name};
use uuid::Uuid;

use super::Issued;
use crate::{credential::Secret, signing::Signing};

/// How far ahead another process's clock may be.
const FARTHEST_AHEAD: SignedDuration = SignedDuration::from_secs(5);

/// Whom and where a token is for, as the store has it now.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) principal: PrincipalRef,
    pub(crate) scope: Scope,
    /// The org of the scope, if it has one.
    pub(crate) org: Option<Name>,
    /// Tokens issued before this second count for nothing.
    pub(crate) epoch: i64,
}

/// What else a token is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// How long it lives.
    pub(crate) ttl_seconds: i64,
    /// It ends then at the latest, in seconds since 1970.
    pub(crate) until: Option<i64>,
    /// The OAuth client that asked for it, if one did.
    pub(crate) client: Option<&'a Name>,
    /// Who acts as the subject, if that is somebody else.
    pub(crate) acting: Option<&'a PrincipalRef>,
    /// The family of refresh tokens that it comes from.
    pub(crate) family: Option<&'a str>,
}

impl Terms<'_> {
    /// So long, and nothing else.
    pub(crate) fn of(ttl_seconds: i64) -> Self {
        Self {
            ttl_seconds,
            until: None,
            client: None,
            acting: None,
            family: None,
        }
    }
}

impl Subject {
    /// Waits until a token that is issued now counts: right after everything was revoked, the rest of that second. A token
    /// that is dated ahead instead could not be revoked by the next epoch.
    ///
    /// # Errors
    /// `UNAVAILABLE` when another process's clock is far ahead.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        let left = moment(self.epoch).duration_since(Timestamp::now());
        if left > FARTHEST_AHEAD {
            return Err(Error::unavailable(
                "tokens were revoked by a clock that is ahead of this one",
            ));
        }
        if let Ok(left) = Duration::try_from(left) {
            tokio::time::sleep(left).await;
        }
        Ok(())
    }

    /// A token.
    ///
    /// # Errors
    /// When there is no key to sign with, and when it would be over already.
    pub(crate) fn sign(&self, signing: &Signing, terms: Terms<'_>) -> Result<Issued, Error> {
        let now = Timestamp::now();
        let signer = signing.signer(now)?;
        let issued = now.as_second();
        let ends = terms
            .until
            .unwrap_or(i64::MAX)
            .min(issued + terms.ttl_seconds);
        if ends <= issued {
            return Err(Error::unauthenticated("your token ends now: log in again"));
        }
        let client = terms.client.unwrap_or(&self.principal.id);
        let claims = Claims {
            iss: signer.issuer().to_owned(),
            sub: self.principal.id.clone(),
            aud: AUDIENCE.to_owned(),
            exp: ends,
            iat: issued,
            nbf: issued,
            jti: Uuid::now_v7().to_string(),
            client_id: client.to_string(),
            scope: self.scope.to_string(),
            ptype: self.principal.kind,
            scope_id: self.scope.bare_id().to_owned(),
            scope_type: ScopeType::from(&self.scope),
            org_id: self.org.clone(),
            act: terms.acting.cloned().map(|sub| Actor { sub }),
            sid: terms.family.map(str::to_owned),
        };
        let token = Secret::from(signer.sign(TYPE, &claims)?);
        Ok(Issued { token, claims })
    }
}

/// A second as a moment.
pub(super) fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
