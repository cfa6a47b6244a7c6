//! Texts that people choose. None of them ever becomes part of a kernel name, a command line or a ruleset.

use serde::{Deserialize, Serialize};

/// The longest [`Label`], in bytes.
pub const LABEL_BYTES: usize = 200;
/// The longest [`Description`], in bytes.
pub const DESCRIPTION_BYTES: usize = 1024;

/// A name for people: 1 to 200 bytes, no control character, not only spaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// What something is for: up to 1024 bytes without control characters; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Description(String);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Description {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that a terminal obeys: controls, and those that turn the direction of a line around (Unicode's bidirectional
/// embeddings, overrides and isolates, UAX #9).
fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl TryFrom<String> for Label {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            return Err("must not be empty");
        }
        if text.len() > LABEL_BYTES {
            return Err("must be at most 200 bytes");
        }
        if text.chars().any(is_control) {
            return Err("must not have control characters");
        }
        Ok(Self(text))
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

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
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
    fn labels_are_short_and_plain() {
        for good in ["web", "Bob's \"net\"; drop", "日本", &"x".repeat(200)] {
            assert!(Label::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "  ",
            "a\nb",
            "\u{0}",
            "moc\u{202e}elif",
            &"x".repeat(201),
            &"x".repeat(10_000),
        ] {
            assert!(Label::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

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
