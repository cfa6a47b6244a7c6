//! Addresses that only one user may have, where `users.unique_email` says so.
//!
//! ```text
//!   /photon/iam/user-email/<SHA-256 of the address in lower case>    {v, user, at}
//! ```
//!
//! The record is written in the transaction that gives the user the address. It counts only as long as the user it names
//! has that address: what a process without the setting left behind is taken over. Users that were there before the setting
//! was turned on get their records when a process starts with it.

use std::collections::HashMap;

use jiff::Timestamp;
use photon_core::{Error, Name};
use photon_store::{PageRequest, Record, Store, Stored, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::User;
use crate::{app::App, contention::Lost, hex};

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    user: Name,
    /// When it was claimed. Every claim changes the record, also of who has it already: of two that find it stale one wins.
    at: Timestamp,
}

impl Holder {
    fn now(user: &User) -> Self {
        Self {
            user: user.id.clone(),
            at: Timestamp::now(),
        }
    }
}

impl Record for Holder {
    const ROOT: &'static str = "/photon/iam/user-email/";
}

/// The key of an address, however it is written.
fn key_of(email: &str) -> String {
    hex::encode(&Sha256::digest(email.to_lowercase()))
}

/// Gives, in a transaction, a user its address alone.
///
/// # Errors
/// 409 naming `email`, if somebody else has it.
pub(super) async fn claim(
    app: &App,
    transaction: &mut Transaction,
    user: &User,
) -> Result<(), Lost> {
    if !app.config.users.unique_email || user.email.is_empty() {
        return Ok(());
    }
    let key = key_of(&user.email);
    let holders = app.records::<Holder>();
    match holders.get(&key).await? {
        Some(holder) if holder.value.user != user.id && has(app, &holder.value, &key).await? => {
            return Err(taken().into());
        }
        Some(mut holder) => {
            holder.value = Holder::now(user);
            transaction.replace(&holders, &holder)?;
        }
        None => {
            transaction.create(&holders, &key, &Holder::now(user))?;
        }
    }
    Ok(())
}

/// Takes, in a transaction, a user's address from it.
pub(super) async fn release(
    app: &App,
    transaction: &mut Transaction,
    user: &User,
) -> Result<(), Lost> {
    if !app.config.users.unique_email || user.email.is_empty() {
        return Ok(());
    }
    let holders = app.records::<Holder>();
    if let Some(holder) = holders.get(&key_of(&user.email)).await?
        && holder.value.user == user.id
    {
        transaction.delete(&holders, &holder)?;
    }
    Ok(())
}

/// Takes, in a transaction, an address from a user and gives it another one, if they are two.
///
/// # Errors
/// As [`claim`].
pub(super) async fn exchange(
    app: &App,
    transaction: &mut Transaction,
    before: &User,
    after: &User,
) -> Result<(), Lost> {
    if key_of(&before.email) == key_of(&after.email) {
        return Ok(());
    }
    release(app, transaction, before).await?;
    claim(app, transaction, after).await
}

/// Whether the holder of a record is a user with its address.
async fn has(app: &App, holder: &Holder, key: &str) -> Result<bool, Error> {
    let user = app.records::<User>().get(holder.user.as_str()).await?;
    Ok(user.is_some_and(|user| key_of(&user.value.email) == key))
}

fn taken() -> Error {
    Error::already_exists("a user with this email")
        .with_details(json!({ "field": "email", "constraint": "unique" }))
}

/// Claims the addresses of the users that are there and have not claimed theirs. Of two with the same one the older has
/// it; the other is named in the log, and keeps it until it is changed.
///
/// # Errors
/// Those of the store.
pub(crate) async fn claim_all(store: &Store) -> photon_store::Result<()> {
    let everything = PageRequest::default();
    let holders = store.collection::<Holder>().list(&everything).await?.items;
    let holders: HashMap<&str, &Stored<Holder>> = holders
        .iter()
        .map(|holder| (holder.key.as_str(), holder))
        .collect();
    let users = store.collection::<User>().list(&everything).await?.items;
    let mut users: Vec<&User> = users
        .iter()
        .map(|user| &user.value)
        .filter(|user| !user.email.is_empty())
        .collect();
    users.sort_by_key(|user| (user.created_at, &user.id));
    let keys: HashMap<&Name, String> = users
        .iter()
        .map(|user| (&user.id, key_of(&user.email)))
        .collect();
    for user in &users {
        let key = &keys[&user.id];
        let holder = holders.get(key.as_str());
        // Of somebody who still has this address.
        let is_held = |holder: &&&Stored<Holder>| keys.get(&holder.value.user) == Some(key);
        let claimed = match holder.filter(is_held) {
            Some(holder) => holder.value.user == user.id,
            None => claim_one(store, key, user, holder.copied()).await?,
        };
        if !claimed {
            tracing::warn!(user = %user.id, "shares its e-mail address with an older user");
        }
    }
    Ok(())
}

/// Whether a user now holds its address, of which nobody did.
async fn claim_one(
    store: &Store,
    key: &str,
    user: &User,
    stale: Option<&Stored<Holder>>,
) -> photon_store::Result<bool> {
    let holders = store.collection::<Holder>();
    let mut transaction = store.transaction();
    match stale {
        Some(stale) => {
            let mut holder = stale.clone();
            holder.value = Holder::now(user);
            transaction.replace(&holders, &holder)?;
        }
        None => {
            transaction.create(&holders, key, &Holder::now(user))?;
        }
    }
    match transaction.commit().await {
        Ok(_) => Ok(true),
        // An older one got it just now; or another process does the same, and for the same user.
        Err(
            photon_store::Error::AlreadyExists { .. }
            | photon_store::Error::Conflict { .. }
            | photon_store::Error::NotFound { .. },
        ) => {
            let holder = holders.get(key).await?;
            Ok(holder.is_some_and(|holder| holder.value.user == user.id))
        }
        Err(error) => Err(error),
    }
}
