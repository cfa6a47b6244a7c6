//! Keys that are no record's own.

use photon_core::{Id, Kind};

/// Everything of this service.
pub const ROOT: &str = "/photon/plasmavmc/";

/// Everything that crosses between control plane and agents.
pub const HOSTS: &str = "/photon/plasmavmc/host/";

/// Leads from an id to its record. `resource` is the word of its keys.
#[must_use]
pub fn by_id<K: Kind>(resource: &str, id: Id<K>) -> String {
    format!("{ROOT}id/{resource}/{id}")
}
