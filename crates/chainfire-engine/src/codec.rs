//! The bytes in the column families.
//!
//! ```text
//! rev    main ‖ sub (big endian)                 -> kind, create, version, lease, key, value
//! ver    escaped(key) ‖ !main ‖ !sub             -> kind, create, version, lease
//! cur    key                                     -> create, mod, version, lease (8 each), value
//! lease  id                                      -> ttl, remaining
//!        id ‖ key                                -> nothing
//! ```
//! A key in `ver` is escaped so that the newest version of a key comes first and keys keep their order:
//! `00` becomes `00 FF` and `00 00` ends the key (memcomparable, as in FoundationDB's tuple layer).

use std::io;

use bytes::{Buf, Bytes};
use photon_proto::mvccpb::{Event, KeyValue, event::EventType};
use prost::encoding::{decode_varint, encode_varint};

/// A place in history: the revision and the change inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rev {
    pub(crate) main: i64,
    pub(crate) sub: i64,
}

/// What is stored of a key beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) create: i64,
    pub(crate) modified: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

impl Meta {
    pub(crate) fn with(self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

const PUT: u8 = 0;
const TOMBSTONE: u8 = 1;
/// Bytes of `cur`'s value before the user's value.
pub(crate) const CUR_HEADER: usize = 32;

pub(crate) fn corrupt(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "the store is corrupt: {what}; restore this member from a snapshot or from its peers"
        ),
    )
}

#[expect(
    clippy::cast_sign_loss,
    reason = "bit pattern, order kept for values >= 0"
)]
fn be(number: i64) -> [u8; 8] {
    (number as u64).to_be_bytes()
}

fn read_i64(bytes: &[u8], at: usize) -> Option<i64> {
    let slice = bytes.get(at..at + 8)?;
    Some(i64::from_be_bytes(slice.try_into().ok()?))
}

// --- rev -----------------------------------------------------------------------------------------------

pub(crate) fn rev_key(rev: Rev) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&be(rev.main));
    key[8..].copy_from_slice(&be(rev.sub));
    key
}

pub(crate) fn parse_rev_key(key: &[u8]) -> io::Result<Rev> {
    match (read_i64(key, 0), read_i64(key, 8), key.len()) {
        (Some(main), Some(sub), 16) => Ok(Rev { main, sub }),
        _ => Err(corrupt("a history key has the wrong length")),
    }
}

#[expect(
    clippy::cast_sign_loss,
    reason = "varints of revisions and ids, read back the same way"
)]
fn push_meta(meta: &Meta, to: &mut Vec<u8>) {
    encode_varint(meta.create as u64, to);
    encode_varint(meta.version as u64, to);
    encode_varint(meta.lease as u64, to);
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "written by push_meta from an i64"
)]
fn take_meta(from: &mut &[u8], modified: i64) -> Option<Meta> {
    Some(Meta {
        create: decode_varint(from).ok()? as i64,
        modified,
        version: decode_varint(from).ok()? as i64,
        lease: decode_varint(from).ok()? as i64,
    })
}

pub(crate) fn rev_put(meta: &Meta, key: &[u8], value: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.push(PUT);
    push_meta(meta, to);
    encode_varint(key.len() as u64, to);
    to.extend_from_slice(key);
    to.extend_from_slice(value);
}

pub(crate) fn rev_tombstone(key: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.push(TOMBSTONE);
    to.extend_from_slice(key);
}

/// One entry of `rev`.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    /// `None`: the key was deleted.
    pub(crate) put: Option<(Meta, &'a [u8])>,
}

impl Entry<'_> {
    pub(crate) fn to_event(&self, main: i64) -> Event {
        match self.put {
            Some((meta, value)) => Event {
                r#type: EventType::Put.into(),
                kv: Some(meta.with(
                    Bytes::copy_from_slice(self.key),
                    Bytes::copy_from_slice(value),
                )),
                prev_kv: None,
            },
            None => delete_event(Bytes::copy_from_slice(self.key), main),
        }
    }
}

pub(crate) fn delete_event(key: Bytes, main: i64) -> Event {
    Event {
        r#type: EventType::Delete.into(),
        kv: Some(KeyValue {
            key,
            mod_revision: main,
            ..KeyValue::default()
        }),
        prev_kv: None,
    }
}

