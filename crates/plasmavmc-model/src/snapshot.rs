//! Snapshots: how the disks of a VM, or a volume, were at a moment; of a VM that ran, with its memory.
//!
//! They lie within the disks (qcow2's internal snapshots, under the snapshot's id): they cost what has changed since, are gone with their
//! disks, and never touch what a disk begins with.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{SnapshotId, VmId, VmName, VolumeId, key};

/// The most snapshots of one VM or volume.
pub const MOST_SNAPSHOTS: usize = 32;

/// A snapshot that a host is to have, or to have no more; in [`crate::DesiredVm::snapshots`] and [`crate::DesiredVolume::snapshots`].
/// One that is not named is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSnapshot {
    /// Which.
    pub id: SnapshotId,
    /// What is wanted of it.
    pub wish: SnapshotWish,
}

/// What is wanted of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotWish {
    /// It is taken, once, if it is not there; one that failed is not tried again.
    Kept,
    /// It is removed, with what was begun of it.
    Gone,
}

/// That disks are to be as they were in a snapshot. Done once for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// Higher than any before: the time when it was asked, in milliseconds.
    pub number: u64,
    /// To which.
    pub snapshot: SnapshotId,
    /// Whether the boot that is wanted goes on from the memory in it. Without, a VM is off while it is done.
    pub memory: bool,
}

/// A snapshot, as its host tells of it. One that is neither taken nor failed is not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSnapshot {
    /// Which.
    pub id: SnapshotId,
    /// Why it could not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When it was taken, or failed.
    pub at: Timestamp,
    /// Whether it has the memory.
    #[serde(default)]
    pub memory: bool,
    /// Bytes of the memory that is in it.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum SnapshotOf {
    /// A VM: its root disk and the volumes that it had, at one moment.
    Vm(VmId),
    /// A volume.
    Volume(VolumeId),
}

/// How a snapshot is, in the words that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotState {
    /// It is being taken.
    Creating,
    /// It is there.
    Ready,
    /// It could not be taken; a reason says why.
    Error,
    /// It is being removed.
    Deleting,
}

impl SnapshotState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Ready => "Ready",
            Self::Error => "Error",
            Self::Deleting => "Deleting",
        }
    }
}

/// What a VM was when a snapshot of it was asked for: its memory fits nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// CPUs.
    pub vcpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The root disk, in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u32>,
    /// Its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeId>,
}

/// A snapshot, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What people call it.
    pub name: VmName,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// What it is of.
    pub of: SnapshotOf,
    /// What the VM was; none of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// How it is.
    pub state: SnapshotState,
    /// Why, where there is something to say; else empty.
    #[serde(default)]
    pub reason: String,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Whether it has the memory.
    #[serde(default)]
    pub memory: bool,
    /// Bytes of the memory that is in it.
    #[serde(default)]
    pub memory_bytes: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Record for Snapshot {
    const ROOT: &'static str = "/photon/plasmavmc/snapshot/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id)]
    }
}

impl Snapshot {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: SnapshotId) -> String {
    key::by_id("snapshot", id)
}
