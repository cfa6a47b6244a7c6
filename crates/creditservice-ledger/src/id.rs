//! Ids that the ledger gives: unique, sorted by time, the same at every replay, and telling their shard.
//!
//! ```text
//!   UUIDv7   | milliseconds (48) | 7 | 12 bits | 10 | 62 bits |
//!   the 74 free bits together:         shard (10) | seq (64)
//! ```

use photon_core::{Id, Kind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;

/// Marks ids of reservations.
#[derive(Debug)]
pub enum Reservation {}
impl Kind for Reservation {
    const PREFIX: &'static str = "rsv";
}

/// Marks ids of entries.
#[derive(Debug)]
pub enum Transaction {}
impl Kind for Transaction {
    const PREFIX: &'static str = "txn";
}

/// The id of a reservation; its place is that of the entry that made it.
pub type ReservationId = Id<Reservation>;
/// The id of an entry.
pub type EntryId = Id<Transaction>;

/// One ledger of a service: 0 … 1023.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u16", into = "u16")]
pub struct Shard(u16);

/// A number is not a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {}", Shard::MAX)]
pub struct ShardError;

impl Shard {
    /// The first one.
    pub const FIRST: Self = Self(0);
    /// The highest number.
    pub const MAX: u16 = 1023;

    /// Parses a shard's number.
    pub fn new(number: u16) -> Result<Self, ShardError> {
        if number <= Self::MAX {
            Ok(Self(number))
        } else {
            Err(ShardError)
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Shard {
    type Error = ShardError;
    fn try_from(number: u16) -> Result<Self, ShardError> {
        Self::new(number)
    }
}

impl From<Shard> for u16 {
    fn from(shard: Shard) -> Self {
        shard.0
    }
}

/// What an id says about the entry it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The entry's time, to the millisecond.
    pub at: Time,
    /// The shard.
    pub shard: Shard,
    /// The entry's number in the shard.
    pub seq: u64,
}

impl Place {
    /// The id of that place.
    #[must_use]
    pub fn id<K: Kind>(self) -> Id<K> {
        let millis = u128::from((self.at.micros() / 1000).unsigned_abs()) & ((1 << 48) - 1);
        let free = u128::from(self.shard.0) << 64 | u128::from(self.seq);
        let (high, low) = (free >> 62, free & ((1 << 62) - 1));
        Id::from_uuid(Uuid::from_u128(
            millis << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low,
        ))
    }

    /// The place an id was made for. Nothing of ours made an id that is not a UUIDv7.
    #[must_use]
    pub fn of<K: Kind>(id: Id<K>) -> Option<Self> {
        let bits = id.uuid().as_u128();
        let is_v7 = (bits >> 76) & 0xf == 7 && (bits >> 62) & 0b11 == 0b10;
        let free = ((bits >> 64) & 0xfff) << 62 | bits & ((1 << 62) - 1);
        let millis = i64::try_from(bits >> 80).ok()?;
        is_v7.then_some(Self {
            at: Time::from_micros(millis.checked_mul(1000)?),
            shard: Shard(u16::try_from(free >> 64).ok()?),
            seq: u64::try_from(free & u128::from(u64::MAX)).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_id_tells_its_place() {
        for shard in [0, 1, 7, 64, 1023] {
            for seq in [0, 1, 2, 1 << 31, 1 << 62, u64::MAX] {
                let place = Place {
                    at: Time::from_micros(1_795_000_000_123_000),
                    shard: Shard::new(shard).unwrap(),
                    seq,
                };
                let id: EntryId = place.id();
                assert_eq!(id.uuid().get_version_num(), 7);
                assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
                assert_eq!(Place::of(id), Some(place));
                assert_eq!(id.to_string().parse::<EntryId>().unwrap(), id);
            }
        }
        let foreign = EntryId::from_uuid(Uuid::new_v4());
        assert_eq!(Place::of(foreign), None);
        assert!(Shard::new(1024).is_err());
    }

    #[test]
    fn later_places_have_later_ids() {
        let id = |micros, seq| -> EntryId {
            Place {
                at: Time::from_micros(micros),
                shard: Shard::new(3).unwrap(),
                seq,
            }
            .id()
        };
        assert!(id(1_000_000, u64::MAX) < id(1_001_000, 1));
        assert!(id(1_000_000, 1) < id(1_000_500, 2));
    }
}
