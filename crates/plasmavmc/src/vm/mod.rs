//! Virtual machines. Their states are in [`state`], what requests make of them in [`request`] and [`resize`].

pub(crate) mod grpc;
pub(crate) mod guest;
pub(crate) mod request;
pub(crate) mod resize;
pub(crate) mod rest;
pub(crate) mod service;
pub(crate) mod state;

use std::fmt;

use photon_core::{Error, Name};
use photon_service::scope::{Home, Owner};
use plasmavmc_model::{HostUse, Hypervisor, Interface, Labels, State, VmName};

pub(crate) use self::guest::{GuestChange, NewGuest};
use crate::refusal;

/// The most CPUs of a VM.
pub(crate) const MOST_VCPUS: u64 = 256;
/// The least memory of a VM, in MiB.
pub(crate) const LEAST_MEMORY: u64 = 16;
/// The most memory of a VM, in MiB.
pub(crate) const MOST_MEMORY: u64 = 4 * 1024 * 1024;
/// The largest root disk, in GiB.
pub(crate) const MOST_DISK: u64 = 16 * 1024;

/// A VM to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewVm {
    pub(crate) name: VmName,
    pub(crate) home: Home,
    pub(crate) size: Size,
    pub(crate) hypervisor: Option<Hypervisor>,
    /// As it was named; none: the default.
    pub(crate) image: Option<String>,
    /// Where its root disk is to lie; none: `local`.
    pub(crate) pool: Option<Name>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) start: bool,
    /// The project's own, to replace the first hold.
    pub(crate) reservation: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) deletion_protection: bool,
    pub(crate) guest: NewGuest,
}

/// How large a VM is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) disk_gib: Option<u32>,
}

impl Size {
    /// Of numbers as they came.
    ///
    /// # Errors
    /// 400 naming the one that is out of range.
    pub(crate) fn new(vcpus: u64, memory_mib: u64, disk_gib: Option<u64>) -> Result<Self, Error> {
        let vcpus = within("vcpus", vcpus, 1, MOST_VCPUS)?;
        let memory_mib = within("memory_mib", memory_mib, LEAST_MEMORY, MOST_MEMORY)?;
        let disk_gib = disk_gib
            .map(|gib| within("disk_size_gb", gib, 1, MOST_DISK))
            .transpose()?;
        Ok(Self {
            vcpus,
            memory_mib,
            disk_gib,
        })
    }
}

impl From<Size> for HostUse {
    fn from(size: Size) -> Self {
        Self {
            vms: 1,
            vcpus: size.vcpus.into(),
            memory_mib: size.memory_mib,
            disk_gib: size.disk_gib.unwrap_or(0).into(),
        }
    }
}

/// A number in its range, as the type that holds the range.
fn within<T: TryFrom<u64>>(field: &str, number: u64, from: u64, to: u64) -> Result<T, Error> {
    let number = Some(number).filter(|number| (from..=to).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| refusal::range(field, from, to))
}

/// What is to run a VM, if anybody minds.
pub(crate) fn hypervisor(text: Option<&str>) -> Result<Option<Hypervisor>, Error> {
    text.map(|text| {
        text.parse()
            .map_err(|error| refusal::word("hypervisor", error))
    })
    .transpose()
}

/// The most bytes of a reservation's id.
const MOST_RESERVATION: usize = 200;

/// A reservation that is named; whether it is one, CreditService knows.
pub(crate) fn reservation(text: Option<String>) -> Result<Option<String>, Error> {
    let is_good = |text: &String| {
        (1..=MOST_RESERVATION).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match text {
        Some(text) if !is_good(&text) => Err(Error::validation(
            "reservation_id",
            "value",
            "reservation_id must be the id of a reservation, as rsv-…",
        )),
        text => Ok(text),
    }
}

/// What changes of a VM by a PATCH.
#[derive(Clone, Debug, Default)]
pub(crate) struct VmChange {
    pub(crate) name: Option<VmName>,
    pub(crate) labels: Option<Labels>,
    pub(crate) deletion_protection: Option<bool>,
    pub(crate) guest: GuestChange,
}

/// Which VMs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct VmFilter {
    pub(crate) owner: Owner,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<State>,
}

/// A state that a list is to be narrowed to.
pub(crate) fn state(text: Option<&str>) -> Result<Option<State>, Error> {
    let parse = |text: &str| {
        let found = State::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| refusal::word("state", Words))
    };
    text.map(parse).transpose()
}

/// The words of the states.
struct Words;

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be one of")?;
        State::ALL
            .iter()
            .try_for_each(|state| write!(f, " {state}"))
    }
}
