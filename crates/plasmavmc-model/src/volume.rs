//! Volumes: disks of their own, that VMs come and go by.

use std::fmt;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{
    DesiredDisk, DesiredSnapshot, DiskFormat, Labels, ObservedSnapshot, Revert, UnitsOf, VmId,
    VmName, VolumeId, key,
};

/// The most volumes of one VM.
pub const MOST_VOLUMES: usize = 16;

/// How a volume is, in the words that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VolumeState {
    /// It is being made.
    Creating,
    /// It is there, and no VM has it.
    Available,
    /// A VM has it.
    InUse,
    /// A VM is to let it go, and has not yet.
    Detaching,
    /// It is not as it is wanted, and a reason says why.
    Error,
    /// It is being removed.
    Deleting,
    /// Its host is silent.
    Unknown,
}

impl VolumeState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Creating,
        Self::Available,
        Self::InUse,
        Self::Detaching,
        Self::Error,
        Self::Deleting,
        Self::Unknown,
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Available => "Available",
            Self::InUse => "InUse",
            Self::Detaching => "Detaching",
            Self::Error => "Error",
            Self::Deleting => "Deleting",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which VM has a volume. The VM has it in [`crate::Vm::volumes`]: both change in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedTo {
    /// The VM.
    pub vm: VmId,
    /// When it was asked to let it go: the VM does not have it in its list any more, its guest perhaps yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detaching: Option<Timestamp>,
}

/// A volume that a VM has; in [`crate::Vm::volumes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which.
    pub volume: VolumeId,
    /// Its number on the VM's bus of volumes, from 0, below [`MOST_VOLUMES`]; the same as long as it is attached.
    pub lun: u8,
    /// Its size, in GiB.
    pub size_gib: u32,
    /// Where it lies.
    pub pool: Name,
}

impl Attachment {
    /// What its host is told of it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "an id is a name")]
    pub fn desired(&self) -> DesiredDisk {
        DesiredDisk {
            name: Name::new(self.volume.to_string()).expect("a name"),
            size_gib: self.size_gib,
            base: None,
            base_format: DiskFormat::default(),
            pool: Some(self.pool.clone()),
            volume: Some(AttachedVolume {
                id: self.volume,
                lun: self.lun,
            }),
        }
    }
}

/// That a disk of a VM is a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedVolume {
    /// Which.
    pub id: VolumeId,
    /// Its number on the VM's bus of volumes.
    pub lun: u8,
}

/// A volume, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// What people call it.
    pub name: VmName,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// Its size, in GiB.
    pub size_gib: u32,
    /// Where it lies.
    pub pool: Name,
    /// Which host is told of it; of a pool that is not shared, the one where it lies.
    pub host: Name,
    /// What people sort by.
    #[serde(default)]
    pub labels: Labels,
    /// Raised with everything that its host must hear of.
    pub generation: u64,
    /// Which VM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedTo>,
    /// Its own snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<DesiredSnapshot>,
    /// The last revert that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Revert>,
    /// When it was asked to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
    /// Its quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<UnitsOf>,
    /// How it is.
    pub status: VolumeStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner changed it last.
    pub updated_at: Timestamp,
}

/// How a volume is. Written by the controller alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// The word.
    pub state: VolumeState,
    /// Why, where there is something to say; else empty.
    #[serde(default)]
    pub reason: String,
    /// Since when it is in this state.
    pub since: Timestamp,
}

impl Record for Volume {
    const ROOT: &'static str = "/photon/plasmavmc/volume/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id)]
    }
}

impl Volume {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }

    /// What its host is to be told.
    #[must_use]
    pub fn desired(&self) -> DesiredVolume {
        DesiredVolume {
            id: self.id,
            org: self.org.clone(),
            project: self.project.clone(),
            generation: self.generation,
            pool: self.pool.clone(),
            size_gib: self.size_gib,
            attached: self.attached.map(|attached| attached.vm),
            snapshots: self.snapshots.clone(),
            revert: self.revert,
        }
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: VolumeId) -> String {
    key::by_id("volume", id)
}

/// A volume as it is to be on a host; at `<host>/desired/volume/<volume>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredVolume {
    /// Which.
    pub id: VolumeId,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// Raised with every change of this record; told back in [`ObservedVolume::generation`].
    pub generation: u64,
    /// Where it lies.
    pub pool: Name,
    /// Its size, in GiB. It grows only, and only while nothing has it open.
    pub size_gib: u32,
    /// Which VM has it: while that has it open, nothing is done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<VmId>,
    /// Its own snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<DesiredSnapshot>,
    /// To be as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Revert>,
}

impl Record for DesiredVolume {
    const ROOT: &'static str = key::HOSTS;
}

/// The order to remove a volume with all that is in it; at `<host>/desired/volume-gone/<volume>`. Written in the transaction that removes
/// its [`DesiredVolume`]; removed when the host said [`VolumeGone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGoneOrder {
    /// Which.
    pub id: VolumeId,
    /// Where it lies.
    pub pool: Name,
    /// When it was ordered.
    pub at: Timestamp,
}

impl Record for VolumeGoneOrder {
    const ROOT: &'static str = key::HOSTS;
}

/// How a volume is on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedVolumeState {
    /// It is being made as it is wanted.
    Preparing,
    /// It is there as it is wanted.
    Ready,
    /// It cannot be made so; `reason` says why. The agent tries again, ever more slowly.
    Failed,
}

/// A volume as of a generation of its [`DesiredVolume`]; at `<host>/observed/volume/<volume>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVolume {
    /// The generation that the agent works by.
    pub generation: u64,
    /// How it is.
    pub state: ObservedVolumeState,
    /// Its size in truth, in GiB; 0 before it is there.
    #[serde(default)]
    pub size_gib: u32,
    /// Why it is not as it is wanted; else empty. For people.
    #[serde(default)]
    pub reason: String,
    /// Its own snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<ObservedSnapshot>,
    /// The number of the last revert that was done.
    #[serde(default)]
    pub reverted: u64,
    /// Since when it is in this state.
    pub since: Timestamp,
}

impl Record for ObservedVolume {
    const ROOT: &'static str = key::HOSTS;
}

/// That nothing of a volume is left on the host; at `<host>/observed/volume-gone/<volume>`. Removed when the order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGone {
    /// Which.
    pub id: VolumeId,
    /// When it was done.
    pub at: Timestamp,
}

impl Record for VolumeGone {
    const ROOT: &'static str = key::HOSTS;
}

/// Where a host is told of a volume, below the collection.
#[must_use]
pub fn desired_key(host: &Name, volume: VolumeId) -> String {
    format!("{host}/desired/volume/{volume}")
}

/// Where a host is told to remove a volume, below the collection.
#[must_use]
pub fn gone_order_key(host: &Name, volume: VolumeId) -> String {
    format!("{host}/desired/volume-gone/{volume}")
}

/// Where a volume's state is told, below the collection.
#[must_use]
pub fn observed_key(host: &Name, volume: VolumeId) -> String {
    format!("{host}/observed/volume/{volume}")
}

/// Where it is told that nothing of a volume is left, below the collection.
#[must_use]
pub fn gone_key(host: &Name, volume: VolumeId) -> String {
    format!("{host}/observed/volume-gone/{volume}")
}
