//! Volumes that come and go while a machine runs. Its definition is left as it is: it is made anew before the next boot.

use plasmavmc_model::VolumeId;
use virt::{domain::Domain as Handle, error::Error as VirtError, sys};

use super::{
    definition,
    read::{DiskRead, disks, elements},
};
use crate::machine::Disk;

/// Gives it a volume, unless it has it.
pub(super) fn attach(handle: &Handle, disk: &Disk) -> Result<(), VirtError> {
    let (Some(volume), Some(text)) = (disk.volume, definition::attached(disk)) else {
        return Ok(());
    };
    match found(handle, volume.id)? {
        Some(_) => Ok(()),
        None => handle.attach_device_flags(&text, sys::VIR_DOMAIN_AFFECT_LIVE),
    }
}

/// Asks it to let a volume go, if it has it. libvirt waits a little; what it has then, it says.
pub(super) fn detach(handle: &Handle, volume: VolumeId) -> Result<(), VirtError> {
    match found(handle, volume)? {
        Some(disk) => {
            let text = definition::detached(&disk.name, &disk.file);
            handle.detach_device_flags(&text, sys::VIR_DOMAIN_AFFECT_LIVE)
        }
        None => Ok(()),
    }
}

/// The volume, as what runs has it.
fn found(handle: &Handle, volume: VolumeId) -> Result<Option<DiskRead>, VirtError> {
    let text = handle.xml_desc(0)?;
    let all = elements(&text).unwrap_or_default();
    let serial = volume.uuid().simple().to_string();
    let is_it = |disk: &DiskRead| disk.serial == serial;
    Ok(disks(&all).into_iter().find(is_it))
}
