//! Making the next key, and removing keys nothing needs.

use jiff::{SignedDuration, Timestamp};
use photon_authz::{PublicKey, Scope};
use photon_core::Error;
use photon_server::face::rfc3339;
use photon_store::{Store, Stored, Transaction};

use super::{
    DEV_ISSUER, KeyState, Signing, SigningConfig,
    key::NewKey,
    record::{Head, SigningKey},
    wrapping::WrappingKey,
};
use crate::{
    audit::{Act, Actor},
    token::{MAX_TTL, service::permission},
};

/// A superseded key verifies this much longer than its last token lives: clocks differ, and verifiers are lenient.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long a key that verifies nothing any more is still listed.
const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// A rotation, to be committed.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) transaction: Transaction,
    /// The key that signs next.
    pub(super) kid: String,
    pub(super) act: Act,
}

/// Whether it is time for the next key. One that does not sign yet is waited for, whatever else there is to wish for.
fn is_due(
    newest: Option<&PublicKey>,
    issuer: &str,
    config: &SigningConfig,
    now: Timestamp,
) -> bool {
    let Some(newest) = newest else {
        return true;
    };
    let until = i64::from(config.rotate_after_seconds) - i64::from(config.publish_ahead_seconds);
    let publish = later(newest.not_before, SignedDuration::from_secs(until));
    newest.not_before <= now && (publish <= now || newest.issuer != issuer)
}

/// A moment that much later; the end of time for what is behind it.
fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// When a key that is superseded at `then` has verified its last token.
fn last_use(then: Timestamp) -> Timestamp {
    later(later(then, MAX_TTL), MARGIN)
}

fn published(key: &NewKey, dev: bool, issuer: &str, not_before: Timestamp) -> PublicKey {
    PublicKey {
        kid: key.kid.clone(),
        jwk: key.jwk.clone(),
        issuer: issuer.to_owned(),
        dev,
        not_before,
        // Until it is superseded it has no end: an outage must not make it expire.
        not_after: Timestamp::MAX,
    }
}

/// Both halves of a new key, into a transaction.
fn add(
    transaction: &mut Transaction,
    store: &Store,
    wrapping: &WrappingKey,
    key: &NewKey,
    public: &PublicKey,
    now: Timestamp,
) -> Result<(), Error> {
    let private = SigningKey {
        kid: key.kid.clone(),
        private: wrapping
            .wrap(&key.kid, &key.pkcs8)
            .map_err(Error::internal)?,
        created_at: now,
    };
    transaction.create(&store.collection::<PublicKey>(), &key.kid, public)?;
    transaction.create(&store.collection::<SigningKey>(), &key.kid, &private)?;
    Ok(())
}

/// The first key of a mode, into the transaction that founds it; refused with it when there is one.
///
/// # Errors
/// `INTERNAL` when no key can be made.
pub fn found(
    transaction: &mut Transaction,
    store: &Store,
    wrapping: &WrappingKey,
    issuer: Option<&str>,
    now: Timestamp,
) -> Result<String, Error> {
    let key = NewKey::generate().map_err(Error::internal)?;
    let dev = issuer.is_none();
    let public = published(&key, dev, issuer.unwrap_or(DEV_ISSUER), now);
    add(transaction, store, wrapping, &key, &public, now)?;
    let head = Head {
        newest: key.kid.clone(),
    };
    transaction.create(&store.collection::<Head>(), Head::key(dev), &head)?;
    Ok(key.kid)
}

impl Signing {
    /// The next key if it is time for it. Of several processes one makes it.
    pub(super) async fn rotate_if_due(&self, now: Timestamp) -> Result<(), Error> {
        let newest = self.0.ring.load().newest().map(|key| key.public.clone());
        let public = newest.as_ref().map(|newest| &newest.value);
        if !is_due(public, &self.0.issuer, &self.0.config, now) {
            return Ok(());
        }
        let first = newest.is_none();
        if first && !self.0.dev {
            return Ok(()); // `iam init` makes it
        }
        let ahead = if first {
            SignedDuration::ZERO
        } else {
            SignedDuration::from_secs(i64::from(self.0.config.publish_ahead_seconds))
        };
        let made = async {
            let planned = self.make(newest, later(now, ahead), now).await?;
            let entry = planned
                .act
                .by(Actor::local("iam"), permission("iam.keys.rotate")?);
            self.0.audit.commit(&planned.transaction, &entry).await?;
            Ok(planned.kid)
        };
        match made.await {
            Ok(kid) => tracing::info!(kid, "a new signing key is published"),
            Err(error) if is_lost_race(&error) => {
                tracing::debug!("another process made the next signing key");
            }
            Err(error) => tracing::warn!(
                error = error.causes().unwrap_or_else(|| error.to_string()),
                "no new signing key was made; trying again"
            ),
        }
        self.reload().await
    }

    /// A new key that signs `ahead` from now on. Is one published that does not sign yet, that one signs earlier instead.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when the published key signs early enough already, `CONFLICT` when somebody else rotated at
    /// the same time, or those of the store.
    pub(super) async fn plan_rotation(
        &self,
        ahead: SignedDuration,
        now: Timestamp,
    ) -> Result<Planned, Error> {
        self.reload().await?;
        let newest = self.0.ring.load().newest().map(|key| key.public.clone());
        let signs_from = later(now, ahead);
        match newest {
            Some(waiting) if waiting.value.not_before > now => {
                if waiting.value.not_before <= signs_from {
                    return Err(Error::failed_precondition(format!(
                        "key {} is published already and signs from {}",
                        waiting.value.kid,
                        rfc3339(waiting.value.not_before)
                    )));
                }
                self.hasten(waiting, signs_from)
            }
            newest => self.make(newest, signs_from, now).await,
        }
    }

