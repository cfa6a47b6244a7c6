//! Values as text: UTF-8 as it is, anything else in base64, and a word that says which.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use photon_core::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a text stands for bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) enum Encoding {
    /// The bytes are this text.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// The text is the bytes in base64 (standard alphabet, padded).
    #[serde(rename = "base64")]
    Base64,
}

impl Encoding {
    /// The bytes that `text` stands for.
    ///
    /// # Errors
    /// A validation error on `field` when the text is not base64.
    pub(crate) fn decode(self, text: String, field: &str) -> Result<Bytes, Error> {
        match self {
            Self::Utf8 => Ok(text.into()),
            Self::Base64 => STANDARD.decode(text).map(Bytes::from).map_err(|error| {
                Error::validation(field, "base64", format!("{field} is not base64"))
                    .with_source(error)
            }),
        }
    }

    /// The text for `bytes`, in UTF-8 where they are that.
    pub(crate) fn encode(bytes: &Bytes) -> (String, Self) {
        match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), Self::Utf8),
            Err(_) => (STANDARD.encode(bytes), Self::Base64),
        }
    }
}

/// A key as our answers show it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyText {
    /// The key; in base64 when `key_encoding` says so.
    #[schema(example = "user:123")]
    pub(super) key: String,
    /// Present only for keys that are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_encoding: Option<Encoding>,
}

impl From<&Bytes> for KeyText {
    fn from(bytes: &Bytes) -> Self {
        let (key, encoding) = Encoding::encode(bytes);
        Self {
            key,
            key_encoding: (encoding != Encoding::Utf8).then_some(encoding),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = Bytes::from(bytes);
            let (text, encoding) = Encoding::encode(&bytes);
            prop_assert_eq!(encoding.decode(text, "value").unwrap(), bytes);
        }
    }

    #[test]
    fn text_that_is_not_base64_names_its_field() {
        let error = Encoding::Base64.decode("***".into(), "value").unwrap_err();
        assert_eq!(error.details().unwrap()["field"], "value");
    }
}
