//! What this host is to VMs: its capacity, its profile for new ones, what runs them.

use std::{path::Path, sync::Arc, time::Duration};

use nix::sys::statvfs::statvfs;
use plasmavmc_model::{Capacity, Firmware, Hardware, Hypervisor, Probe};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    blobs::Blobs, config::Config, driver::About, driver::default_cpu, images::Images,
    outcome::Outcomes, probe::probe,
};

/// How often it is looked whether an image was added.
const LOOK: Duration = Duration::from_secs(1);

/// What the machine has for VMs, without what is kept for others.
#[must_use]
pub fn capacity(config: &Config, about: &About) -> Capacity {
    let reserve = &config.reserve;
    let space = space_gib(&config.state_directory).unwrap_or(0);
    Capacity {
        cpus: about.cpus.saturating_sub(reserve.cpus),
        memory_mib: about.memory_mib.saturating_sub(reserve.memory_mib),
        disk_gib: space.saturating_sub(reserve.disk_gib),
    }
}

/// Of the whole file system.
fn space_gib(directory: &Path) -> Option<u64> {
    let found = statvfs(directory).ok()?;
    Some(found.blocks().saturating_mul(found.fragment_size()) >> 30)
}

/// The profile of new VMs.
#[must_use]
pub fn hardware(config: &Config, about: &About, probe: &Probe) -> Hardware {
    let hypervisor = match probe.kvm {
        true => Hypervisor::Kvm,
        false => Hypervisor::Qemu,
    };
    let configured = &config.hypervisor;
    let machine = configured.machine.as_ref().unwrap_or(&about.machine);
    let cpu = configured.cpu.as_deref();
    Hardware {
        machine: machine.clone(),
        cpu: cpu.unwrap_or_else(|| default_cpu(hypervisor)).to_owned(),
        firmware: Firmware::Bios,
        disk_bus: "virtio".to_owned(),
        nic_model: "virtio".to_owned(),
        volume_bus: Some("scsi".to_owned()),
    }
}

/// Looks at the images, tries what runs guests, and does both again when an image was added.
pub async fn follow(
    config: Config,
    about: About,
    images: Arc<Images>,
    blobs: Arc<Blobs>,
    outcomes: Arc<Outcomes>,
    probed: watch::Sender<Option<Probe>>,
    stop: CancellationToken,
) {
    let mut seen = None;
    loop {
        let stamp = images.stamp();
        if seen != Some(stamp) {
            seen = Some(stamp);
            let look = look(&config, &about, &images, &outcomes, &probed);
            if stop.run_until_cancelled(look).await.is_none() {
                return;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // Also if nothing is here that was not: a copy may have failed.
            () = blobs.changed.notified() => seen = None,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(
    config: &Config,
    about: &About,
    images: &Arc<Images>,
    outcomes: &Outcomes,
    probed: &watch::Sender<Option<Probe>>,
) {
    let (held, blobs) = {
        let images = Arc::clone(images);
        let listed =
            tokio::task::spawn_blocking(move || Ok((images.list()?, images.blobs()?))).await;
        match listed.map_err(std::io::Error::other).flatten() {
            Ok(found) => found,
            Err(error) => {
                outcomes.change(|facts| {
                    facts.problems.insert("images", vec![error.to_string()]);
                });
                return;
            }
        }
    };
    let (kvm, state) = (&config.hypervisor, &config.state_directory);
    let found = probe(kvm, state, about, &held.images, images).await;
    let hardware = hardware(config, about, &found);
    outcomes.change(|facts| {
        facts.images = held.images;
        facts.blobs = blobs;
        facts.problems.insert("images", held.problems);
        facts.probe = Some(found.clone());
        facts.hardware = Some(hardware);
    });
    // Told again even if it is the same: what could not be made for want of an image may be made now.
    probed.send_replace(Some(found));
}