    /// One transaction: the head moves on, the new key is there, the one before gets its end.
    async fn make(
        &self,
        newest: Option<Stored<PublicKey>>,
        signs_from: Timestamp,
        now: Timestamp,
    ) -> Result<Planned, Error> {
        let store = &self.0.store;
        let wrapping = self.wrapping().await?;
        let heads = store.collection::<Head>();
        let public = store.collection::<PublicKey>();
        let head = heads.get(Head::key(self.0.dev)).await?;
        let mut transaction = store.transaction();
        let Some(mut head) = head else {
            let issuer = (!self.0.dev).then_some(self.0.issuer.as_str());
            let kid = found(&mut transaction, store, &wrapping, issuer, now)?;
            return Ok(planned(transaction, kid));
        };
        // The head tells whether the newest key we know of is the newest there is.
        let mut newest = newest
            .filter(|newest| newest.value.kid == head.value.newest)
            .ok_or_else(|| Error::conflict("the keys were changed meanwhile"))?;
        newest.value.not_after = last_use(signs_from);
        transaction.replace(&public, &newest)?;
        let key = NewKey::generate().map_err(Error::internal)?;
        let next = published(&key, self.0.dev, &self.0.issuer, signs_from);
        add(&mut transaction, store, &wrapping, &key, &next, now)?;
        head.value.newest.clone_from(&key.kid);
        transaction.replace(&heads, &head)?;
        Ok(planned(transaction, key.kid))
    }

    /// Lets the published key sign earlier, and the one before it end earlier.
    fn hasten(
        &self,
        mut waiting: Stored<PublicKey>,
        signs_from: Timestamp,
    ) -> Result<Planned, Error> {
        let public = self.0.store.collection::<PublicKey>();
        let was = last_use(waiting.value.not_before);
        let mut transaction = self.0.store.transaction();
        for known in self.0.ring.load().all() {
            if known.public.value.not_after == was {
                let mut before = known.public.clone();
                before.value.not_after = last_use(signs_from);
                transaction.replace(&public, &before)?;
            }
        }
        waiting.value.not_before = signs_from;
        transaction.replace(&public, &waiting)?;
        Ok(planned(transaction, waiting.value.kid))
    }

    /// Removes keys that verify nothing any more.
    pub(super) async fn retire(&self, now: Timestamp) -> Result<(), Error> {
        let ring = self.0.ring.load_full();
        let states = ring.states(now);
        for (key, (_, state)) in ring.all().iter().zip(states) {
            if state != KeyState::Retired || later(key.public.value.not_after, KEEP) > now {
                continue;
            }
            let kid = &key.public.value.kid;
            let private = self.0.store.collection::<SigningKey>();
            let mut transaction = self.0.store.transaction();
            transaction.delete(&self.0.store.collection::<PublicKey>(), &key.public)?;
            if let Some(stored) = private.get(kid).await? {
                transaction.delete(&private, &stored)?;
            }
            let entry = Act::new("signing_key", kid, Scope::System)
                .detail("retired", true)
                .by(Actor::local("iam"), permission("iam.keys.rotate")?);
            match self.0.audit.commit(&transaction, &entry).await {
                Ok(_) => tracing::info!(kid, "a signing key is retired"),
                // Another process was first.
                Err(error) if error.is_retryable() => {}
                Err(photon_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn planned(transaction: Transaction, kid: String) -> Planned {
    let act = Act::new("signing_key", &kid, Scope::System);
    Planned {
        transaction,
        kid,
        act,
    }
}

fn is_lost_race(error: &Error) -> bool {
    use photon_core::Code;
    error.code() == Code::CONFLICT || error.code() == Code::ALREADY_EXISTS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key(issuer: &str, not_before: i64) -> PublicKey {
        PublicKey {
            kid: "k".to_owned(),
            jwk: serde_json::json!({}),
            issuer: issuer.to_owned(),
            dev: false,
            not_before: at(not_before),
            not_after: Timestamp::MAX,
        }
    }

    #[test]
    fn the_next_key_is_made_before_it_is_needed() {
        let config = SigningConfig {
            rotate_after_seconds: 1000,
            publish_ahead_seconds: 100,
            ..SigningConfig::default()
        };
        let due = |key: Option<&PublicKey>, now| is_due(key, "us", &config, at(now));
        assert!(due(None, 0));
        let signing = key("us", 10_000);
        assert!(!due(Some(&signing), 10_899));
        assert!(due(Some(&signing), 10_900));
        // Another issuer is configured now.
        let theirs = key("them", 10_000);
        assert!(due(Some(&theirs), 10_001));
        // What does not sign yet is waited for.
        assert!(!due(Some(&theirs), 9_999));
    }

    #[test]
    fn a_superseded_key_outlives_its_last_token() {
        let superseded = at(1_000_000);
        let last_token_ends = later(superseded, MAX_TTL);
        assert!(last_use(superseded) > last_token_ends);
        assert_eq!(last_use(Timestamp::MAX), Timestamp::MAX);
    }
}
