//! The keys of one mode as they were last read, and which of them signs.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use photon_authz::PublicKey;
use photon_core::Error;
use photon_store::Stored;
use serde::Serialize;

use super::{
    KeyState,
    record::SigningKey,
    wrapping::{WrappingError, WrappingKey},
};

/// A key, with its private half if this process can open it.
pub(super) struct Known {
    pub(super) public: Stored<PublicKey>,
    private: Result<EncodingKey, Unopened>,
}

/// Why a private half is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unopened {
    #[error("the private half of {0} is not stored")]
    Missing(String),
    #[error(transparent)]
    Wrapped(#[from] WrappingError),
}

/// Every key of the mode, the newest first.
#[derive(Default)]
pub(super) struct Ring {
    keys: Vec<Arc<Known>>,
}

impl Ring {
    pub(super) fn of(
        dev: bool,
        public: Vec<Stored<PublicKey>>,
        private: &[Stored<SigningKey>],
        wrapping: &WrappingKey,
    ) -> Self {
        let mut keys: Vec<_> = public
            .into_iter()
            .filter(|public| public.value.dev == dev)
            .map(|public| {
                let private = open(&public.value.kid, private, wrapping);
                Arc::new(Known { public, private })
            })
            .collect();
        keys.sort_by(|a, b| order(&b.public.value).cmp(&order(&a.public.value)));
        Self { keys }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn newest(&self) -> Option<&Arc<Known>> {
        self.keys.first()
    }

    pub(super) fn all(&self) -> &[Arc<Known>] {
        &self.keys
    }

    /// Why the newest key cannot be used, if it cannot.
    pub(super) fn newest_failure(&self) -> Option<&Unopened> {
        self.newest().and_then(|key| key.private.as_ref().err())
    }

    /// The newest key whose time has come and that we can open; before the first key's time that key.
    fn signing(&self, now: Timestamp) -> Option<&Arc<Known>> {
        let usable = || {
            self.keys
                .iter()
                .filter(|key| key.private.is_ok() && now < key.public.value.not_after)
        };
        usable()
            .find(|key| key.public.value.not_before <= now)
            // Another process's clock may be a little ahead of ours.
            .or_else(|| usable().next_back())
    }

    pub(super) fn signer(&self, now: Timestamp) -> Option<Signer> {
        self.signing(now).cloned().map(Signer)
    }

    pub(super) fn states(&self, now: Timestamp) -> Vec<(PublicKey, KeyState)> {
        let signing = self.signing(now).map(|key| key.public.value.kid.as_str());
        self.keys
            .iter()
            .map(|key| {
                let public = &key.public.value;
                let state = match public {
                    key if now >= key.not_after => KeyState::Retired,
                    key if signing == Some(key.kid.as_str()) => KeyState::Signing,
                    key if now < key.not_before => KeyState::Published,
                    _ => KeyState::Verifying,
                };
                (public.clone(), state)
            })
            .collect()
    }
}

fn order(key: &PublicKey) -> (Timestamp, &str) {
    (key.not_before, &key.kid)
}

fn open(
    kid: &str,
    private: &[Stored<SigningKey>],
    wrapping: &WrappingKey,
) -> Result<EncodingKey, Unopened> {
    let found = private.iter().find(|private| private.key == kid);
    let found = found.ok_or_else(|| Unopened::Missing(kid.to_owned()))?;
    let pkcs8 = wrapping.unwrap(kid, &found.value.private)?;
    Ok(EncodingKey::from_ec_der(&pkcs8))
}

/// The key that signs at a moment.
#[derive(Clone)]
pub struct Signer(Arc<Known>);

impl Signer {
    /// What stands in `iss` of what it signs.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.public.value.issuer
    }

    /// Its id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.0.public.value.kid
    }

    /// A token of type `typ` with these claims.
    ///
    /// # Errors
    /// `INTERNAL`: the key is not one.
    pub fn sign<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid().to_owned());
        let key = self
            .0
            .private
            .as_ref()
            .map_err(|error| Error::internal(error.to_string()))?;
        jsonwebtoken::encode(&header, claims, key).map_err(Error::internal)
    }
}
