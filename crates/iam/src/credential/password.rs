//! Passwords: argon2id, so many at once and no more.
//!
//! A hash takes some 20 ms of one core and 19 MiB. As many are made at a time as there are cores; a few callers more wait,
//! the rest are told to come back. So guessing cannot take the machine from everybody else.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::SaltString,
};
use photon_core::{Code, Error};
use tokio::sync::Semaphore;
use zxcvbn::{Score, zxcvbn};

use super::Secret;

/// OWASP's second recommendation for argon2id: memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Callers that wait for a core; one more is refused.
const MOST_WAITING: usize = 64;
/// And how long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

const FEWEST_CHARACTERS: usize = 8;
const MOST_BYTES: usize = 1024;

/// Makes and compares password hashes. Clones share the limits.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    /// One for each hash that is made or waited for.
    places: Semaphore,
    /// One for each core.
    cores: Arc<Semaphore>,
    /// What is compared for principals that have no password.
    nobody: String,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

/// A password that may be set. Only here do passwords have a form; one that is presented is merely right or wrong.
pub(super) fn check_form(field: &str, password: &Secret, owner: &str) -> Result<(), Error> {
    let text = password.expose();
    if text.chars().count() < FEWEST_CHARACTERS {
        return Err(Error::validation(
            field,
            "length",
            format!("{field} must have at least {FEWEST_CHARACTERS} characters"),
        ));
    }
    if text.len() > MOST_BYTES {
        return Err(Error::validation(
            field,
            "length",
            format!("{field} must have at most {MOST_BYTES} bytes"),
        ));
    }
    if is_guessable(text, owner) {
        return Err(Error::validation(
            field,
            "guessable",
            format!(
                "{field} is too easily guessed: take more words, or one that is not in every list"
            ),
        ));
    }
    Ok(())
}

/// Whether it is among the first that somebody would try, who knows whose it is.
fn is_guessable(text: &str, owner: &str) -> bool {
    // The estimate takes more than linear time, and so much is enough to tell.
    let beginning: String = text.chars().take(64).collect();
    zxcvbn(&beginning, &[owner]).score() < Score::Two
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &[u8]) -> Result<String, Error> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::internal("no random bytes"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| Error::internal(error.to_string()))?;
    let hash = argon2()?
        .hash_password(password, &salt)
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(hash.to_string())
}

/// Compares in constant time. What is stored says how it was made, so that the cost can be raised later.
fn compare_now(stored: &str, password: &[u8]) -> Result<bool, Error> {
    let stored = PasswordHash::new(stored).map_err(|error| Error::internal(error.to_string()))?;
    Ok(argon2()?.verify_password(password, &stored).is_ok())
}

impl Hasher {
    /// Limits for this machine's cores.
    ///
    /// # Errors
    /// When the cryptographic libraries refuse.
    pub fn new() -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_limits(cores, MOST_WAITING)
    }

    fn with_limits(cores: usize, waiting: usize) -> Result<Self, Error> {
        let mut unguessable = [0; 32];
        aws_lc_rs::rand::fill(&mut unguessable).map_err(|_| Error::internal("no random bytes"))?;
        Ok(Self(Arc::new(Inner {
            places: Semaphore::new(cores + waiting),
            cores: Arc::new(Semaphore::new(cores)),
            nobody: hash_now(&unguessable)?,
        })))
    }

    /// The hash of a password, to be stored.
    ///
    /// # Errors
    /// `OVERLOADED`.
    pub async fn hash(&self, password: Secret) -> Result<String, Error> {
        self.run(move || hash_now(password.expose().as_bytes()))
            .await
    }

    /// Whether a password is the one that was hashed. Without a hash the answer is no, and costs as much.
    ///
    /// # Errors
    /// `OVERLOADED`.
    pub async fn matches(&self, stored: Option<String>, password: Secret) -> Result<bool, Error> {
        let there_is_one = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.0.nobody.clone());
        // Longer ones cannot have been set; hashing them is work for nothing, but for the same work as others.
        let text = password.expose().as_bytes();
        let text = text.get(..MOST_BYTES).unwrap_or(text).to_vec();
        let fits = password.expose().len() <= MOST_BYTES;
        let same = self.run(move || compare_now(&stored, &text)).await?;
        Ok(same && there_is_one && fits)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let overloaded = || Error::new(Code::OVERLOADED, "too many passwords are being checked");
        let _place = self.0.places.try_acquire().map_err(|_| overloaded())?;
        let core = tokio::time::timeout(PATIENCE, Arc::clone(&self.0.cores).acquire_owned())
            .await
            .map_err(|_| overloaded())?
            .map_err(Error::internal)?;
        // The permit goes along: a caller that gives up does not free a core that is still busy.
        let done = tokio::task::spawn_blocking(move || {
            let _core = core;
            work()
        });
        done.await.map_err(Error::internal)?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_matches_its_hash() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!hash.contains("correct"));
        let other = hasher.hash(secret("correct horse")).await.unwrap();
        assert_ne!(hash, other, "each has its salt");
        let matches = async |stored: Option<&str>, password: &str| {
            let stored = stored.map(str::to_owned);
            hasher.matches(stored, secret(password)).await.unwrap()
        };
        assert!(matches(Some(&hash), "correct horse").await);
        assert!(!matches(Some(&hash), "correct horsf").await);
        assert!(!matches(Some(&hash), "").await);
        assert!(!matches(None, "correct horse").await);
        let long = "a".repeat(MOST_BYTES);
        let hash = hasher.hash(secret(&long)).await.unwrap();
        assert!(matches(Some(&hash), &long).await);
        assert!(!matches(Some(&hash), &format!("{long}b")).await);
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away() {
        let hasher = Hasher::with_limits(1, 1).unwrap();
        let _busy = Arc::clone(&hasher.0.cores).acquire_owned().await.unwrap();
        let waiting = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(secret("12345678")).await }
        });
        let also = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(secret("12345678")).await }
        });
        while hasher.0.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = hasher.hash(secret("12345678")).await.unwrap_err();
        assert_eq!(refused.code(), Code::OVERLOADED);
        drop(_busy);
        waiting.await.unwrap().unwrap();
        also.await.unwrap().unwrap();
    }

    #[test]
    fn passwords_have_a_form() {
        let check = |text: &str| check_form("password", &secret(text), "alice.smith");
        check("sticky-jam").unwrap();
        check("größer als grün").unwrap();
        check(&"long enough ".repeat(MOST_BYTES / 12)).unwrap();
        for bad in [
            "",
            "j4!Kq9x",
            "12345678",
            "passw0rd",
            "aaaaaaaaaaaa",
            "ALICE.smith",
            "alice.smith1",
            &"x".repeat(MOST_BYTES + 1),
        ] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "password", "{bad}");
            assert!(bad.is_empty() || !error.message().contains(bad));
        }
    }
}
