//! What a guest is told of itself: cloud-init's NoCloud seed, a small read-only FAT volume `CIDATA` with three files, and the same for
//! whoever asks at 169.254.169.254.
//!
//! `meta-data` and `network-config` are JSON, which is YAML, too: whatever a text says, it stays that text. `user-data` is the tenant's,
//! byte by byte. The same content makes the same volume, so its digest is its name: what has changed is another file, and the one that a
//! running guest has open stays as it is.

use std::io::{self, Cursor, Write as _};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use plasmavmc_model::{DesiredVm, Digest};
use serde_json::{Map, Value, json};

/// What the volume is called: cloud-init looks for it.
const LABEL: &[u8; 11] = b"CIDATA     ";
/// Room for the most user-data and keys, twice over.
const VOLUME_BYTES: usize = 512 << 10;
/// The number that a FAT volume has; the same for the same content.
const VOLUME_ID: u32 = 0x7068_6f74;

/// What a guest is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// `meta-data`: who it is.
    pub meta_data: Vec<u8>,
    /// `user-data`: what it runs.
    pub user_data: Vec<u8>,
    /// `network-config`: what its interfaces are to do.
    pub network_config: Vec<u8>,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").finish_non_exhaustive()
    }
}

impl Seed {
    /// Of a VM; none of one that has nothing to be told.
    #[must_use]
    pub fn of(vm: &DesiredVm) -> Option<Self> {
        let guest = vm.guest.as_ref()?;
        let data = guest.content.clone().unwrap_or_default();
        let keys = data.ssh_keys.iter().map(|key| json!(key.as_str()));
        let meta_data = json!({
            "instance-id": vm.id.to_string(),
            "local-hostname": guest.guest.hostname.as_str(),
            "public-keys": keys.collect::<Vec<_>>(),
        });
        let interfaces = vm.ports.iter().enumerate().map(|(number, port)| {
            let interface = json!({
                "match": { "macaddress": port.mac_address },
                "dhcp4": true,
            });
            (format!("port{number}"), interface)
        });
        let network_config = json!({
            "version": 2,
            "ethernets": interfaces.collect::<Map<String, Value>>(),
        });
        Some(Self {
            meta_data: text(&meta_data),
            user_data: data.user_data.bytes().to_vec(),
            network_config: text(&network_config),
        })
    }

    /// What it is known by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut all = Vec::new();
        for (_, content) in self.files() {
            all.extend((content.len() as u64).to_be_bytes());
            all.extend(content);
        }
        Digest::of(&all)
    }

    fn files(&self) -> [(&'static str, &[u8]); 3] {
        [
            ("meta-data", &self.meta_data),
            ("user-data", &self.user_data),
            ("network-config", &self.network_config),
        ]
    }

    /// The volume.
    ///
    /// # Errors
    /// There is more than it has room for.
    pub fn volume(&self) -> io::Result<Vec<u8>> {
        let mut volume = Cursor::new(vec![0; VOLUME_BYTES]);
        let options = FormatVolumeOptions::new()
            .fat_type(FatType::Fat12)
            .volume_id(VOLUME_ID)
            .volume_label(*LABEL);
        fatfs::format_volume(&mut volume, options)?;
        let system = FileSystem::new(&mut volume, FsOptions::new())?;
        for (name, content) in self.files() {
            let mut file = system.root_dir().create_file(name)?;
            file.write_all(content)?;
            file.flush()?;
        }
        system.unmount()?;
        Ok(volume.into_inner())
    }
}

/// One member a line, for people and for guests that read lines.
fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Read as _;

    use plasmavmc_model::VmId;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS \\\"'</x>: &a $(b)";

    fn vm(user_data: &[u8], keys: usize) -> DesiredVm {
        let user_data = plasmavmc_model::UserData::new(user_data.to_vec()).unwrap();
        let digest = Digest::of(b"");
        serde_json::from_value(json!({
            "id": VmId::generate(), "name": "x", "org": "acme", "project": "shop", "generation": 1, "power": "running", "boot": 1,
            "grace_seconds": 60, "vcpus": 1, "memory_mib": 128,
            "hardware": {
                "machine": "m", "cpu": "c", "firmware": "bios", "disk_bus": "virtio", "nic_model": "virtio",
            },
            "boots_from": { "kind": "disk" },
            "ports": [{ "port": "port-019ac8e5-3c00-7001-8c00-000000000003", "mac_address": "06:00:00:00:00:01" }],
            "guest": {
                "hostname": "web.example", "data": digest,
                "content": { "ssh_keys": vec![KEY; keys], "user_data": String::from(user_data) },
            },
        }))
        .unwrap()
    }

    fn read(volume: Vec<u8>, name: &str) -> Vec<u8> {
        let system = FileSystem::new(Cursor::new(volume), FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "CIDATA");
        let mut content = Vec::new();
        let mut file = system.root_dir().open_file(name).unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn a_guest_reads_what_was_said() {
        let user_data = b"#!/bin/sh\necho '</domain>' \xff\0 $(id)\n";
        let vm = vm(user_data, 2);
        let seed = Seed::of(&vm).unwrap();
        let volume = seed.volume().unwrap();
        assert_eq!(read(volume.clone(), "user-data"), user_data);
        let meta: Value = serde_json::from_slice(&read(volume.clone(), "meta-data")).unwrap();
        assert_eq!(meta["instance-id"], vm.id.to_string());
        assert_eq!(meta["local-hostname"], "web.example");
        assert_eq!(meta["public-keys"], json!([KEY, KEY]));
        let network: Value = serde_json::from_slice(&read(volume, "network-config")).unwrap();
        let port = &network["ethernets"]["port0"];
        assert_eq!(port["match"]["macaddress"], "06:00:00:00:00:01");
        assert_eq!(port["dhcp4"], true);
    }

    #[test]
    fn the_same_is_the_same_and_the_most_has_room() {
        let one = vm(b"x", 1);
        let seed = Seed::of(&one).unwrap();
        assert_eq!(seed.volume().unwrap(), seed.volume().unwrap());
        let mut other = one.clone();
        other.generation += 1;
        assert_eq!(Seed::of(&other).unwrap().digest(), seed.digest());
        other.ports.clear();
        assert_ne!(Seed::of(&other).unwrap().digest(), seed.digest());
        let mut most = vm(&vec![b'\n'; plasmavmc_model::guest::USER_DATA_BYTES], 16);
        Seed::of(&most).unwrap().volume().unwrap();
        most.guest = None;
        assert_eq!(Seed::of(&most), None);
    }
}
