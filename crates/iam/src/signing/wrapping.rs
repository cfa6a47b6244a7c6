//! The key that wraps the private signing keys: 32 bytes in a file only its owner reads.
//!
//! The file holds 64 hexadecimal digits and a line end, so that it survives editors, copies and configuration tools.
//! AES-256-GCM with a random nonce; the name of what is wrapped is authenticated with it, so that one wrapped key cannot
//! be put in another's place.

use std::{
    fmt, fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use photon_pki::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of the key.
const LENGTH: usize = 32;
/// More than a file with 64 digits has; what is larger is not read.
const LARGEST_FILE: u64 = 1024;

/// Why a wrapping key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WrappingError {
    /// The file cannot be read or written.
    #[error("the wrapping key {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not fit to hold a secret.
    #[error("the wrapping key {path} {reason}")]
    Unsafe {
        /// Which.
        path: String,
        /// What is wrong and how it is put right.
        reason: String,
    },
    /// What was wrapped was wrapped by another key, or was changed.
    #[error("{name} was wrapped by another key (its fingerprint is {by}, this one's is {own})")]
    OtherKey {
        /// What was wrapped.
        name: String,
        /// Fingerprint of the key that wrapped it.
        by: String,
        /// Our fingerprint.
        own: String,
    },
    /// What is stored is not what was wrapped.
    #[error("{0} is not what was wrapped")]
    Broken(String),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused")]
    Crypto,
}

/// The key. Its `Debug` and every error show its fingerprint only.
pub struct WrappingKey {
    key: RandomizedNonceKey,
    fingerprint: String,
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappingKey")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// Which key wrapped it.
    pub by: String,
    /// Base64.
    nonce: String,
    /// Base64; the tag is at the end.
    ciphertext: String,
}

impl WrappingKey {
    /// Reads the file and checks that nobody but its owner may.
    ///
    /// # Errors
    /// [`WrappingError::File`], or [`WrappingError::Unsafe`] with the way to put it right.
    pub fn load(path: &Path) -> Result<Self, WrappingError> {
        let shown = path.display().to_string();
        let at = |source| WrappingError::File {
            path: shown.clone(),
            source,
        };
        let refuse = |reason: String| WrappingError::Unsafe {
            path: shown.clone(),
            reason,
        };
        let file = fs::File::open(path).map_err(at)?;
        // Of the open file, so that it is the one that is read.
        let about = file.metadata().map_err(at)?;
        if !about.is_file() {
            return Err(refuse("is not a regular file".to_owned()));
        }
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(refuse(format!(
                "has mode {mode:04o}, so that others may read it: chmod 0600 {shown}"
            )));
        }
        if about.size() > LARGEST_FILE {
            return Err(refuse(format!("is not {} hexadecimal digits", LENGTH * 2)));
        }
        let mut text = String::new();
        file.take(LARGEST_FILE)
            .read_to_string(&mut text)
            .map_err(at)?;
        let key = from_hex(text.trim_ascii_end())
            .ok_or_else(|| refuse(format!("is not {} hexadecimal digits", LENGTH * 2)))?;
        Self::from_bytes(&key)
    }

    /// Makes a new file; it must not be there yet.
    ///
    /// # Errors
    /// [`WrappingError::File`].
    pub fn create(path: &Path) -> Result<Self, WrappingError> {
        let key = random()?;
        let text = format!("{}\n", crate::hex::encode(&key));
        files::create(path, &text, files::PRIVATE).map_err(|error| WrappingError::File {
            path: path.display().to_string(),
            source: match error {
                photon_pki::PkiError::File { source, .. } => source,
                other => std::io::Error::other(other),
            },
        })?;
        Self::from_bytes(&key)
    }

    /// The file's key, or that of a new file if there is none.
    ///
    /// # Errors
    /// As [`WrappingKey::load`] and [`WrappingKey::create`].
    pub fn load_or_create(path: &Path) -> Result<Self, WrappingError> {
        match Self::create(path) {
            Err(WrappingError::File { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                Self::load(path)
            }
            made => made,
        }
    }

    /// A key from its bytes.
    ///
    /// # Errors
    /// When there are not 32.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, WrappingError> {
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| WrappingError::Crypto)?;
        let digest = Sha256::digest([b"photon wrapping key ".as_slice(), bytes].concat());
        Ok(Self {
            key,
            fingerprint: crate::hex::encode(&digest[..6]),
        })
    }

    /// Enough to tell two keys apart, and no more.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Wraps `secret` under its `name`.
    ///
    /// # Errors
    /// [`WrappingError::Crypto`].
    pub fn wrap(&self, name: &str, secret: &[u8]) -> Result<Wrapped, WrappingError> {
        let mut text = secret.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(name), &mut text)
            .map_err(|_| WrappingError::Crypto)?;
        Ok(Wrapped {
            by: self.fingerprint.clone(),
            nonce: STANDARD.encode(nonce.as_ref()),
            ciphertext: STANDARD.encode(text),
        })
    }

    /// What was wrapped under this name.
    ///
    /// # Errors
    /// [`WrappingError::OtherKey`], [`WrappingError::Broken`].
    pub fn unwrap(&self, name: &str, wrapped: &Wrapped) -> Result<Vec<u8>, WrappingError> {
        if wrapped.by != self.fingerprint {
            return Err(WrappingError::OtherKey {
                name: name.to_owned(),
                by: wrapped.by.clone(),
                own: self.fingerprint.clone(),
            });
        }
        let broken = || WrappingError::Broken(name.to_owned());
        let nonce = STANDARD.decode(&wrapped.nonce).map_err(|_| broken())?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| broken())?;
        let mut text = STANDARD.decode(&wrapped.ciphertext).map_err(|_| broken())?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(name), &mut text)
            .map_err(|_| broken())?;
        Ok(plain.to_vec())
    }
}

