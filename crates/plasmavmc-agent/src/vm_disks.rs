//! What is found of a VM's disks: where they lie, which are not there, which are too small.

use std::{collections::BTreeSet, path::Path};

use nix::sys::statvfs::statvfs;
use plasmavmc_model::{DesiredDisk, DesiredVm, VolumeId};

use crate::{files::VmFiles, machine::Disk, qcow2};

/// So much is room.
const ENOUGH: u64 = 64 << 20;

/// A VM's disks.
#[derive(Clone, Debug, Default)]
pub struct VmDisks {
    /// All of them, in order; complete if there is no trouble.
    pub disks: Vec<Disk>,
    /// Its own that are not there.
    pub missing: Vec<DesiredDisk>,
    /// Its own that are smaller than they are wanted. One that is larger stays as it is.
    pub small: Vec<DesiredDisk>,
    /// Volumes that are not there.
    pub absent: BTreeSet<VolumeId>,
    /// Why it cannot be defined yet.
    pub trouble: Option<String>,
    /// Whether there is room, where they lie, for what a guest may write until somebody looks again.
    pub has_room: bool,
}

/// Looks. Blocks.
#[must_use]
pub fn look(files: &VmFiles, desired: &DesiredVm) -> VmDisks {
    let mut found = VmDisks {
        has_room: has_room(files.directory()),
        ..VmDisks::default()
    };
    for disk in &desired.disks {
        let path = match files.disk(disk) {
            Ok(path) => path,
            Err(why) => {
                found.absent.extend(disk.volume.map(|volume| volume.id));
                found.trouble = Some(why);
                continue;
            }
        };
        match disk.volume {
            Some(volume) if !path.exists() => {
                found.absent.insert(volume.id);
                found.trouble = Some(format!("{} is not there yet", volume.id));
            }
            Some(_) => {}
            None => match qcow2::read(&path) {
                Ok(None) => found.missing.push(disk.clone()),
                Ok(Some(read)) if read.size < u64::from(disk.size_gib) << 30 => {
                    found.small.push(disk.clone());
                }
                // What is no disk, the hypervisor refuses.
                Ok(Some(_)) | Err(_) => {}
            },
        }
        // What is not there yet, nothing is written to.
        let directory = path.parent().filter(|directory| directory.exists());
        found.has_room &= directory.is_none_or(has_room);
        found.disks.push(Disk {
            path,
            volume: disk.volume,
        });
    }
    found
}

fn has_room(directory: &Path) -> bool {
    let found = statvfs(directory);
    found.is_ok_and(|found| {
        let free = found.blocks_available();
        free.saturating_mul(found.fragment_size()) >= ENOUGH
    })
}
