//! `Idempotency-Key`: a change that is asked for twice is made once.
//!
//! The ledger remembers keys with the entries they made, so key and change are one, and a repeated request that meets the
//! first on its way waits for it and is told the same. Here the header becomes what the ledger knows a request by.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use creditservice_ledger::{Command, Digest, Key};
use http::{HeaderMap, Method, request::Parts};
use photon_auth::Context;
use photon_core::{Code, Error, Name};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The header; of gRPC the metadata of this name in lower case.
pub(crate) const KEY: &str = "Idempotency-Key";
/// Set where an answer is that of an earlier request.
pub(crate) const REPLAYED: &str = "idempotency-replayed";
const LONGEST: usize = 255;

/// A request's key, if it has one, and where it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    key: Result<Option<String>, Refused>,
    method: String,
    path: String,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug)]
struct Refused {
    constraint: &'static str,
    what: &'static str,
}

impl Given {
    /// That of a gRPC request.
    pub(crate) fn of_rpc<T>(request: &tonic::Request<T>, method: &str) -> Self {
        Self {
            key: key_of(request.metadata().as_ref()),
            method: "rpc".to_owned(),
            path: method.to_owned(),
        }
    }

    /// What the ledger knows the request by: the same key of another caller or project, or at another route, is another
    /// one. The command must be as the caller asked for it, without what the door adds.
    ///
    /// # Errors
    /// A key that is none: 400 naming the header.
    pub(crate) fn key(
        &self,
        ctx: &Context,
        project: Option<&Name>,
        command: &Command,
    ) -> Result<Option<Key>, Error> {
        let key = match &self.key {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(None),
            Err(Refused { constraint, what }) => {
                return Err(Error::validation(KEY, constraint, format!("{KEY} {what}")));
            }
        };
        let caller = ctx.caller.who.to_string();
        let whole = json!([caller, project, self.method, self.path, key]);
        // The command's own JSON has one form, whatever the body's looked like.
        let body = serde_json::to_vec(command).map_err(Error::internal)?;
        let mut fingerprint = Sha256::new();
        fingerprint.update(key.as_bytes());
        fingerprint.update([0]);
        fingerprint.update(body);
        Ok(Some(Key {
            digest: Digest(Sha256::digest(whole.to_string()).into()),
            fingerprint: Digest(fingerprint.finalize().into()),
        }))
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let refused = |constraint, what| Err(Refused { constraint, what });
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return refused("single", "must be given once");
    }
    if value.is_empty() {
        return refused("length", "must not be empty");
    }
    if value.len() > LONGEST {
        return refused("length", "must have at most 255 characters");
    }
    match value.to_str() {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(text.to_owned())),
        _ => refused("characters", "must be visible ASCII"),
    }
}

/// The key was used for something else.
pub(crate) fn reused() -> Error {
    let text = format!("{KEY} was used for another request already");
    Error::new(Code::UNPROCESSABLE, text)
        .with_details(json!({ "field": KEY, "constraint": "same_request" }))
}

impl<S: Sync> FromRequestParts<S> for Given {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = parts;
        Ok(Self {
            key: key_of(headers),
            method: Method::as_str(method).to_owned(),
            path: uri.path().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::HeaderValue;

    use super::*;

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY, HeaderValue::from_bytes(value).unwrap());
            }
            key_of(&headers).map_err(|refused| refused.constraint)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[b"k-1"]), Ok(Some("k-1".to_owned())));
        assert!(of(&["x".repeat(255).as_bytes()]).is_ok());
        assert_eq!(of(&["x".repeat(256).as_bytes()]), Err("length"));
        assert_eq!(of(&[b""]), Err("length"));
        assert_eq!(of(&[b"a b"]), Err("characters"));
        assert_eq!(of(&["ü".as_bytes()]), Err("characters"));
        assert_eq!(of(&[b"a", b"a"]), Err("single"));
    }
}
