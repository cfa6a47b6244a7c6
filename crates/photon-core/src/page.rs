//! Page tokens: where a keyset-paged list continues, opaque to the caller.
//!
//! A token is base64url of one version byte and the JSON of a position of the service's choosing. It is
//! not secret and not signed: whatever it leads to is authorized again when it is used.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

const VERSION: u8 = 1;
/// The longest token taken from a caller, in bytes of text.
pub const MAX_LENGTH: usize = 4096;

/// An opaque position in a list, as it stands in `data.next_page_token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// Writes a position as a token.
    pub fn encode<P: Serialize>(position: &P) -> Result<Self, Error> {
        let mut raw = vec![VERSION];
        serde_json::to_writer(&mut raw, position).map_err(Error::internal)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(raw)))
    }

    /// Reads the position out of a caller's `page_token`; whatever we did not write is a validation error.
    pub fn decode<P: DeserializeOwned>(token: &str) -> Result<P, Error> {
        let invalid = || Error::validation("page_token", "format", "page_token is not one of ours");
        if token.len() > MAX_LENGTH {
            return Err(invalid());
        }
        let raw = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|error| invalid().with_source(error))?;
        match raw.split_first() {
            Some((&VERSION, json)) => {
                serde_json::from_slice(json).map_err(|error| invalid().with_source(error))
            }
            _ => Err(invalid()),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::Code;

    proptest! {
        #[test]
        fn positions_survive(key in prop::collection::vec(any::<u8>(), 0..200), revision in any::<i64>()) {
            let token = PageToken::encode(&(&key, revision)).unwrap();
            let back: (Vec<u8>, i64) = PageToken::decode(token.as_str()).unwrap();
            prop_assert_eq!(back, (key, revision));
        }

        #[test]
        fn strangers_are_refused(text in ".{0,100}") {
            if let Err(error) = PageToken::decode::<(String, i64)>(&text) {
                prop_assert_eq!(error.code(), Code::VALIDATION_ERROR);
            }
        }
    }

    #[test]
    fn another_version_is_refused() {
        let other = URL_SAFE_NO_PAD.encode([&[2][..], b"[\"a\",1]"].concat());
        assert!(PageToken::decode::<(String, i64)>(&other).is_err());
        let ours = URL_SAFE_NO_PAD.encode([&[1][..], b"[\"a\",1]"].concat());
        assert_eq!(
            PageToken::decode::<(String, i64)>(&ours).unwrap(),
            ("a".to_owned(), 1)
        );
        assert!(PageToken::decode::<(String, i64)>(&"A".repeat(MAX_LENGTH + 1)).is_err());
    }
}
