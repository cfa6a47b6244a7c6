//! Percent escapes in paths and queries, read strictly.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use photon_core::Error;

/// Undoes the percent escapes of `text`, a part of a path or a query. Unlike a browser's decoder this one takes no
/// `%` that begins no escape: whoever sends one has forgotten to escape it, and means something else.
///
/// # Errors
/// A validation error on `field`: `percent-encoding` for `%zz`, `utf-8` for bytes that are no text.
pub fn unescape<'a>(text: &'a str, field: &str) -> Result<Cow<'a, str>, Error> {
    check_escapes(text, field)?;
    percent_decode_str(text).decode_utf8().map_err(|error| {
        Error::validation(field, "utf-8", format!("{field} is not UTF-8")).with_source(error)
    })
}

/// Whether every `%` begins an escape.
pub(super) fn check_escapes(text: &str, field: &str) -> Result<(), Error> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        if !is_hex(bytes.get(at + 1)) || !is_hex(bytes.get(at + 2)) {
            return Err(Error::validation(
                field,
                "percent-encoding",
                format!("{field} has a % that begins no escape; the character itself is %25"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn escapes_are_undone_and_nothing_else_is_guessed() {
        assert_eq!(unescape("a%2Fb%25%e6%9d%b1", "key").unwrap(), "a/b%東");
        assert_eq!(unescape("", "key").unwrap(), "");
        for (bad, constraint) in [
            ("%", "percent-encoding"),
            ("a%2", "percent-encoding"),
            ("%zz", "percent-encoding"),
            ("%%41", "percent-encoding"),
            ("%4é", "percent-encoding"),
            ("%FF", "utf-8"),
        ] {
            let error = unescape(bad, "key").unwrap_err();
            let details = error.details().unwrap();
            assert_eq!(details["constraint"], constraint, "{bad}");
            assert_eq!(details["field"], "key", "{bad}");
        }
    }
}
