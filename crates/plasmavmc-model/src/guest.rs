//! What a guest is told of itself at its first boot: its host name, who may log in, and what its owner has it run.
//!
//! None of it becomes part of a path, a command line or a domain's definition: it is written into files that the guest reads.
//! User-data and keys are kept beside the VM, not within it: lists need not read them, and user-data may hold secrets.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Digest, VmId, VmName};

/// The longest user-data, in bytes.
pub const USER_DATA_BYTES: usize = 64 << 10;
/// The most keys of a VM.
pub const MOST_SSH_KEYS: usize = 16;
/// The longest line of a key, in bytes: RSA with 16,384 bits and a comment.
pub const SSH_KEY_BYTES: usize = 4096;
/// The longest host name, in bytes: what Linux takes, less the final null.
pub const HOSTNAME_BYTES: usize = 63;

const LABEL_BYTES: usize = 63;

/// The types of keys that are taken, as OpenSSH calls them.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A host name as RFC 1123 has it: labels of 1 to 63 letters, digits and hyphens, a letter or digit first and last, parted by dots;
/// 63 bytes in all, and not only numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

/// A public key as in OpenSSH's `authorized_keys`, without options: `type base64 comment`, on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SshKey(String);

/// What a guest is given to run, by cloud-init: up to 64 KiB of anything. Not shown by `Debug`: it may hold secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserData(Vec<u8>);

/// What the guest of a VM is told, as far as it is short: with the [`crate::Vm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its name.
    pub hostname: Hostname,
    /// The digest of its [`GuestData`]; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Digest>,
}

/// The rest of what a guest is told: at `<org>/<project>/<vm>`, beside the VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestData {
    /// Who may log in.
    #[serde(default)]
    pub ssh_keys: Vec<SshKey>,
    /// What it runs.
    #[serde(default)]
    pub user_data: UserData,
}

/// What a host is told of a VM's guest: with the [`crate::DesiredVm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredGuest {
    /// Its name, and which data.
    #[serde(flatten)]
    pub guest: Guest,
    /// The data; there if `guest.data` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<GuestData>,
}

impl Record for GuestData {
    const ROOT: &'static str = "/photon/plasmavmc/guest/";
}

impl GuestData {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ssh_keys.is_empty() && self.user_data.bytes().is_empty()
    }

    /// What it is known by: the same content has the same.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.user_data.bytes().len() + 256);
        for key in &self.ssh_keys {
            // No key has a line's end in it.
            bytes.extend(key.as_str().as_bytes());
            bytes.push(b'\n');
        }
        bytes.push(0);
        bytes.extend(self.user_data.bytes());
        Digest::of(&bytes)
    }
}

impl Hostname {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From what people call a VM, with what a host name may not have replaced; from its id where nothing is left.
    #[must_use]
    pub fn of(name: &VmName, vm: VmId) -> Self {
        let mut made = String::new();
        for character in name.as_str().chars() {
            match character.to_ascii_lowercase() {
                plain if plain.is_ascii_alphanumeric() => made.push(plain),
                _ if made.is_empty() || made.ends_with('-') => {}
                _ => made.push('-'),
            }
        }
        made.truncate(LABEL_BYTES);
        let made = made.trim_end_matches('-');
        if made.bytes().all(|byte| byte.is_ascii_digit()) {
            // The end of an id, which is random; its beginning is the time.
            let id = vm.uuid().simple().to_string();
            return Self(format!("vm-{}", &id[20..]));
        }
        Self(made.to_owned())
    }
}

impl TryFrom<String> for Hostname {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || text.len() > HOSTNAME_BYTES {
            return Err("must have 1 to 63 characters");
        }
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let is_hyphen_outside = label.starts_with('-') || label.ends_with('-');
            !label.is_empty()
                && label.len() <= LABEL_BYTES
                && label.bytes().all(plain)
                && !is_hyphen_outside
        };
        if !text.split('.').all(is_label) {
            return Err(
                "must be letters, digits and hyphens parted by dots, a letter or digit first and last",
            );
        }
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return Err("must not be only numbers");
        }
        Ok(Self(text))
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0
    }
}

impl SshKey {
    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SshKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let line = text.trim_matches([' ', '\t', '\r', '\n']);
        if line.len() > SSH_KEY_BYTES {
            return Err("must be at most 4096 bytes");
        }
        if line.chars().any(char::is_control) {
            return Err("must be one line without control characters");
        }
        let mut words = line.splitn(3, ' ');
        let (kind, blob) = (words.next().unwrap_or_default(), words.next());
        if !KEY_TYPES.contains(&kind) {
            return Err(
                "must begin with ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256, -384 or -521, or an sk- type, without options before it",
            );
        }
        let blob = blob.and_then(|blob| BASE64.decode(blob).ok());
        let blob = blob.ok_or("must have the key in base64 behind its type")?;
        if !is_key(kind, &blob) {
            return Err("must have a key of its type, as OpenSSH writes it");
        }
        Ok(Self(line.to_owned()))
    }
}

impl From<SshKey> for String {
    fn from(key: SshKey) -> Self {
        key.0
    }
}

