//! What may be done: `<service>.<resource>.<verb>`, and patterns over that.

use std::{fmt, str::FromStr};

use photon_core::Error;
use serde::{Deserialize, Serialize};

/// The longest segment of a permission, in bytes.
pub const MAX_SEGMENT: usize = 63;

/// One thing that can be allowed, for example `plasmavmc.vms.create`. Each of the three segments matches
/// `[a-z][a-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission {
    text: Box<str>,
    /// Where the two dots are.
    dots: (u8, u8),
}

/// A [`Permission`] in which a segment may be `*`, which stands for any one segment: `plasmavmc.*.get`, `*.*.*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionPattern {
    text: Box<str>,
    dots: (u8, u8),
}

/// Why a text is not a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// Not three segments.
    #[error("must have three segments: <service>.<resource>.<verb>")]
    Segments,
    /// A segment has other characters, or is empty or too long.
    #[error("must have segments that match [a-z][a-z0-9_]{{0,62}}")]
    Alphabet,
    /// A segment of a pattern is neither a word nor a star.
    #[error("must have segments that match [a-z][a-z0-9_]{{0,62}} or are *")]
    Pattern,
}

/// Where the dots are, when there are exactly two and every segment is good.
fn dots(
    text: &str,
    good: fn(&str) -> bool,
    otherwise: PermissionError,
) -> Result<(u8, u8), PermissionError> {
    let mut segments = text.split('.');
    let (Some(service), Some(resource), Some(verb), None) = (
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    ) else {
        return Err(PermissionError::Segments);
    };
    if ![service, resource, verb].into_iter().all(good) {
        return Err(otherwise);
    }
    let first = u8::try_from(service.len()).map_err(|_| otherwise)?;
    let second = u8::try_from(service.len() + 1 + resource.len()).map_err(|_| otherwise)?;
    Ok((first, second))
}

fn is_word(segment: &str) -> bool {
    segment.len() <= MAX_SEGMENT
        && segment.starts_with(|c: char| c.is_ascii_lowercase())
        && segment
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_word_or_star(segment: &str) -> bool {
    segment == "*" || is_word(segment)
}

fn split(text: &str, dots: (u8, u8)) -> [&str; 3] {
    let (first, second) = (usize::from(dots.0), usize::from(dots.1));
    [
        &text[..first],
        &text[first + 1..second],
        &text[second + 1..],
    ]
}

impl Permission {
    /// Parses a permission.
    pub fn new(text: impl Into<String>) -> Result<Self, PermissionError> {
        let text = text.into().into_boxed_str();
        let dots = dots(&text, is_word, PermissionError::Alphabet)?;
        Ok(Self { text, dots })
    }

    /// Parses the value of a request's field; the error names the field.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        text.parse().map_err(|error: PermissionError| {
            Error::validation(field, "permission", format!("{field} {error}"))
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Service, resource and verb.
    #[must_use]
    pub fn segments(&self) -> [&str; 3] {
        split(&self.text, self.dots)
    }

    /// The service whose permission this is.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.text[..usize::from(self.dots.0)]
    }
}

impl PermissionPattern {
    /// Parses a pattern.
    pub fn new(text: impl Into<String>) -> Result<Self, PermissionError> {
        let text = text.into().into_boxed_str();
        let dots = dots(&text, is_word_or_star, PermissionError::Pattern)?;
        Ok(Self { text, dots })
    }

    /// Parses the value of a request's field; the error names the field.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        text.parse().map_err(|error: PermissionError| {
            Error::validation(field, "permission", format!("{field} {error}"))
        })
    }

    /// The pattern that matches every permission: `*.*.*`.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            text: "*.*.*".into(),
            dots: (1, 3),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Service, resource and verb; `*` for any.
    #[must_use]
    pub fn segments(&self) -> [&str; 3] {
        split(&self.text, self.dots)
    }

    /// Whether the permission is one of those meant.
    #[must_use]
    pub fn matches(&self, permission: &Permission) -> bool {
        self.segments()
            .into_iter()
            .zip(permission.segments())
            .all(|(pattern, word)| pattern == "*" || pattern == word)
    }

    /// Whether everything the other pattern means is meant by this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.segments()
            .into_iter()
            .zip(other.segments())
            .all(|(ours, theirs)| ours == "*" || ours == theirs)
    }

    /// What both patterns mean, if there is any such permission.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let mut common = [""; 3];
        for ((slot, ours), theirs) in common.iter_mut().zip(self.segments()).zip(other.segments()) {
            *slot = match (ours, theirs) {
                ("*", word) | (word, "*") => word,
                (a, b) if a == b => a,
                _ => return None,
            };
        }
        Self::new(common.join(".")).ok()
    }

    /// Whether it has no star and so means one permission.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.text.contains('*')
    }
}

impl From<Permission> for PermissionPattern {
    fn from(permission: Permission) -> Self {
        Self {
            text: permission.text,
            dots: permission.dots,
        }
    }
}

macro_rules! text_forms {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl FromStr for $type {
            type Err = PermissionError;
            fn from_str(text: &str) -> Result<Self, PermissionError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = PermissionError;
            fn try_from(text: String) -> Result<Self, PermissionError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.text.into_string()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.text
            }
        }
    };
}

text_forms!(Permission);
text_forms!(PermissionPattern);