pub(crate) fn parse_rev_value(value: &[u8], main: i64) -> io::Result<Entry<'_>> {
    let parse = || {
        let (kind, mut rest) = value.split_first()?;
        match *kind {
            TOMBSTONE => Some(Entry {
                key: rest,
                put: None,
            }),
            PUT => {
                let meta = take_meta(&mut rest, main)?;
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (key, value) = rest.split_at_checked(length)?;
                Some(Entry {
                    key,
                    put: Some((meta, value)),
                })
            }
            _ => None,
        }
    };
    parse().ok_or_else(|| corrupt("a history entry cannot be read"))
}

// --- ver -----------------------------------------------------------------------------------------------

/// Appends the escaped key, terminator included.
pub(crate) fn escape(key: &[u8], to: &mut Vec<u8>) {
    for &byte in key {
        to.push(byte);
        if byte == 0 {
            to.push(0xFF);
        }
    }
    to.extend_from_slice(&[0, 0]);
}

/// Reads the key out of its escaped form.
pub(crate) fn unescape(escaped: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    to.clear();
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        if byte != 0 {
            to.push(byte);
            continue;
        }
        match bytes.next() {
            Some(0xFF) => to.push(0),
            Some(0) if bytes.as_slice().is_empty() => return Ok(()),
            _ => break,
        }
    }
    Err(corrupt("a version key cannot be read"))
}

/// Appends `!main ‖ !sub`, so that newer versions come first.
pub(crate) fn push_inverted(rev: Rev, to: &mut Vec<u8>) {
    to.extend_from_slice(&be(!rev.main));
    to.extend_from_slice(&be(!rev.sub));
}

pub(crate) fn ver_key(key: &[u8], rev: Rev, to: &mut Vec<u8>) {
    to.clear();
    escape(key, to);
    push_inverted(rev, to);
}

/// Splits a key of `ver` into the escaped key and its place in history.
pub(crate) fn split_ver_key(stored: &[u8]) -> io::Result<(&[u8], Rev)> {
    let split = stored.len().checked_sub(16);
    let parts = split.and_then(|at| {
        let (escaped, suffix) = stored.split_at(at);
        Some((
            escaped,
            Rev {
                main: !read_i64(suffix, 0)?,
                sub: !read_i64(suffix, 8)?,
            },
        ))
    });
    parts.ok_or_else(|| corrupt("a version key is too short"))
}

/// `None`: a tombstone.
pub(crate) fn ver_value(meta: Option<&Meta>, to: &mut Vec<u8>) {
    to.clear();
    match meta {
        Some(meta) => {
            to.push(PUT);
            push_meta(meta, to);
        }
        None => to.push(TOMBSTONE),
    }
}

/// `None`: a tombstone.
pub(crate) fn parse_ver_value(value: &[u8], main: i64) -> io::Result<Option<Meta>> {
    match value.split_first() {
        Some((&TOMBSTONE, [])) => Ok(None),
        Some((&PUT, mut rest)) => take_meta(&mut rest, main)
            .filter(|_| !rest.has_remaining())
            .map(Some)
            .ok_or_else(|| corrupt("a version cannot be read")),
        _ => Err(corrupt("a version has an unknown kind")),
    }
}

// --- cur -----------------------------------------------------------------------------------------------

pub(crate) fn cur_value(meta: &Meta, value: &[u8], to: &mut Vec<u8>) {
    to.clear();
    for number in [meta.create, meta.modified, meta.version, meta.lease] {
        to.extend_from_slice(&be(number));
    }
    to.extend_from_slice(value);
}

pub(crate) fn parse_cur_value(stored: &[u8]) -> io::Result<(Meta, &[u8])> {
    let parse = || {
        Some(Meta {
            create: read_i64(stored, 0)?,
            modified: read_i64(stored, 8)?,
            version: read_i64(stored, 16)?,
            lease: read_i64(stored, 24)?,
        })
    };
    match parse() {
        Some(meta) => Ok((meta, &stored[CUR_HEADER..])),
        None => Err(corrupt("a current value is too short")),
    }
}

// --- lease ---------------------------------------------------------------------------------------------

