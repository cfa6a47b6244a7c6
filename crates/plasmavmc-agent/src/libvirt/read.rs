//! What libvirt says, in the agent's words.

use std::{collections::BTreeMap, str::FromStr as _};

use plasmavmc_model::{Hypervisor, VmId, VolumeId};
use quick_xml::{Reader, XmlVersion, events::Event};
use virt::{
    connect::Connect,
    domain::{
        Domain as Handle, DomainPausedReason, DomainShutoffReason, DomainState as VirtState,
        DomainStateReason,
    },
    error::{Error as VirtError, ErrorNumber},
};

use super::{definition::NAMESPACE, events::saved_definition, is};
use crate::{
    driver::About,
    machine::{Domain, DomainState, HeldVolume, Memory, Off},
};

/// An element that was read, without those in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) text: String,
}

/// All elements of a document, in the order in which they begin; each with its own text alone.
pub(super) fn elements(xml: &str) -> Result<Vec<Read>, quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut all: Vec<Read> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    loop {
        let event = reader.read_event()?;
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let mut read = Read {
                    name: start.name().as_ref().to_owned(),
                    ..Read::default()
                };
                for attribute in start.attributes() {
                    let attribute = attribute?;
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
                    read.attributes
                        .insert(attribute.key.as_ref().to_owned(), value.into_owned());
                }
                if matches!(event, Event::Start(_)) {
                    open.push(all.len());
                }
                all.push(read);
            }
            Event::End(_) => drop(open.pop()),
            Event::Text(text) => {
                if let Some(within) = open.last().and_then(|at| all.get_mut(*at)) {
                    within.text.push_str(text.as_ref());
                }
            }
            Event::GeneralRef(reference) => {
                let text = match reference.resolve_char_ref()? {
                    Some(one) => one.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(reference.as_ref())
                        .unwrap_or_default()
                        .to_owned(),
                };
                if let Some(within) = open.last().and_then(|at| all.get_mut(*at)) {
                    within.text.push_str(&text);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    // Indentation is no text of anything.
    for read in &mut all {
        if read.text.trim().is_empty() {
            read.text.clear();
        }
    }
    Ok(all)
}

/// A domain, if it is ours: by its metadata, and by the name and UUID that these would have.
pub(super) fn domain(handle: &Handle) -> Result<Option<Domain>, VirtError> {
    let text = handle.xml_desc(0)?;
    let (state, reason) = handle.state()?;
    let state = state_of(
        state.unwrap_or(VirtState::NoState),
        match reason {
            virt::enumutil::Enum::Known(reason) => reason,
            virt::enumutil::Enum::Unknown(_) => DomainStateReason::Shutoff(
                virt::domain::DomainShutoffReasonEnum::Known(DomainShutoffReason::Unknown),
            ),
        },
    );
    let Some(mut found) = described(&text, state) else {
        return Ok(None);
    };
    // What is defined, nobody has; what is on disk of a memory, that will have.
    let mut volumes = Vec::new();
    if handle.has_managed_save(0)? {
        let (memory, saved) = memory(saved_definition(handle))?;
        found.memory = Some(memory);
        volumes = saved;
    }
    if !found.is_active() {
        found.volumes = volumes;
    }
    Ok(Some(found))
}

/// What is on disk of a domain's memory, and the volumes that it will have, from what is said of it. Only what libvirt looked into and
/// found wanting is broken.
fn memory(saved: Result<String, VirtError>) -> Result<(Memory, Vec<HeldVolume>), VirtError> {
    match saved {
        Ok(text) => Ok(described(&text, DomainState::Off(Off::Unknown))
            .map_or((Memory::Broken, Vec::new()), |saved| {
                (Memory::Whole(saved.boot), saved.volumes)
            })),
        Err(error) if is(&error, ErrorNumber::OperationFailed) => Ok((Memory::Broken, Vec::new())),
        Err(error) => Err(error),
    }
}

/// A disk of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskRead {
    pub(super) name: String,
    pub(super) bus: String,
    pub(super) file: String,
    pub(super) serial: String,
    unit: String,
}

