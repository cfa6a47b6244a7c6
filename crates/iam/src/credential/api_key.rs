//! API keys: `phk_<credential id>_<32 random bytes>`. The prefix lets tools that look for leaked secrets find them, the
//! id finds the record, and only SHA-256 of the whole is stored: what is random needs no slow hash.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use photon_core::Error;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{CredentialId, Secret};

/// What every key begins with.
pub(crate) const PREFIX: &str = "phk_";

const SECRET_BYTES: usize = 32;
/// 32 bytes in base64 without padding.
const SECRET_DIGITS: usize = 43;
const ID_DIGITS: usize = 32;

/// A new key for a credential, and what is stored of it.
pub(super) fn generate(id: CredentialId) -> Result<(Secret, String), Error> {
    let mut random = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::internal("no random bytes"))?;
    let key = format!(
        "{PREFIX}{}_{}",
        id.uuid().simple(),
        URL_SAFE_NO_PAD.encode(random)
    );
    let digest = digest(&key);
    Ok((Secret::from(key), digest))
}

/// Which credential a key says it is of; `None` for what is no key.
pub(crate) fn id_of(key: &str) -> Option<CredentialId> {
    let rest = key.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_once('_')?;
    let lower_hex = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    if id.len() != ID_DIGITS || !lower_hex(id) || secret.len() != SECRET_DIGITS {
        return None;
    }
    Uuid::try_parse(id).ok().map(CredentialId::from_uuid)
}

/// Whether it is the key that was stored. Takes as long when nothing was.
pub(crate) fn matches(stored: Option<&str>, key: &str) -> bool {
    let presented = digest(key);
    let other =
        stored.unwrap_or("0000000000000000000000000000000000000000000000000000000000000000");
    let same = bool::from(other.as_bytes().ct_eq(presented.as_bytes()));
    same && stored.is_some()
}

fn digest(key: &str) -> String {
    crate::hex::encode(&Sha256::digest(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_names_its_credential_and_is_not_in_what_is_stored() {
        let id = CredentialId::generate();
        let (key, stored) = generate(id).unwrap();
        assert_eq!(id_of(key.expose()), Some(id));
        assert!(matches(Some(&stored), key.expose()));
        assert!(!matches(None, key.expose()));
        let (other, _) = generate(id).unwrap();
        assert!(!matches(Some(&stored), other.expose()));
        assert!(!stored.contains(&key.expose()[37..]));
        assert_eq!(key.expose().len(), 4 + 32 + 1 + 43);
    }

    #[test]
    fn what_is_no_key_names_nothing() {
        let (key, _) = generate(CredentialId::generate()).unwrap();
        let key = key.expose();
        for bad in [
            "",
            "phk_",
            "phk__",
            &key[1..],
            &key[..key.len() - 1],
            &format!("{key}x"),
            &key.replacen("phk_", "phk_A", 1),
            &key.to_uppercase(),
        ] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