pub(crate) fn lease_key(id: i64) -> [u8; 8] {
    be(id)
}

pub(crate) fn attached_key(id: i64, key: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&be(id));
    to.extend_from_slice(key);
}

pub(crate) fn split_lease_key(stored: &[u8]) -> io::Result<(i64, &[u8])> {
    let id = read_i64(stored, 0).ok_or_else(|| corrupt("a lease key is too short"))?;
    Ok((id, &stored[8..]))
}

pub(crate) fn lease_value(ttl: i64, remaining: i64) -> [u8; 16] {
    rev_key(Rev {
        main: ttl,
        sub: remaining,
    })
}

pub(crate) fn parse_lease_value(stored: &[u8]) -> io::Result<(i64, i64)> {
    match (read_i64(stored, 0), read_i64(stored, 8)) {
        (Some(ttl), Some(remaining)) => Ok((ttl, remaining)),
        _ => Err(corrupt("a lease is too short")),
    }
}

// --- meta ----------------------------------------------------------------------------------------------

pub(crate) fn parse_number(stored: &[u8]) -> io::Result<i64> {
    match (stored.len(), read_i64(stored, 0)) {
        (8, Some(number)) => Ok(number),
        _ => Err(corrupt("a number in meta has the wrong length")),
    }
}

pub(crate) fn number(value: i64) -> [u8; 8] {
    be(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Keys in which 00 and FF are frequent.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(
            prop_oneof![Just(0u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()],
            0..12,
        )
    }

    fn escaped(key: &[u8]) -> Vec<u8> {
        let mut to = Vec::new();
        escape(key, &mut to);
        to
    }

    proptest! {
        #[test]
        fn escaping_keeps_order_and_comes_back(a in key(), b in key()) {
            prop_assert_eq!(escaped(&a).cmp(&escaped(&b)), a.cmp(&b));
            prop_assert_eq!(escaped(&a).starts_with(&escaped(&b)), a == b);
            let mut back = Vec::new();
            unescape(&escaped(&a), &mut back).unwrap();
            prop_assert_eq!(back, a);
        }

        #[test]
        fn version_keys_order_by_key_then_newest_first(
            a in key(), b in key(), main in 0i64..i64::MAX, other in 0i64..i64::MAX, sub in 0i64..200, osub in 0i64..200,
        ) {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            ver_key(&a, Rev { main, sub }, &mut left);
            ver_key(&b, Rev { main: other, sub: osub }, &mut right);
            let expected = a.cmp(&b).then((other, osub).cmp(&(main, sub)));
            prop_assert_eq!(left.cmp(&right), expected);
            let (key, rev) = split_ver_key(&left).unwrap();
            prop_assert_eq!(key, &escaped(&a)[..]);
            prop_assert_eq!(rev, Rev { main, sub });
        }

        #[test]
        fn values_come_back(
            key in key(), value in vec(any::<u8>(), 0..40), create in 1i64.., version in 1i64.., lease in any::<i64>(), modified in 1i64..,
        ) {
            let meta = Meta { create, modified, version, lease };
            let mut to = Vec::new();
            rev_put(&meta, &key, &value, &mut to);
            let entry = parse_rev_value(&to, modified).unwrap();
            prop_assert_eq!(entry, Entry { key: &key, put: Some((meta, &value)) });
            ver_value(Some(&meta), &mut to);
            prop_assert_eq!(parse_ver_value(&to, modified).unwrap(), Some(meta));
            cur_value(&meta, &value, &mut to);
            prop_assert_eq!(parse_cur_value(&to).unwrap(), (meta, &value[..]));
            rev_tombstone(&key, &mut to);
            prop_assert_eq!(parse_rev_value(&to, modified).unwrap(), Entry { key: &key, put: None });
        }

        #[test]
        fn random_bytes_are_an_error_not_a_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = parse_rev_value(&bytes, 1);
            let _ = parse_ver_value(&bytes, 1);
            let _ = parse_cur_value(&bytes);
            let _ = split_ver_key(&bytes);
            let _ = parse_rev_key(&bytes);
            let _ = split_lease_key(&bytes);
            let _ = parse_lease_value(&bytes);
            let _ = unescape(&bytes, &mut Vec::new());
        }
    }
}
