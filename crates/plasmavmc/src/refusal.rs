//! What is refused, in the codes of `docs/vm.md`.

use std::fmt;

use photon_core::{Code, Error, Name};
use plasmavmc_model::{HostUse, VmId, VolumeId};
use serde_json::json;

use crate::placement::{Free, Lacking};

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

/// The host of a VM has no room for it to be so large.
pub(crate) fn no_room(size: HostUse, free: Free) -> Error {
    let message = format!(
        "its host has no room for that: beside the others {} vCPUs, {} MiB of memory and {} GB of disk are free",
        free.vcpus, free.memory_mib, free.disk_size_gb
    );
    Error::new(Code::NO_CAPACITY, message).with_details(json!({
        "asked": { "vcpus": size.vcpus, "memory_mib": size.memory_mib, "disk_size_gb": size.disk_gib },
        "largest_free": free,
    }))
}

/// There are as many of them as there may be.
pub(crate) fn too_many(what: &str, limit: usize) -> Error {
    Error::new(
        Code::LIMIT_EXCEEDED,
        format!("there may be at most {limit} {what}"),
    )
    .with_details(json!({ "limit": limit }))
}

/// A number that may not be so small or so large.
pub(crate) fn range(field: &str, from: u64, to: u64) -> Error {
    Error::validation(field, "range", format!("{field} must be {from} to {to}"))
}

/// A value that is none of the words there are.
pub(crate) fn word(field: &str, error: impl fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} {error}"))
}

/// A pool has no room for a disk of that size, or no host that reports has it.
pub(crate) fn pool_full(pool: &Name, size_gb: u64, largest: Option<u64>) -> Error {
    let message = match largest {
        Some(free) => {
            format!("pool {pool} has no room: the host with most of it has {free} GB free")
        }
        None => format!("no host that it may lie on reports pool {pool}"),
    };
    Error::new(Code::NO_CAPACITY, message).with_details(json!({
        "asked": { "size_gb": size_gb },
        "largest_free": largest.map(|free| json!({ "size_gb": free })),
    }))
}

/// A volume that a VM has.
pub(crate) fn has_it(volume: VolumeId, vm: VmId) -> Error {
    let message = format!("volume {volume} is in use by vm {vm}: detach it first");
    Error::new(Code::IN_USE, message).with_details(json!({ "vm_id": vm }))
}
