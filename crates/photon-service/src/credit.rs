//! What services have in common that ask CreditService for units and money.

use std::time::Duration;

use photon_core::{Code, Error};
use photon_server::{Mode, config::ConfigError};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    config::{StoreConfig, invalid},
    peer::{self, Refused},
};

/// The setting that says where CreditService is.
pub const ENDPOINT: &str = "quota.endpoint";
/// For a call, if the request has more time left.
const CALL: Duration = Duration::from_secs(5);

/// `[quota]`: how much projects may have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// CreditService's gRPC, `http://host:port` or `https://host:port`. Shown there is the certificate of `store.tls`. Default:
    /// none, and then nothing is limited.
    pub endpoint: Option<String>,
    /// That nothing is limited, said on purpose: enforce mode wants this or the endpoint. Default false.
    pub unlimited: bool,
}

impl QuotaConfig {
    /// Whether it can be, beside a service's mode and store.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn validate(&self, mode: Mode, store: &StoreConfig) -> Result<(), ConfigError> {
        match &self.endpoint {
            Some(_) if self.unlimited => Err(invalid(
                "quota.unlimited",
                "does not go with quota.endpoint",
            )),
            Some(url) => peer::check(ENDPOINT, url, store, mode),
            None if mode == Mode::Enforce && !self.unlimited => Err(invalid(
                ENDPOINT,
                "is required in enforce mode; or say quota.unlimited = true",
            )),
            None => Ok(()),
        }
    }
}

/// When a call that nobody waits for is over.
#[must_use]
pub fn soon() -> Instant {
    Instant::now() + CALL
}

/// The kind that has no limit registered, if that is what is wrong.
#[must_use]
pub fn unlimited(refused: &Refused) -> Option<String> {
    let details = refused.details().unwrap_or_default();
    let is_it = refused.is(&[Code::VALIDATION_ERROR]) && details["constraint"] == "registered";
    is_it.then(|| details["kind"].as_str().unwrap_or_default().to_owned())
}

/// What the caller of our request is told: that there is not enough for it; everything else is not its fault.
#[must_use]
pub fn to_caller(refused: &Refused) -> Error {
    let code = refused.code().filter(|code| {
        [
            Code::QUOTA_EXCEEDED,
            Code::INSUFFICIENT_CREDIT,
            Code::PRICE_NOT_FOUND,
            Code::WALLET_NOT_FOUND,
            Code::WALLET_SUSPENDED,
            Code::WALLET_CLOSED,
            Code::TOO_MANY_RESERVATIONS,
        ]
        .contains(code)
    });
    code.map_or_else(
        || {
            Error::unavailable("CreditService cannot be asked at present")
                .with_source(refused.to_string())
        },
        |code| refused.pass_on(code),
    )
}
