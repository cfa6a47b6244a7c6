//! PlasmaVMC's records: what is stored of virtual machines, under which keys, what a host is told and what it tells.
//!
//! The control plane and the agents of hosts share them. Pure. The design is in `docs/vm.md`.
//!
//! ```text
//!   vm/<org>/<project>/<vm>         Vm            the tenant's: spec, what is wanted, what is
//!   guest/<org>/<project>/<vm>      GuestData     what its guest is told at its first boot: keys, user-data
//!   image/<org>/<project>/<image>   Image         the tenant's: what it is, its content by SHA-256
//!   volume/<org>/<project>/<vol>    Volume        the tenant's: a disk of its own
//!   snapshot/<org>/<project>/<snap> Snapshot      the tenant's: how disks were
//!   host/<host>/desired/vm/<vm>     DesiredVm     ─┐ control plane -> agent
//!   host/<host>/desired/volume/<v>  DesiredVolume  │ and desired/volume-gone/<v> VolumeGoneOrder
//!   host/<host>/desired/gone/<vm>   GoneOrder     ─┘
//!   host/<host>/observed/vm/<vm>    ObservedVm    ─┐
//!   host/<host>/observed/gone/<vm>  GoneDone       │ agent -> control plane
//!   host/<host>/observed/volume/<v> ObservedVolume │ and observed/volume-gone/<v> VolumeGone
//!   host/<host>/observed/agent      ObservedAgent  │
//!   host/<host>/alive               Alive         ─┘ under the agent's lease
//!   use/<host>                      HostUse       what its VMs are given
//!   pool-use/<pool>/<host>          PoolUse       what disks of a pool are given; <pool>/_ of a shared one
//! ```

#![warn(missing_docs)]

pub mod account;
pub mod catalog;
pub mod desired;
pub mod digest;
pub mod guest;
pub mod hardware;
pub mod host;
pub mod id;
pub mod image;
pub mod interface;
pub mod key;
pub mod label;
pub mod observed;
pub mod pool;
pub mod snapshot;
pub mod vm;
pub mod volume;

pub use account::{Account, Bill, Due, Hold, NextPeriod, UnitsOf, Unpaid};
pub use catalog::{Content, Form, Image, Part, Upload};
pub use desired::{Boot, DesiredDisk, DesiredPort, DesiredVm, GoneOrder};
pub use digest::{Digest, DigestError};
pub use guest::{DesiredGuest, Guest, GuestData, Hostname, SshKey, UserData};
pub use hardware::{Firmware, Hardware, Hypervisor};
pub use host::HostUse;
pub use id::{GroupId, ImageId, OperationId, PortId, SnapshotId, SubnetId, VmId, VolumeId, VpcId};
pub use image::{DesiredBlob, DiskFormat, HeldBlob, HeldImage, Holder, ImageRef};
pub use interface::{AskedPort, BoundPort, Interface};
pub use label::{Labels, VmName};
pub use observed::{
    Alive, Capacity, End, EndedBy, GoneDone, ObservedAgent, ObservedState, ObservedVm, OrphanVm,
    Probe,
};
pub use pool::{ObservedPool, PoolDriver, PoolUse};
pub use snapshot::{
    DesiredSnapshot, ObservedSnapshot, Revert, Shape, Snapshot, SnapshotOf, SnapshotState,
    SnapshotWish,
};
pub use vm::{Base, Power, State, Status, Vm, Wanted};
pub use volume::{
    AttachedTo, AttachedVolume, Attachment, DesiredVolume, ObservedVolume, ObservedVolumeState,
    Volume, VolumeGone, VolumeGoneOrder, VolumeState, VolumeStatus,
};
