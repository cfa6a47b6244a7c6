//! Which host a VM is put on. Pure: policies (labels, groups, what pods use) come in here.

use std::fmt;

use photon_core::Name;
use plasmavmc_model::{
    Digest, HostUse, Hypervisor, ObservedAgent, ObservedPool, PoolUse, Vm, pool,
};
use serde::Serialize;

use crate::config::PlacementConfig;

/// A host, as it offers itself.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) host: Name,
    pub(crate) agent: ObservedAgent,
    /// What its VMs were given.
    pub(crate) used: HostUse,
    /// Where disks may lie.
    pub(crate) pools: Vec<Space>,
}

/// A pool of a host.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) pool: ObservedPool,
    /// What disks were given of it.
    pub(crate) given: PoolUse,
}

impl Offer {
    /// A pool of it.
    pub(crate) fn space(&self, name: &Name) -> Option<&Space> {
        self.pools.iter().find(|space| space.pool.name == *name)
    }

    /// What is free in a pool of it, overcommitted, in GiB; none if it does not have that pool.
    pub(crate) fn room(&self, name: &Name, config: &PlacementConfig) -> Option<u64> {
        let space = self.space(name)?;
        let has = times(space.pool.capacity_gib, config.disk_overcommit);
        // Disks of before there were pools are counted by the host.
        let before = match name.as_str() {
            pool::LOCAL => self.used.disk_gib,
            _ => 0,
        };
        Some(has.saturating_sub(space.given.gib.saturating_add(before)))
    }
}

/// What is to be put somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// What its host gives; the root disk with it, whoever counts that.
    pub(crate) size: HostUse,
    /// Where its root disk is to lie; none of one without.
    pub(crate) pool: Option<Name>,
    /// The content that its host has to have, or to copy from another.
    pub(crate) blobs: Vec<Digest>,
    pub(crate) hypervisor: Option<Hypervisor>,
}

