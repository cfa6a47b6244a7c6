//! The small records around the journal, as they are stored: JSON with a version `v`. One of a newer version is not read:
//! what is about money is not guessed at.

use std::fmt;

use creditservice_ledger::Time;
use photon_store::{Entry, Error};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version written, and the newest one read.
const VERSION: u32 = 1;

/// A record with its version, to be written.
#[derive(Serialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    record: T,
}

/// The version alone: read first, since a newer record may have another shape.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The stored form of a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Error> {
    let versioned = Versioned { v: VERSION, record };
    serde_json::to_vec(&versioned).map_err(|error| Error::Protocol(error.to_string()))
}

/// Reads a record.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::TooNew`].
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let corrupt = |error: &dyn fmt::Display| Error::Corrupt {
        key: key.to_owned(),
        reason: error.to_string(),
    };
    let Version { v } = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    if v > VERSION {
        return Err(Error::TooNew {
            key: key.to_owned(),
            found: v,
            known: VERSION,
        });
    }
    // Records do not refuse fields that they do not know, such as the version.
    serde_json::from_slice(bytes).map_err(|error| corrupt(&error))
}

/// [`decode`] of what was read.
pub(crate) fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    decode(&entry.key, &entry.value)
}

/// Into how many shards projects are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) count: u16,
}

/// A process of this service that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Where other processes of this service reach it.
    pub(crate) grpc: String,
    pub(crate) version: String,
}

/// Who owns a shard now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) instance: String,
    /// Where other processes of this service reach it.
    pub(crate) grpc: String,
    pub(crate) epoch: u64,
}

/// The number of owners a shard has had; whoever raises it deposes the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) epoch: u64,
    pub(crate) instance: String,
}

/// The last block of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) block: u64,
    /// The number of its last entry.
    pub(crate) seq: u64,
    /// The time of its last entry.
    pub(crate) at: Time,
    /// The block's own hash.
    pub(crate) hash: String,
    pub(crate) epoch: u64,
}

/// Up to which entry everything is in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paged {
    pub(crate) seq: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_newer_is_not_read() {
        let stored = encode(&Spread { count: 64 }).unwrap();
        assert_eq!(stored, br#"{"v":1,"count":64}"#);
        assert_eq!(decode::<Spread>("/k", &stored).unwrap().count, 64);
        let newer = br#"{"v":2,"buckets":64}"#;
        let refused = decode::<Spread>("/k", newer);
        assert!(matches!(refused, Err(Error::TooNew { found: 2, .. })));
        for bad in [&b""[..], b"{}", b"[]", br#"{"v":1}"#] {
            let refused = decode::<Spread>("/k", bad);
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{bad:?}");
        }
    }
}
