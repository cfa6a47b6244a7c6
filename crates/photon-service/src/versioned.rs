//! A value and the revision of its last change.

use photon_core::Error;
use photon_store::Stored;

/// What use cases answer with.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The store's revision of its last change; what `If-Match` compares and a check may ask for.
    pub revision: i64,
}

impl<T> Versioned<T> {
    /// A value at a revision.
    pub fn new(value: T, revision: i64) -> Self {
        Self { value, revision }
    }
}

impl<T> From<Stored<T>> for Versioned<T> {
    fn from(stored: Stored<T>) -> Self {
        Self::new(stored.value, stored.revision)
    }
}

/// Refuses a change of something that is no longer as the caller saw it.
///
/// # Errors
/// `CONFLICT` naming both revisions.
pub fn expect<T>(stored: &Stored<T>, expected: Option<i64>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != stored.revision => Err(Error::conflict(format!(
            "it is at revision {}, not {expected}: somebody changed it meanwhile",
            stored.revision
        ))),
        _ => Ok(()),
    }
}
