//! Names for people. None of them becomes part of a path, a command line or a name on a host.

use serde::{Deserialize, Serialize};

/// The longest label, in bytes.
pub const MAX_BYTES: usize = 200;

/// A name for people: 1 to 200 bytes, no control character, not only spaces. Need not be unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that a terminal obeys: controls, and those that turn the direction of a line around (Unicode's bidirectional
/// embeddings, overrides and isolates, UAX #9).
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl TryFrom<String> for Label {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            return Err("must not be empty");
        }
        if text.len() > MAX_BYTES {
            return Err("must be at most 200 bytes");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        for good in [
            "web",
            "Bob Smith",
            "Bob's \"net\"; drop",
            "<a href='x'>&",
            "日本",
            &"x".repeat(200),
        ] {
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
}
