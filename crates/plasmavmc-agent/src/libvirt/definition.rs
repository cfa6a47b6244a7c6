//! A machine as libvirt's XML. Everything that a guest could see of it follows from the record: nothing depends on what this version of
//! libvirt or qemu would choose.

use std::collections::BTreeSet;

use plasmavmc_model::{
    AttachedVolume, Firmware, Hardware, Hypervisor, VolumeId, volume::MOST_VOLUMES,
};
use sha2::{Digest as _, Sha256};

use super::xml::{Element, element};
use crate::machine::{Boots, Disk, Interface, Machine};

/// The namespace of our metadata in a definition.
pub const NAMESPACE: &str = "urn:photoncloud:plasmavmc:1";

/// The definition, with our metadata in it.
#[must_use]
pub fn define(machine: &Machine, emulator: &str) -> String {
    domain(machine, emulator, &digest(machine, emulator)).write()
}

/// What the definition says, as a digest; the boot, and the revert before it, are not part of it.
#[must_use]
pub fn digest(machine: &Machine, emulator: &str) -> String {
    let of = Machine {
        boot: 0,
        reverted: 0,
        ..machine.clone()
    };
    let digest = Sha256::digest(domain(&of, emulator, "").write());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn domain(machine: &Machine, emulator: &str, digest: &str) -> Element {
    let hardware = &machine.hardware;
    let ours = element("photon:vm")
        .with("xmlns:photon", NAMESPACE)
        .with("id", machine.id.to_string())
        .with("boot", machine.boot.to_string())
        .with("digest", digest);
    // Not of one that never was, so that it says what it always said.
    let ours = match machine.reverted {
        0 => ours,
        reverted => ours.with("reverted", reverted.to_string()),
    };
    let mebibytes = |name, size: u64| element(name).with("unit", "MiB").text(size.to_string());
    element("domain")
        .with("type", machine.hypervisor.as_str())
        .child(element("name").text(machine.id.to_string()))
        .child(element("uuid").text(machine.id.uuid().to_string()))
        .child(element("metadata").child(ours))
        .child(mebibytes("memory", machine.memory_mib))
        .child(
            element("vcpu")
                .with("placement", "static")
                .text(machine.vcpus.to_string()),
        )
        .child(boots(machine))
        .child(
            element("features")
                .child(element("acpi"))
                .child(element("apic")),
        )
        .child(cpu(&hardware.cpu))
        .child(element("clock").with("offset", "utc"))
        // A guest that ends, ends; one that reboots stays the same process. One that crashes is started again by the agent, which
        // counts.
        .child(element("on_poweroff").text("destroy"))
        .child(element("on_reboot").text("restart"))
        .child(element("on_crash").text("destroy"))
        .child(devices(machine, emulator))
}

fn boots(machine: &Machine) -> Element {
    let os = match machine.hardware.firmware {
        Firmware::Bios => element("os"),
        Firmware::Uefi => element("os").with("firmware", "efi"),
    };
    let os = os.child(
        element("type")
            .with("arch", "x86_64")
            .with("machine", &machine.hardware.machine)
            .text("hvm"),
    );
    match &machine.boots {
        Boots::Kernel {
            kernel,
            initramfs,
            cmdline,
        } => os
            .child(element("kernel").text(kernel.to_string_lossy()))
            .child(element("initrd").text(initramfs.to_string_lossy()))
            .child(element("cmdline").text(cmdline)),
        Boots::Disk => os.child(element("boot").with("dev", "hd")),
    }
}

/// `host-model` is what the host has, as libvirt describes it; anything else is a model's name, and it is that or nothing.
fn cpu(model: &str) -> Element {
    match model {
        "host-model" | "host-passthrough" => element("cpu").with("mode", model),
        model => element("cpu")
            .with("mode", "custom")
            .with("match", "exact")
            .child(element("model").with("fallback", "forbid").text(model)),
    }
}

fn devices(machine: &Machine, emulator: &str) -> Element {
    let hardware = &machine.hardware;
    let on_scsi = |disk: &&Disk| has_scsi(hardware) && disk.volume.is_some();
    let (volumes, others): (Vec<&Disk>, Vec<&Disk>) = machine.disks.iter().partition(on_scsi);
    let numbers = 0..others.len();
    // A machine without a bus of volumes has them behind its own.
    let (behind, own): (Vec<&Disk>, Vec<&Disk>) =
        others.iter().partition(|disk| disk.volume.is_some());
    let others = own.into_iter().chain(behind).zip(numbers.clone());
    let disks = others.map(|(disk, number)| {
        let element = qcow2(disk, &disk_name("vd", number), &hardware.disk_bus);
        match disk.volume {
            Some(volume) => element.child(serial(volume.id)),
            None => element,
        }
    });
    let volumes = volumes.into_iter().filter_map(scsi_volume);
    // Always there, so that volumes come and go, and nothing else moves.
    let scsi = has_scsi(hardware).then(|| {
        element("controller")
            .with("type", "scsi")
            .with("index", "0")
            .with("model", "virtio-scsi")
    });
    let seed = machine.seed.iter().map(|file| {
        element("disk")
            .with("type", "file")
            .with("device", "disk")
            .child(element("driver").with("name", "qemu").with("type", "raw"))
            .child(element("source").with("file", file.to_string_lossy()))
            .child(
                element("target")
                    .with("dev", disk_name("vd", numbers.end))
                    .with("bus", &hardware.disk_bus),
            )
            .child(element("readonly"))
            .child(element("serial").text("cidata"))
    });
    let interfaces = machine
        .interfaces
        .iter()
        .map(|one| interface(one, &hardware.nic_model));
    // A socket, not a terminal: the number of one that is gone may be somebody else's. And everything that was ever written to it.
    let console = element("serial")
        .with("type", "unix")
        .child(
            element("source")
                .with("mode", "bind")
                .with("path", machine.console_socket.to_string_lossy()),
        )
        .child(
            element("log")
                .with("file", machine.console.to_string_lossy())
                .with("append", "on"),
        )
        .child(
            element("target")
                .with("type", "isa-serial")
                .with("port", "0"),
        );
    element("devices")
        .child(element("emulator").text(emulator))
        .children(disks)
        .children(seed)
        .children(volumes)
        .children(scsi)
        .children(interfaces)
        .child(console)
        .child(
            element("controller")
                .with("type", "usb")
                .with("model", "none"),
        )
        .child(element("memballoon").with("model", "none"))
        .child(
            element("rng").with("model", "virtio").child(
                element("backend")
                    .with("model", "random")
                    .text("/dev/urandom"),
            ),
        )
}

/// The tap is there already; libvirt neither makes it nor takes it away, nor attaches it to anything.
fn interface(interface: &Interface, model: &str) -> Element {
    element("interface")
        .with("type", "ethernet")
        .child(element("mac").with("address", &interface.mac))
        .child(
            element("target")
                .with("dev", &interface.device)
                .with("managed", "no"),
        )
        .child(element("model").with("type", model))
        .child(element("mtu").with("size", interface.mtu.to_string()))
}

/// The bus of volumes that is known.
const SCSI: &str = "scsi";

fn has_scsi(hardware: &Hardware) -> bool {
    hardware.volume_bus.as_deref() == Some(SCSI)
}

fn qcow2(disk: &Disk, name: &str, bus: &str) -> Element {
    element("disk")
        .with("type", "file")
        .with("device", "disk")
        .child(
            element("driver")
                .with("name", "qemu")
                .with("type", "qcow2")
                .with("cache", "none")
                .with("discard", "unmap"),
        )
        .child(element("source").with("file", disk.path.to_string_lossy()))
        .child(element("target").with("dev", name).with("bus", bus))
}

/// By which a guest knows a volume, and we do.
fn serial(volume: VolumeId) -> Element {
    element("serial").text(volume.uuid().simple().to_string())
}

fn scsi_name(volume: AttachedVolume) -> String {
    disk_name("sd", volume.lun.into())
}

fn scsi_volume(disk: &Disk) -> Option<Element> {
    let volume = disk.volume?;
    let address = element("address")
        .with("type", "drive")
        .with("controller", "0")
        .with("bus", "0")
        .with("target", "0")
        .with("unit", volume.lun.to_string());
    let element = qcow2(disk, &scsi_name(volume), SCSI);
    Some(element.child(serial(volume.id)).child(address))
}

/// A volume, as it is given to what runs; `None` of what is no volume.
#[must_use]
pub fn attached(disk: &Disk) -> Option<String> {
    scsi_volume(disk).map(|element| element.write())
}

/// A disk, as it is taken from what runs: by the name that its machine has for it.
#[must_use]
pub fn detached(name: &str, path: &str) -> String {
    element("disk")
        .with("type", "file")
        .with("device", "disk")
        .child(element("source").with("file", path))
        .child(element("target").with("dev", name).with("bus", SCSI))
        .write()
}

/// `vda` … `vdz`, `vdaa` …
fn disk_name(kind: &str, number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number;
    loop {
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        if rest < 26 {
            break;
        }
        rest = rest / 26 - 1;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("{kind}{letters}")
}

/// What a record says that cannot be in a definition, whoever wrote it.
///
/// # Errors
/// The part at fault, in a sentence.
pub fn check(machine: &Machine) -> Result<(), String> {
    let hardware = &machine.hardware;
    for (what, word) in [
        ("machine type", &hardware.machine),
        ("CPU model", &hardware.cpu),
        ("disk bus", &hardware.disk_bus),
        ("interface model", &hardware.nic_model),
    ] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if word.is_empty() || word.len() > 64 || !word.bytes().all(plain) {
            return Err(format!("the {what} is no plain word"));
        }
    }
    if let Some(bus) = hardware.volume_bus.as_deref().filter(|bus| *bus != SCSI) {
        let bus: String = bus.chars().take(64).collect();
        return Err(format!("this host has no bus {bus:?} for volumes"));
    }
    let volumes = machine.disks.iter().filter_map(|disk| disk.volume);
    let mut taken = BTreeSet::new();
    for volume in volumes {
        if usize::from(volume.lun) >= MOST_VOLUMES {
            return Err(format!("{} has number {}", volume.id, volume.lun));
        }
        if !taken.insert(volume.lun) {
            return Err(format!("two volumes have number {}", volume.lun));
        }
    }
    if let Boots::Kernel { cmdline, .. } = &machine.boots {
        // What the kernel of x86 takes.
        if cmdline.len() > 2047 || !cmdline.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err("the kernel's command line has other than printable characters, or is longer than 2047".to_owned());
        }
    }
    if machine.vcpus == 0 || machine.memory_mib == 0 {
        return Err("it has no CPU or no memory".to_owned());
    }
    if machine.hypervisor == Hypervisor::Qemu && hardware.cpu.starts_with("host-") {
        return Err(format!(
            "its CPU model is {}, which only kvm has",
            hardware.cpu
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{Hardware, VmId};

    use super::*;
    use crate::libvirt::read::elements;

    fn own(path: &str) -> Disk {
        Disk {
            path: path.into(),
            volume: None,
        }
    }

    fn volume(lun: u8) -> Disk {
        let id = VolumeId::generate();
        Disk {
            path: format!("/v/{id}.qcow2").into(),
            volume: Some(AttachedVolume { id, lun }),
        }
    }

    /// Names of its disks, with their serials.
    fn names(machine: &Machine) -> Vec<(String, String)> {
        let disks = crate::libvirt::read::disks(&elements(&define(machine, "/q")).unwrap());
        let all = disks.into_iter().map(|disk| (disk.name, disk.serial));
        all.collect()
    }

    #[test]
    fn volumes_are_where_nothing_else_moves_for_them() {
        let serial = |disk: &Disk| disk.volume.unwrap().id.uuid().simple().to_string();
        let row = |name: &str, serial: &str| (name.to_owned(), serial.to_owned());
        let (first, last) = (volume(0), volume(15));
        // Those of before there were volumes: behind its own, before its seed.
        let mut old = machine();
        old.disks = vec![last.clone(), own("/d/root.qcow2"), first.clone()];
        let rows = [
            row("vda", ""),
            row("vdb", &serial(&last)),
            row("vdc", &serial(&first)),
            row("vdd", "cidata"),
        ];
        assert_eq!(names(&old), rows);
        assert!(!define(&old, "/q").contains("scsi"));

        let mut new = old.clone();
        new.hardware.volume_bus = Some("scsi".to_owned());
        let rows = [
            row("vda", ""),
            row("vdb", "cidata"),
            row("sdp", &serial(&last)),
            row("sda", &serial(&first)),
        ];
        assert_eq!(names(&new), rows);
        let text = define(&new, "/q");
        let held = crate::libvirt::read::held(&elements(&text).unwrap());
        let held: Vec<_> = held.iter().map(|one| (one.id, one.lun)).collect();
        let id = |disk: &Disk| disk.volume.unwrap().id;
        assert_eq!(held, [(id(&last), Some(15)), (id(&first), Some(0))]);
        check(&new).unwrap();
        // Without any, it has the bus all the same, and all else is as it was.
        let mut none = new.clone();
        none.disks.retain(|disk| disk.volume.is_none());
        assert!(define(&none, "/q").contains("virtio-scsi"));
        assert_ne!(digest(&none, "/q"), digest(&new, "/q"));

        // What runs is given the very same.
        let given = attached(&first).unwrap();
        let of = |text: &str| {
            let all = elements(text).unwrap();
            let at = all.iter().position(|one| {
                one.name == "source"
                    && one
                        .attributes
                        .get("file")
                        .is_some_and(|file| file.contains(&id(&first).to_string()))
            });
            let from = at.unwrap() - 1;
            let parts = all[from..].iter().take(5);
            let parts = parts.map(|one| format!("{} {:?} {}", one.name, one.attributes, one.text));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(of(&given), of(&text));
        assert_eq!(attached(&own("/d")), None);
    }

    fn machine() -> Machine {
        Machine {
            id: VmId::generate(),
            boot: 3,
            reverted: 1,
            hypervisor: Hypervisor::Qemu,
            vcpus: 2,
            memory_mib: 256,
            hardware: Hardware {
                machine: "pc-q35-7.2".to_owned(),
                cpu: "qemu64".to_owned(),
                firmware: Firmware::Bios,
                disk_bus: "virtio".to_owned(),
                nic_model: "virtio".to_owned(),
                volume_bus: None,
            },
            boots: Boots::Kernel {
                kernel: "/i/k".into(),
                initramfs: "/i/r".into(),
                cmdline: "console=ttyS0".to_owned(),
            },
            disks: vec![own("/d/root.qcow2")],
            seed: Some("/d/seed.img".into()),
            interfaces: Vec::new(),
            console: "/d/console.log".into(),
            console_socket: "/d/console".into(),
        }
    }

    #[test]
    fn texts_stay_texts() {
        let mut hostile = machine();
        let text = "a'\"<b/>&amp;]]> --x=$(id) ;</cmdline><cmdline>";
        hostile.boots = Boots::Kernel {
            kernel: "/i/<k>&'\"".into(),
            initramfs: "/i/r".into(),
            cmdline: text.to_owned(),
        };
        hostile.console = "/d/\" onload=\"<x>".into();
        let defined = define(&hostile, "/usr/bin/qemu");
        let plain = define(&machine(), "/usr/bin/qemu");
        let names = |xml: &str| {
            let all = elements(xml).unwrap();
            all.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        // The same elements, and the texts in them come out as they went in.
        assert_eq!(names(&defined), names(&plain));
        let all = elements(&defined).unwrap();
        let text_of = |name: &str| {
            all.iter()
                .find(|one| one.name == name)
                .unwrap()
                .text
                .clone()
        };
        assert_eq!(text_of("cmdline"), text);
        assert_eq!(text_of("kernel"), "/i/<k>&'\"");
        let log = all.iter().find(|one| one.name == "log").unwrap();
        assert_eq!(log.attributes["file"], "/d/\" onload=\"<x>");
    }

    #[test]
    fn the_digest_is_of_everything_but_the_boot() {
        let one = machine();
        let digest_of = |machine: &Machine| digest(machine, "/usr/bin/qemu");
        let mut later = one.clone();
        later.boot += 1;
        later.reverted += 1;
        assert_eq!(digest_of(&one), digest_of(&later));
        assert_ne!(define(&one, "/q"), define(&later, "/q"));
        type Change = fn(&mut Machine);
        let changes: [Change; 9] = [
            |machine| machine.vcpus += 1,
            |machine| machine.memory_mib += 1,
            |machine| machine.hypervisor = Hypervisor::Kvm,
            |machine| machine.hardware.cpu = "Nehalem".to_owned(),
            |machine| machine.hardware.machine = "pc-q35-8.0".to_owned(),
            |machine| machine.boots = Boots::Disk,
            |machine| machine.disks.clear(),
            |machine| machine.seed = Some("/d/other.img".into()),
            |machine| machine.hardware.firmware = Firmware::Uefi,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = one.clone();
            change(&mut changed);
            assert_ne!(digest_of(&one), digest_of(&changed), "{number}");
        }
        assert_ne!(digest_of(&one), digest(&one, "/other"));
    }

    #[test]
    fn what_cannot_be_defined_is_refused() {
        check(&machine()).unwrap();
        type Change = fn(&mut Machine);
        let changes: [Change; 9] = [
            |machine| machine.hardware.volume_bus = Some("x'/>".to_owned()),
            |machine| machine.disks.push(volume(16)),
            |machine| machine.disks.extend([volume(3), volume(3)]),
            |machine| machine.hardware.machine = "q35'/><x".to_owned(),
            |machine| machine.hardware.cpu = String::new(),
            |machine| machine.hardware.cpu = "host-model".to_owned(),
            |machine| machine.vcpus = 0,
            |machine| {
                machine.boots = Boots::Kernel {
                    kernel: "/k".into(),
                    initramfs: "/r".into(),
                    cmdline: "a\nb".to_owned(),
                }
            },
            |machine| {
                machine.boots = Boots::Kernel {
                    kernel: "/k".into(),
                    initramfs: "/r".into(),
                    cmdline: "x".repeat(3000),
                }
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = machine();
            change(&mut changed);
            check(&changed).expect_err(&number.to_string());
        }
    }

    #[test]
    fn disks_have_names_of_their_own() {
        let names: Vec<String> = (0..800).map(|number| disk_name("vd", number)).collect();
        assert_eq!(
            (&*names[0], &*names[25], &*names[26], &*names[702]),
            ("vda", "vdz", "vdaa", "vdaaa")
        );
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }
}
