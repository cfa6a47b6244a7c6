//! Texts that people choose. None of them becomes part of a path, a command line or a domain's definition.

use std::collections::BTreeMap;

pub use photon_core::Label as VmName;
use photon_core::label::is_control;
use serde::{Deserialize, Serialize};

/// The most labels of a VM.
pub const MOST_LABELS: usize = 64;
/// The longest key of a label, in bytes.
pub const LABEL_KEY_BYTES: usize = 63;
/// The longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES: usize = 255;

/// What schedulers and people sort by: up to 64 of `key: value`. Keys are `[A-Za-z0-9][A-Za-z0-9._/-]{0,62}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Each with its value.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = &'static str;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        if labels.len() > MOST_LABELS {
            return Err("must be at most 64");
        }
        for (key, value) in &labels {
            let begins_well = key.starts_with(|first: char| first.is_ascii_alphanumeric());
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
            if !begins_well || key.len() > LABEL_KEY_BYTES || !key.bytes().all(is_plain) {
                return Err(
                    "must have keys of 1 to 63 letters, digits and ._/-, a letter or digit first",
                );
            }
            if value.len() > LABEL_VALUE_BYTES || value.chars().any(is_control) {
                return Err("must have values of at most 255 bytes without control characters");
            }
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn labels_are_few_and_plain() {
        let of = |key: &str, value: &str| {
            Labels::try_from(BTreeMap::from([(key.to_owned(), value.to_owned())]))
        };
        for (key, value) in [("tier", "web"), ("a/b.c-D", ""), ("9", "ü")] {
            assert!(of(key, value).is_ok(), "{key}");
        }
        for (key, value) in [
            ("", ""),
            ("-a", ""),
            ("ü", ""),
            (&"a".repeat(64), ""),
            ("a", &"x".repeat(256)),
            ("a", "\n"),
        ] {
            assert!(of(key, value).is_err(), "{key}");
        }
        let many: BTreeMap<_, _> = (0..65).map(|n| (n.to_string(), String::new())).collect();
        Labels::try_from(many).unwrap_err();
    }
}
