//! Query strings.

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::request::Parts;
use photon_core::Error;
use serde::de::DeserializeOwned;

use super::{Nothing, RestError, unescape};
use crate::fields::{Tree, Unknown, read};

/// The query string read into `T`; what is wrong with it names the parameter. Unlike a lenient form
/// decoder this one refuses percent escapes that are none or not UTF-8, and parameters given twice.
///
/// Routes without it take no query: put [`refuse_query`] around them.
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
        let key = decode(key, "query")?;
        let value = decode(value, &key)?;
        entries.push((key, Tree::Untyped(value)));
    }
    read(Tree::Object(entries), Unknown::AsDeclared).map_err(|error| error.into_error("query"))
}

fn decode(text: &str, field: &str) -> Result<String, Error> {
    let spaced = text.replace('+', " ");
    unescape(&spaced, field).map(std::borrow::Cow::into_owned)
}

/// A middleware for routes that take no query: refuses the first parameter by its name, so that a misspelt or
/// misplaced one is not taken for heeded.
///
/// ```ignore
/// Router::new().route("/jobs", get(jobs)).route_layer(axum::middleware::from_fn(refuse_query))
/// ```
pub async fn refuse_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    match from_query::<Nothing>(query) {
        Ok(Nothing {}) => next.run(request).await,
        Err(error) => RestError(error).into_response(),
    }
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
            ("prefix=50%", "prefix", "percent-encoding"),
            ("%zz=1", "query", "percent-encoding"),
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
