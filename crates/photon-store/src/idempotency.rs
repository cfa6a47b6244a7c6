//! Idempotency keys: what a request made, recorded under its key in the very transaction that made it.
//!
//! ```text
//!   /photon/<service>/idempotency/<name>                          {v, fingerprint, kind, id, at, …, answer}
//!   /photon/<service>/idempotency-age/<seconds, 20 digits>/<name> (empty: by which old ones are found)
//!
//!   Transaction::once ──> record, answer pending ──answer()──> answer kept or withheld ──sweep()──> gone
//! ```
//!
//! The record can only be created: of any number of requests with one key, in whatever process, one commits and the
//! others get [`Error::Done`]. So whoever finds a record knows that the change has happened, and whoever finds none that
//! it has not. `<name>` is made by the caller, who sees to it that it stands for one key of one principal at one route.
//!
//! What this is not: it knows neither HTTP nor who may be told; that is `photon-auth`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_client::GetOptions;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::Store;
use crate::transaction::Transaction;
use crate::{Error, Result, key};

/// The version of the stored form.
const VERSION: u32 = 1;
/// Records of one sweep: a requirement and two writes each, of the 128 that etcd takes.
pub const MOST_SWEPT: usize = 50;
/// The digits of a time in its key.
const DIGITS: usize = 20;

/// The records of one service.
#[derive(Clone, Debug)]
pub struct Idempotency {
    store: Store,
    /// `/photon/<service>/idempotency`
    root: Arc<str>,
}

/// What was made by a request with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Making {
    /// A digest of the request: another one under the same key is a mistake of its sender.
    pub fingerprint: String,
    /// What kind of thing was made.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// When, by the maker's clock.
    pub at: Timestamp,
    /// The id of the request that made it.
    pub request_id: String,
    /// What its sender had to be allowed to do, and where; to be asked again before the answer is told again.
    #[serde(default)]
    pub allowed: Vec<Allowed>,
    /// What was answered.
    pub answer: Answer,
}

/// A decision that let the request go on, in words of whoever decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// The permission.
    pub permission: String,
    /// Where.
    pub scope: String,
}

/// What is known of the answer to a request that made something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Answer {
    /// None was given yet, or the process ended before it was kept.
    Pending,
    /// It is not kept.
    Withheld {
        /// Why not.
        because: Withheld,
    },
    /// It is told again.
    Kept(Kept),
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// It has a secret in it that is shown once and stored nowhere.
    ShownOnce,
    /// It is larger than what is kept.
    TooLarge,
    /// The thing was made, and what came after failed.
    Failed,
}

/// An answer, as the door that gave it writes it; opaque here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The protocol's number for it.
    pub status: u16,
    /// What stood beside it.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its content.
    pub body: String,
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub making: Making,
    /// Revision of its last change.
    pub revision: i64,
}

#[derive(Serialize, Deserialize)]
struct Form<M> {
    v: u32,
    #[serde(flatten)]
    making: M,
}

impl Idempotency {
    /// Those of a service.
    pub fn new(store: Store, service: &str) -> Self {
        Self {
            store,
            root: format!("/photon/{service}/idempotency").into(),
        }
    }

    /// What was made under a name; `None` if nothing was.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::TooNew`], or those of any read.
    pub async fn find(&self, name: &str) -> Result<Option<Found>> {
        let key = self.key(name);
        let Some(entry) = self.store.get_raw(&key).await? else {
            return Ok(None);
        };
        let making = read(&key, &entry.value)?;
        Ok(Some(Found {
            making,
            revision: entry.revision,
        }))
    }

