//! SSH public keys, as one line of `authorized_keys`.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use photon_core::Error;
use sha2::{Digest as _, Sha256};

/// The longest line; RSA keys of 16384 bits have 2.8 KB.
const MOST_BYTES: usize = 8 * 1024;

/// What guests and hosts of today take; DSA and short RSA keys they do not.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The shortest RSA modulus in bytes.
const RSA_BYTES: usize = 256;

/// A key that may be registered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// Type and key, without the comment.
    pub(super) text: String,
    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub(super) fingerprint: String,
}

/// Reads one line: type, key, and a comment that is not kept.
pub(super) fn read(field: &str, line: &str) -> Result<PublicKey, Error> {
    let refuse = |constraint: &str, what: &str| {
        Err(Error::validation(
            field,
            constraint,
            format!("{field} {what}"),
        ))
    };
    if line.len() > MOST_BYTES {
        return refuse("length", "must be at most 8 KiB");
    }
    if line.contains("PRIVATE KEY") {
        return refuse("private_key", "must be a public key, not a private one");
    }
    let line = line.trim();
    if line.contains(['\n', '\r']) {
        return refuse("single", "must be one line");
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return refuse(
            "format",
            "must be a line like \"ssh-ed25519 AAAA… comment\"",
        );
    };
    if !TYPES.contains(&kind) {
        return refuse(
            "type",
            &format!("must be of one of the types {}", TYPES.join(", ")),
        );
    }
    let Ok(bytes) = STANDARD.decode(blob) else {
        return refuse("format", "must have a key in base64");
    };
    let Some(parts) = parts(&bytes).filter(|parts| parts.len() >= 2) else {
        return refuse("format", "must have a whole key");
    };
    if parts.first() != Some(&kind.as_bytes()) {
        return refuse("type", "must have a key of the type it names");
    }
    // RFC 4253, 6.6: type, exponent, modulus.
    let too_short =
        |modulus: &&[u8]| modulus.strip_prefix(&[0]).unwrap_or(modulus).len() < RSA_BYTES;
    if kind == "ssh-rsa" && parts.get(2).is_none_or(too_short) {
        return refuse("length", "must be an RSA key of at least 2048 bits");
    }
    Ok(PublicKey {
        text: format!("{kind} {blob}"),
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&bytes))),
    })
}

/// The strings a key blob consists of (RFC 4251, 5): each a length of four bytes and that many more. Of keys on tokens,
/// which end in other things, the first ones.
fn parts(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        parts.push(part);
        bytes = rest;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn blob(parts: &[&[u8]]) -> String {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(*part);
        }
        STANDARD.encode(bytes)
    }

    fn refused(line: &str) -> String {
        let error = read("public_key", line).unwrap_err();
        error.details().unwrap()["constraint"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_line_is_read_without_its_comment() {
        // Made with ssh-keygen; it prints this fingerprint of it.
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBERERERERERERERERERERERERERERERERERERERERER me@here\n";
        let key = read("public_key", line).unwrap();
        assert!(key.text.ends_with("ERER"), "{}", key.text);
        assert!(!key.text.contains("me@here"));
        assert!(key.fingerprint.starts_with("SHA256:"));
        assert_eq!(key.fingerprint.len(), 7 + 43);
        assert_eq!(read("public_key", &key.text).unwrap(), key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let ed = blob(&[b"ssh-ed25519", &[1; 32]]);
        assert!(read("public_key", &format!("ssh-ed25519 {ed}")).is_ok());
        assert_eq!(refused(""), "format");
        assert_eq!(refused("ssh-ed25519"), "format");
        assert_eq!(refused("ssh-ed25519 !!!"), "format");
        assert_eq!(refused("ssh-ed25519 AAAA"), "format");
        assert_eq!(refused(&format!("ssh-dss {ed}")), "type");
        assert_eq!(refused(&format!("command=\"x\" ssh-ed25519 {ed}")), "type");
        assert_eq!(refused(&format!("ecdsa-sha2-nistp256 {ed}")), "type");
        assert_eq!(
            refused(&format!("ssh-ed25519 {ed}\nssh-ed25519 {ed}")),
            "single"
        );
        let short = blob(&[b"ssh-rsa", &[1, 0, 1], &[1; 128]]);
        assert_eq!(refused(&format!("ssh-rsa {short}")), "length");
        let long = blob(&[b"ssh-rsa", &[1, 0, 1], &[1; 256]]);
        assert!(read("public_key", &format!("ssh-rsa {long}")).is_ok());
        assert_eq!(
            refused("-----BEGIN OPENSSH PRIVATE KEY-----"),
            "private_key"
        );
    }
}
