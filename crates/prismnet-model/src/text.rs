//! Texts that people choose. None of them ever becomes part of a kernel name, a command line or a ruleset.

pub use photon_core::Label;
use photon_core::label::is_control;
use serde::{Deserialize, Serialize};

/// The longest [`Description`], in bytes.
pub const DESCRIPTION_BYTES: usize = 1024;

/// What something is for: up to 1024 bytes without control characters; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Description(String);

impl Description {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Description {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > DESCRIPTION_BYTES {
            return Err("must be at most 1024 bytes");
        }
        if text.chars().any(is_control) {
            return Err("must not have control characters");
        }
        Ok(Self(text))
    }
}

impl From<Description> for String {
    fn from(description: Description) -> Self {
        description.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn descriptions_may_be_empty() {
        for good in ["", "Web tier subnet", &"x".repeat(1024)] {
            assert!(Description::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["a\u{1b}[2J", &"x".repeat(1025)] {
            assert!(Description::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
