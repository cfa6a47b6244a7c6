//! Tokens: issued for one principal and one scope, verified by everybody, ended early.
//!
//! ```text
//!   proof ──> who ──may be that principal──> scope ──is bound there──> claims ──signed──> token
//!                                                                                           │
//!   verified by every service alone <────────────────────────────────────────────────────────┤
//!   refused from the moment a Revoked, or a later epoch of principal or project, is heard <──┘
//! ```
//!
//! A token is never stored. What ends one early is published: its id until it would have ended by itself, or the second
//! before which everything of a principal or a project counts no more.

mod claims;
mod rest;
pub mod service;

use jiff::SignedDuration;
use photon_auth::Claims;
use photon_authz::PrincipalRef;
use photon_core::{Error, Name};
use serde::{Deserialize, Serialize};

pub use self::rest::routes;
pub(crate) use self::{
    claims::{Subject, Terms},
    rest::RestDoc,
};
use crate::credential::Secret;

/// The longest a token lives, whatever is configured or asked for.
pub(crate) const MAX_TTL: SignedDuration = SignedDuration::from_hours(12);
/// The shortest: less is over before it is used.
pub(crate) const MIN_TTL_SECONDS: i64 = 60;

/// `[tokens]`: how long tokens live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// How long a token lives that is asked for without a time, in seconds. Default one hour.
    pub default_ttl_seconds: u32,
    /// The longest a token lives, in seconds; who asks for more gets this. Default, and at most, twelve hours.
    pub max_ttl_seconds: u32,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            default_ttl_seconds: 3600,
            max_ttl_seconds: 12 * 3600,
        }
    }
}

impl TokenConfig {
    /// What does not go together, if anything.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let max = i64::from(self.max_ttl_seconds);
        if !(MIN_TTL_SECONDS..=MAX_TTL.as_secs()).contains(&max) {
            return Err(format!(
                "tokens.max_ttl_seconds must be {MIN_TTL_SECONDS} to {}",
                MAX_TTL.as_secs()
            ));
        }
        if !(MIN_TTL_SECONDS..=max).contains(&i64::from(self.default_ttl_seconds)) {
            return Err(format!(
                "tokens.default_ttl_seconds must be {MIN_TTL_SECONDS} to tokens.max_ttl_seconds"
            ));
        }
        Ok(())
    }

    /// How long a token lives that is asked for with this time.
    ///
    /// # Errors
    /// A time that is none.
    pub(crate) fn ttl(&self, asked: Option<i64>) -> Result<i64, Error> {
        match asked {
            None => Ok(i64::from(self.default_ttl_seconds)),
            Some(..=0) => Err(Error::validation(
                "ttl_seconds",
                "minimum",
                "ttl_seconds must be at least 1",
            )),
            Some(asked) => Ok(asked.clamp(MIN_TTL_SECONDS, i64::from(self.max_ttl_seconds))),
        }
    }
}

/// A token to be issued.
#[derive(Clone, Debug)]
pub struct Ask {
    /// For whom.
    pub principal: PrincipalRef,
    /// For where: the bare id of an org or project, or `system`.
    pub scope: Name,
    /// How long it is to live.
    pub ttl_seconds: Option<i64>,
    /// That it is asked for by the principal itself.
    pub proof: Option<Proof>,
}

/// A proof that is sent in the message itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The principal's password.
    Password(Secret),
    /// One of its API keys.
    ApiKey(Secret),
}

/// A token that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// What it says.
    pub claims: Claims,
}

/// What is to end.
#[derive(Clone, Debug)]
pub enum What {
    /// This token.
    Token(Secret),
    /// Everything issued so far to a principal.
    Principal(PrincipalRef),
    /// Everything issued so far for a project.
    Project(Name),
}

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whether anything did: a token that is not accepted anyway cannot end.
    pub revoked: bool,
    /// The revision from which services refuse it.
    pub revision: Option<i64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn times_to_live_are_clamped() {
        let config = TokenConfig::default();
        config.validate().unwrap();
        for (asked, gets) in [
            (None, 3600),
            (Some(1), 60),
            (Some(7200), 7200),
            (Some(i64::MAX), 43_200),
        ] {
            assert_eq!(config.ttl(asked).unwrap(), gets);
        }
        for asked in [0, -1, i64::MIN] {
            let error = config.ttl(Some(asked)).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "ttl_seconds");
        }
    }

    #[test]
    fn settings_that_do_not_go_together_are_named() {
        let of = |default_ttl_seconds, max_ttl_seconds| {
            let config = TokenConfig {
                default_ttl_seconds,
                max_ttl_seconds,
            };
            config.validate()
        };
        assert!(of(60, 60).is_ok());
        assert!(of(59, 60).unwrap_err().contains("default_ttl_seconds"));
        assert!(of(600, 300).unwrap_err().contains("default_ttl_seconds"));
        assert!(of(60, 43_201).unwrap_err().contains("max_ttl_seconds"));
        assert!(of(60, 0).unwrap_err().contains("max_ttl_seconds"));
    }
}
