//! Tokens: nothing is remembered of them. One says until when it holds and is signed, for one port, with a key that outlives the
//! agent's restarts.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256, Key},
    rand,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use prismnet_model::PortId;

/// The longest that a token may hold.
pub const LONGEST: Duration = Duration::from_secs(6 * 3600);

const KEY_BYTES: usize = 32;
const TIME_BYTES: usize = 8;

/// Gives tokens and recognizes them.
pub struct Tokens(Key);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// With the key in `metadata.key` of that directory; one is made if there is none.
    ///
    /// # Errors
    /// A file that cannot be read or written, no randomness.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let path = directory.join("metadata.key");
        match fs::read(&path) {
            Ok(key) if key.len() == KEY_BYTES => return Ok(Self::new(&key)),
            // Cut off while it was made: no token was given by it.
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
        fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&key)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, key))
    }

    /// A token for the port that holds that long, at most [`LONGEST`].
    #[must_use]
    pub fn give(&self, port: PortId, holds: Duration, now: SystemTime) -> String {
        let until = seconds(now).saturating_add(holds.min(LONGEST).as_secs());
        let mut token = until.to_be_bytes().to_vec();
        token.extend(hmac::sign(&self.0, &said(port, until)).as_ref());
        BASE64.encode(token)
    }

    /// Whether the port was given this one and it still holds.
    #[must_use]
    pub fn holds(&self, port: PortId, token: &[u8], now: SystemTime) -> bool {
        let Ok(token) = BASE64.decode(token) else {
            return false;
        };
        let Some((until, tag)) = token.split_first_chunk::<TIME_BYTES>() else {
            return false;
        };
        let until = u64::from_be_bytes(*until);
        let now = seconds(now);
        // A clock that was set back does not make one hold for longer than any may.
        let is_now = now < until && until - now <= LONGEST.as_secs();
        is_now && hmac::verify(&self.0, &said(port, until), tag).is_ok()
    }
}

fn said(port: PortId, until: u64) -> Vec<u8> {
    format!("metadata {port} {until}").into_bytes()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_token_is_for_its_port_and_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::read(directory.path()).unwrap();
        let (port, other) = (PortId::generate(), PortId::generate());
        let now = SystemTime::now();
        let token = tokens.give(port, Duration::from_secs(60), now);
        let holds = |tokens: &Tokens, port, later| {
            tokens.holds(port, token.as_bytes(), now + Duration::from_secs(later))
        };
        assert!(holds(&tokens, port, 0) && holds(&tokens, port, 59));
        assert!(!holds(&tokens, port, 60));
        assert!(!holds(&tokens, other, 0));
        // After a restart, and not with another key.
        assert!(holds(&Tokens::read(directory.path()).unwrap(), port, 0));
        fs::write(directory.path().join("metadata.key"), "cut").unwrap();
        assert!(!holds(&Tokens::read(directory.path()).unwrap(), port, 0));
        // No bit of it can be another.
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let is_same = BASE64.decode(&changed).ok() == BASE64.decode(&token).ok();
            assert!(is_same || !tokens.holds(port, &changed, now), "{at}");
        }
        assert!(!tokens.holds(port, b"", now));
    }
}
