//! Ids of ours: UUIDv7 in memory, `<prefix>-<uuid>` in text, one type per kind of thing.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A kind of thing that has ids.
pub trait Kind: 'static {
    /// What stands before the dash, for example `vm`.
    const PREFIX: &'static str;
}

/// The id of one thing of kind `K`. Later ids of one process sort after earlier ones.
pub struct Id<K: Kind> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// A text that is not an id of this kind. At a door this is a 404, not a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}-<uuid>")]
pub struct IdError {
    prefix: &'static str,
}

impl<K: Kind> Id<K> {
    /// A new id, from the clock and randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// The id with this UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// The UUID alone.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<K: Kind> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kind> Copy for Id<K> {}
impl<K: Kind> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K: Kind> Eq for Id<K> {}
impl<K: Kind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K: Kind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K: Kind> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", K::PREFIX, self.uuid)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| Uuid::try_parse(rest).ok())
            .map(Self::from_uuid);
        // One thing has one text: capitals, braces and missing dashes, which the UUID parser takes, are refused.
        parsed
            .filter(|id| id.to_string() == text)
            .ok_or(IdError { prefix: K::PREFIX })
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    struct Vm;
    impl Kind for Vm {
        const PREFIX: &'static str = "vm";
    }

    #[test]
    fn text_round_trip() {
        let id = Id::<Vm>::generate();
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.to_string().parse::<Id<Vm>>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<Id<Vm>>(&json).unwrap(), id);
    }

    #[test]
    fn one_thing_has_one_text() {
        let id = Id::<Vm>::generate();
        let uuid = id.uuid();
        for bad in [
            String::new(),
            uuid.to_string(),
            format!("vpc-{uuid}"),
            format!("vm-{}", uuid.simple()),
            format!("vm-{{{uuid}}}"),
            format!("VM-{uuid}"),
            format!("vm-{uuid} "),
            "vm-123".to_owned(),
        ] {
            assert!(bad.parse::<Id<Vm>>().is_err(), "{bad}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..1000).map(|_| Id::<Vm>::generate()).collect();
        assert!(ids.is_sorted());
    }
}
