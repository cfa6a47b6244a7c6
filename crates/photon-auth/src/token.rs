//! Tokens: what they say, and whether one may be believed.
//!
//! ```text
//! size ─> three parts ─> header {alg, kid, typ} ─> key of that kid ─> alg is the key's ─> signature ─> claims
//! ```
//!
//! What a token's header says is only ever compared with what a key of ours says; nothing in it is followed, fetched or
//! used as a key. Whether an accepted token has been revoked since is another question (`known`), asked on every use.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::crypto;
use photon_authz::{PrincipalKind, PrincipalRef, Scope};
use photon_core::{Error, Name};
use serde::{Deserialize, Serialize};

use crate::keys::{Keys, VerifyingKey};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far `iat` and `nbf` may be ahead of our clock, in seconds.
pub const LEEWAY_SECONDS: i64 = 30;
/// The audience of every token of the suite.
pub const AUDIENCE: &str = "photon";
/// The media type of RFC 9068, as it stands in the header's `typ`.
pub const TYPE: &str = "at+jwt";
/// Who signs in dev mode. Enforce mode takes none of its keys.
pub const DEV_ISSUER: &str = "photon-dev";

/// What a token says (RFC 9068, and what the suite adds). All members but `org_id`, `act` and `sid` are required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// The principal's id.
    pub sub: Name,
    /// For whom: [`AUDIENCE`].
    pub aud: String,
    /// Not accepted from then on, in seconds since 1970.
    pub exp: i64,
    /// Issued then, in seconds since 1970.
    pub iat: i64,
    /// Not accepted before then, in seconds since 1970.
    pub nbf: i64,
    /// Its own id, a UUID; revocations name it.
    pub jti: String,
    /// The OAuth client that asked for it; else as `sub`.
    pub client_id: String,
    /// The scope it is for as text: `project:shop`, `system`.
    pub scope: String,
    /// Which kind of principal `sub` is.
    pub ptype: PrincipalKind,
    /// The scope it is for: the id of an org or project, or `system`.
    pub scope_id: String,
    /// Which kind of scope `scope_id` is.
    pub scope_type: ScopeType,
    /// The org of that scope, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<Name>,
    /// Who acts as `sub`, if that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The family of tokens that it belongs to; a revocation of it ends all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// Who acts as the subject of a token (RFC 8693, 4.1): whoever proved it in the beginning, also when one token was had
/// for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// As `user:carol`: an id alone does not say of which kind.
    pub sub: PrincipalRef,
}

/// The kind of a token's scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeType {
    /// Everything.
    System,
    /// One org and its projects.
    Org,
    /// One project.
    Project,
}

impl Claims {
    /// Who it was issued to.
    #[must_use]
    pub fn principal(&self) -> PrincipalRef {
        PrincipalRef::new(self.ptype, self.sub.clone())
    }

    /// Who acts as that principal, if it is somebody else.
    #[must_use]
    pub fn acting(&self) -> Option<&PrincipalRef> {
        self.act.as_ref().map(|actor| &actor.sub)
    }

    /// The scope it is for; `None` if that is no scope.
    #[must_use]
    pub fn limit(&self) -> Option<Scope> {
        match self.scope_type {
            ScopeType::System => {
                (self.scope_id == Scope::System.bare_id()).then_some(Scope::System)
            }
            ScopeType::Org => Name::new(self.scope_id.as_str()).ok().map(Scope::Org),
            ScopeType::Project => Name::new(self.scope_id.as_str()).ok().map(Scope::Project),
        }
    }
}

impl From<&Scope> for ScopeType {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::System => Self::System,
            Scope::Org(_) => Self::Org,
            Scope::Project(_) => Self::Project,
        }
    }
}

/// Why a token is not accepted. For the log; the caller is told only what helps an honest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    #[error("not three parts of base64url")]
    Form,
    #[error("a header with more or less than alg, kid and typ")]
    Header,
    #[error("typ is not {TYPE}")]
    Type,
    #[error("no key of that kid")]
    UnknownKey,
    #[error("the key's time is over")]
    KeyOver,
    #[error("the key is not one this mode takes")]
    KeyMode,
    #[error("alg is not the key's")]
    Algorithm,
    #[error("the signature is not the key's")]
    Signature,
    #[error("claims missing or of the wrong type")]
    Claims,
    #[error("another issuer")]
    Issuer,
    #[error("another audience")]
    Audience,
    #[error("not valid yet")]
    NotYet,
    #[error("expired")]
    Expired,
    #[error("revoked")]
    Revoked,
    #[error("issued before everything of the principal was revoked")]
    PrincipalEpoch,
    #[error("issued before everything for the project was revoked")]
    ProjectEpoch,
    #[error("the principal is disabled")]
    PrincipalDisabled,
    #[error("the principal does not exist")]
    PrincipalUnknown,
    #[error("the project or org is disabled")]
    ScopeDisabled,
    #[error("the project or org does not exist")]
    ScopeUnknown,
}

