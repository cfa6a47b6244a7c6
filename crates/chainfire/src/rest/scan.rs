//! Lists of keys, for both of our own doors: at one revision, in key order, by pages, within `size::ANSWER`.
//!
//! A page token carries the last key handed out, that revision and the count.

use bytes::{BufMut as _, Bytes, BytesMut};
use photon_core::{Code, Error, page::PageToken};
use photon_proto::{etcdserverpb::RangeRequest, mvccpb::KeyValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    encoding::Encoding,
    error::told,
    size::{self, ANSWER},
};
use crate::app::{App, Caller};

/// Rows a list without a limit may have, and the most a limit may ask for.
pub(crate) const MAX_ROWS: usize = 10_000;

/// A range in etcd's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) key: Bytes,
    pub(crate) range_end: Bytes,
}

/// "From here to the last key" as a range end, and the first possible key as a key.
const OPEN: Bytes = Bytes::from_static(&[0]);

impl Span {
    /// Every key that begins with `prefix`; an empty prefix is every key.
    pub(crate) fn prefix(prefix: &str) -> Self {
        if prefix.is_empty() {
            return Self {
                key: OPEN,
                range_end: OPEN,
            };
        }
        let mut end = prefix.as_bytes().to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        let range_end = if end.is_empty() { OPEN } else { end.into() };
        Self {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end,
        }
    }

    /// One key.
    pub(crate) fn single(key: &str) -> Self {
        Self {
            key: Bytes::copy_from_slice(key.as_bytes()),
            range_end: Bytes::new(),
        }
    }

    /// The keys from `start` on and before `end`; empty stands for the first and past the last key.
    pub(crate) fn between(start: &str, end: &str) -> Self {
        let or_open = |text: &str| {
            if text.is_empty() {
                OPEN
            } else {
                Bytes::copy_from_slice(text.as_bytes())
            }
        };
        Self {
            key: or_open(start),
            range_end: or_open(end),
        }
    }

    /// One of the two ways to say a range; both at once are refused.
    pub(crate) fn parse(
        prefix: Option<&str>,
        start: Option<&str>,
        end: Option<&str>,
    ) -> Result<Self, Error> {
        match (prefix, start, end) {
            (Some(_), Some(_), _) => Err(Error::validation(
                "start",
                "exclusive",
                "start does not go with prefix",
            )),
            (Some(_), None, Some(_)) => Err(Error::validation(
                "end",
                "exclusive",
                "end does not go with prefix",
            )),
            (None, None, None) => Ok(Self::prefix("")),
            (Some(prefix), None, None) => Ok(Self::prefix(prefix)),
            (None, start, end) => Ok(Self::between(
                start.unwrap_or_default(),
                end.unwrap_or_default(),
            )),
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update((self.key.len() as u64).to_be_bytes());
        hash.update(&self.key);
        hash.update(&self.range_end);
        let digest = hash.finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// What to list.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) span: Span,
    pub(crate) limit: Option<usize>,
    pub(crate) page_token: Option<String>,
    /// 0: the newest.
    pub(crate) revision: i64,
    pub(crate) keys_only: bool,
    /// Read what this member has, without asking a quorum.
    pub(crate) stale: bool,
}

/// One page, or the whole list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<KeyValue>,
    /// Keys in the whole range at that revision.
    pub(crate) count: i64,
    pub(crate) revision: i64,
    pub(crate) next_page_token: Option<String>,
}

/// Where a list goes on.
#[derive(Serialize, Deserialize)]
struct Position {
    revision: i64,
    count: i64,
    last: String,
    encoding: Encoding,
    span: u64,
}

/// Lists keys; see the module.
///
/// # Errors
/// A validation error that names `limit`, `page_token` or `revision`; `COMPACTED` when a list outlives the history
/// that it reads; what any read may answer.
pub(crate) async fn scan(app: &App, caller: &Caller, query: Query) -> Result<Page, Error> {
    check_limit(query.limit)?;
    check_revision(query.revision)?;
    let position = query
        .page_token
        .as_deref()
        .map(|token| position(token, &query))
        .transpose()?;
    let mut page = Page {
        items: Vec::new(),
        count: position.as_ref().map_or(0, |position| position.count),
        revision: position
            .as_ref()
            .map_or(query.revision, |position| position.revision),
        next_page_token: None,
    };
    let from = match &position {
        Some(position) => after(
            &position
                .encoding
                .decode(position.last.clone(), "page_token")?,
        ),
        None => query.span.key.clone(),
    };
    let request = RangeRequest {
        key: from,
        range_end: query.span.range_end.clone(),
        limit: i64::try_from(query.limit.unwrap_or(MAX_ROWS)).unwrap_or(i64::MAX),
        revision: page.revision,
        keys_only: query.keys_only,
        serializable: query.stale,
        ..RangeRequest::default()
    };
    let answer = app
        .range_within(caller, request, ANSWER)
        .await
        .map_err(|error| told(app, error))?;
    if position.is_none() {
        page.count = answer.count;
        if page.revision == 0 {
            page.revision = answer.header.as_ref().map_or(0, |header| header.revision);
        }
        refuse_if_endless(&query, page.count)?;
    }
    page.items = answer.kvs;
    if let Some(last) = page.items.last().filter(|_| answer.more) {
        if query.limit.is_none() {
            return Err(size::too_large());
        }
        page.next_page_token = Some(token(last, &page, &query.span)?);
    }
    Ok(page)
}

/// etcd takes a negative revision for the newest; here it is a mistake. 0 is the newest.
///
/// # Errors
/// A validation error on `revision`.
pub(crate) fn check_revision(revision: i64) -> Result<(), Error> {
    if revision < 0 {
        return Err(Error::validation(
            "revision",
            "minimum",
            "revision is at least 0",
        ));
    }
    Ok(())
}

/// A limit as REST takes it.
///
/// # Errors
/// A validation error on `limit`.
pub(super) fn row_limit(limit: Option<i64>) -> Result<Option<usize>, Error> {
    // What is negative is too small in the same words as zero.
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(0));
    check_limit(limit)?;
    Ok(limit)
}