    /// Completes a record with what was answered, unless somebody has changed or removed it since it was found.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::NotFound`], or those of any write.
    pub async fn answer(&self, name: &str, found: Found, answer: Answer) -> Result<()> {
        let making = Making {
            answer,
            ..found.making
        };
        let key = self.key(name);
        let mut transaction = self.store.transaction();
        transaction
            .at_revision(&key, found.revision)?
            .put_raw(&key, stored(&key, &making)?, 0)?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes records made before a time, the oldest first, at most [`MOST_SWEPT`] at once, and says how many. Others may
    /// sweep at the same time.
    ///
    /// # Errors
    /// Those of any read and write.
    pub async fn sweep(&self, before: Timestamp) -> Result<usize> {
        let start = format!("{}-age/", self.root);
        let options = GetOptions::new()
            .with_range(self.store.full(&self.age_prefix(before)))
            .with_limit(i64::try_from(MOST_SWEPT).unwrap_or(i64::MAX))
            .with_keys_only();
        let old = self
            .store
            .range_raw(self.store.full(&start), options)
            .await?;
        let mut transaction = self.store.transaction();
        for kv in old.kvs() {
            let age = self.store.entry(kv)?;
            let name = age.key.rsplit('/').next().unwrap_or_default();
            // One that was swept and made again meanwhile has another age, and stays.
            transaction
                .at_revision(&age.key, age.revision)?
                .delete_raw(&age.key)?
                .delete_raw(&self.key(name))?;
        }
        match old.kvs().len() {
            0 => Ok(0),
            swept => match transaction.commit().await {
                Ok(_) => Ok(swept),
                // Somebody else sweeps.
                Err(Error::NotFound { .. } | Error::Conflict { .. }) => Ok(0),
                Err(error) => Err(error),
            },
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// What the ages of records made from this second on begin with.
    fn age_prefix(&self, at: Timestamp) -> String {
        format!("{}-age/{:0DIGITS$}", self.root, at.as_second().max(0))
    }
}

impl Transaction {
    /// Makes this transaction the one that is done under a name: [`Error::Done`], before any other requirement is looked
    /// at, if there was one already. It needs a requirement and two writes of the 128 that etcd takes.
    ///
    /// # Errors
    /// When the name cannot be part of a key. The store is asked only by [`Transaction::commit`].
    pub fn once(
        &mut self,
        idempotency: &Idempotency,
        name: &str,
        making: &Making,
    ) -> Result<&mut Self> {
        let record = idempotency.key(name);
        let age = format!("{}/{name}", idempotency.age_prefix(making.at));
        if name.contains('/') {
            return Err(Error::InvalidKey {
                key: name.chars().take(200).collect(),
                reason: "is not the name of a record of an idempotency key",
            });
        }
        key::check(&age)?;
        let value = stored(&record, making)?;
        self.not_done(&record)?
            .put_raw(&record, value, 0)?
            .put_raw(&age, Vec::new(), 0)
    }
}

fn stored(key: &str, making: &Making) -> Result<Vec<u8>> {
    let form = Form { v: VERSION, making };
    serde_json::to_vec(&form).map_err(|error| Error::Protocol(format!("{key}: {error}")))
}

fn read(key: &str, value: &[u8]) -> Result<Making> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let corrupt = |error: serde_json::Error| Error::Corrupt {
        key: key.to_owned(),
        reason: error.to_string(),
    };
    let Versioned { v } = serde_json::from_slice(value).map_err(corrupt)?;
    if v > VERSION {
        return Err(Error::TooNew {
            key: key.to_owned(),
            found: v,
            known: VERSION,
        });
    }
    let form: Form<Making> = serde_json::from_slice(value).map_err(corrupt)?;
    Ok(form.making)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    /// As it was stored by the first version.
    fn first_version() -> Value {
        json!({
            "v": 1,
            "fingerprint": "ab", "kind": "user", "id": "bob",
            "at": "2026-11-22T12:00:00Z", "request_id": "r",
            "allowed": [{"permission": "iam.users.create", "scope": "system"}],
            "answer": {"state": "kept", "status": 201, "headers": {"etag": "\"7\""}, "body": "{}"},
        })
    }

    fn of(value: &Value) -> Result<Making> {
        read("/k", value.to_string().as_bytes())
    }

    #[test]
    fn the_stored_form_is_that_of_the_first_version() {
        let making = of(&first_version()).unwrap();
        let again: Value = serde_json::from_slice(&stored("/k", &making).unwrap()).unwrap();
        assert_eq!(again, first_version());
        for (answer, form) in [
            (Answer::Pending, json!({"state": "pending"})),
            (
                Answer::Withheld {
                    because: Withheld::ShownOnce,
                },
                json!({"state": "withheld", "because": "shown_once"}),
            ),
        ] {
            let mut value = first_version();
            value["answer"] = form;
            assert_eq!(of(&value).unwrap().answer, answer);
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut newer = first_version();
        newer["v"] = json!(2);
        assert!(matches!(of(&newer), Err(Error::TooNew { found: 2, .. })));
        assert!(matches!(of(&json!({"v": 1})), Err(Error::Corrupt { .. })));
        assert!(matches!(of(&json!("x")), Err(Error::Corrupt { .. })));
    }
}