impl Refused {
    /// One word for the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Form => "form",
            Self::Header => "header",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::KeyOver => "key_over",
            Self::KeyMode => "key_mode",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::PrincipalEpoch => "principal_epoch",
            Self::ProjectEpoch => "project_epoch",
            Self::PrincipalDisabled => "principal_disabled",
            Self::PrincipalUnknown => "principal_unknown",
            Self::ScopeDisabled => "scope_disabled",
            Self::ScopeUnknown => "scope_unknown",
        }
    }

    /// Whether it may be that we have not heard yet.
    pub(crate) fn may_be_news(self) -> bool {
        matches!(
            self,
            Self::UnknownKey | Self::PrincipalUnknown | Self::ScopeUnknown
        )
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let told = match refused {
            Refused::TooLong => "the token is longer than any of ours",
            Refused::Expired => "the token has expired",
            Refused::NotYet => "the token is not valid yet",
            Refused::Revoked | Refused::PrincipalEpoch | Refused::ProjectEpoch => {
                "the token was revoked"
            }
            Refused::PrincipalDisabled | Refused::PrincipalUnknown => {
                "the token's principal is disabled or gone"
            }
            Refused::ScopeDisabled | Refused::ScopeUnknown => {
                "the token's project or org is disabled or gone"
            }
            _ => "the token is not accepted",
        };
        Self::unauthenticated(told).with_source(refused)
    }
}

/// Whose tokens are believed.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// The issuer of keys that are not for dev mode.
    pub(crate) issuer: String,
    /// Whether keys for dev mode count.
    pub(crate) dev: bool,
}

/// A token whose signature and claims were found good once.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Arc<Claims>,
    pub(crate) principal: PrincipalRef,
    pub(crate) limit: Scope,
    /// The key it was found good with; another one under the same kid does not vouch for it.
    pub(crate) key: Arc<VerifyingKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Checks a token by itself: form, signature, issuer, audience, times. `now` in seconds since 1970.
pub(crate) fn verify(
    token: &str,
    keys: &Keys,
    trust: &Trust,
    now: i64,
) -> Result<Verified, Refused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refused::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Form)?;
    let (header, payload) = message.split_once('.').ok_or(Refused::Form)?;
    if payload.contains('.') || signature.is_empty() {
        return Err(Refused::Form);
    }
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Header)?;
    if header.typ != TYPE {
        return Err(Refused::Type);
    }
    let key = keys.get(&header.kid).ok_or(Refused::UnknownKey)?;
    if header.alg != key.alg() {
        return Err(Refused::Algorithm);
    }
    check_key(key, trust, now)?;
    let genuine = crypto::verify(signature, message.as_bytes(), &key.decoding, key.algorithm);
    if !genuine.unwrap_or(false) {
        return Err(Refused::Signature);
    }
    let claims: Claims = serde_json::from_slice(&decode(payload)?).map_err(|_| Refused::Claims)?;
    check_claims(claims, key, now)
}

fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Form)
}

/// Whether the key counts at all: it is asked again on each use of a token it vouched for.
pub(crate) fn check_key(key: &VerifyingKey, trust: &Trust, now: i64) -> Result<(), Refused> {
    let known = if key.dev {
        trust.dev && key.issuer == DEV_ISSUER
    } else {
        key.issuer == trust.issuer
    };
    if !known {
        return Err(Refused::KeyMode);
    }
    if now >= key.not_after {
        return Err(Refused::KeyOver);
    }
    Ok(())
}

fn check_claims(claims: Claims, key: &Arc<VerifyingKey>, now: i64) -> Result<Verified, Refused> {
    if claims.iss != key.issuer {
        return Err(Refused::Issuer);
    }
    if claims.aud != AUDIENCE {
        return Err(Refused::Audience);
    }
    // The ids become part of a key when they are revoked.
    let ids = [Some(&claims.jti), claims.sid.as_ref()];
    let bad_id = |id: &String| Name::new(id.as_str()).is_err();
    if ids.into_iter().flatten().any(bad_id) || claims.ptype == PrincipalKind::Group {
        return Err(Refused::Claims);
    }
    let limit = claims.limit().ok_or(Refused::Claims)?;
    check_times(&claims, now)?;
    Ok(Verified {
        principal: claims.principal(),
        limit,
        claims: Arc::new(claims),
        key: Arc::clone(key),
    })
}

/// Whether a token is valid at `now`.
pub(crate) fn check_times(claims: &Claims, now: i64) -> Result<(), Refused> {
    let soonest = claims.nbf.max(claims.iat);
    if soonest > now.saturating_add(LEEWAY_SECONDS) {
        return Err(Refused::NotYet);
    }
    // No leeway: a revocation is forgotten when its token has ended by itself.
    if now >= claims.exp {
        return Err(Refused::Expired);
    }
    Ok(())
}
