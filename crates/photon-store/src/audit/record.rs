//! The records of a trail, its head, and their hashes.

use bytes::Bytes;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::feed::Entry;
use crate::record::Fields;
use crate::{Error, Result, Unreadable};

/// What stands in `prev` of the first record.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The version of the stored form.
const VERSION: u32 = 1;

/// The names that the chain uses itself.
const SEQ: &str = "seq";
const AT: &str = "at";
const PREV: &str = "prev";
const HASH: &str = "hash";
const V: &str = "v";

/// One record of a trail.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// Its number in the trail, from 1 on without gaps.
    pub seq: u64,
    /// When it was written; never before the record before it.
    pub at: Timestamp,
    /// The hash of the record before it.
    pub prev: String,
    /// The hash it claims; [`AuditRecord::computed_hash`] is the one it has.
    pub hash: String,
    /// All of it, those four included, and without the version of the stored form.
    pub fields: Fields,
}

impl AuditRecord {
    /// Reads a record as it is listed and exported: one JSON object.
    ///
    /// # Errors
    /// What is missing or of the wrong type.
    pub fn from_fields(fields: Fields) -> std::result::Result<Self, String> {
        let text = |name: &str| {
            let value = fields.get(name).and_then(Value::as_str);
            value.map(str::to_owned).ok_or(format!("no {name}"))
        };
        let at = text(AT)?;
        Ok(Self {
            seq: fields.get(SEQ).and_then(Value::as_u64).ok_or("no seq")?,
            at: at.parse().map_err(|_| "at is no time")?,
            prev: text(PREV)?,
            hash: text(HASH)?,
            fields,
        })
    }

    /// The hash of what it says.
    pub fn computed_hash(&self) -> String {
        hash_of(&self.fields)
    }

    pub(super) fn read(entry: &Entry, prefix: &str) -> Result<Self, Unreadable> {
        let unreadable = |reason: String| Unreadable {
            key: entry.key.clone(),
            revision: entry.revision,
            reason,
        };
        let mut fields: Fields =
            serde_json::from_slice(&entry.value).map_err(|error| unreadable(error.to_string()))?;
        match fields.remove(V).and_then(|version| version.as_u64()) {
            Some(version) if version == u64::from(VERSION) => {}
            other => return Err(unreadable(format!("version {other:?} is not known"))),
        }
        let record = Self::from_fields(fields).map_err(unreadable)?;
        let place = entry.key.strip_prefix(prefix).map(str::parse::<u64>);
        if place != Some(Ok(record.seq)) {
            return Err(unreadable(format!("it says it is number {}", record.seq)));
        }
        Ok(record)
    }

    pub(super) fn stored(&self) -> Bytes {
        let mut fields = self.fields.clone();
        fields.insert(V.to_owned(), VERSION.into());
        canonical(&Value::Object(fields)).into()
    }
}

/// A place in a trail: a number and the hash of the record that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The record's number.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// Where a trail ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    v: u32,
    /// The number of the last record; 0 if there is none.
    pub seq: u64,
    /// When that was written.
    pub at: Timestamp,
    /// Its hash.
    pub hash: String,
    /// The last record that is kept elsewhere and no longer here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Mark>,
}

impl Head {
    pub(super) fn start() -> Self {
        Self {
            v: VERSION,
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            hash: NOTHING_BEFORE.to_owned(),
            exported: None,
        }
    }

    pub(super) fn read(key: &str, bytes: &[u8]) -> Result<Self> {
        let corrupt = |reason: String| Error::Corrupt {
            key: key.to_owned(),
            reason,
        };
        let head: Self =
            serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if head.v > VERSION {
            return Err(Error::TooNew {
                key: key.to_owned(),
                found: head.v,
                known: VERSION,
            });
        }
        if head
            .exported
            .as_ref()
            .is_some_and(|mark| mark.seq > head.seq)
            || head.seq == u64::MAX
        {
            return Err(corrupt("its numbers cannot be".to_owned()));
        }
        Ok(head)
    }

    pub(super) fn stored(&self) -> Bytes {
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_vec(self)
            .map(Bytes::from)
            .unwrap_or_default()
    }

    /// The number of the first record that is still here, if any is.
    pub fn first(&self) -> u64 {
        self.exported.as_ref().map_or(0, |mark| mark.seq) + 1
    }