/// Whether it is what RFC 4253 6.6, 5656 3.1 and 8709 4 have: texts, each behind its length, the first the type.
fn is_key(kind: &str, mut blob: &[u8]) -> bool {
    let mut parts: Vec<&[u8]> = Vec::new();
    while !blob.is_empty() {
        let Some((length, rest)) = blob.split_first_chunk::<4>() else {
            return false;
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((part, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        parts.push(part);
        blob = rest;
    }
    if parts.first() != Some(&kind.as_bytes()) {
        return false;
    }
    let is_curve =
        |curve: &[u8], point: &[u8]| kind.as_bytes().ends_with(curve) && point.first() == Some(&4);
    match (kind, &parts[1..]) {
        ("ssh-ed25519", [point]) => point.len() == 32,
        ("sk-ssh-ed25519@openssh.com", [point, application]) => {
            point.len() == 32 && !application.is_empty()
        }
        // Less is broken today.
        ("ssh-rsa", [exponent, modulus]) => !exponent.is_empty() && modulus.len() >= 1024 / 8,
        ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, point, application]) => {
            *curve == b"nistp256" && point.first() == Some(&4) && !application.is_empty()
        }
        (_, [curve, point]) => is_curve(curve, point) && !curve.is_empty(),
        _ => false,
    }
}

impl UserData {
    /// Of bytes as they came.
    ///
    /// # Errors
    /// More than there may be.
    pub fn new(bytes: Vec<u8>) -> Result<Self, &'static str> {
        if bytes.len() > USER_DATA_BYTES {
            return Err("must be at most 65536 bytes");
        }
        Ok(Self(bytes))
    }

    /// What it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for UserData {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(BASE64.decode(text).map_err(|_| "must be base64")?)
    }
}

impl From<UserData> for String {
    fn from(data: UserData) -> Self {
        BASE64.encode(data.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS";

    fn key(text: &str) -> Result<SshKey, &'static str> {
        SshKey::try_from(text.to_owned())
    }

    /// A key of these parts.
    fn made_of(kind: &str, parts: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for part in [kind.as_bytes()].iter().chain(parts) {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(*part);
        }
        format!("{kind} {}", BASE64.encode(blob))
    }

    #[test]
    fn keys_are_keys() {
        let point = [&[4][..], &[7; 64]].concat();
        let p256 = made_of("ecdsa-sha2-nistp256", &[b"nistp256", &point]);
        let rsa = made_of("ssh-rsa", &[&[1, 0, 1], &[0xc1; 257]]);
        let sk = made_of("sk-ssh-ed25519@openssh.com", &[&[9; 32], b"ssh:"]);
        for good in [ED25519, &p256, &rsa, &sk] {
            assert_eq!(key(good).unwrap().as_str(), good);
            let with = format!("{good} ann@<host> $(x)\n");
            assert_eq!(key(&with).unwrap().as_str(), with.trim());
        }
        let short_rsa = made_of("ssh-rsa", &[&[3], &[0xc1; 64]]);
        let other_curve = made_of("ecdsa-sha2-nistp256", &[b"nistp384", &point]);
        let no_curve = made_of("ecdsa-sha2-nistp256", &[b"", &point]);
        let more = made_of("ssh-ed25519", &[&[1; 32], b"more"]);
        let lies = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
        let two = format!("{ED25519}\n{ED25519}");
        let long = format!("{ED25519} {}", "x".repeat(SSH_KEY_BYTES));
        let options = format!("command=\"reboot\" {ED25519}");
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 not*base64",
            "ssh-dss AAAAB3NzaC1kc3MAAA==",
            "<key/>",
            "../../etc/passwd",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePn",
            &short_rsa,
            &other_curve,
            &no_curve,
            &more,
            &lies,
            &two,
            &long,
            &options,
        ] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_are_those_of_rfc_1123() {
        let name = |text: &str| Hostname::try_from(text.to_owned());
        for good in ["a", "web-1", "3com", "Web.shop.example", &"x".repeat(63)] {
            assert_eq!(name(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a_b",
            "10.0.0.1",
            "123",
            "../../x",
            "<name/>",
            "$(reboot)",
            "web\n",
            "wéb",
            &"x".repeat(64),
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn any_name_makes_a_host_name() {
        let vm: VmId = "vm-019ac8e5-3c00-7001-8c00-00000000abcd".parse().unwrap();
        let long = format!("{}-b", "a".repeat(62));
        for (name, made) in [
            ("web", "web"),
            ("App Server #03", "app-server-03"),
            ("../../etc/passwd", "etc-passwd"),
            ("</name><evil/>", "name-evil"),
            ("$(reboot)", "reboot"),
            ("日本", "vm-00000000abcd"),
            ("42", "vm-00000000abcd"),
            ("Café", "caf"),
            (&long, &"a".repeat(62)),
        ] {
            let of = Hostname::of(&VmName::try_from(name.to_owned()).unwrap(), vm);
            assert_eq!(of.as_str(), made, "{name}");
            Hostname::try_from(made.to_owned()).unwrap();
        }
    }

    #[test]
    fn user_data_has_an_end_and_every_change_another_digest() {
        UserData::new(vec![0; USER_DATA_BYTES]).unwrap();
        UserData::new(vec![0; USER_DATA_BYTES + 1]).unwrap_err();
        let of = |keys: &[&str], text: &[u8]| GuestData {
            ssh_keys: keys.iter().map(|text| key(text).unwrap()).collect(),
            user_data: UserData::new(text.to_vec()).unwrap(),
        };
        let all = [
            of(&[], b""),
            of(&[ED25519], b""),
            of(&[], ED25519.as_bytes()),
            of(&[ED25519], b"x"),
            of(&[ED25519, ED25519], b""),
        ];
        let digests: std::collections::BTreeSet<_> = all.iter().map(GuestData::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert!(all[0].is_empty() && !all[1].is_empty() && !all[2].is_empty());
        let shown = format!("{:?}", of(&[], b"secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
