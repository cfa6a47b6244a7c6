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

/// Volumes.
#[derive(Clone, Copy, Debug)]
pub struct VolumeKind;

impl Kind for VolumeKind {
    const PREFIX: &'static str = "vol";
}

/// The id of a volume.
pub type VolumeId = Id<VolumeKind>;

/// Snapshots.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotKind;

impl Kind for SnapshotKind {
    const PREFIX: &'static str = "snap";
}

/// The id of a snapshot.
pub type SnapshotId = Id<SnapshotKind>;

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

/// `PrismNET`'s subnets.
#[derive(Clone, Copy, Debug)]
pub struct SubnetKind;

impl Kind for SubnetKind {
    const PREFIX: &'static str = "subnet";
}

/// The id of a subnet.
pub type SubnetId = Id<SubnetKind>;

/// `PrismNET`'s VPCs.
#[derive(Clone, Copy, Debug)]
pub struct VpcKind;

impl Kind for VpcKind {
    const PREFIX: &'static str = "vpc";
}

/// The id of a VPC.
pub type VpcId = Id<VpcKind>;

/// `PrismNET`'s security groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupKind;

impl Kind for GroupKind {
    const PREFIX: &'static str = "sg";
}

/// The id of a security group.
pub type GroupId = Id<GroupKind>;

/// Images.
#[derive(Clone, Copy, Debug)]
pub struct ImageKind;

impl Kind for ImageKind {
    const PREFIX: &'static str = "img";
}

/// The id of an image.
pub type ImageId = Id<ImageKind>;
