//! Snapshots of what runs, within its disks. libvirt keeps records of its own of them, which would tie definitions to them; they are
//! removed at once, and made anew, with the definition of today, where libvirt asks for one. So the disks alone say what there is.

use jiff::Timestamp;
use plasmavmc_model::SnapshotId;
use virt::{domain::Domain as Handle, domain_snapshot::DomainSnapshot, error::Error, sys};

use super::xml::element;

/// Takes one, with the memory.
pub(super) fn take(handle: &Handle, id: SnapshotId) -> Result<(), Error> {
    forget(handle)?;
    let text = element("domainsnapshot").child(element("name").text(id.to_string()));
    let taken = handle.create_snapshot_xml(&text.write(), 0);
    let forgotten = forget(handle);
    taken?;
    forgotten
}

/// Removes one from all disks that are open.
pub(super) fn remove(handle: &Handle, id: SnapshotId) -> Result<(), Error> {
    let record = record(handle, id)?;
    let removed = record.delete(0);
    let forgotten = forget(handle);
    removed?;
    forgotten
}

/// Begins with one. What runs is no part of this.
pub(super) fn revert(handle: &Handle, id: SnapshotId) -> Result<(), Error> {
    let record = record(handle, id)?;
    let reverted = record.revert(sys::VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED);
    // What was left here is removed with the next one; what has begun, has begun.
    let forgotten = forget(handle);
    reverted?;
    forgotten
}

/// libvirt's record of one that is within the disks, made anew.
fn record(handle: &Handle, id: SnapshotId) -> Result<DomainSnapshot, Error> {
    forget(handle)?;
    // Of what runs, as it runs: a disk in the record that the machine does not have kills libvirt, and this process with it.
    let as_it_is = match handle.is_active()? {
        true => 0,
        false => sys::VIR_DOMAIN_XML_INACTIVE,
    };
    let definition = handle.xml_desc(as_it_is)?;
    let text = redefinition(id, Timestamp::now(), &definition);
    handle.create_snapshot_xml(&text, sys::VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
}

/// Neither an id nor a number is anything else in XML than in text; the definition is libvirt's own.
fn redefinition(id: SnapshotId, at: Timestamp, definition: &str) -> String {
    let at = at.as_second();
    format!(
        "<domainsnapshot><name>{id}</name><state>running</state><creationTime>{at}</creationTime>\
         <memory snapshot='internal'/>{definition}</domainsnapshot>"
    )
}

/// Removes libvirt's records, and nothing else.
fn forget(handle: &Handle) -> Result<(), Error> {
    for record in handle.list_all_snapshots(0)? {
        record.delete(sys::VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::libvirt::read::elements;

    #[test]
    fn a_record_is_made_anew_with_the_definition_of_today() {
        let id = SnapshotId::generate();
        let text = redefinition(
            id,
            Timestamp::UNIX_EPOCH,
            "<domain type='qemu'><name>n</name></domain>",
        );
        let all = elements(&text).unwrap();
        let words: Vec<(&str, &str)> = all.iter().map(|one| (&*one.name, &*one.text)).collect();
        let id = id.to_string();
        assert_eq!(
            words,
            [
                ("domainsnapshot", ""),
                ("name", &*id),
                ("state", "running"),
                ("creationTime", "0"),
                ("memory", ""),
                ("domain", ""),
                ("name", "n"),
            ]
        );
    }
}
