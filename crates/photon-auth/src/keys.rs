//! The public keys that tokens are verified with.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use photon_authz::PublicKey;
use serde::Deserialize;

/// By key id.
pub(crate) type Keys = HashMap<String, Arc<VerifyingKey>>;

/// A key that vouches for tokens, with the one algorithm it is for.
pub(crate) struct VerifyingKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
    pub(crate) issuer: String,
    pub(crate) dev: bool,
    /// Vouches for nothing from then on, in seconds since 1970.
    pub(crate) not_after: i64,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The members of a public JWK (RFC 7517, 7518) that are looked at. `d` would be a private key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: Option<String>,
    alg: String,
    kid: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl VerifyingKey {
    /// Reads a published key, or says why it vouches for nothing. Other algorithms are added here, and only here.
    pub(crate) fn read(record: &PublicKey) -> Result<Self, String> {
        let jwk = Jwk::deserialize(&record.jwk).map_err(|error| error.to_string())?;
        if jwk.d.is_some() {
            return Err("it is a private key".to_owned());
        }
        if jwk.kid.is_some_and(|kid| kid != record.kid) {
            return Err("its JWK has another kid".to_owned());
        }
        if (jwk.kty.as_str(), jwk.crv.as_str(), jwk.alg.as_str()) != ("EC", "P-256", "ES256") {
            return Err(format!(
                "{} on {} with {} is not verified here",
                jwk.alg, jwk.crv, jwk.kty
            ));
        }
        let y = jwk.y.ok_or("it has no y")?;
        if !is_coordinate(&jwk.x) || !is_coordinate(&y) {
            return Err("its coordinates are not 32 bytes of base64url".to_owned());
        }
        let decoding =
            DecodingKey::from_ec_components(&jwk.x, &y).map_err(|error| error.to_string())?;
        Ok(Self {
            kid: record.kid.clone(),
            algorithm: Algorithm::ES256,
            decoding,
            issuer: record.issuer.clone(),
            dev: record.dev,
            not_after: record.not_after.as_second(),
        })
    }

    /// The one value of `alg` that goes with this key.
    pub(crate) fn alg(&self) -> &'static str {
        match self.algorithm {
            Algorithm::ES256 => "ES256",
            // `read` makes no others.
            _ => "",
        }
    }
}

fn is_coordinate(text: &str) -> bool {
    URL_SAFE_NO_PAD
        .decode(text)
        .is_ok_and(|bytes| bytes.len() == 32)
}
