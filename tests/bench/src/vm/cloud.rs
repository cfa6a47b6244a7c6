//! A host on which VMs run, and the services that tell it.
//!
//! ```text
//!   ChainFire <── prismnet, plasmavmc     on this program's loopback
//!       ^
//!       +── host-0: a network namespace with prismnet-agent and plasmavmc-agent, and a port from which guests are pinged
//!           node 1: a namespace with a bridge, for VMs by hand
//! ```
//!
//! Without pings there is no PrismNET, and plasmavmc-agent runs in this program's own namespace.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::bridge::Bridge;
use super::model::Model;
use super::{Options, api, machines, ping};
use crate::keep_alive::KeepAlive;
use crate::network::control::{Control, ORG, text};
use crate::network::inside;
use crate::network::lab::{Lab, Programs};
use crate::server::{Daemon, Process, Store};

const PROJECT: &str = "vm";
/// As prismnet's lab calls its first host.
const HOST: &str = "host-0";
/// Where the agent's door is in a namespace of its own.
const DOOR: &str = "127.0.0.1:50064";
const DISK: &str = "bench-disk";
const BUILDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/guest/photon-mini/build"
);
/// How long the host may take to tell of itself: first it tries whether KVM works.
const START: Duration = Duration::from_secs(120);

/// What a VM boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// photon-mini, with an empty root disk. It takes an address by DHCP and answers.
    Kernel,
    /// A root disk over an image of a disk, whose first sector does nothing.
    Disk,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Kernel, Self::Disk];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kernel => "photon-mini, empty root disk",
            Self::Disk => "disk image, root disk over it",
        }
    }
}

/// All of it. What is dropped is removed: agents and machines first, then networks, then files.
pub(super) struct Cloud {
    pub(super) agent: Process,
    pub(super) service: Daemon,
    network: Option<Network>,
    state: PathBuf,
    door: Option<JoinHandle<()>>,
    scratch: tempfile::TempDir,
}

/// What VMs are connected to.
struct Network {
    /// By hand. Before the namespace that it is in.
    bridge: Bridge,
    subnet: String,
    /// The namespace of a port in that subnet.
    from: PathBuf,
    lab: Lab,
}

impl Network {
    async fn start(options: &Options, taps: usize) -> anyhow::Result<Self> {
        let programs = Programs {
            chainfire: &options.chainfire,
            prismnet: &options.prismnet,
            agent: &options.prismnet_agent,
            directory: &options.directory,
        };
        let lab = Lab::start(programs, 1, 1).await?;
        let mut control = Control::connect(&lab.network.rest).await?;
        let subnet = control.subnet(PROJECT).await?;
        let host = &lab.hosts[0];
        let port = json!({"subnet_id": subnet, "kind": "service", "host_id": host.name});
        control.port(&port).await?;
        let ports = control.active(&subnet, &host.name, 1, START).await?;
        let from = host.port(&ports[0].id);
        ping::prepare(&from, "eth0").await?;
        Ok(Self {
            bridge: Bridge::set_up(&lab, 1, taps).await?,
            subnet,
            from,
            lab,
        })
    }
}

impl Cloud {
    /// Of each VM.
    pub(super) const MEMORY_MIB: u32 = 96;

    /// Starts it, with taps for so many VMs by hand.
    ///
    /// # Errors
    /// What cannot be started, or does not tell of itself.
    pub(super) async fn start(options: &Options, taps: usize) -> anyhow::Result<Self> {
        let scratch = super::scratch(options)?;
        let mut network = None;
        if !options.no_ping {
            network = Some(Network::start(options, taps).await?);
        }
        let (store, beside) = match &network {
            Some(Network { lab, .. }) => {
                let endpoint = &lab.network.grpc;
                let settings = format!("[prismnet]\nendpoint = \"{endpoint}\"\n");
                (Store::Shared(lab.network.store.endpoints()), settings)
            }
            None => {
                let store = Store::start(&options.chainfire, 1, scratch.path()).await?;
                (store, String::new())
            }
        };
        let endpoint = match &network {
            Some(Network { lab, .. }) => lab.hosts[0].store.clone(),
            None => store.endpoints().swap_remove(0),
        };
        // As many VMs as are asked for: what is measured is not whether there is room.
        let settings = format!("{beside}[placement]\ncpu_overcommit = 100.0\n");
        let mut service = Daemon::over(store, &options.plasmavmc, scratch.path(), &settings)?;
        service.start().await?;

        let state = scratch.path().join("host");
        let config = scratch.path().join("agent.toml");
        let mut door = None;
        let listen = match &network {
            None => "listen = \"127.0.0.1:0\"".to_owned(),
            Some(Network { lab, .. }) => {
                let (outside, task) = way_in(&lab.node(0)).await?;
                door = Some(task);
                format!("listen = \"{DOOR}\"\nadvertise = \"{outside}\"")
            }
        };
        let socket = network.as_ref().map_or_else(
            || scratch.path().join("nobody.sock"),
            |network| network.lab.hosts[0].socket.clone(),
        );
        let text = format!(
            "host = \"{HOST}\"\nstate_directory = {state:?}\n[store]\nendpoints = [\"{endpoint}\"]\n\
             [hypervisor]\nkvm = {}\n[door]\n{listen}\n[ports]\nsocket = {socket:?}\n",
            !options.no_kvm
        );
        std::fs::write(&config, text)?;
        let guest = guest(options, scratch.path()).await?;
        let mut add = Command::new(&options.agent);
        add.arg("--config").arg(&config).args(["image", "add"]);
        run(add.arg(guest)).await?;

        let program = options.agent.display().to_string();
        let arguments = ["--config".to_owned(), config.display().to_string()];
        let log = scratch.path().join("agent.log");
        let agent = match &network {
            None => Process::start(&options.agent, &arguments, &log)?,
            Some(Network { lab, .. }) => {
                let inside = format!("--net={}", lab.node(0).display());
                let words = [&[inside, program][..], &arguments].concat();
                Process::start(Path::new("nsenter"), &words, &log)?
            }
        };
        let mut cloud = Self {
            agent,
            service,
            network,
            state,
            door,
            scratch,
        };
        cloud.wait_for_host().await?;
        Ok(cloud)
    }