/// The disks of a definition.
pub(super) fn disks(all: &[Read]) -> Vec<DiskRead> {
    let mut disks: Vec<DiskRead> = Vec::new();
    let mut is_within = false;
    for one in all {
        let attribute = |name: &str| one.attributes.get(name).cloned().unwrap_or_default();
        // A console is called as a disk's serial number is.
        let is_device = matches!(&*one.name, "controller" | "interface" | "console")
            || one.name == "serial" && one.attributes.contains_key("type");
        if one.name == "disk" {
            disks.push(DiskRead::default());
        }
        is_within = one.name == "disk" || is_within && !is_device;
        let Some(disk) = disks.last_mut().filter(|_| is_within) else {
            continue;
        };
        match &*one.name {
            "target" => (disk.name, disk.bus) = (attribute("dev"), attribute("bus")),
            // The first is its own; behind it, what it lies over.
            "source" if disk.file.is_empty() => disk.file = attribute("file"),
            "serial" => disk.serial.clone_from(&one.text),
            "address" => disk.unit = attribute("unit"),
            _ => {}
        }
    }
    disks
}

/// The volumes of a definition, by their serial numbers.
pub(super) fn held(all: &[Read]) -> Vec<HeldVolume> {
    let volumes = disks(all).into_iter().filter_map(|disk| {
        let uuid = uuid::Uuid::try_parse(&disk.serial).ok()?;
        Some(HeldVolume {
            id: VolumeId::from_uuid(uuid),
            lun: (disk.bus == "scsi")
                .then(|| disk.unit.parse().ok())
                .flatten(),
        })
    });
    volumes.collect()
}

/// A domain from its definition.
fn described(text: &str, state: DomainState) -> Option<Domain> {
    let all = elements(text).ok()?;
    let of = |name: &str| all.iter().find(|one| one.name == name);
    // The prefix is libvirt's to choose.
    let ours = all.iter().find(|one| {
        let (prefix, local) = one.name.split_once(':').unwrap_or(("", &one.name));
        let declared = if prefix.is_empty() {
            "xmlns".to_owned()
        } else {
            format!("xmlns:{prefix}")
        };
        local == "vm" && one.attributes.get(&declared).map(String::as_str) == Some(NAMESPACE)
    })?;
    let id: VmId = ours.attributes.get("id")?.parse().ok()?;
    if of("name")?.text != id.to_string() || of("uuid")?.text != id.uuid().to_string() {
        return None;
    }
    Some(Domain {
        id,
        boot: ours.attributes.get("boot")?.parse().ok()?,
        digest: ours.attributes.get("digest")?.clone(),
        hypervisor: Hypervisor::from_str(of("domain")?.attributes.get("type")?).ok()?,
        state,
        reverted: ours
            .attributes
            .get("reverted")
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
        memory: None,
        volumes: held(&all),
    })
}

fn state_of(state: VirtState, reason: DomainStateReason) -> DomainState {
    match (state, reason) {
        (VirtState::Running | VirtState::Blocked, _) => DomainState::Running,
        // Between the guest's end and that of its process.
        (VirtState::Shutdown, _) => DomainState::Ending,
        (VirtState::Paused, DomainStateReason::Paused(reason)) => {
            use DomainPausedReason as Why;
            let shutting_down = reason.is_known_and(|why| why == Why::ShuttingDown);
            if shutting_down {
                return DomainState::Ending;
            }
            if reason.is_known_and(|why| why == Why::StartingUp) {
                return DomainState::Starting;
            }
            // Any other error of a disk is its guest's to hear of.
            if reason.is_known_and(|why| why == Why::IOError) {
                return DomainState::Full;
            }
            match reason.unwrap_or(Why::Unknown) {
                Why::Crashed => DomainState::Paused("the guest crashed".to_owned()),
                Why::Watchdog => DomainState::Paused("its watchdog was not served".to_owned()),
                Why::User | Why::Unknown => DomainState::Held,
                // What was restored waits as one that came from elsewhere; what was being saved stands still until that is over.
                _ => DomainState::Halted,
            }
        }
        (VirtState::Paused | VirtState::PMSuspended, _) => {
            DomainState::Paused("it sleeps".to_owned())
        }
        (VirtState::Crashed, _) => DomainState::Off(Off::Crashed),
        (_, DomainStateReason::Shutoff(reason)) => {
            use DomainShutoffReason as Why;
            DomainState::Off(match reason.unwrap_or(Why::Unknown) {
                Why::Shutdown => Off::Guest,
                Why::Destroyed => Off::Destroyed,
                Why::Crashed | Why::Failed | Why::Daemon => Off::Crashed,
                _ => Off::Unknown,
            })
        }
        _ => DomainState::Off(Off::Unknown),
    }
}

