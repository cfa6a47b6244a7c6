//! Credentials that must not open anything, made from one good token of a stranger.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::SweepError;
use crate::token::MAX_TOKEN_BYTES;

/// What a request is tried with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// What it is, in a few words.
    pub name: String,
    /// The `Authorization` header, if any.
    pub authorization: Option<String>,
    /// Whether it is good, and its bearer may do nothing.
    pub stranger: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credential").field(&self.name).finish()
    }
}

/// The credentials of a sweep.
#[derive(Clone, Debug)]
pub struct Tokens {
    stranger: Parts,
    all: Vec<Credential>,
}

#[derive(Clone)]
struct Parts {
    text: String,
    header: Value,
    claims: Value,
    signature: String,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("header", &self.header)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

impl Parts {
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            text: token.to_owned(),
            header: json(header)?,
            claims: json(claims)?,
            signature: signature.to_owned(),
        })
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn with(object: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut changed = object.clone();
    changed[member] = value.into();
    changed
}

fn without(object: &Value, member: &str) -> Value {
    let mut changed = object.clone();
    if let Some(members) = changed.as_object_mut() {
        members.remove(member);
    }
    changed
}

/// A token with any header and claims, signed with ES256 by a private key (PKCS#8).
///
/// # Errors
/// When it is not such a key.
pub fn sign(
    pkcs8: &[u8],
    header: &Value,
    claims: &Value,
) -> Result<String, jsonwebtoken::errors::Error> {
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = EncodingKey::from_ec_der(pkcs8);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::ES256)?;
    Ok(format!("{message}.{signature}"))
}

impl Tokens {
    /// No credential, a good token of a principal that may do nothing anywhere, and what can be made of that token
    /// without the key that signed it.
    ///
    /// # Errors
    /// When it is not a JWT.
    pub fn from_stranger(token: &str) -> Result<Self, SweepError> {
        let stranger = Parts::read(token).ok_or_else(|| SweepError::of("not a JWT", "stranger"))?;
        let mut tokens = Self {
            stranger,
            all: Vec::new(),
        };
        tokens.add("no credential", None, false);
        tokens.bearer("a stranger's token", token.to_owned(), true);
        tokens.add("an empty header", Some(String::new()), false);
        tokens.add("a password", Some("Basic YWRtaW46YWRtaW4=".into()), false);
        tokens.bad("a word", "token".to_owned());
        tokens.add_changed();
        tokens.add_unsigned();
        tokens.add_of_other_keys()?;
        Ok(tokens)
    }

    /// Also what only the real key can sign: `sign` makes a token of any header and claims with it.
    #[must_use]
    pub fn signed_by(mut self, sign: impl Fn(&Value, &Value) -> String) -> Self {
        let Parts { header, claims, .. } = self.stranger.clone();
        let at = |member: &str| claims[member].as_i64().unwrap_or_default();
        let (iat, exp) = (at("iat"), at("exp"));
        for (name, claims) in [
            ("an expired token", with(&claims, "exp", iat - 1)),
            ("a token of the future", with(&claims, "nbf", exp + 3600)),
            (
                "a token issued in the future",
                with(&claims, "iat", exp + 3600),
            ),
            ("another audience", with(&claims, "aud", "elsewhere")),
            (
                "several audiences",
                with(&claims, "aud", json!(["photon", "elsewhere"])),
            ),
            (
                "another issuer",
                with(&claims, "iss", "https://elsewhere.test"),
            ),
            ("a group's token", with(&claims, "ptype", "group")),
            ("exp as text", with(&claims, "exp", exp.to_string())),
            ("no exp", without(&claims, "exp")),
            ("no jti", without(&claims, "jti")),
            ("no sub", without(&claims, "sub")),
            ("no aud", without(&claims, "aud")),
            ("no scope", without(&claims, "scope_id")),
        ] {
            self.bad(name, sign(&header, &claims));
        }
        for (name, header) in [
            ("another typ", with(&header, "typ", "JWT")),
            ("no typ", without(&header, "typ")),
            ("no kid", without(&header, "kid")),
            ("crit", with(&header, "crit", json!(["exp"]))),
            (
                "a jku",
                with(&header, "jku", "http://127.0.0.1:9/jwks.json"),
            ),
        ] {
            self.bad(
                &format!("a good signature and {name}"),
                sign(&header, &claims),
            );
        }
        self
    }

