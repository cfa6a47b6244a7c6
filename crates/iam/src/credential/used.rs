//! When a credential was last used.
//!
//! A record of its own, beside the credential: a login must not change the credential's revision, which people compare.
//! It is written at most once a minute, and that it could not be written is no reason to refuse anybody.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use photon_store::{Record, Store, Stored};
use serde::{Deserialize, Serialize};

use super::{Credential, CredentialId};

/// How exact it is.
const RESOLUTION_SECONDS: u32 = 60;

/// When a credential was last used, under the credential's own key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LastUsed {
    pub(super) at: Timestamp,
}

impl Record for LastUsed {
    const ROOT: &'static str = "/photon/iam/credential-used/";
}

/// Writes it down. Clones share what was written lately.
#[derive(Clone, Debug)]
pub struct Used {
    store: Store,
    lately: Cache<CredentialId, ()>,
}

impl Used {
    /// Over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            lately: Cache::builder()
                .max_capacity(100_000)
                .time_to_live(Duration::from_secs(RESOLUTION_SECONDS.into()))
                .build(),
        }
    }

    /// Forgets what was written lately, when the store has become another one.
    pub(crate) fn forget(&self) {
        self.lately.invalidate_all();
    }

    /// A credential is used now.
    pub(crate) async fn touch(&self, credential: &Stored<Credential>, now: Timestamp) {
        let id = credential.value.id;
        if self.lately.contains_key(&id) {
            return;
        }
        self.lately.insert(id, ());
        if let Err(error) = self.write(credential, now).await {
            tracing::debug!(%error, credential = %id, "its last use was not written down");
        }
    }

    async fn write(
        &self,
        credential: &Stored<Credential>,
        now: Timestamp,
    ) -> photon_store::Result<()> {
        let records = self.store.collection::<LastUsed>();
        let resolution = SignedDuration::from_secs(RESOLUTION_SECONDS.into());
        let mut transaction = self.store.transaction();
        match records.get(&credential.key).await? {
            // Another process has just written it.
            Some(last) if now.duration_since(last.value.at) < resolution => return Ok(()),
            Some(mut last) => {
                last.value.at = now;
                transaction.replace(&records, &last)?;
            }
            None => {
                transaction.create(&records, &credential.key, &LastUsed { at: now })?;
            }
        }
        // Nothing is left behind by one that is deleted meanwhile.
        transaction.unchanged(&self.store.collection::<Credential>(), credential)?;
        // Not audited: it says of a use what the use's own record would.
        transaction.commit().await?;
        Ok(())
    }
}

/// Reads it.
pub(super) async fn of(store: &Store, key: &str) -> photon_store::Result<Option<Stored<LastUsed>>> {
    store.collection::<LastUsed>().get(key).await
}