/// What is on this machine. The first answer after a new version of qemu takes seconds: libvirt looks what that can do.
pub(super) fn about(connection: &Connect) -> Result<About, VirtError> {
    let (libvirt, qemu) = (connection.lib_version()?, connection.hyp_version()?);
    let node = connection.node_info()?;
    let can = connection.domain_capabilities(None, Some("x86_64"), Some("q35"), Some("qemu"), 0)?;
    let all = elements(&can).unwrap_or_default();
    let text_of = |name: &str| {
        let found = all.iter().find(|one| one.name == name);
        found.map(|one| one.text.clone()).unwrap_or_default()
    };
    Ok(About {
        versions: format!("libvirt {}, qemu {}", version(libvirt), version(qemu)),
        emulator: text_of("path"),
        machine: text_of("machine"),
        cpus: node.cpus,
        memory_mib: node.memory / 1024,
    })
}

/// A million for the first part, a thousand for the second.
fn version(number: u32) -> String {
    format!(
        "{}.{}.{}",
        number / 1_000_000,
        number / 1_000 % 1_000,
        number % 1_000
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const OFF: DomainState = DomainState::Off(Off::Unknown);

    #[test]
    fn a_domain_is_ours_by_all_that_it_says() {
        let id = VmId::generate();
        let text = |name: &str, uuid: &str, namespace: &str| {
            format!(
                "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><metadata>\
                 <x:vm xmlns:x='{namespace}' id='{id}' boot='7' digest='d'/></metadata></domain>"
            )
        };
        let (name, uuid) = (id.to_string(), id.uuid().to_string());
        let found = described(&text(&name, &uuid, NAMESPACE), OFF).unwrap();
        assert_eq!((found.id, found.boot, &*found.digest), (id, 7, "d"));
        assert_eq!((found.reverted, found.memory), (0, None));
        let reverted = text(&name, &uuid, NAMESPACE).replace("boot='7'", "boot='7' reverted='3'");
        assert_eq!(described(&reverted, OFF).unwrap().reverted, 3);
        assert_eq!(found.hypervisor, Hypervisor::Qemu);
        let other = VmId::generate();
        for bad in [
            text(&other.to_string(), &uuid, NAMESPACE),
            text(&name, &other.uuid().to_string(), NAMESPACE),
            text(&name, &uuid, "urn:other"),
            text(&name, &uuid, NAMESPACE).replace("boot='7'", ""),
            "<domain".to_owned(),
            String::new(),
        ] {
            assert_eq!(described(&bad, OFF), None, "{bad}");
        }
    }

    #[test]
    fn what_is_starting_does_not_run_yet() {
        use virt::enumutil::Enum::Known;
        let paused = |why| state_of(VirtState::Paused, DomainStateReason::Paused(Known(why)));
        assert_eq!(
            paused(DomainPausedReason::StartingUp),
            DomainState::Starting
        );
        assert_eq!(
            paused(DomainPausedReason::ShuttingDown),
            DomainState::Ending
        );
        assert_eq!(paused(DomainPausedReason::IOError), DomainState::Full);
    }

    #[test]
    fn what_stands_still_does_so_for_a_reason() {
        use virt::enumutil::Enum::Known;
        let paused = |why| state_of(VirtState::Paused, DomainStateReason::Paused(Known(why)));
        assert_eq!(paused(DomainPausedReason::User), DomainState::Held);
        for halted in [
            DomainPausedReason::Migration,
            DomainPausedReason::FromSnapshot,
            DomainPausedReason::Save,
            DomainPausedReason::Snapshot,
        ] {
            assert_eq!(paused(halted), DomainState::Halted, "{halted:?}");
        }
        let crashed = paused(DomainPausedReason::Crashed);
        assert!(matches!(crashed, DomainState::Paused(_)));
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version(9_000_000), "9.0.0");
        assert_eq!(version(7_002_022), "7.2.22");
    }
}
