//! Texts of callers: bounded, without control characters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 1 … `N` bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const N: usize>(Box<str>);

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There is nothing.
    #[error("must not be empty")]
    Empty,
    /// More bytes than allowed.
    #[error("must be at most {0} bytes")]
    TooLong(usize),
    /// A line break, a zero byte or the like.
    #[error("must not contain control characters")]
    Control,
}

impl<const N: usize> Text<N> {
    /// Parses a text.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.is_empty() {
            Err(TextError::Empty)
        } else if text.len() > N {
            Err(TextError::TooLong(N))
        } else if text.chars().any(char::is_control) {
            Err(TextError::Control)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const N: usize> TryFrom<String> for Text<N> {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const N: usize> From<Text<N>> for String {
    fn from(text: Text<N>) -> Self {
        text.0.into()
    }
}

/// What something is for, in a caller's words.
pub type Description = Text<1024>;
/// The id of what is paid for or uses units, as its service names it: `vm-…`.
pub type ResourceId = Text<256>;
/// Who caused an entry: `user:alice`, `service:plasmavmc`.
pub type Actor = Text<256>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_text() {
        assert!(Text::<3>::new("äb").is_ok());
        assert_eq!(Text::<3>::new(""), Err(TextError::Empty));
        assert_eq!(Text::<3>::new("äbc"), Err(TextError::TooLong(3)));
        assert_eq!(Text::<3>::new("a\nb"), Err(TextError::Control));
    }
}