impl Need {
    /// What a VM needs.
    pub(crate) fn of(vm: &Vm) -> Self {
        let disk_gib = vm.disk_gib.map(u64::from);
        Self {
            size: HostUse {
                disk_gib: disk_gib.unwrap_or(0),
                ..vm.size()
            },
            pool: disk_gib.map(|_| vm.pool.clone().unwrap_or_else(pool::local)),
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
    /// None of those has that pool.
    Pool(Name),
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
            Self::Pool(pool) => write!(f, "no host that reports has pool {pool}"),
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
    let has_pool = |offer: &Offer| {
        let pool = need.pool.as_ref();
        pool.is_none_or(|pool| offer.space(pool).is_some())
    };
    let pool = need.pool.clone().unwrap_or_else(pool::local);
    let all = keep(all, Lacking::Pool(pool.clone()), &has_pool)?;
    let all = keep(all, Lacking::Image, &|offer| {
        let blobs = need.blobs.iter();
        blobs.copied().all(|blob| gets(offer, offers, blob))
    })?;
    let each = all.iter().map(|offer| free(offer, &pool, config));
    let largest = each.max_by_key(|free| free.memory_mib).unwrap_or_default();
    let all = keep(all, Lacking::Room(largest), &|offer| {
        fits(free(offer, &pool, config), need.size)
    })?;
    let by_room = |offer: &&&Offer| (share(offer, config), std::cmp::Reverse(offer.host.clone()));
    all.iter().max_by_key(by_room).copied().ok_or(Lacking::Host)
}

/// What is free on a host and in a pool of it.
pub(crate) fn free(offer: &Offer, pool: &Name, config: &PlacementConfig) -> Free {
    let (has, used) = (offer.agent.capacity, offer.used);
    let left = |has: u64, factor: f64, used: u64| times(has, factor).saturating_sub(used);
    Free {
        vcpus: left(has.cpus.into(), config.cpu_overcommit, used.vcpus),
        memory_mib: left(has.memory_mib, config.memory_overcommit, used.memory_mib),
        disk_size_gb: offer.room(pool, config).unwrap_or(0),
    }
}

/// Whether a host has room for one of its VMs to be of another size: of what grows. What it has free for it, if not. Sizes are with the
/// root disk, which `pool` counts, or the host.
pub(crate) fn regrow(
    offer: &Offer,
    pool: Option<&Name>,
    has: HostUse,
    wants: HostUse,
    config: &PlacementConfig,
) -> Result<(), Free> {
    let mut others = offer.clone();
    let in_pool = others
        .pools
        .iter_mut()
        .find(|space| pool == Some(&space.pool.name));
    let of_host = match in_pool {
        Some(space) => {
            space.given = space.given.without(has.disk_gib);
            HostUse { disk_gib: 0, ..has }
        }
        None => has,
    };
    others.used = others.used.without(of_host);
    let free = free(&others, pool.unwrap_or(&pool::local()), config);
    let is_good = |has: u64, wants: u64, free: u64| wants <= has || wants <= free;
    let is_room = is_good(has.vcpus, wants.vcpus, free.vcpus)
        && is_good(has.memory_mib, wants.memory_mib, free.memory_mib)
        && is_good(has.disk_gib, wants.disk_gib, free.disk_size_gb);
    if is_room { Ok(()) } else { Err(free) }
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
    let used = offer.used.memory_mib;
    let left = times(offer.agent.capacity.memory_mib, config.memory_overcommit);
    left.saturating_sub(used).saturating_mul(1_000_000) / all
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

    use plasmavmc_model::{Capacity, Firmware, Hardware, HeldBlob, HeldImage, PoolDriver, Probe};

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

    fn space(name: &str, capacity_gib: u64, given: u64) -> Space {
        Space {
            pool: ObservedPool {
                name: Name::new(name).unwrap(),
                driver: PoolDriver::Directory,
                shared: false,
                capacity_gib,
                used_gib: 0,
            },
            given: PoolUse::default().with(given),
        }
    }

    fn offer(host: &str, memory_mib: u64, used: u64) -> Offer {
        Offer {
            pools: vec![space("local", 100, 0)],
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
            pool: Some(pool::local()),
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
        let mut ssd = need(1, 1);
        ssd.pool = Name::new("ssd").ok();
        let lacking = Lacking::Pool(Name::new("ssd").unwrap());
        assert_eq!(why(&small, &ssd), Some(lacking));
        let mut dead = offer("a", 1000, 0);
        dead.agent.probe.emulation = false;
        assert_eq!(why(&[dead], &need(1, 1)), Some(Lacking::Hypervisor));
    }

    #[test]
    fn what_grows_needs_room_and_what_shrinks_does_not() {
        let config = PlacementConfig::default();
        let of = |vcpus, memory_mib| HostUse {
            vms: 1,
            vcpus,
            memory_mib,
            disk_gib: 0,
        };
        let host = offer("a", 1000, 800);
        assert_eq!(regrow(&host, None, of(1, 300), of(1, 500), &config), Ok(()));
        let free = regrow(&host, None, of(1, 300), of(1, 501), &config).unwrap_err();
        assert_eq!((free.memory_mib, free.vcpus), (500, 8));
        assert!(regrow(&host, None, of(1, 300), of(9, 100), &config).is_err());
        // Less is taken by a host that has given too much.
        let full = offer("a", 1000, 5_000);
        assert_eq!(
            regrow(&full, None, of(4, 2_000), of(4, 1_999), &config),
            Ok(())
        );
        // A root disk in a pool is counted there.
        let mut host = offer("a", 1000, 0);
        let ssd = Name::new("ssd").unwrap();
        host.pools = vec![space("ssd", 100, 90)];
        let disk = |disk_gib| HostUse {
            disk_gib,
            ..of(1, 1)
        };
        let regrown = |to| regrow(&host, Some(&ssd), disk(20), disk(to), &config);
        assert_eq!(regrown(30), Ok(()));
        assert_eq!(regrown(31).unwrap_err().disk_size_gb, 30);
    }

    #[test]
    fn room_is_that_of_the_pool() {
        let config = PlacementConfig::default();
        let mut one = offer("a", 4000, 0);
        one.pools = vec![space("local", 100, 70), space("ssd", 50, 0)];
        // A VM of before there were pools lies in `local`.
        one.used.disk_gib = 25;
        let (local, ssd) = (pool::local(), Name::new("ssd").unwrap());
        assert_eq!(one.room(&local, &config), Some(5));
        assert_eq!(one.room(&ssd, &config), Some(50));
        assert_eq!(one.room(&Name::new("hdd").unwrap(), &config), None);
        let offers = [one];
        assert!(matches!(
            place(&offers, &need(1, 1), &config),
            Err(Lacking::Room(Free {
                disk_size_gb: 5,
                ..
            }))
        ));
        let mut other = need(1, 1);
        other.pool = Some(ssd);
        place(&offers, &other, &config).unwrap();
        // Without a disk it needs none.
        other.pool = None;
        other.size.disk_gib = 0;
        place(&offers, &other, &config).unwrap();
        let twice = PlacementConfig {
            disk_overcommit: 2.0,
            ..config
        };
        assert_eq!(offers[0].room(&local, &twice), Some(105));
    }
}
