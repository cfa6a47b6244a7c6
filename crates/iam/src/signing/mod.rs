//! The keys that sign tokens: made, wrapped, published, rotated, retired.
//!
//! ```text
//!            published          signs           superseded            retired
//!  rotate ──────┬──────────────────┬──────────────────┬──────────────────┬────> time
//!               │ publish_ahead    │ not_before       │ the next one's   │ not_after: the longest token
//!               │ everybody hears  │                  │ not_before       │ of this key has ended
//! ```
//!
//! All of it is in the store: which key signs at a moment follows from the published records and the clock, so two
//! processes choose the same one without talking to each other. A rotation is one transaction that compares the head
//! record; of two at once one wins, and the other finds its key made already.
//!
//! Private keys lie in `/photon/iam/signing/<kid>`, wrapped by a key from a file. In dev mode, where whoever reaches the
//! store is the operator anyway, no file is needed: the wrapping key then lies in the store too. Dev keys have their own
//! issuer and are marked; verifiers in enforce mode do not know them.

mod key;
mod record;
mod rest;
mod ring;
mod rotation;
pub mod service;
mod wrapping;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use photon_authz::PublicKey;
use photon_core::{Code, Error};
use photon_server::Mode;
use photon_store::{PageRequest, Store};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;

pub(crate) use self::rest::RestDoc;
pub use self::{
    key::NewKey,
    record::{Head, SigningKey},
    rest::routes,
    ring::Signer,
    rotation::found,
    wrapping::{Wrapped, WrappingError, WrappingKey},
};
use self::{record::DevWrappingKey, ring::Ring};

/// The issuer of tokens for a dev mode.
pub const DEV_ISSUER: &str = "photon-dev";

/// How often the keys are looked at even if nothing is heard of a change.
const LOOK: Duration = Duration::from_secs(30);
/// The wait after a watch that failed for a reason that trying again at once does not mend.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// `[signing]`: the keys that sign tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningConfig {
    /// The file with the key that wraps the signing keys, mode 0600; `iam init` makes it. Needed in enforce mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrapping_key_file: Option<PathBuf>,
    /// How long a key signs, in seconds. Default 30 days.
    pub rotate_after_seconds: u32,
    /// How long a key is published before it signs, in seconds, so that everybody who keeps our key set has asked for it
    /// again. Default one hour, at least twice what `/.well-known/jwks.json` may be kept.
    pub publish_ahead_seconds: u32,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            wrapping_key_file: None,
            rotate_after_seconds: 30 * 24 * 3600,
            publish_ahead_seconds: 3600,
        }
    }
}

