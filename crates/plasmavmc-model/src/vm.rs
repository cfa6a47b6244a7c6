//! A virtual machine, as its tenant has it.

use std::fmt;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{
    Account, Attachment, Boot, DesiredDisk, DesiredGuest, DesiredSnapshot, DesiredVm, Digest,
    DiskFormat, Guest, Hardware, HostUse, Hypervisor, ImageRef, Interface, Labels, OperationId,
    Revert, VmId, VmName, key,
};

/// Whether a VM is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// It is.
    Running,
    /// It is not.
    #[default]
    Stopped,
    /// It is to stand still with its memory kept: its CPUs do nothing.
    Paused,
    /// It is not to run, and to go on later where it was: its memory is kept on disk.
    Suspended,
}

impl Power {
    /// Whether something is to be there that runs, or stands still: it takes memory, and costs.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How a VM is, in the words that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// It is being made.
    Creating,
    /// It does not run.
    Stopped,
    /// It is to run, and does not yet.
    Starting,
    /// It runs.
    Running,
    /// It is to stop, and runs yet.
    Stopping,
    /// It stands still, as was asked.
    Paused,
    /// It does not run, and its memory is on disk.
    Suspended,
    /// It is not as it is wanted, and a reason says why.
    Error,
    /// It is being taken down.
    Deleting,
    /// Its host is silent.
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Creating,
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Paused,
        Self::Suspended,
        Self::Error,
        Self::Deleting,
        Self::Unknown,
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Stopped => "Stopped",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Paused => "Paused",
            Self::Suspended => "Suspended",
            Self::Error => "Error",
            Self::Deleting => "Deleting",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wanted of a VM, as its host is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Raised with everything that its host must hear of.
    pub generation: u64,
    /// Whether it is to run.
    pub power: Power,
    /// The boot that is to run, counted from 1; 0 before the first.
    pub boot: u64,
    /// Seconds that the guest has to shut down before it is powered off; 0: it is not asked.
    pub grace_seconds: u32,
    /// When that was asked.
    pub asked_at: Timestamp,
}

/// How a VM is. Written by the controller alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The word.
    pub state: State,
    /// Why, where there is something to say; else empty.
    #[serde(default)]
    pub reason: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// What runs it in truth, while something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// Since when it is not as it is wanted, though its host works on it: deadlines count from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled_since: Option<Timestamp>,
    /// Why it could not be made: then it has no host, and a start tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// An image of a disk, as it was when the VM was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its content.
    pub digest: Digest,
    /// Its format.
    pub format: DiskFormat,
}

/// A VM, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its id.
    pub id: VmId,
    /// What people call it.
    pub name: VmName,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// CPUs.
    pub vcpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The root disk, in GiB; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u32>,
    /// What was asked to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// Its image.
    pub image: ImageRef,
    /// What it boots: the image's, as it was when the VM was made.
    pub boots_from: Boot,
    /// What its guest is told; none of those that were made before there was anything to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// What it is connected by, in order; isolated without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// What its root disk begins with, if that is an image of a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Where its root disk lies; none of one without, and of those made before there were pools, which lie in `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// The volumes that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Attachment>,
    /// Its snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<DesiredSnapshot>,
    /// The last revert that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert: Option<Revert>,
    /// What people and schedulers sort by.
    #[serde(default)]
    pub labels: Labels,
    /// Whether it is refused to be deleted.
    #[serde(default)]
    pub deletion_protection: bool,
    /// What is wanted.
    pub wanted: Wanted,
    /// Where it is. Set together with `hardware`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// What it sees of its machine, from its first host on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// When it was asked to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
    /// What is being done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What CreditService holds and counts for it.
    #[serde(default, skip_serializing_if = "Account::is_empty")]
    pub account: Account,
    /// How it is.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner changed it last.
    pub updated_at: Timestamp,
}

impl Record for Vm {
    const ROOT: &'static str = "/photon/plasmavmc/vm/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id)]
    }
}

impl Vm {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }

    /// What it is given on its host; without its root disk, if that is counted by its pool.
    #[must_use]
    pub fn size(&self) -> HostUse {
        HostUse {
            vms: 1,
            vcpus: self.vcpus.into(),
            memory_mib: self.memory_mib,
            disk_gib: match self.pool {
                Some(_) => 0,
                None => self.disk_gib.unwrap_or(0).into(),
            },
        }
    }

    /// The content that its host has to have.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        let base = self.base.map(|base| base.digest);
        self.boots_from.blobs().into_iter().chain(base).collect()
    }

    /// What its host is to be told; nothing before it has one. What its guest is told is not all here: see [`DesiredGuest::content`].
    #[must_use]
    pub fn desired(&self) -> Option<DesiredVm> {
        let disks = self.disk_gib.map(|size_gib| DesiredDisk {
            name: root_disk(),
            size_gib,
            base: self.base.map(|base| base.digest),
            base_format: self.base.map(|base| base.format).unwrap_or_default(),
            pool: self.pool.clone(),
            volume: None,
        });
        let volumes = self.volumes.iter().map(Attachment::desired);
        Some(DesiredVm {
            id: self.id,
            name: self.name.as_str().to_owned(),
            org: self.org.clone(),
            project: self.project.clone(),
            generation: self.wanted.generation,
            power: self.wanted.power,
            boot: self.wanted.boot,
            grace_seconds: self.wanted.grace_seconds,
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            hardware: self.hardware.clone()?,
            hypervisor: self.hypervisor,
            boots_from: self.boots_from.clone(),
            disks: disks.into_iter().chain(volumes).collect(),
            ports: self
                .interfaces
                .iter()
                .filter_map(Interface::desired)
                .collect(),
            snapshots: self.snapshots.clone(),
            revert: self.revert,
            guest: self.guest.clone().map(|guest| DesiredGuest {
                guest,
                content: None,
            }),
        })
    }
}

#[expect(clippy::expect_used, reason = "a constant that is a name")]
fn root_disk() -> Name {
    Name::new("root").expect("a name")
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: VmId) -> String {
    key::by_id("vm", id)
}
