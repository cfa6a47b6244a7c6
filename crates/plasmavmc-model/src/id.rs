//! Ids, one type per kind of thing.

use photon_core::{Id, Kind};

/// Virtual machines.
#[derive(Clone, Copy, Debug)]
pub struct VmKind;

impl Kind for VmKind {
    const PREFIX: &'static str = "vm";
}

/// The id of a virtual machine. Its UUID is the domain's.
pub type VmId = Id<VmKind>;

/// Long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationKind;

impl Kind for OperationKind {
    const PREFIX: &'static str = "op";
}

/// The id of an operation.
pub type OperationId = Id<OperationKind>;

/// `PrismNET`'s ports.
#[derive(Clone, Copy, Debug)]
pub struct PortKind;

impl Kind for PortKind {
    const PREFIX: &'static str = "port";
}

/// The id of a port.
pub type PortId = Id<PortKind>;
