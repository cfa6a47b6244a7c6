//! One ECDSA P-256 key pair and its public half as a JWK (RFC 7517).

use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Bytes of one coordinate of a point of P-256.
const COORDINATE: usize = 32;
/// An uncompressed point begins with this byte (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A key pair that was just made.
pub struct NewKey {
    /// Its id: the first half of the JWK's thumbprint (RFC 7638), hexadecimal.
    pub kid: String,
    /// The public half.
    pub jwk: Value,
    /// The private half, PKCS#8.
    pub pkcs8: Vec<u8>,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The cryptographic library made no key, or one it does not read.
#[derive(Debug, thiserror::Error)]
#[error("no signing key could be made")]
pub struct NoKey;

impl From<Unspecified> for NoKey {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl From<KeyRejected> for NoKey {
    fn from(_: KeyRejected) -> Self {
        Self
    }
}

impl NewKey {
    /// A new key pair.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn generate() -> Result<Self, NoKey> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref())?;
        let (x, y) = coordinates(pair.public_key().as_ref()).ok_or(NoKey)?;
        let kid = kid_of(&x, &y);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "kid": kid, "alg": "ES256", "use": "sig",
        });
        Ok(Self {
            kid,
            jwk,
            pkcs8: pkcs8.as_ref().to_vec(),
        })
    }
}

fn coordinates(point: &[u8]) -> Option<(String, String)> {
    let (form, both) = point.split_first()?;
    if *form != UNCOMPRESSED || both.len() != 2 * COORDINATE {
        return None;
    }
    let (x, y) = both.split_at(COORDINATE);
    Some((URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
}

/// The members that RFC 7638 names, in its order.
fn kid_of(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = Sha256::digest(canonical);
    crate::hex::encode(&thumbprint[..16])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

    use super::*;

    #[test]
    fn what_the_private_half_signs_the_jwk_verifies() {
        let key = NewKey::generate().unwrap();
        let claims = json!({"sub": "a", "exp": 4_000_000_000_u64});
        let private = EncodingKey::from_ec_der(&key.pkcs8);
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &private).unwrap();
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk.clone()).unwrap();
        let public = DecodingKey::from_jwk(&jwk).unwrap();
        let read =
            jsonwebtoken::decode::<Value>(&token, &public, &Validation::new(Algorithm::ES256))
                .unwrap();
        assert_eq!(read.claims["sub"], "a");

        let other = NewKey::generate().unwrap();
        assert_ne!(other.kid, key.kid);
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(other.jwk).unwrap();
        let public = DecodingKey::from_jwk(&jwk).unwrap();
        let refused =
            jsonwebtoken::decode::<Value>(&token, &public, &Validation::new(Algorithm::ES256));
        assert!(refused.is_err());
    }

    #[test]
    fn nothing_private_is_in_the_public_half_or_in_debug() {
        let key = NewKey::generate().unwrap();
        assert!(key.jwk.get("d").is_none());
        assert!(!format!("{key:?}").contains("pkcs8"));
        assert_eq!(key.kid.len(), 32);
    }
}