impl SigningConfig {
    /// What does not go together, if anything.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self, mode: Mode) -> Result<(), String> {
        if mode == Mode::Enforce && self.wrapping_key_file.is_none() {
            return Err("signing.wrapping_key_file is required in enforce mode".to_owned());
        }
        let least = 2 * crate::wellknown::KEY_SET_MAX_AGE_SECONDS;
        if self.publish_ahead_seconds < least {
            return Err(format!(
                "signing.publish_ahead_seconds is at least {least}: others may keep the key set that long"
            ));
        }
        if self.rotate_after_seconds / 2 < self.publish_ahead_seconds {
            return Err(
                "signing.rotate_after_seconds is at least twice signing.publish_ahead_seconds"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The signing keys of this service. Clones share them.
#[derive(Clone)]
pub struct Signing(Arc<Inner>);

struct Inner {
    store: Store,
    audit: Audit,
    dev: bool,
    issuer: String,
    config: SigningConfig,
    /// What wraps the private halves. One that lies in the store is read again when that has become another one.
    wrapping: ArcSwapOption<WrappingKey>,
    ring: ArcSwap<Ring>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing")
            .field("issuer", &self.0.issuer)
            .finish_non_exhaustive()
    }
}

/// What a key does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Known to verifiers, signs later.
    Published,
    /// New tokens are signed with it.
    Signing,
    /// Older tokens are verified with it.
    Verifying,
    /// Nothing is verified with it any more.
    Retired,
}

impl KeyState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Retired => "retired",
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Signing {
    /// Reads the keys. In dev mode the first one is made; in enforce mode that is `iam init`'s.
    ///
    /// # Errors
    /// The store, a wrapping key that is missing or unsafe, a signing key that it does not open, or no signing key: each
    /// says which step is missing.
    pub async fn start(
        store: Store,
        audit: Audit,
        mode: Mode,
        issuer: &str,
        config: &SigningConfig,
    ) -> anyhow::Result<Self> {
        let dev = mode == Mode::Dev;
        let wrapping = match (&config.wrapping_key_file, dev) {
            (Some(path), true) => WrappingKey::load_or_create(path)?,
            (Some(path), false) => WrappingKey::load(path).context(
                "the wrapping key is made by `iam init`; copy it from the host where that ran",
            )?,
            (None, true) => DevWrappingKey::of(&store).await?,
            (None, false) => anyhow::bail!("signing.wrapping_key_file is required in enforce mode"),
        };
        let issuer = if dev { DEV_ISSUER } else { issuer };
        let signing = Self(Arc::new(Inner {
            store,
            audit,
            dev,
            issuer: issuer.to_owned(),
            config: config.clone(),
            wrapping: ArcSwapOption::from_pointee(wrapping),
            ring: ArcSwap::from_pointee(Ring::default()),
        }));
        signing.reload().await?;
        let now = Timestamp::now();
        if dev && signing.0.ring.load().is_empty() {
            signing.rotate_if_due(now).await?;
        }
        let ring = signing.0.ring.load_full();
        if ring.is_empty() {
            anyhow::bail!("there is no signing key: run `iam init` first");
        }
        if let Some(error) = ring.newest_failure() {
            anyhow::bail!("the newest signing key cannot be used: {error}");
        }
        Ok(signing)
    }

    /// Follows the keys, rotates when it is time and removes what nothing needs any more, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut watch = self.0.store.collection::<PublicKey>().watch("");
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => Ok(()),
                event = watch.next() => event.map(drop),
            };
            if let Err(error) = heard {
                tracing::warn!(%error, "the signing keys are not followed");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AFTER_FAILURE) => {}
                }
            }
            if let Err(error) = self.maintain(Timestamp::now()).await {
                tracing::warn!(%error, "the signing keys were not looked after; trying again");
            }
        }
    }

    /// Reads the keys, makes the next one if it is time for it, and removes what nothing needs any more.
    pub(crate) async fn maintain(&self, now: Timestamp) -> Result<(), Error> {
        self.reload().await?;
        self.rotate_if_due(now).await?;
        self.retire(now).await
    }

    /// Reads the keys anew, both halves at one moment.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let everything = PageRequest::default();
        let public = self.0.store.collection::<PublicKey>();
        let public = public.list(&everything).await?;
        let at_that_moment = PageRequest {
            revision: public.revision,
            ..PageRequest::default()
        };
        let private = self.0.store.collection::<SigningKey>();
        let private = private.list(&at_that_moment).await?;
        let wrapping = self.wrapping().await?;
        let ring = Ring::of(self.0.dev, public.items, &private.items, &wrapping);
        self.0.ring.store(Arc::new(ring));
        Ok(())
    }

    /// What wraps the private halves.
    async fn wrapping(&self) -> Result<Arc<WrappingKey>, Error> {
        if let Some(known) = self.0.wrapping.load_full() {
            return Ok(known);
        }
        let found = DevWrappingKey::of(&self.0.store).await;
        let found = Arc::new(found.map_err(|error| Error::internal(format!("{error:#}")))?);
        self.0.wrapping.store(Some(Arc::clone(&found)));
        Ok(found)
    }

    /// Forgets what lies in the store, when that has become another one. Nothing is signed until it is read again.
    pub(crate) fn forget(&self) {
        self.0.ring.store(Arc::default());
        if self.0.config.wrapping_key_file.is_none() {
            self.0.wrapping.store(None);
        }
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is none that this process can use.
    pub fn signer(&self, now: Timestamp) -> Result<Signer, Error> {
        self.0
            .ring
            .load()
            .signer(now)
            .ok_or_else(|| Error::new(Code::UNAVAILABLE, "there is no key to sign tokens with"))
    }

    /// The published keys of this mode with their states, the newest first.
    pub fn keys(&self, now: Timestamp) -> Vec<(PublicKey, KeyState)> {
        self.0.ring.load().states(now)
    }

    /// The issuer of the tokens that are signed now, as in their `iss`.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// How long a key is published before it signs.
    pub(crate) fn publish_ahead_seconds(&self) -> u32 {
        self.0.config.publish_ahead_seconds
    }
}
