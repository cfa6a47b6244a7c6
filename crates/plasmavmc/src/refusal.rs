//! What is refused, in the codes of `docs/vm.md`.

use std::fmt;

use photon_core::{Code, Error};
use plasmavmc_model::{HostUse, VmId};
use serde_json::json;

use crate::placement::Lacking;

/// A VM that is being deleted takes no requests.
pub(crate) fn deleting(id: VmId) -> Error {
    Error::new(Code::DELETING, format!("vm {id} is being deleted"))
}

/// A VM that is protected from it is not deleted.
pub(crate) fn protected(id: VmId) -> Error {
    let message =
        format!("vm {id} is protected from deletion: set deletion_protection to false first");
    Error::new(Code::DELETION_PROTECTED, message)
}

/// No host will do.
pub(crate) fn no_capacity(size: HostUse, why: &Lacking) -> Error {
    let free = match why {
        Lacking::Room(free) => Some(free),
        _ => None,
    };
    Error::new(Code::NO_CAPACITY, why.to_string()).with_details(json!({
        "asked": { "vcpus": size.vcpus, "memory_mib": size.memory_mib, "disk_size_gb": size.disk_gib },
        "largest_free": free,
    }))
}

/// A number that may not be so small or so large.
pub(crate) fn range(field: &str, from: u64, to: u64) -> Error {
    Error::validation(field, "range", format!("{field} must be {from} to {to}"))
}

/// A value that is none of the words there are.
pub(crate) fn word(field: &str, error: impl fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} {error}"))
}
