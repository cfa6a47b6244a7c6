//! Which keys a request means: etcd's `key` and `range_end`, parsed once.

/// A set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span<'a> {
    /// One key.
    Point(&'a [u8]),
    /// Every key from `start` on, up to but without `end`; without `end`, all that follow.
    Range {
        start: &'a [u8],
        end: Option<&'a [u8]>,
    },
}

impl<'a> Span<'a> {
    /// etcd's convention: no `range_end` is one key, `\0` is everything from `key` on.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::Point(key),
            [0] => Self::Range {
                start: key,
                end: None,
            },
            end => Self::Range {
                start: key,
                end: Some(end),
            },
        }
    }

    /// Whether a key is in it.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Point(point) => *point == key,
            Self::Range { start, end } => *start <= key && end.is_none_or(|end| key < end),
        }
    }

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Range { start, end: Some(end) } if start >= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_etcds_convention() {
        assert_eq!(Span::new(b"a", b""), Span::Point(b"a"));
        assert_eq!(
            Span::new(b"a", b"\0"),
            Span::Range {
                start: b"a",
                end: None
            }
        );
        assert!(Span::new(b"b", b"a").is_empty());
        assert!(Span::new(b"b", b"b").is_empty());
        assert!(!Span::new(b"b", b"c").is_empty());
        assert!(Span::new(b"b", b"c").contains(b"bz"));
        assert!(!Span::new(b"b", b"c").contains(b"c"));
        assert!(Span::new(b"b", b"\0").contains(b"\xff"));
        assert!(!Span::new(b"b", b"").contains(b"b\0"));
    }
}
