//! Records of the first version are read, and written the same: what is stored outlives the program that wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_store::Record;
use plasmavmc_model::{
    Alive, DesiredBlob, DesiredGuest, DesiredVm, GoneDone, GoneOrder, GuestData, HostUse, Image,
    ObservedAgent, ObservedVm, Vm,
};
use serde_json::{Value, json};

/// What is stored reads, and writes the same again; and its index keys.
#[track_caller]
fn keys<T: Record>(stored: &Value) -> Vec<String> {
    let record: T = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&record).unwrap(), stored);
    record.index_keys("")
}

const VM: &str = "vm-019ac8e5-3c00-7001-8c00-000000000001";
const OPERATION: &str = "op-019ac8e5-3c00-7001-8c00-000000000002";
const PORT: &str = "port-019ac8e5-3c00-7001-8c00-000000000003";
const SUBNET: &str = "subnet-019ac8e5-3c00-7001-8c00-000000000004";
const VPC: &str = "vpc-019ac8e5-3c00-7001-8c00-000000000005";
const GROUP: &str = "sg-019ac8e5-3c00-7001-8c00-000000000006";
const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const AT: &str = "2026-11-23T09:00:00Z";

fn hardware() -> Value {
    json!({
        "machine": "pc-q35-7.2", "cpu": "qemu64", "firmware": "bios", "disk_bus": "virtio", "nic_model": "virtio",
    })
}

fn boots_from() -> Value {
    json!({ "kind": "kernel", "kernel": DIGEST, "initramfs": DIGEST, "cmdline": "console=ttyS0" })
}

#[test]
fn a_vm_of_the_first_version() {
    let vm = json!({
        "id": VM, "name": "web", "org": "acme", "project": "shop", "vcpus": 2, "memory_mib": 128, "disk_gib": 10,
        "hypervisor": "kvm", "image": { "name": "photon-mini", "digest": DIGEST }, "boots_from": boots_from(),
        "labels": { "tier": "web" }, "deletion_protection": false,
        "wanted": { "generation": 3, "power": "running", "boot": 2, "grace_seconds": 60, "asked_at": AT },
        "host": "host-1", "hardware": hardware(), "deleting": AT, "operation": OPERATION,
        "status": {
            "state": "Deleting", "reason": "waiting", "since": AT, "hypervisor": "qemu", "unsettled_since": AT,
            "failed": "no host",
        },
        "created_at": AT, "updated_at": AT,
    });
    assert_eq!(keys::<Vm>(&vm), [format!("/photon/plasmavmc/id/vm/{VM}")]);
}

#[test]
fn what_a_guest_is_told() {
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ann";
    let data = json!({ "ssh_keys": [key], "user_data": "I2Nsb3VkLWNvbmZpZwo=" });
    keys::<GuestData>(&data);
    for guest in [
        json!({ "hostname": "web", "data": DIGEST, "content": data }),
        json!({ "hostname": "web.example" }),
    ] {
        let read: DesiredGuest = serde_json::from_value(guest.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), guest);
    }
}

#[test]
fn a_vm_with_interfaces_tells_its_host_of_the_ports_it_has() {
    let bound = json!({
        "port": PORT, "subnet": SUBNET, "vpc": VPC, "ip_address": "10.0.1.2", "mac_address": "06:00:00:00:00:01",
    });
    let vm = json!({
        "id": VM, "name": "web", "org": "acme", "project": "shop", "vcpus": 2, "memory_mib": 128,
        "image": { "name": "photon-mini", "digest": DIGEST }, "boots_from": boots_from(),
        "interfaces": [
            { "asked": { "kind": "in_subnet", "subnet": SUBNET, "security_groups": [GROUP] }, "port": bound },
            { "asked": { "kind": "in_subnet", "subnet": SUBNET } },
            { "asked": { "kind": "named", "port": PORT } },
        ],
        "labels": {}, "deletion_protection": false,
        "wanted": { "generation": 1, "power": "stopped", "boot": 0, "grace_seconds": 60, "asked_at": AT },
        "host": "host-1", "hardware": hardware(),
        "status": { "state": "Stopped", "reason": "", "since": AT },
        "created_at": AT, "updated_at": AT,
    });
    keys::<Vm>(&vm);
    let vm: Vm = serde_json::from_value(vm).unwrap();
    let ports = serde_json::to_value(vm.desired().unwrap().ports).unwrap();
    assert_eq!(
        ports,
        json!([{ "port": PORT, "mac_address": "06:00:00:00:00:01" }])
    );
}

