//! Texts that people choose: names of things, addresses of people.

pub use photon_core::Label;
use serde::{Deserialize, Serialize};

/// A title of a role is one.
const _: () = assert!(photon_core::label::MAX_BYTES == photon_authz::records::MAX_TITLE);

/// The longest [`Email`], in bytes, as mail servers have it.
const EMAIL_BYTES: usize = 254;

/// An address that mail can be sent to, or nothing. Not more is checked than that it can be one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The text; empty for nothing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Ok(Self(text));
        }
        if text.len() > EMAIL_BYTES {
            return Err("must be at most 254 bytes");
        }
        let odd = |c: char| c.is_control() || c.is_whitespace();
        match text.rsplit_once('@') {
            Some((local, domain))
                if !local.is_empty() && !domain.is_empty() && !text.contains(odd) =>
            {
                Ok(Self(text))
            }
            _ => Err("must be an address like name@example.com"),
        }
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses() {
        for good in ["", "bob@example.com", "b.o+b@ü.example"] {
            assert!(Email::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(250));
        for bad in [
            "bob",
            "@",
            "bob@",
            "@example.com",
            "b ob@example.com",
            &long,
        ] {
            assert!(Email::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
