//! What one does by hand: `qemu-img create`, `virsh define`, `virsh start`, one VM after the other.
//!
//! The domain is a VM's that the API made, under another name. libvirt is embedded in virsh as it is in the agent, with the same
//! configuration, and open before anything is measured; so are the network, and copies of what tells guests of themselves, there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use super::bridge;
use super::cloud::Cloud;
use super::machines;
use super::model::{Guest, Model, Overlay};
use super::ping::Pinging;
use super::sides::Took;
use super::virsh::Virsh;

/// VMs by hand. What is dropped is removed, but for files.
pub(super) struct Peer {
    virsh: Option<Virsh>,
    model: Model,
    disks: Vec<Overlay>,
    seeds: Vec<(PathBuf, Vec<u8>)>,
    guests: Vec<Guest>,
    /// Where is asked from, if guests answer.
    from: Option<PathBuf>,
    directory: PathBuf,
}

impl Peer {
    /// As many as that VM, which is there now.
    ///
    /// # Errors
    /// What cannot be read of it; no libvirt.
    pub(super) async fn like(
        cloud: &Cloud,
        model: Model,
        count: usize,
        does_answer: bool,
    ) -> anyhow::Result<Self> {
        let directory = cloud.new_directory("hand")?;
        let (mut disks, mut seeds) = (Vec::new(), Vec::new());
        for disk in model.disks() {
            disks.push(Overlay::of(disk).await?);
        }
        for seed in model.seeds() {
            seeds.push((seed.to_owned(), fs::read(seed)?));
        }
        let root = directory.join("libvirt");
        fs::create_dir_all(root.join("etc"))?;
        fs::copy(
            cloud.libvirt().join("etc/qemu.conf"),
            root.join("etc/qemu.conf"),
        )
        .context("the agent's configuration of libvirt")?;
        let bridge = cloud.bridge().map(|bridge| bridge.namespace.clone());
        let uri = format!("qemu:///embed?root={}", root.display());
        let virsh = Virsh::open(bridge.as_deref(), &uri, &directory.join("virsh.log")).await?;
        let guest = |index: usize| {
            let name = format!("hand-{index}");
            let (mac, address) = bridge::own(index)?;
            Ok(Guest {
                uuid: format!("00000000-0000-4000-8000-{index:012}"),
                directory: directory.join(&name),
                tap: bridge::tap(index),
                name,
                mac,
                address,
            })
        };
        Ok(Self {
            virsh: Some(virsh),
            guests: (0..count).map(guest).collect::<anyhow::Result<_>>()?,
            model,
            disks,
            seeds,
            from: bridge.filter(|_| does_answer),
            directory,
        })
    }

    /// Boots all of them, and removes them again.
    ///
    /// # Errors
    /// What is refused, or does not answer.
    pub(super) async fn boot(&mut self) -> anyhow::Result<Took> {
        for guest in &self.guests {
            self.lay_out(guest)?;
        }
        let virsh = self.virsh.as_mut().context("it is open")?;
        let began = Instant::now();
        let mut pings = Vec::new();
        if let Some(from) = &self.from {
            let start = |address: Ipv4Addr| Pinging::start(from, address);
            let started = self.guests.iter().map(|guest| start(guest.address));
            pings = started.collect::<anyhow::Result<_>>()?;
        }
        for guest in &self.guests {
            for disk in &self.disks {
                disk.make(&guest.file(&disk.file)).await?;
            }
            let definition = format!("define {}", guest.directory.join("domain.xml").display());
            virsh.tell(&definition, "' defined from ").await?;
            let start = format!("start {}", guest.name);
            virsh.tell(&start, "' started").await?;
        }
        let running = Instant::now();
        let mut answered = Vec::new();
        for ping in pings {
            answered.push(ping.answered().await?);
        }
        let took = Took::new(began, [running], answered);
        for guest in &self.guests {
            let destroy = format!("destroy {}", guest.name);
            virsh.tell(&destroy, "' destroyed").await?;
            let undefine = format!("undefine {}", guest.name);
            virsh.tell(&undefine, "' has been undefined").await?;
            fs::remove_dir_all(&guest.directory)?;
        }
        Ok(took)
    }

    /// What is there before it is made.
    fn lay_out(&self, guest: &Guest) -> anyhow::Result<()> {
        fs::create_dir_all(&guest.directory)?;
        for (seed, content) in &self.seeds {
            fs::write(guest.file(seed), content)?;
        }
        let definition = self.model.define(guest);
        fs::write(guest.directory.join("domain.xml"), definition)?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // First who could start others.
        drop(self.virsh.take());
        machines::kill_below(&self.directory);
    }
}
