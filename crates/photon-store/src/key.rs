//! Keys: absolute, made of segments between slashes.

use crate::{Error, Result};

/// Longest key in bytes. The server has no limit of its own short of the request size.
const LONGEST: usize = 1024;

/// Checks an absolute key such as `/photon/plasmavmc/vm/acme/shop/vm-…`.
pub(crate) fn check(key: &str) -> Result<()> {
    let invalid = |reason| {
        Err(Error::InvalidKey {
            key: key.chars().take(200).collect(),
            reason,
        })
    };
    if key.len() > LONGEST {
        return invalid("longer than 1024 bytes");
    }
    let Some(path) = key.strip_prefix('/') else {
        return invalid("does not begin with a slash");
    };
    if path.split('/').any(str::is_empty) {
        return invalid("has an empty segment");
    }
    if key.chars().any(char::is_control) {
        return invalid("has a control character");
    }
    Ok(())
}

/// The end of the range of all keys that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // everything from the prefix on
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        assert!(check("/photon/plasmavmc/vm/a-1").is_ok());
        assert!(check("/photon/日本/ü").is_ok());
        for bad in ["", "a", "/", "/a/", "/a//b", "/a\n"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&format!("/{}", "x".repeat(1024))).is_err());
    }

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(prefix_end(b"/a/"), b"/a0");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff\xff"), b"\0");
        assert_eq!(after(b"a"), b"a\0");
    }
}
