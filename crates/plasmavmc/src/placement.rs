//! Which host a VM is put on. Pure: policies (labels, groups, what pods use) come in here.

use std::fmt;

use photon_core::Name;
use plasmavmc_model::{Digest, HostUse, Hypervisor, ObservedAgent, Vm};
use serde::Serialize;

use crate::config::PlacementConfig;

/// A host, as it offers itself.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) host: Name,
    pub(crate) agent: ObservedAgent,
    /// What its VMs were given.
    pub(crate) used: HostUse,
}

/// What is to be put somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) size: HostUse,
    /// The content that its host has to have, or to copy from another.
    pub(crate) blobs: Vec<Digest>,
    pub(crate) hypervisor: Option<Hypervisor>,
}

impl Need {
    /// What a VM needs.
    pub(crate) fn of(vm: &Vm) -> Self {
        Self {
            size: vm.size(),
            blobs: vm.blobs(),
            hypervisor: vm.hypervisor,
        }
    }
}

/// What is free on a host, overcommitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Free {
    pub(crate) vcpus: u64,
    pub(crate) memory_mib: u64,
    pub(crate) disk_size_gb: u64,
}

/// Why no host will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// None is there.
    Host,
    /// None of those that are there runs such guests.
    Hypervisor,
    /// None has the image, or can copy it.
    Image,
    /// None has room; the one with the most memory has that.
    Room(Free),
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("no host reports: start plasmavmc-agent on one"),
            Self::Hypervisor => f.write_str("no host that reports can run such guests"),
            Self::Image => {
                f.write_str("no host that reports has the image, or can copy it from one that has")
            }
            Self::Room(free) => write!(
                f,
                "no host has room: the largest has {} vCPUs, {} MiB of memory and {} GB of disk free",
                free.vcpus, free.memory_mib, free.disk_size_gb
            ),
        }
    }
}

/// The host with room that has the most memory free, by its share; of equals the first by name.
pub(crate) fn place<'a>(
    offers: &'a [Offer],
    need: &Need,
    config: &PlacementConfig,
) -> Result<&'a Offer, Lacking> {
    let keep = |of: Vec<&'a Offer>, why: Lacking, good: &dyn Fn(&Offer) -> bool| {
        let kept: Vec<&Offer> = of.into_iter().filter(|offer| good(offer)).collect();
        if kept.is_empty() { Err(why) } else { Ok(kept) }
    };
    let all = keep(offers.iter().collect(), Lacking::Host, &|_| true)?;
    let all = keep(all, Lacking::Hypervisor, &|offer| {
        runs(&offer.agent, need.hypervisor)
    })?;
    let all = keep(all, Lacking::Image, &|offer| {
        let blobs = need.blobs.iter();
        blobs.copied().all(|blob| gets(offer, offers, blob))
    })?;
    let each = all.iter().map(|offer| free(offer, config));
    let largest = each.max_by_key(|free| free.memory_mib).unwrap_or_default();
    let all = keep(all, Lacking::Room(largest), &|offer| {
        fits(free(offer, config), need.size)
    })?;
    let by_room = |offer: &&&Offer| (share(offer, config), std::cmp::Reverse(offer.host.clone()));
    all.iter().max_by_key(by_room).copied().ok_or(Lacking::Host)
}

/// What is free on a host.
pub(crate) fn free(offer: &Offer, config: &PlacementConfig) -> Free {
    let (has, used) = (offer.agent.capacity, offer.used);
    let left = |has: u64, factor: f64, used: u64| times(has, factor).saturating_sub(used);
    Free {
        vcpus: left(has.cpus.into(), config.cpu_overcommit, used.vcpus),
        memory_mib: left(has.memory_mib, config.memory_overcommit, used.memory_mib),
        disk_size_gb: left(has.disk_gib, config.disk_overcommit, used.disk_gib),
    }
}

/// So many times as much; factors are checked to be small and positive.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "MiB and CPUs of a machine are far below 2^52, and rounding down is meant"
)]
fn times(amount: u64, factor: f64) -> u64 {
    (amount as f64 * factor) as u64
}

/// The free share of the memory, in millionths.
fn share(offer: &Offer, config: &PlacementConfig) -> u64 {
    let all = times(offer.agent.capacity.memory_mib, config.memory_overcommit).max(1);
    free(offer, config).memory_mib.saturating_mul(1_000_000) / all
}

fn fits(free: Free, size: HostUse) -> bool {
    size.vcpus <= free.vcpus
        && size.memory_mib <= free.memory_mib
        && size.disk_gib <= free.disk_size_gb
}

