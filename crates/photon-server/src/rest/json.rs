//! JSON bodies.

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError};
use photon_core::{Code, Error};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{RestError, range};
use crate::fields::{Tree, Unknown, read};

/// A JSON body read into `T`; what is wrong with it names the field. An absent body reads as `{}`.
///
/// Routes without it take no body: put [`refuse_body`](super::refuse_body) around them.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = RestError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, RestError> {
        let body = whole_body(request.into_body()).await?;
        let body = if body.is_empty() {
            b"{}"
        } else {
            body.as_ref()
        };
        Ok(Self(from_json(body)?))
    }
}

/// The whole body of a request. Its length is limited by the door.
///
/// # Errors
/// 413, and 400 for one that ends early.
pub async fn whole_body(body: Body) -> Result<Bytes, Error> {
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if is_length_limit(&error) => Err(Error::new(
            Code::PAYLOAD_TOO_LARGE,
            "the body is larger than this service takes",
        )),
        Err(error) => {
            Err(Error::validation("body", "complete", "the body ended early").with_source(error))
        }
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if cause.is::<LengthLimitError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Reads a JSON object into `T`; what is wrong with it names the field, or line and column.
pub fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    // serde's derived structs would also read an array, field by field.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Error::validation(
            "body",
            "type",
            "body must be an object, not an array",
        ));
    }
    serde_json::from_slice(text).map_err(|error| explain::<T>(text, error))
}

/// Only a failed request pays for finding the field at fault.
fn explain<T: DeserializeOwned>(text: &[u8], error: serde_json::Error) -> Error {
    match serde_json::from_slice::<Tree>(text) {
        Err(syntax) => not_json(text, &syntax),
        Ok(tree) => match read::<T>(tree, Unknown::AsDeclared) {
            Err(field) => field.into_error("body"),
            Ok(_) => Error::validation("body", "value", format!("the body is not valid: {error}")),
        },
    }
}

fn not_json(text: &[u8], syntax: &serde_json::Error) -> Error {
    match range::beyond(text) {
        Some(field) if !field.is_empty() => {
            let message = format!("{field} is a number that is too large to be read");
            Error::validation(&field, "value", message)
        }
        _ => Error::validation(
            "body",
            "json",
            format!("the body is not valid JSON: {syntax}"),
        )
        .with_details(json!({
            "field": "body",
            "constraint": "json",
            "line": syntax.line(),
            "column": syntax.column(),
        })),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Put {
        value: String,
        #[serde(default)]
        lease: i64,
    }

    fn details(text: &[u8]) -> (String, String) {
        let error = from_json::<Put>(text).unwrap_err();
        assert_eq!(error.code(), Code::VALIDATION_ERROR);
        let details = error.details().unwrap();
        (
            details["field"].as_str().unwrap().to_owned(),
            details["constraint"].as_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn errors_name_the_field() {
        for (text, field, constraint) in [
            ("{}", "value", "required"),
            (r#"{"value":1}"#, "value", "type"),
            (r#"{"value":"a","vlaue":"b"}"#, "vlaue", "unknown"),
            (r#"{"value":"a","value":"b"}"#, "value", "duplicate"),
            (
                r#"{"value":"a","lease":9223372036854775808}"#,
                "lease",
                "value",
            ),
            (r#"{"value":"a","lease":1e400}"#, "lease", "value"),
            (r#"["a"]"#, "body", "type"),
            ("null", "body", "type"),
        ] {
            let (got_field, got_constraint) = details(text.as_bytes());
            assert_eq!(
                (got_field.as_str(), got_constraint.as_str()),
                (field, constraint),
                "{text}"
            );
        }
    }

    #[test]
    fn broken_json_names_the_place() {
        let error = from_json::<Put>(b"{\n  \"value\": x\n}").unwrap_err();
        assert_eq!(error.details().unwrap()["line"], 2);
        for bad in [
            &b"{"[..],
            b"",
            b"{\"value\":\"\xff\"}",
            b"{\"value\":\"a\"} x",
            b"\xfe",
        ] {
            assert_eq!(details(bad).1, "json", "{bad:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!(
            "{{\"value\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(details(deep.as_bytes()).1, "json");
    }
}
