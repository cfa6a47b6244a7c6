//! Simple tokens, as in etcd: 16 random letters, a dot, and the log index at which they were given out.
//!
//! The token is made by the door that checked the password. What is replicated is the digest of its letters
//! (`command.v1.Authenticate`), so it is known to every member and written down nowhere. Each member keeps
//! it in memory for some minutes ([`TOKEN_TTL`]) since its last use there. The index tells a member that has not come that
//! far yet to wait before it says that it does not know the token.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

/// How long an unused token lives unless it is set.
pub const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Tokens a member remembers; the one that would end first makes room.
const MAX_TOKENS: usize = 100_000;
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH: usize = 16;

type TokenDigest = [u8; 32];

/// A token that no member knows yet. It is a secret: not printable.
pub struct NewToken {
    letters: String,
}

impl NewToken {
    /// Draws a token from the operating system's random numbers.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn generate() -> std::io::Result<Self> {
        let mut letters = String::with_capacity(LENGTH);
        while letters.len() < LENGTH {
            let mut bytes = [0; LENGTH];
            OsRng
                .try_fill_bytes(&mut bytes)
                .map_err(std::io::Error::other)?;
            // 208 is the largest multiple of 52 in a byte: what is above would favour some letters.
            letters.extend(
                bytes
                    .iter()
                    .filter(|byte| **byte < 208)
                    .take(LENGTH - letters.len())
                    .map(|byte| char::from(LETTERS[usize::from(byte % 52)])),
            );
        }
        Ok(Self { letters })
    }

    /// What the command `Authenticate` carries.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        digest(&self.letters).to_vec()
    }

    /// The token as the client gets it, after the command was applied at log index `index`.
    #[must_use]
    pub fn issue(self, index: u64) -> String {
        format!("{}.{index}", self.letters)
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewToken(…)")
    }
}

/// The log index a member must have applied before it can say that it does not know the token; nothing
/// when this is not a token.
#[must_use]
pub fn token_index(token: &str) -> Option<u64> {
    parse(token).map(|(_, index)| index)
}

fn parse(token: &str) -> Option<(&str, u64)> {
    let (letters, index) = token.split_once('.')?;
    Some((letters, index.parse().ok()?))
}

fn digest(letters: &str) -> TokenDigest {
    Sha256::digest(letters.as_bytes()).into()
}

#[derive(Debug)]
struct Holder {
    user: String,
    ends: Instant,
}

/// The tokens this member knows.
#[derive(Debug)]
pub(super) struct Tokens {
    by_digest: Mutex<HashMap<TokenDigest, Holder>>,
    /// How long an unused one lives.
    ttl: Duration,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::living(TOKEN_TTL)
    }
}

impl Tokens {
    pub(super) fn living(ttl: Duration) -> Self {
        Self {
            by_digest: Mutex::default(),
            ttl,
        }
    }

    pub(super) fn assign(&self, now: Instant, token_digest: &[u8], user: &str) {
        let Ok(token_digest) = TokenDigest::try_from(token_digest) else {
            return; // no letters have such a digest, so nobody could use it
        };
        let mut tokens = self.by_digest.lock();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, holder| holder.ends > now);
        }
        if tokens.len() >= MAX_TOKENS {
            let first = tokens.iter().min_by_key(|(_, holder)| holder.ends);
            if let Some(first) = first.map(|(digest, _)| *digest) {
                tokens.remove(&first);
            }
        }
        tokens.insert(
            token_digest,
            Holder {
                user: user.to_owned(),
                ends: now + self.ttl,
            },
        );
    }

    /// The user who holds the token, whose life is renewed by this.
    pub(super) fn holder(&self, now: Instant, token: &str) -> Option<String> {
        let (letters, _) = parse(token)?;
        let token_digest = digest(letters);
        let mut tokens = self.by_digest.lock();
        let holder = tokens.get_mut(&token_digest)?;
        if holder.ends <= now {
            tokens.remove(&token_digest);
            return None;
        }
        holder.ends = now + self.ttl;
        Some(holder.user.clone())
    }

    pub(super) fn invalidate_user(&self, user: &str) {
        self.by_digest
            .lock()
            .retain(|_, holder| holder.user != user);
    }

    pub(super) fn clear(&self) {
        self.by_digest.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn known(tokens: &Tokens, now: Instant, user: &str) -> String {
        let token = NewToken::generate().unwrap();
        tokens.assign(now, &token.digest(), user);
        token.issue(42)
    }

    #[test]
    fn looks_like_etcds_and_is_never_the_same() {
        let (a, b) = (NewToken::generate().unwrap(), NewToken::generate().unwrap());
        let (a, b) = (a.issue(7), b.issue(7));
        assert_ne!(a, b);
        let (letters, index) = a.split_once('.').unwrap();
        assert_eq!((letters.len(), index), (16, "7"));
        assert!(letters.bytes().all(|b| b.is_ascii_alphabetic()));
        assert_eq!(token_index(&a), Some(7));
        for wrong in ["", "abc", "abc.", "abc.x", "abc.1.2", "abc.-1"] {
            assert_eq!(token_index(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lives_five_minutes_from_its_last_use() {
        let tokens = Tokens::default();
        let start = Instant::now();
        let token = known(&tokens, start, "ann");
        let minute = Duration::from_secs(60);
        assert_eq!(
            tokens.holder(start + 4 * minute, &token).as_deref(),
            Some("ann")
        );
        assert_eq!(
            tokens.holder(start + 8 * minute, &token).as_deref(),
            Some("ann")
        );
        assert_eq!(tokens.holder(start + 13 * minute, &token), None);
        assert_eq!(
            tokens.holder(start + 8 * minute, &token),
            None,
            "gone for good"
        );
    }

    #[test]
    fn ends_with_its_user() {
        let tokens = Tokens::default();
        let now = Instant::now();
        let (ann, bob) = (known(&tokens, now, "ann"), known(&tokens, now, "bob"));
        tokens.invalidate_user("ann");
        assert_eq!(tokens.holder(now, &ann), None);
        assert_eq!(tokens.holder(now, &bob).as_deref(), Some("bob"));
        tokens.clear();
        assert_eq!(tokens.holder(now, &bob), None);
        assert_eq!(tokens.holder(now, "nonsense"), None);
    }

    #[test]
    fn memory_is_bounded_and_the_stalest_goes_first() {
        let tokens = Tokens::default();
        let start = Instant::now();
        let first = known(&tokens, start, "first");
        for i in 0..MAX_TOKENS as u64 - 1 {
            tokens.assign(
                start + Duration::from_secs(1),
                &digest(&i.to_string()),
                "many",
            );
        }
        let last = known(&tokens, start + Duration::from_secs(2), "last");
        assert_eq!(tokens.by_digest.lock().len(), MAX_TOKENS);
        let now = start + Duration::from_secs(3);
        assert_eq!(tokens.holder(now, &first), None);
        assert_eq!(tokens.holder(now, &last).as_deref(), Some("last"));
    }
}