    /// The record that follows this head, and the head that follows that record.
    pub(super) fn next(&self, entry: &Fields, now: Timestamp) -> Result<(AuditRecord, Self)> {
        check(entry)?;
        // Microseconds are what a person can read; a clock that went back does not take the trail with it.
        let now = now.round(Unit::Microsecond).unwrap_or(now);
        let at = now.max(self.at);
        let seq = self.seq + 1;
        let mut fields = entry.clone();
        fields.insert(SEQ.to_owned(), seq.into());
        fields.insert(AT.to_owned(), at.to_string().into());
        fields.insert(PREV.to_owned(), self.hash.clone().into());
        let hash = hash_of(&fields);
        fields.insert(HASH.to_owned(), hash.clone().into());
        let record = AuditRecord {
            seq,
            at,
            prev: self.hash.clone(),
            hash: hash.clone(),
            fields,
        };
        let head = Self {
            v: VERSION,
            seq,
            at,
            hash,
            exported: self.exported.clone(),
        };
        Ok((record, head))
    }
}

/// Whether an entry leaves to the chain what the chain says.
pub(super) fn check(entry: &Fields) -> Result<()> {
    let names = [V, SEQ, AT, PREV, HASH];
    match names.iter().find(|name| entry.contains_key(**name)) {
        Some(name) => Err(Error::Protocol(format!(
            "an audit entry may not say {name}: the chain does"
        ))),
        None => Ok(()),
    }
}

fn hash_of(fields: &Fields) -> String {
    let mut said = fields.clone();
    said.remove(HASH);
    let digest = Sha256::digest(canonical(&Value::Object(said)));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with sorted keys and without spaces, the form that is hashed. In Python:
/// `json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()`.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            // Not left to the map: whether it is sorted depends on a feature of serde_json.
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            text.push(b'{');
            for (number, name) in names.into_iter().enumerate() {
                if number > 0 {
                    text.push(b',');
                }
                write(&Value::String(name.clone()), text);
                text.push(b':');
                write(&fields[name], text);
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(b',');
                }
                write(item, text);
            }
            text.push(b']');
        }
        scalar => text.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_hashed_form_is_sorted_all_the_way_down() {
        let value = json!({"b": [{"z": 1, "a": "ü\n\""}], "a": null, "é": true});
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            r#"{"a":null,"b":[{"a":"ü\n\"","z":1}],"é":true}"#
        );
    }

    /// Computed by Python's json and hashlib, so that the form cannot change unnoticed.
    #[test]
    fn a_hash_is_what_others_compute() {
        let at: Timestamp = "2026-11-22T08:30:00Z".parse().unwrap();
        let entry = fields(json!({"action": "iam.users.create", "who": "user:ünal"}));
        let (record, head) = Head::start().next(&entry, at).unwrap();
        assert_eq!(record.hash, record.computed_hash());
        assert_eq!((record.seq, record.prev.as_str()), (1, NOTHING_BEFORE));
        assert_eq!((head.seq, &head.hash), (1, &record.hash));
        assert_eq!(record.hash, FROM_PYTHON);
    }

    const FROM_PYTHON: &str = "543547fad1ed69e064662ae1e92d4b0d413e303fa8b9145d0d4a721656e86272";

    #[test]
    fn records_follow_each_other_and_time_does_not_go_back() {
        let later: Timestamp = "2026-11-22T08:30:00Z".parse().unwrap();
        let earlier: Timestamp = "2026-11-22T08:29:00Z".parse().unwrap();
        let entry = fields(json!({"action": "x"}));
        let (one, head) = Head::start().next(&entry, later).unwrap();
        let (two, head) = head.next(&entry, earlier).unwrap();
        assert_eq!((two.prev.as_str(), two.at), (one.hash.as_str(), later));
        assert_eq!((head.seq, head.first()), (2, 1));
        let again = Head::read("k", &head.stored()).unwrap();
        assert_eq!(again, head);
    }

    #[test]
    fn an_entry_cannot_speak_for_the_chain() {
        for name in ["v", "seq", "at", "prev", "hash"] {
            let entry = fields(json!({name: "x"}));
            let refused = Head::start().next(&entry, Timestamp::UNIX_EPOCH);
            assert!(matches!(refused, Err(Error::Protocol(_))), "{name}");
        }
    }

    #[test]
    fn what_is_stored_is_read_again_and_nothing_else() {
        let entry = fields(json!({"action": "x"}));
        let (record, _) = Head::start().next(&entry, Timestamp::UNIX_EPOCH).unwrap();
        let stored = |key: &str, value: Bytes| Entry {
            key: key.to_owned(),
            value,
            create_revision: 1,
            revision: 1,
            lease: 0,
        };
        let good = stored("/t/00000000000000000001", record.stored());
        assert_eq!(AuditRecord::read(&good, "/t/").unwrap(), record);
        let moved = stored("/t/00000000000000000002", record.stored());
        assert!(AuditRecord::read(&moved, "/t/").is_err());
        for bad in ["", "[]", "{}", r#"{"v":1}"#, r#"{"v":2,"seq":1}"#] {
            let bad = stored("/t/00000000000000000001", Bytes::from(bad));
            assert!(AuditRecord::read(&bad, "/t/").is_err());
        }
    }
}