    /// Also a token whose HMAC is made with the public key (RFC 8725, 2.1), for verifiers that believe `alg`.
    #[must_use]
    pub fn confused_with(mut self, public_key: &[u8]) -> Self {
        let header = with(&self.stranger.header, "alg", "HS256");
        let message = format!("{}.{}", encode(&header), encode(&self.stranger.claims));
        let key = EncodingKey::from_secret(public_key);
        if let Ok(signature) = crypto::sign(message.as_bytes(), &key, Algorithm::HS256) {
            self.bad(
                "HS256 with the public key",
                format!("{message}.{signature}"),
            );
        }
        self
    }

    /// The credentials, to try them on something else.
    #[must_use]
    pub fn into_credentials(self) -> Vec<Credential> {
        self.all
    }

    fn add(&mut self, name: &str, authorization: Option<String>, stranger: bool) {
        self.all.push(Credential {
            name: name.to_owned(),
            authorization,
            stranger,
        });
    }

    fn bearer(&mut self, name: &str, token: String, stranger: bool) {
        self.add(name, Some(format!("Bearer {token}")), stranger);
    }

    fn bad(&mut self, name: &str, token: String) {
        self.bearer(name, token, false);
    }

    /// The good signature over something else.
    fn add_changed(&mut self) {
        let Parts {
            text,
            header,
            claims,
            signature,
        } = self.stranger.clone();
        for (name, claims) in [
            ("another subject", with(&claims, "sub", "admin")),
            (
                "another scope",
                with(&with(&claims, "scope_id", "system"), "scope_type", "system"),
            ),
            ("a longer life", with(&claims, "exp", 4_000_000_000_i64)),
        ] {
            let forged = format!("{}.{}.{signature}", encode(&header), encode(&claims));
            self.bad(&format!("a forged token: {name}"), forged);
        }
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let body = text.trim_end_matches(&signature);
        self.bad(
            "a changed signature",
            format!("{body}{other}{}", signature.get(1..).unwrap_or_default()),
        );
        self.bad("no signature", body.to_owned());
        self.bad("a signature of zeros", format!("{body}{}", "A".repeat(86)));
        self.bad("half a token", text[..text.len() / 2].to_owned());
        self.bad("a token twice", format!("{text}.{text}"));
        self.bad(
            "a token that is too long",
            format!("{text}{}", "A".repeat(MAX_TOKEN_BYTES)),
        );
    }

    fn add_unsigned(&mut self) {
        let Parts {
            header,
            claims,
            signature,
            ..
        } = self.stranger.clone();
        for alg in ["none", "None", "NONE", ""] {
            let message = format!("{}.{}", encode(&with(&header, "alg", alg)), encode(&claims));
            self.bad(&format!("alg {alg:?}"), format!("{message}."));
            self.bad(
                &format!("alg {alg:?} and a signature"),
                format!("{message}.{signature}"),
            );
        }
    }

    /// Signed, but by nobody we know.
    fn add_of_other_keys(&mut self) -> Result<(), SweepError> {
        let failed = |_| SweepError::of("no key could be made", "ES256");
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())
            .map_err(|error| SweepError::of("no key could be made", error))?;
        // An uncompressed point: 4, x, y (SEC 1, 2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let Parts { header, claims, .. } = self.stranger.clone();
        for (name, header) in [
            ("another key", header.clone()),
            ("another key and kid", with(&header, "kid", "sweep")),
            ("another key in jwk", with(&header, "jwk", jwk)),
            (
                "another key by jku",
                with(&header, "jku", "http://127.0.0.1:9/jwks.json"),
            ),
            (
                "another key by x5u",
                with(&header, "x5u", "http://127.0.0.1:9/key.pem"),
            ),
            (
                "a kid that is a path",
                with(&header, "kid", "../../../../dev/null"),
            ),
        ] {
            let token = sign(pkcs8.as_ref(), &header, &claims)
                .map_err(|error| SweepError::because("signing", error))?;
            self.bad(&format!("a token signed with {name}"), token);
        }
        Ok(())
    }
}
