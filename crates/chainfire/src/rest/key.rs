//! Keys in paths. A key may hold any UTF-8, slashes included, so a path is read from both ends:
//!
//! ```text
//!   /api/v1/kv/a/b           GET   key a/b
//!   /api/v1/kv/a/b/put       POST  put key a/b        (the last segment is the action, and only that)
//!   /api/v1/kv/a/put/put     POST  put key a/put
//!   /api/v1/kv/a%2Fput/put   POST  put key a/put      (escapes are undone after the action is taken off)
//!   /api/v1/kv//photon/x     GET   key /photon/x
//! ```

use http::Uri;
use photon_core::{Code, Error};
use photon_server::rest::unescape;

const BASE: &str = "/api/v1/kv/";

/// What a POST below a key does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Put,
    Delete,
}

/// The key that a path names.
pub(super) fn key_of(uri: &Uri) -> Result<String, Error> {
    decode(below_base(uri))
}

/// The key that a path names, and what its last segment asks to do with it.
pub(super) fn key_and_action_of(uri: &Uri) -> Result<(String, Action), Error> {
    let path = below_base(uri);
    let (key, action) = path.rsplit_once('/').unwrap_or(("", path));
    let action = match action {
        "put" => Action::Put,
        "delete" => Action::Delete,
        _ => {
            let text = "a POST on a key ends in /put or /delete";
            return Err(Error::new(Code::METHOD_NOT_ALLOWED, text));
        }
    };
    Ok((decode(key)?, action))
}

fn below_base(uri: &Uri) -> &str {
    uri.path().strip_prefix(BASE).unwrap_or_default()
}

fn decode(raw: &str) -> Result<String, Error> {
    if raw.is_empty() {
        return Err(Error::required("key"));
    }
    Ok(unescape(raw, "key")?.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn uri(path: &str) -> Uri {
        format!("{BASE}{path}").parse().unwrap()
    }

    #[test]
    fn the_last_segment_is_the_action_and_only_that() {
        for (path, key, action) in [
            ("user:123/put", "user:123", Action::Put),
            ("a/b/put", "a/b", Action::Put),
            ("a/put/put", "a/put", Action::Put),
            ("a/delete/put", "a/delete", Action::Put),
            ("a%2Fput/delete", "a/put", Action::Delete),
            ("/photon/x/put", "/photon/x", Action::Put),
            ("a//put", "a/", Action::Put),
            ("//put", "/", Action::Put),
            ("50%25/put", "50%", Action::Put),
            ("%E6%9D%B1%E4%BA%AC/put", "東京", Action::Put),
            ("a+b/put", "a+b", Action::Put),
        ] {
            assert_eq!(
                key_and_action_of(&uri(path)).unwrap(),
                (key.to_owned(), action),
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_without_key_or_action_says_so() {
        for path in ["put", "/put", "delete"] {
            let error = key_and_action_of(&uri(path)).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "key", "{path}");
        }
        for path in ["a", "a/b", "a%2Fput", ""] {
            assert_eq!(
                key_and_action_of(&uri(path)).unwrap_err().code(),
                Code::METHOD_NOT_ALLOWED,
                "{path}"
            );
        }
        assert_eq!(key_of(&uri("")).unwrap_err().message(), "key is required");
        for bad in ["%FF", "%zz", "50%", "a%2"] {
            let error = key_of(&uri(bad)).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "key", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_key_survives_its_escaping(key in "\\PC{1,40}") {
            let path = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(key_of(&uri(&path)).unwrap(), key.clone());
            prop_assert_eq!(key_and_action_of(&uri(&format!("{path}/put"))).unwrap(), (key, Action::Put));
        }
    }
}
