//! The `Authorization` header of routes for everybody.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use photon_core::Name;

use crate::credential::{API_KEY_PREFIX, Secret};

/// The longest one that is read, in bytes: a token of 8 KiB and some.
const MOST_BYTES: usize = 12 * 1024;

/// What it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// There is none.
    None,
    /// A name with a password or an API key (RFC 7617).
    Basic {
        /// Whose.
        name: Name,
        /// The password, or key.
        secret: Secret,
    },
    /// One of our API keys as a bearer token.
    ApiKey(Secret),
    /// Another bearer token (RFC 6750).
    Token(Secret),
    /// Something else.
    Bad,
}

impl Authorization {
    pub(crate) fn of(header: Option<&HeaderValue>) -> Self {
        let Some(header) = header else {
            return Self::None;
        };
        header.to_str().ok().and_then(read).unwrap_or(Self::Bad)
    }
}

fn read(text: &str) -> Option<Authorization> {
    if text.len() > MOST_BYTES {
        return None;
    }
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let secret = Secret::from(rest.to_owned());
        return match rest {
            "" => None,
            key if key.starts_with(API_KEY_PREFIX) => Some(Authorization::ApiKey(secret)),
            _ => Some(Authorization::Token(secret)),
        };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (name, secret) = pair.split_once(':')?;
    Some(Authorization::Basic {
        name: Name::new(name).ok()?,
        secret: Secret::from(secret.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn of(text: &str) -> Authorization {
        Authorization::of(Some(&HeaderValue::from_str(text).unwrap()))
    }

    #[test]
    fn the_schemes_are_told_apart() {
        let secret = |text: &str| Secret::from(text.to_owned());
        assert_eq!(Authorization::of(None), Authorization::None);
        assert_eq!(of("Bearer abc"), Authorization::Token(secret("abc")));
        assert_eq!(of("bearer phk_1"), Authorization::ApiKey(secret("phk_1")));
        let basic = format!("Basic {}", STANDARD.encode("alice:pa:ss"));
        let expected = Authorization::Basic {
            name: Name::new("alice").unwrap(),
            secret: secret("pa:ss"),
        };
        assert_eq!(of(&basic), expected);
        assert!(!format!("{expected:?}").contains("pa:ss"));
    }

    #[test]
    fn what_is_not_whole_is_bad_and_not_absent() {
        let long = format!("Bearer {}", "x".repeat(MOST_BYTES));
        let no_colon = format!("Basic {}", STANDARD.encode("alice"));
        let no_name = format!("Basic {}", STANDARD.encode("A/B:c"));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic",
            "Basic !",
            "Digest abc",
            "abc",
            &long,
            &no_colon,
            &no_name,
        ] {
            assert_eq!(of(bad), Authorization::Bad, "{bad}");
        }
    }
}
