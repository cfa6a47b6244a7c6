//! Names that a caller may choose: `[a-z0-9][a-z0-9._-]{0,62}`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The longest name, in bytes.
pub const MAX_LENGTH: usize = 63;

/// A name that matches `[a-z0-9][a-z0-9._-]{0,62}`; safe in keys, paths, labels and certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("must not be empty")]
    Empty,
    /// More than 63 bytes.
    #[error("must be at most {MAX_LENGTH} characters")]
    TooLong,
    /// A character outside the alphabet, or punctuation at the start.
    #[error("must match [a-z0-9][a-z0-9._-]{{0,62}}")]
    Alphabet,
}

impl Name {
    /// Parses a name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        match text.as_bytes() {
            [] => Err(NameError::Empty),
            bytes if bytes.len() > MAX_LENGTH => Err(NameError::TooLong),
            [first, rest @ ..] if is_letter(*first) && rest.iter().all(|b| is_inner(*b)) => {
                Ok(Self(text))
            }
            _ => Err(NameError::Alphabet),
        }
    }

    /// Parses the value of a request's field; the error names the field.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        Self::new(text).map_err(|error| {
            let constraint = match error {
                NameError::Empty => "required",
                NameError::TooLong => "length",
                NameError::Alphabet => "pattern",
            };
            Error::validation(field, constraint, format!("{field} {error}"))
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_inner(byte: u8) -> bool {
    is_letter(byte) || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_and_refuses() {
        for good in ["a", "0", "org-123", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("-a", NameError::Alphabet),
            (".a", NameError::Alphabet),
            ("A", NameError::Alphabet),
            ("a/b", NameError::Alphabet),
            ("ä", NameError::Alphabet),
            (&"x".repeat(64), NameError::TooLong),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn the_field_is_named() {
        let error = Name::parse_field("org_id", "Org").unwrap_err();
        assert_eq!(
            error.message(),
            "org_id must match [a-z0-9][a-z0-9._-]{0,62}"
        );
        assert_eq!(error.details().unwrap()["constraint"], "pattern");
        assert_eq!(
            Name::parse_field("org_id", "")
                .unwrap_err()
                .details()
                .unwrap()["constraint"],
            "required"
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_pattern(text in ".{0,70}") {
            let wanted = !text.is_empty()
                && text.len() <= 63
                && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
                && !text.starts_with(['.', '_', '-']);
            prop_assert_eq!(Name::new(text).is_ok(), wanted);
        }

        #[test]
        fn whatever_matches_is_accepted(text in "[a-z0-9][a-z0-9._-]{0,62}") {
            prop_assert!(Name::new(text).is_ok());
        }
    }
}