/// # Errors
/// A validation error on `limit`.
fn check_limit(limit: Option<usize>) -> Result<(), Error> {
    match limit {
        Some(0) => Err(Error::validation("limit", "minimum", "limit is at least 1")),
        Some(limit) if limit > MAX_ROWS => Err(Error::validation(
            "limit",
            "maximum",
            format!("limit is at most {MAX_ROWS}"),
        )),
        _ => Ok(()),
    }
}

fn refuse_if_endless(query: &Query, count: i64) -> Result<(), Error> {
    if query.limit.is_none() && usize::try_from(count).is_ok_and(|count| count > MAX_ROWS) {
        return Err(ask_for_limit(format!(
            "the list has {count} rows, more than {MAX_ROWS}"
        )));
    }
    Ok(())
}

fn ask_for_limit(why: String) -> Error {
    Error::validation(
        "limit",
        "required",
        format!("{why}: give a limit and follow next_page_token"),
    )
}

/// The key right behind `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

fn token(last: &KeyValue, page: &Page, span: &Span) -> Result<String, Error> {
    let (last, encoding) = Encoding::encode(&last.key);
    let position = Position {
        revision: page.revision,
        count: page.count,
        last,
        encoding,
        span: span.fingerprint(),
    };
    let token = PageToken::encode(&position)?;
    if token.as_str().len() > photon_core::page::MAX_LENGTH {
        let text = "a key in this list is too long for a page token; list it through etcd's API";
        return Err(Error::new(Code::FAILED_PRECONDITION, text));
    }
    Ok(token.into_string())
}

fn position(token: &str, query: &Query) -> Result<Position, Error> {
    let position: Position = PageToken::decode(token)?;
    if position.span != query.span.fingerprint() || position.revision <= 0 {
        return Err(Error::validation(
            "page_token",
            "range",
            "page_token belongs to another list",
        ));
    }
    if query.revision != 0 && query.revision != position.revision {
        return Err(Error::validation(
            "revision",
            "page_token",
            "revision is not the one page_token reads at",
        ));
    }
    if query.limit.is_none() {
        return Err(ask_for_limit(
            "page_token continues a list by pages".to_owned(),
        ));
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn spans_are_etcds() {
        let span = |key: &'static [u8], end: &'static [u8]| Span {
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(end),
        };
        assert_eq!(Span::prefix("user:"), span(b"user:", b"user;"));
        assert_eq!(Span::prefix(""), span(b"\0", b"\0"));
        assert_eq!(
            Span::prefix("\u{10ffff}"),
            span(b"\xf4\x8f\xbf\xbf", b"\xf4\x8f\xbf\xc0")
        );
        assert_eq!(Span::between("a", ""), span(b"a", b"\0"));
        assert_eq!(Span::between("", "b"), span(b"\0", b"b"));
        for (prefix, start, end, field) in [
            (Some("a"), Some("b"), None, "start"),
            (Some("a"), None, Some("b"), "end"),
        ] {
            assert_eq!(
                Span::parse(prefix, start, end)
                    .unwrap_err()
                    .details()
                    .unwrap()["field"],
                field
            );
        }
    }

    #[test]
    fn a_token_holds_for_its_own_list_only() {
        let span = Span::prefix("a");
        let query = |span: &Span, revision| Query {
            span: span.clone(),
            limit: Some(1),
            page_token: None,
            revision,
            keys_only: false,
            stale: false,
        };
        let page = Page {
            items: vec![],
            count: 7,
            revision: 5,
            next_page_token: None,
        };
        let last = KeyValue {
            key: Bytes::from_static(b"a\xff"),
            ..KeyValue::default()
        };
        let token = token(&last, &page, &span).unwrap();
        let back = position(&token, &query(&span, 0)).unwrap();
        assert_eq!((back.revision, back.count), (5, 7));
        assert_eq!(
            back.encoding.decode(back.last, "page_token").unwrap(),
            last.key
        );
        assert!(position(&token, &query(&Span::prefix("b"), 0)).is_err());
        assert!(position(&token, &query(&span, 4)).is_err());
        assert!(position("nonsense", &query(&span, 0)).is_err());
    }

    #[test]
    fn limits_are_bounded() {
        assert!(check_limit(None).is_ok());
        assert!(check_limit(Some(MAX_ROWS)).is_ok());
        assert!(check_limit(Some(0)).is_err());
        assert!(check_limit(Some(MAX_ROWS + 1)).is_err());
        assert_eq!(row_limit(Some(7)).unwrap(), Some(7));
        assert_eq!(row_limit(None).unwrap(), None);
        for small in [0, -1, i64::MIN] {
            let error = row_limit(Some(small)).unwrap_err();
            assert_eq!(error.message(), "limit is at least 1", "{small}");
        }
    }
}
