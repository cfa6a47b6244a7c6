//! Query strings.

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode;
use photon_core::Error;
use serde::de::DeserializeOwned;

use super::RestError;
use crate::fields::{Tree, Unknown, read};

/// The query string read into `T`; what is wrong with it names the parameter. Unlike a lenient form
/// decoder this one refuses percent escapes that are not UTF-8, and parameters given twice.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestError> {
        Ok(Self(from_query(parts.uri.query().unwrap_or_default())?))
    }
}

/// Reads a query string (without the question mark) into `T`.
pub fn from_query<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let mut entries = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or_else(|| {
            Error::validation(
                "query",
                "utf-8",
                "the query string has a parameter name that is not UTF-8",
            )
        })?;
        let value = decode(value)
            .ok_or_else(|| Error::validation(&key, "utf-8", format!("{key} is not UTF-8")))?;
        entries.push((key, Tree::Untyped(value)));
    }
    read(Tree::Object(entries), Unknown::AsDeclared).map_err(|error| error.into_error("query"))
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Scan {
        #[serde(default)]
        prefix: String,
        limit: Option<u32>,
    }

    #[test]
    fn decodes() {
        let scan: Scan = from_query("prefix=user%3A%C3%A4+b&limit=10").unwrap();
        assert_eq!(
            scan,
            Scan {
                prefix: "user:ä b".into(),
                limit: Some(10)
            }
        );
        assert_eq!(
            from_query::<Scan>("").unwrap(),
            Scan {
                prefix: String::new(),
                limit: None
            }
        );
        assert_eq!(
            from_query::<Scan>("prefix=a%2Bb=c&&").unwrap().prefix,
            "a+b=c"
        );
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, field, constraint) in [
            ("limit=many", "limit", "type"),
            ("limit=", "limit", "type"),
            ("limit=-1", "limit", "type"),
            ("lmit=1", "lmit", "unknown"),
            ("limit=1&limit=2", "limit", "duplicate"),
            ("prefix=%FF", "prefix", "utf-8"),
            ("%FF=1", "query", "utf-8"),
        ] {
            let error = from_query::<Scan>(query).unwrap_err();
            let details = error.details().unwrap();
            assert_eq!(
                (&details["field"], &details["constraint"]),
                (&field.into(), &constraint.into()),
                "{query}"
            );
        }
    }
}
