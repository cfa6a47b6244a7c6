//! Tokens that were found good, so that the next request need not pay for the signature again.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::token::Verified;

/// A token that nobody shows for this long is forgotten.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// By SHA-256 of the token: the cache holds no credential. What it holds says only that the signature and the claims
/// were good; time, key, revocation, principal and scope are asked about on each use.
#[derive(Debug)]
pub(crate) struct Tokens(Cache<[u8; 32], Arc<Verified>>);

/// What a token is remembered by.
pub(crate) type Fingerprint = [u8; 32];

impl Tokens {
    pub(crate) fn new(capacity: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(capacity)
                .time_to_idle(IDLE)
                .build(),
        )
    }

    pub(crate) fn fingerprint(token: &str) -> Fingerprint {
        Sha256::digest(token).into()
    }

    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<Arc<Verified>> {
        self.0.get(fingerprint)
    }

    pub(crate) fn remember(&self, fingerprint: Fingerprint, verified: Arc<Verified>) {
        self.0.insert(fingerprint, verified);
    }

    pub(crate) fn forget(&self, fingerprint: &Fingerprint) {
        self.0.invalidate(fingerprint);
    }
}
