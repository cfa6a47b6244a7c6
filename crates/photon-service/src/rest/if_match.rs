//! `If-Match`.

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};
use photon_core::Error;
use photon_server::RestError;
use utoipa::{IntoParams, ToSchema};

/// The revision that a thing must be at to be changed, from the header `If-Match: "<revision>"`; none if there is no such
/// header, or it is `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch(pub Option<i64>);

/// A revision as an answer's `ETag` said it, or `*`. A document that has [`IfMatchHeader`] names it among its components: schemas of
/// parameters are not collected.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, pattern = "^(\\*|\"[0-9]{1,18}\")$", example = "\"42\"")]
#[expect(dead_code, reason = "only described, never built")]
pub struct EtagText(String);

/// [`IfMatch`], for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described, never built")]
pub struct IfMatchHeader {
    /// Only if it is at this revision, as `ETag` said it.
    #[param(rename = "If-Match", value_type = EtagText, required = false)]
    if_match: Option<i64>,
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestError> {
        Ok(Self(read(&parts.headers)?))
    }
}

fn read(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(header::IF_MATCH) {
            true => Err(refused()),
            false => Ok(None),
        };
    };
    match value.as_bytes() {
        b"*" => Ok(None),
        value => revision(value).map(Some).ok_or_else(refused),
    }
}

fn revision(tag: &[u8]) -> Option<i64> {
    let digits = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}

fn refused() -> Error {
    Error::validation(
        "If-Match",
        "etag",
        "If-Match must be one ETag as an answer had it, for example \"42\", or *",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<Option<i64>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        read(&headers).map_err(|error| {
            error.details().unwrap()["field"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    }

    #[test]
    fn only_etags_of_ours_are_taken() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["*"]), Ok(None));
        assert_eq!(of(&["\"42\""]), Ok(Some(42)));
        assert_eq!(of(&["\"0\""]), Ok(Some(0)));
        for bad in [
            &["42"][..],
            &["\"\""],
            &["W/\"42\""],
            &["\"-1\""],
            &["\"+1\""],
            &["\"99999999999999999999\""],
            &["\"1\", \"2\""],
            &["\"1\"", "\"2\""],
            &[""],
        ] {
            assert_eq!(of(bad), Err("If-Match".to_owned()), "{bad:?}");
        }
    }
}