/// The bytes of a new key.
pub(super) fn random() -> Result<[u8; LENGTH], WrappingError> {
    let mut key = [0; LENGTH];
    rand::fill(&mut key).map_err(|_| WrappingError::Crypto)?;
    Ok(key)
}

pub(super) fn from_hex(text: &str) -> Option<[u8; LENGTH]> {
    crate::hex::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_wrapped_comes_back_only_under_its_name_and_key() {
        let key = WrappingKey::from_bytes(&random().unwrap()).unwrap();
        let wrapped = key.wrap("a", b"secret").unwrap();
        assert_eq!(key.unwrap("a", &wrapped).unwrap(), b"secret");
        assert!(matches!(
            key.unwrap("b", &wrapped),
            Err(WrappingError::Broken(_))
        ));
        let other = WrappingKey::from_bytes(&random().unwrap()).unwrap();
        assert!(matches!(
            other.unwrap("a", &wrapped),
            Err(WrappingError::OtherKey { .. })
        ));
        let mut changed = wrapped.clone();
        changed.ciphertext = STANDARD.encode([0; 22]);
        assert!(matches!(
            key.unwrap("a", &changed),
            Err(WrappingError::Broken(_))
        ));
        let json = serde_json::to_string(&wrapped).unwrap();
        assert!(!json.contains(&STANDARD.encode(b"secret")));
        assert_ne!(wrapped, key.wrap("a", b"secret").unwrap(), "a fresh nonce");
    }

    #[test]
    fn a_file_is_made_once_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iam.kek");
        let made = WrappingKey::create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(matches!(
            WrappingKey::create(&path),
            Err(WrappingError::File { .. })
        ));
        let again = WrappingKey::load_or_create(&path).unwrap();
        assert_eq!(made.fingerprint(), again.fingerprint());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = WrappingKey::load(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 0600"), "{refused}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(!refused.contains(text.trim_end()));
        assert!(!format!("{made:?}").contains(text.trim_end()));
    }

    #[test]
    fn files_that_hold_no_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iam.kek");
        for text in [
            "",
            "abc",
            &"g".repeat(64),
            &"a".repeat(66),
            &"a".repeat(5000),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(WrappingKey::load(&path), Err(WrappingError::Unsafe { .. })),
                "{} bytes",
                text.len()
            );
        }
        assert!(matches!(
            WrappingKey::load(dir.path()),
            Err(WrappingError::Unsafe { .. })
        ));
        assert!(matches!(
            WrappingKey::load(&dir.path().join("none")),
            Err(WrappingError::File { .. })
        ));
    }
}
