//! What a stored record is: a serde type with a version, its upgrades and its index keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The JSON object of a record without its version.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// One step between two versions of a record's stored form.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// From the older to the newer form; an error says what is wrong with the value.
    pub up: fn(&mut Fields) -> Result<(), String>,
    /// From the newer to the older form, for programs that know only that one. May lose what the older form
    /// cannot say.
    pub down: fn(&mut Fields) -> Result<(), String>,
}

/// A type that is stored.
///
/// It must serialize to a JSON object without a field `v` (that is the version), must not refuse unknown fields,
/// and must not rename fields by serde aliases (write a [`Step`] instead): fields it does not know are written back
/// as they were read.
pub trait Record: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The key prefix of the collection: absolute, ending with a slash, e.g. `/photon/plasmavmc/vm/`.
    const ROOT: &'static str;

    /// The steps from version 1 to the newest. A record that never changed has none.
    const STEPS: &'static [Step] = &[];

    /// The version that every program in the field can read, and that is therefore written. Raised one release after a
    /// step was added; [`WriteGate`] raises it earlier, at run time.
    const BASELINE: u32 = 1;

    /// Absolute keys that lead to this record, e.g. `/photon/plasmavmc/id/vm/<id>`. They are written and removed in
    /// the record's own transactions and are unique: two records cannot have the same one.
    fn index_keys(&self, key: &str) -> Vec<String> {
        let _ = key;
        Vec::new()
    }

    /// The newest version this program knows.
    fn newest() -> u32 {
        u32::try_from(Self::STEPS.len()).unwrap_or(u32::MAX - 1) + 1
    }
}

/// Up to which version records may be written now. Shared by all collections of a process; raised when every
/// registered process can read it (decision 11).
#[derive(Clone, Debug, Default)]
pub struct WriteGate(Arc<AtomicU32>);

impl WriteGate {
    /// A gate at a version; 0 leaves it to each record's [`Record::BASELINE`].
    pub fn at(version: u32) -> Self {
        Self(Arc::new(AtomicU32::new(version)))
    }

    /// Moves the gate.
    pub fn set(&self, version: u32) {
        self.0.store(version, Ordering::Relaxed);
    }

    pub(crate) fn version_for<T: Record>(&self) -> u32 {
        self.0
            .load(Ordering::Relaxed)
            .max(T::BASELINE)
            .min(T::newest())
    }
}

/// A record as it was read: the value to look at and change, and what a later write must match.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    /// Key below the collection's root.
    pub key: String,
    /// The value.
    pub value: T,
    /// Revision of the last change; what a compare-and-swap compares.
    pub revision: i64,
    /// Revision of the creation; a record made again has another.
    pub create_revision: i64,
    /// The lease it lives under, 0 for none.
    pub lease: i64,
    pub(crate) origin: Origin,
}

/// What was stored, in the newest form, with the fields the type does not know.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) fields: Fields,
    /// The version it was stored in.
    pub(crate) version: u32,
    /// The bytes stored, to see whether a write would change anything.
    pub(crate) bytes: bytes::Bytes,
}
