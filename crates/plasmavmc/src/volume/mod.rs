//! Volumes: disks of their own, that VMs come and go by. How one is, is in [`state`]; what becomes of them, in
//! `controller/volumes.rs`.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;
pub(crate) mod state;

use std::fmt;

use photon_core::{Error, Name};
use photon_service::scope::{Home, Owner};
use plasmavmc_model::{Labels, VmId, VmName, VolumeState};

use crate::{refusal, vm};

/// A volume to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewVolume {
    pub(crate) name: VmName,
    pub(crate) home: Home,
    pub(crate) size_gib: u32,
    pub(crate) pool: Name,
    /// Which VM is to have it.
    pub(crate) vm: Option<VmId>,
    pub(crate) labels: Labels,
}

/// What changes of a volume by a PATCH.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeChange {
    pub(crate) name: Option<VmName>,
    pub(crate) labels: Option<Labels>,
}

/// Which volumes to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct VolumeFilter {
    pub(crate) owner: Owner,
    pub(crate) name: Option<String>,
    pub(crate) vm: Option<VmId>,
    pub(crate) state: Option<VolumeState>,
}

/// A size that a volume may have, in GiB.
pub(crate) fn size(gib: u64) -> Result<u32, Error> {
    let gib = u32::try_from(gib).ok();
    let gib = gib.filter(|gib| (1..=vm::MOST_DISK).contains(&u64::from(*gib)));
    gib.ok_or_else(|| refusal::range("size_gb", 1, vm::MOST_DISK))
}

/// A VM that is named.
pub(crate) fn vm_id(text: &str) -> Result<VmId, Error> {
    // The text itself is not repeated: it may be long.
    text.parse()
        .map_err(|error| refusal::word("vm_id", format!("is {error}")))
}

/// A state that a list is to be narrowed to.
pub(crate) fn state(text: Option<&str>) -> Result<Option<VolumeState>, Error> {
    let parse = |text: &str| {
        let mut all = VolumeState::ALL.into_iter();
        let found = all.find(|state| state.as_str() == text);
        found.ok_or_else(|| refusal::word("state", Words))
    };
    text.map(parse).transpose()
}

/// The words of the states.
struct Words;

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be one of")?;
        let mut all = VolumeState::ALL.iter();
        all.try_for_each(|state| write!(f, " {state}"))
    }
}
