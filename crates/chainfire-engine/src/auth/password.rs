//! Password hashes: argon2id in its standard text form (PHC), made and checked in the door that takes the
//! password, so that the log and the state hold nothing else.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::error::EtcdError;

/// Hashes one password with a random salt. Takes tens of milliseconds and 19 MiB: not for an async worker.
///
/// # Errors
/// When the hash cannot be made; the cause is a parameter or memory, never the password.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// Whether `hash` was made of `password`. As slow as [`hash_password`]; false for what is not a hash.
#[must_use]
pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Hashes and checks off the async workers, a few at a time, so that logins can exhaust neither the
/// processors nor the memory.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash of no password: an unknown user costs a client as much time as a wrong password.
    decoy: Arc<tokio::sync::OnceCell<String>>,
}

impl Passwords {
    /// At most `parallel` computations at a time; further ones wait, as long as their callers do.
    #[must_use]
    pub fn new(parallel: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(parallel.max(1))),
            decoy: Arc::new(tokio::sync::OnceCell::new()),
        }
    }

    /// See [`hash_password`].
    ///
    /// # Errors
    /// `STOPPED` when the process is stopping; otherwise as `hash_password`, reported as a failure of the
    /// store.
    pub async fn hash(&self, password: String) -> Result<String, EtcdError> {
        let hash = self
            .run(move || hash_password(&password))
            .await?
            .map_err(|error| EtcdError::storage(&std::io::Error::other(error.to_string())))?;
        Ok(hash)
    }

    /// Whether the password is right. Without a hash (no such user) the answer is no, after the same work.
    ///
    /// # Errors
    /// As [`Passwords::hash`].
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, EtcdError> {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self
                .decoy
                .get_or_try_init(|| self.hash(String::new()))
                .await?
                .clone(),
        };
        let right = self.run(move || verify_password(&password, &hash)).await?;
        Ok(right && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EtcdError> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| EtcdError::STOPPED)?;
        // The permit goes along: a caller that gives up does not make room before the work is done.
        spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| EtcdError::STOPPED)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let verify = |password: &str, hash: Option<&str>| {
            passwords.verify(password.to_owned(), hash.map(str::to_owned))
        };
        assert!(verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!verify("battery staple", Some(&hash)).await.unwrap());
        assert!(!verify("correct horse", Some("no hash")).await.unwrap());
        assert!(!verify("", None).await.unwrap(), "the decoy opens nothing");
    }

    #[test]
    fn the_same_password_never_hashes_the_same() {
        assert_ne!(hash_password("x").unwrap(), hash_password("x").unwrap());
    }
}