#[test]
fn what_crosses_to_a_host_and_back_of_the_first_version() {
    let desired = json!({
        "id": VM, "name": "web", "org": "acme", "project": "shop", "generation": 3, "power": "running", "boot": 2,
        "grace_seconds": 60, "vcpus": 2, "memory_mib": 128, "hardware": hardware(), "hypervisor": "kvm",
        "boots_from": boots_from(), "disks": [{ "name": "root", "size_gib": 10, "base": DIGEST }],
        "ports": [{ "port": PORT, "mac_address": "06:00:00:00:00:01" }],
    });
    let none: [String; 0] = [];
    assert_eq!(keys::<DesiredVm>(&desired), none);
    keys::<GoneOrder>(&json!({ "id": VM, "at": AT }));
    keys::<GoneDone>(&json!({ "id": VM, "at": AT }));
    keys::<Alive>(&json!({ "since": AT }));
    keys::<ObservedVm>(&json!({
        "generation": 3, "state": "stopped", "boot": 2, "ended": { "boot": 2, "by": "powered_off", "at": AT },
        "reason": "powered off", "hypervisor": "qemu", "since": AT,
    }));
    keys::<ObservedAgent>(&json!({
        "version": "0.1.0", "driver": "libvirt", "capacity": { "cpus": 2, "memory_mib": 1024, "disk_gib": 10 },
        "probe": { "kvm": false, "emulation": true, "reason": "no KVM" }, "hardware": hardware(),
        "images": [{
            "name": "photon-mini", "arch": "x86_64", "kernel": DIGEST, "initramfs": DIGEST, "cmdline": "", "bytes": 1,
        }],
        "problems": ["p"], "orphans": [{ "id": VM, "name": "web", "state": "running" }],
    }));
    keys::<DesiredBlob>(&json!({
        "digest": DIGEST, "bytes": 1, "from": [{ "host": "host-2", "door": "https://192.0.2.2:50064" }],
    }));
    keys::<HostUse>(&json!({ "vms": 1, "vcpus": 2, "memory_mib": 128, "disk_gib": 10 }));
}

#[test]
fn an_image_of_the_first_version() {
    const IMAGE: &str = "img-019ac8e5-3c00-7001-8c00-000000000004";
    let root = "/photon/plasmavmc";
    let mut image = json!({
        "id": IMAGE, "name": "debian-12", "org": "acme", "project": "shop", "public": false, "aliases": ["debian"],
        "is_default": true, "arch": "x86_64", "form": { "kind": "disk", "format": "qcow2" }, "sha256": DIGEST,
        "url": "https://example.org/debian.qcow2", "problem": "p",
        "contents": { "disk": { "digest": DIGEST, "bytes": 1, "virtual_bytes": 2 } },
        "uploads": { "disk": { "host": "host-1", "bytes": 1 } }, "created_at": AT, "updated_at": AT,
    });
    let own = [
        format!("{root}/id/image/{IMAGE}"),
        format!("{root}/image-name/own/acme/shop/debian"),
        format!("{root}/image-name/own/acme/shop/debian-12"),
        format!("{root}/image-default/own/acme/shop"),
    ];
    assert_eq!(keys::<Image>(&image), own);
    image["public"] = true.into();
    let mut public = own.to_vec();
    public.truncate(3);
    public.extend(["debian", "debian-12"].map(|name| format!("{root}/image-name/public/{name}")));
    public.push(format!("{root}/image-default/public"));
    assert_eq!(keys::<Image>(&image), public);
}