    async fn wait_for_host(&mut self) -> anyhow::Result<()> {
        let mut control = Control::connect(&self.service.rest).await?;
        let told = |shown: &Value| {
            let hosts = shown["hosts"].as_array()?;
            let is_up = |host: &&Value| host["state"] == "up" && !host["agent"].is_null();
            hosts.iter().find(is_up).map(drop)
        };
        let seen = api::until(&mut control, "GET /api/v1/hosts", START, told).await;
        self.agent.check()?;
        seen?;
        let is_there = |shown: &Value| {
            let images = shown["images"].as_array()?;
            (!images.is_empty()).then_some(())
        };
        api::until(&mut control, "GET /api/v1/images", START, is_there).await
    }

    /// Uploads the image of a disk.
    ///
    /// # Errors
    /// What is refused.
    pub(super) async fn upload(&mut self) -> anyhow::Result<()> {
        let raw = self.scratch.path().join("disk.raw");
        let file = raw.with_extension("qcow2");
        std::fs::write(&raw, disk())?;
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]);
        run(convert.arg(&raw).arg(&file)).await?;
        let mut control = Control::connect(&self.service.rest).await?;
        let image = json!({"name": DISK, "org_id": ORG, "project_id": PROJECT, "format": "qcow2"});
        let made = control.ask("POST /api/v1/images", &image).await?;
        let id = text(&made, "id")?;
        let content = std::fs::read(&file)?;
        let address = &self.service.rest;
        let mut request = format!(
            "PUT /api/v1/images/{id}/data HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
            content.len()
        )
        .into_bytes();
        request.extend(content);
        let mut connection = KeepAlive::connect(address).await?;
        let status = connection.exchange(&request).await?;
        let said = String::from_utf8_lossy(connection.body());
        ensure!(status == 200, "the image is refused: {status} {said}");
        Ok(())
    }

    /// What is asked for to have a VM of that kind, running.
    pub(super) fn wanted(&self, kind: Kind) -> Value {
        let networks = self.network.iter();
        let networks: Vec<Value> = networks
            .map(|network| json!({"subnet_id": network.subnet}))
            .collect();
        let image = match kind {
            Kind::Kernel => "photon-mini",
            Kind::Disk => DISK,
        };
        json!({
            "name": "bench", "org_id": ORG, "project_id": PROJECT, "vcpus": 1,
            "memory_mib": Self::MEMORY_MIB, "disk_size_gb": 1, "image_id": image,
            "networks": networks, "start": true,
        })
    }

    /// The namespace from which VMs of the API are asked.
    pub(super) fn from(&self) -> Option<&Path> {
        self.network.as_ref().map(|network| &*network.from)
    }

    /// The network of VMs by hand.
    pub(super) fn bridge(&self) -> Option<&Bridge> {
        self.network.as_ref().map(|network| &network.bridge)
    }

    /// Where the agent's libvirt keeps everything.
    pub(super) fn libvirt(&self) -> PathBuf {
        self.state.join("libvirt")
    }

    /// How a VM is defined that is there now.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn model(&self, id: &str) -> anyhow::Result<Model> {
        let file = self.libvirt().join(format!("etc/qemu/{id}.xml"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Model::parse(id, &text)
    }

    /// A directory that nobody has had, with a short path.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new_directory(&self, prefix: &str) -> anyhow::Result<PathBuf> {
        let mut name = tempfile::Builder::new();
        let made = name.prefix(prefix).rand_bytes(4);
        Ok(made.tempdir_in(self.scratch.path())?.keep())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.agent.kill();
        machines::kill_below(self.scratch.path());
        if let Some(door) = &self.door {
            door.abort();
        }
    }
}

/// A listener here, whose bytes are passed on to the door in the namespace.
async fn way_in(namespace: &Path) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let namespace = namespace.to_owned();
    let pass = async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let namespace = namespace.clone();
            tokio::spawn(async move {
                let connect = || {
                    let stream = std::net::TcpStream::connect(DOOR)?;
                    stream.set_nonblocking(true)?;
                    Ok(stream)
                };
                let to = inside::run(&namespace, connect).await;
                if let Ok(Ok(mut to)) = to.map(TcpStream::from_std) {
                    // Ends when one side does.
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    };
    Ok((address, tokio::spawn(pass)))
}

/// Where photon-mini is.
async fn guest(options: &Options, scratch: &Path) -> anyhow::Result<PathBuf> {
    if let Some(guest) = &options.guest {
        return Ok(guest.clone());
    }
    let built = scratch.join("photon-mini");
    let build = run(Command::new(BUILDER).arg(&built)).await;
    build.context("photon-mini cannot be built; --guest DIR names one that is")?;
    Ok(built)
}

/// Runs a program to its end.
async fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.as_std().get_program().to_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output
        .await
        .with_context(|| format!("cannot run {name:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name:?}: {said}");
    Ok(())
}

/// A disk whose first sector stands still.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 4 << 20];
    // cli; hlt; and again, if something wakes it.
    disk[..4].copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}
