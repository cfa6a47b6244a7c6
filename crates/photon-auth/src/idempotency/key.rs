//! The key of a request.

use http::HeaderMap;
use photon_core::Error;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{KEY, LONGEST_KEY};
use crate::caller::Caller;

/// What a client calls its request by: 1 to 255 visible ASCII characters, taken as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// That of a request; `None` if it has none.
    ///
    /// # Errors
    /// 400 naming [`KEY`].
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut values = headers.get_all(KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(refused("single", "must be given once"));
        }
        let bytes = value.as_bytes();
        if bytes.is_empty() {
            return Err(refused("length", "must not be empty"));
        }
        if bytes.len() > LONGEST_KEY {
            return Err(refused("length", "must have at most 255 characters"));
        }
        match value.to_str() {
            Ok(text) if bytes.iter().all(u8::is_ascii_graphic) => Ok(Some(Self(text.to_owned()))),
            _ => Err(refused("characters", "must be visible ASCII")),
        }
    }

    /// What the record of a request with this key is found by: the same key of another caller, or at another route, is
    /// another key. The key itself is not stored.
    pub(crate) fn name(&self, caller: &Caller, method: &str, path: &str) -> String {
        let behalf = caller.on_behalf.as_ref();
        let whole = json!([
            caller.who.to_string(),
            caller.acting.as_ref().map(ToString::to_string),
            behalf.map(|behalf| behalf.principal.to_string()),
            behalf.map(|behalf| behalf.project.to_string()),
            method,
            path,
            self.0,
        ]);
        hex(&Sha256::digest(whole.to_string()))
    }

    /// A digest of a request's content. The key goes into it, so that who reads the store and not the key cannot find out
    /// by trying whether some content, which may be a password, was the one.
    pub(crate) fn fingerprint(&self, content: &[u8]) -> String {
        let mut digest = Sha256::new();
        digest.update(self.0.as_bytes());
        // No key has this byte.
        digest.update([0]);
        digest.update(content);
        hex(&digest.finalize())
    }
}

fn refused(constraint: &str, what: &str) -> Error {
    Error::validation(KEY, constraint, format!("{KEY} {what}"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::caller::{OnBehalf, Who};

    fn of(values: &[&[u8]]) -> Result<Option<Key>, Error> {
        let name = HeaderName::from_static("idempotency-key");
        let values = values.iter();
        let values = values.map(|value| HeaderValue::from_bytes(value).unwrap());
        Key::of(&values.map(|value| (name.clone(), value)).collect())
    }

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        assert_eq!(of(&[]).unwrap(), None);
        for good in ["a", "\"8e03978e-40d5\"", "~!", &"x".repeat(255)] {
            assert_eq!(of(&[good.as_bytes()]).unwrap(), Some(Key(good.to_owned())));
        }
        let long = "x".repeat(256);
        for (bad, constraint) in [
            (&[b"".as_slice()] as &[&[u8]], "length"),
            (&[long.as_bytes()], "length"),
            (&[b"a b"], "characters"),
            (&[b"a\tb"], "characters"),
            (&["ü".as_bytes()], "characters"),
            (&[b"a", b"a"], "single"),
        ] {
            let details = of(bad).unwrap_err().details().unwrap().clone();
            assert_eq!(
                details,
                json!({"field": "Idempotency-Key", "constraint": constraint})
            );
        }
    }

    #[test]
    fn a_name_stands_for_one_key_of_one_caller_at_one_route() {
        let key = Key("k".to_owned());
        let alice = Caller {
            who: Who::Principal("user:alice".parse().unwrap()),
            limit: None,
            source: None,
            on_behalf: None,
            token_id: None,
            acting: None,
        };
        let another_token = Caller {
            limit: Some("project:shop".parse().unwrap()),
            source: Some("10.0.0.1".parse().unwrap()),
            token_id: Some("jti".into()),
            ..alice.clone()
        };
        let first = key.name(&alice, "POST", "/users");
        assert_eq!(first.len(), 64);
        assert_eq!(first, key.name(&another_token, "POST", "/users"));
        let bob = Caller {
            who: Who::Principal("user:bob".parse().unwrap()),
            ..alice.clone()
        };
        let carol_as_alice = Caller {
            acting: Some("user:carol".parse().unwrap()),
            ..alice.clone()
        };
        let behalf = |project: &str| Caller {
            on_behalf: Some(OnBehalf {
                principal: "user:alice".parse().unwrap(),
                project: project.parse().unwrap(),
            }),
            ..alice.clone()
        };
        let names = [
            first,
            key.name(&bob, "POST", "/users"),
            key.name(&carol_as_alice, "POST", "/users"),
            key.name(&behalf("shop"), "POST", "/users"),
            key.name(&behalf("mall"), "POST", "/users"),
            key.name(&Caller::dev_operator(None), "POST", "/users"),
            key.name(&alice, "PUT", "/users"),
            key.name(&alice, "POST", "/orgs"),
            Key("l".to_owned()).name(&alice, "POST", "/users"),
        ];
        let different: std::collections::HashSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn a_fingerprint_depends_on_content_and_key() {
        let (one, other) = (Key("1".to_owned()), Key("12".to_owned()));
        assert_eq!(one.fingerprint(b"2"), one.fingerprint(b"2"));
        assert_ne!(one.fingerprint(b"2"), one.fingerprint(b"3"));
        assert_ne!(one.fingerprint(b"2"), other.fingerprint(b""));
        assert_ne!(one.fingerprint(b"2"), other.fingerprint(b"2"));
    }
}
