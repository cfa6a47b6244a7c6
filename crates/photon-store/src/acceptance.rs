//! A person's word that a changed store is the right one, for the running processes of a service.
//!
//! Whoever remembers nothing on disk believes, when it starts, the store it finds. One that runs has seen more: when the store
//! is restored or replaced under it, it refuses everything (`witness`) until somebody says that it is meant. That is said once
//! for all processes, in the store itself:
//!
//! ```text
//!   /photon/<service>/store-accepted   {v, cluster_id, incarnation, at}
//! ```
//!
//! The word counts for the life of the store that it names. A restored store may hold the word about an earlier one. That is told
//! by the incarnation, which is another. A store without one, or that keeps it over a restore (etcd), is held to more: the word
//! must have been written after this process has looked at the change; or, if the cluster is another, lately.

use etcd_client::{Txn, TxnOp, TxnOpResponse};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::store::{IDENTITY_KEY, Store};
use crate::witness::{Header, Seen};
use crate::{Entry, Error, Result, key};

/// The version of the stored form.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Word {
    v: u32,
    cluster_id: u64,
    #[serde(default)]
    incarnation: Option<String>,
    at: Timestamp,
}

/// What is "lately" by the clocks of two machines. Who notices later than this after the word is told again.
const LATELY: SignedDuration = SignedDuration::from_mins(10);

/// A store that is not the one known before, as it was when that was first looked at.
#[derive(Clone, Debug)]
pub struct Changed {
    before: Option<Seen>,
    /// Whatever is written later was written by somebody who could know.
    revision: i64,
    at: Timestamp,
}

fn path(service: &str) -> String {
    format!("/photon/{service}/store-accepted")
}

impl Store {
    /// Says for all processes of a service that the store is accepted as it is now.
    ///
    /// # Errors
    /// [`Error::StoreChanged`] if it changes while this is said; those of any write.
    pub async fn accept_for(&self, service: &str) -> Result<Seen> {
        self.verify().await?;
        let seen = self
            .seen()
            .ok_or_else(|| Error::Protocol("the store has told nothing of itself".into()))?;
        let word = Word {
            v: VERSION,
            cluster_id: seen.cluster_id,
            incarnation: seen.incarnation.clone(),
            at: Timestamp::now(),
        };
        let value =
            serde_json::to_vec(&word).map_err(|error| Error::Protocol(error.to_string()))?;
        let mut transaction = self.transaction();
        transaction.put_raw(&path(service), value, 0)?;
        transaction.commit().await?;
        Ok(seen)
    }

    /// Looks at a store that has changed ([`Store::change`]).
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_at_change(&self, service: &str) -> Result<Changed> {
        let before = self.seen();
        let (now, _) = self.look(&path(service)).await?;
        Ok(Changed {
            before,
            revision: now.revision,
            at: Timestamp::now(),
        })
    }

    /// Whether somebody has said that the changed store is meant; then what it is now, for [`Store::accept_as`].
    ///
    /// # Errors
    /// When the store does not answer, or the word cannot be read.
    pub async fn is_accepted(&self, service: &str, changed: &Changed) -> Result<Option<Seen>> {
        let path = path(service);
        let (now, entry) = self.look(&path).await?;
        let Some(entry) = entry else {
            return Ok(None);
        };
        let word: Word = serde_json::from_slice(&entry.value).map_err(|error| Error::Corrupt {
            key: path,
            reason: error.to_string(),
        })?;
        let same = (word.cluster_id, &word.incarnation) == (now.cluster_id, &now.incarnation);
        let is_about_this = entry.revision > changed.revision
            || changed.before.as_ref().is_some_and(|before| {
                let new_life = now.incarnation.is_some() && before.incarnation != now.incarnation;
                let lately = changed.at.duration_since(word.at) < LATELY;
                new_life || (before.cluster_id != now.cluster_id && lately)
            });
        Ok((same && is_about_this).then_some(now))
    }

    /// Goes on with the store as it is now, of which nothing older is remembered. Only on a person's word.
    pub fn accept_as(&self, now: Seen) {
        self.witness().accept_as(now);
    }

    /// The store as it is and an entry, whatever was known of it before.
    async fn look(&self, path: &str) -> Result<(Seen, Option<Entry>)> {
        key::check(path)?;
        let txn = Txn::new().and_then([
            TxnOp::get(IDENTITY_KEY, None),
            TxnOp::get(self.full(path), None),
        ]);
        let limit = self.options().request_timeout;
        let mut client = self.client();
        let response = tokio::time::timeout(limit, client.txn(txn))
            .await
            .map_err(|_| Error::no_answer_to_read(limit))?
            .map_err(Error::of_read)?;
        let header = Header::of(response.header())?;
        let mut found = response
            .op_responses()
            .into_iter()
            .map(|answer| match answer {
                TxnOpResponse::Get(found) => found.kvs().first().cloned(),
                _ => None,
            });
        let incarnation = found.next().flatten();
        let entry = found.next().flatten();
        let seen = Seen {
            cluster_id: header.cluster_id,
            incarnation: incarnation.map(|kv| String::from_utf8_lossy(kv.value()).into_owned()),
            revision: header.revision,
        };
        Ok((seen, entry.map(|kv| self.entry(&kv)).transpose()?))
    }
}