/// Whether a host holds content, or another one does that it can copy it from.
fn gets(offer: &Offer, offers: &[Offer], blob: Digest) -> bool {
    let gives = |other: &Offer| other.agent.door.is_some() && other.agent.holds(blob);
    offer.agent.holds(blob) || offers.iter().any(gives)
}

/// KVM that is asked for may be emulated; the host tells.
fn runs(agent: &ObservedAgent, hypervisor: Option<Hypervisor>) -> bool {
    match hypervisor {
        Some(Hypervisor::Qemu) => agent.probe.emulation,
        Some(Hypervisor::Kvm) | None => agent.probe.kvm || agent.probe.emulation,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{Capacity, Firmware, Hardware, HeldBlob, HeldImage, Probe};

    use super::*;

    fn image() -> HeldImage {
        HeldImage {
            name: Name::new("photon-mini").unwrap(),
            arch: "x86_64".to_owned(),
            kernel: Digest::of(b"k"),
            initramfs: Digest::of(b"i"),
            cmdline: "console=ttyS0".to_owned(),
            bytes: 1,
        }
    }

    fn offer(host: &str, memory_mib: u64, used: u64) -> Offer {
        Offer {
            host: Name::new(host).unwrap(),
            agent: ObservedAgent {
                pools: Vec::new(),
                version: String::new(),
                driver: String::new(),
                capacity: Capacity {
                    cpus: 2,
                    memory_mib,
                    disk_gib: 100,
                },
                probe: Probe {
                    kvm: false,
                    emulation: true,
                    reason: String::new(),
                },
                hardware: Hardware {
                    volume_bus: None,
                    machine: "pc-q35-7.2".to_owned(),
                    cpu: "qemu64".to_owned(),
                    firmware: Firmware::Bios,
                    disk_bus: "virtio".to_owned(),
                    nic_model: "virtio".to_owned(),
                },
                images: vec![image()],
                blobs: Vec::new(),
                door: None,
                problems: Vec::new(),
                orphans: Vec::new(),
            },
            used: HostUse {
                memory_mib: used,
                ..HostUse::default()
            },
        }
    }

    fn need(vcpus: u64, memory_mib: u64) -> Need {
        Need {
            size: HostUse {
                vms: 1,
                vcpus,
                memory_mib,
                disk_gib: 10,
            },
            blobs: image().files().to_vec(),
            hypervisor: Some(Hypervisor::Kvm),
        }
    }

    #[test]
    fn the_guides_example_fits_on_a_small_host() {
        let offers = [offer("one", 24 * 1024, 0)];
        let config = PlacementConfig::default();
        let placed = place(&offers, &need(4, 8192), &config).unwrap();
        assert_eq!(placed.host.as_str(), "one");
    }

    #[test]
    fn the_emptiest_host_is_taken() {
        let offers = [
            offer("a", 1000, 500),
            offer("b", 4000, 1000),
            offer("c", 4000, 1000),
        ];
        let placed = place(&offers, &need(1, 100), &PlacementConfig::default()).unwrap();
        assert_eq!(placed.host.as_str(), "b");
    }

    #[test]
    fn why_there_is_no_place_is_told() {
        let config = PlacementConfig::default();
        let why = |offers: &[Offer], need: &Need| place(offers, need, &config).err();
        assert_eq!(why(&[], &need(1, 1)), Some(Lacking::Host));
        let small = [offer("a", 1000, 900), offer("b", 500, 0)];
        let free = Free {
            vcpus: 8,
            memory_mib: 500,
            disk_size_gb: 100,
        };
        assert_eq!(why(&small, &need(1, 501)), Some(Lacking::Room(free)));
        assert_eq!(why(&small, &need(9, 1)), Some(Lacking::Room(free)));
        let mut other = need(1, 1);
        other.blobs = vec![Digest::of(b"other")];
        assert_eq!(why(&small, &other), Some(Lacking::Image));
        // One that can be asked is enough, wherever there is room.
        let mut holder = offer("c", 1000, 1000);
        holder.agent.blobs = vec![HeldBlob {
            digest: Digest::of(b"other"),
            bytes: 1,
        }];
        let mut both = [offer("a", 1000, 0), holder];
        assert!(matches!(why(&both, &other), Some(Lacking::Room(_))));
        both[1].agent.door = Some("http://127.0.0.1:1".to_owned());
        let placed = place(&both, &other, &config).unwrap();
        assert_eq!(placed.host.as_str(), "a");
        let mut dead = offer("a", 1000, 0);
        dead.agent.probe.emulation = false;
        assert_eq!(why(&[dead], &need(1, 1)), Some(Lacking::Hypervisor));
    }
}
