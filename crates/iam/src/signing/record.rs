//! What is stored of a signing key besides its public half.

use anyhow::Context as _;
use jiff::Timestamp;
use photon_store::{Error, Record, Store};
use serde::{Deserialize, Serialize};

use super::wrapping::{Wrapped, WrappingKey, from_hex, random};

/// The private half, wrapped. Its key is the kid, which is authenticated with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// Which key.
    pub kid: String,
    /// PKCS#8, wrapped.
    pub private: Wrapped,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for SigningKey {
    const ROOT: &'static str = "/photon/iam/signing/";
}

/// The newest key of a mode. Every rotation changes it, so that two cannot happen at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Its kid.
    pub newest: String,
}

impl Record for Head {
    const ROOT: &'static str = "/photon/iam/signing-head/";
}

impl Head {
    /// The record's key.
    #[must_use]
    pub fn key(dev: bool) -> &'static str {
        if dev { "dev" } else { "enforce" }
    }
}

/// The wrapping key of a dev mode without a file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevWrappingKey {
    key: String,
}

impl Record for DevWrappingKey {
    const ROOT: &'static str = "/photon/iam/dev-wrapping-key/";
}

impl DevWrappingKey {
    const KEY: &'static str = "only";

    /// The one in the store, made if there is none; of two that make one the first wins.
    pub(super) async fn of(store: &Store) -> anyhow::Result<WrappingKey> {
        let all = store.collection::<Self>();
        let found = match all.get(Self::KEY).await? {
            Some(found) => found,
            None => {
                let new = Self {
                    key: crate::hex::encode(&random()?),
                };
                match all.create(Self::KEY, new).await {
                    Err(Error::AlreadyExists { .. }) => all
                        .get(Self::KEY)
                        .await?
                        .context("the dev wrapping key was removed meanwhile")?,
                    made => made?,
                }
            }
        };
        let bytes = from_hex(&found.value.key).context("the stored dev wrapping key is broken")?;
        Ok(WrappingKey::from_bytes(&bytes)?)
    }
}
