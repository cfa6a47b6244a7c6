//! What is remembered for a while: resolved reservations, and answers under idempotency keys.

use imbl::{HashMap, OrdMap, Vector};
use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, ReservationStatus},
    command::Resource,
    id::ReservationId,
    key::{Digest, Key},
    time::Time,
};

/// What a reservation came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resolution {
    pub(crate) project: Name,
    pub(crate) amount: i64,
    pub(crate) status: ReservationStatus,
    pub(crate) expires_at: Time,
    #[serde(default, skip_serializing_if = "Resource::is_unknown")]
    pub(crate) resource: Resource,
}

/// Resolved reservations, in the order of their resolution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolved {
    by_id: OrdMap<ReservationId, Resolution>,
    /// With the ledger's time of the resolution.
    order: Vector<(Time, ReservationId)>,
}

impl Resolved {
    pub(crate) fn get(&self, id: ReservationId) -> Option<&Resolution> {
        self.by_id.get(&id)
    }

    pub(crate) fn remember(&mut self, at: Time, id: ReservationId, resolution: Resolution) {
        self.by_id.insert(id, resolution);
        self.order.push_back((at, id));
    }

    pub(crate) fn forget(&mut self, before: Time, max: usize) {
        while let Some((at, id)) = self.order.front() {
            if *at >= before && self.order.len() <= max.max(1) {
                break;
            }
            self.by_id.remove(id);
            self.order.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Time, ReservationId, &Resolution)> {
        self.order
            .iter()
            .filter_map(|(at, id)| Some((*at, *id, self.by_id.get(id)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[derive(Clone, Debug)]
struct Remembered {
    at: Time,
    fingerprint: Digest,
    answer: Answer,
}

/// Idempotency keys and first answers, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    by_digest: HashMap<Digest, Remembered>,
    order: Vector<(Time, Digest)>,
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Known<'a> {
    New,
    /// This was answered.
    Same(&'a Answer),
    /// It was used for something else.
    Other,
    /// It is new, and there is no room.
    Full,
}

impl Keys {
    /// Answers given before `oldest` are as good as forgotten.
    pub(crate) fn look_up(&self, key: &Key, oldest: Time, max: usize) -> Known<'_> {
        match self.by_digest.get(&key.digest) {
            Some(known) if known.at < oldest => Known::New,
            Some(known) if known.fingerprint == key.fingerprint => Known::Same(&known.answer),
            Some(_) => Known::Other,
            // The next entry forgets what is too old.
            None if self.order.len() >= max
                && self.order.front().is_none_or(|(at, _)| *at >= oldest) =>
            {
                Known::Full
            }
            None => Known::New,
        }
    }

    pub(crate) fn remember(&mut self, at: Time, key: &Key, answer: Answer) {
        let remembered = Remembered {
            at,
            fingerprint: key.fingerprint,
            answer,
        };
        self.by_digest.insert(key.digest, remembered);
        self.order.push_back((at, key.digest));
    }

    pub(crate) fn forget(&mut self, oldest: Time) {
        while self.order.front().is_some_and(|(at, _)| *at < oldest) {
            if let Some((_, digest)) = self.order.pop_front() {
                self.by_digest.remove(&digest);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Time, Key, &Answer)> {
        self.order.iter().filter_map(|(at, digest)| {
            let known = self.by_digest.get(digest)?;
            let key = Key {
                digest: *digest,
                fingerprint: known.fingerprint,
            };
            Some((*at, key, &known.answer))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.by_digest.len()
    }
}
