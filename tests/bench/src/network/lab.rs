//! Hosts as network namespaces with an underlay between them and an agent in each; the store and the control plane beside
//! them, in this program's own namespace.
//!
//! ```text
//!   ChainFire <── prismnet        on this program's loopback
//!       ^
//!       +── a listener on each host's loopback, whose bytes are passed on: agents take a store without TLS only there
//!
//!   host-0 ──┐
//!   host-1 ──┼── a bridge, the underlay        more nodes, if asked for, without an agent
//!   …        ┘
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::mount::{MntFlags, umount2};
use photon_testkit::NetLab;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::inside;
use crate::load::connect_kv;
use crate::server::{Daemon, Process, Store};

/// How long agents may take to say that they are there.
const START: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// The largest packet of ports: the underlay's 1500 bytes, less 50.
pub(crate) const MTU: u32 = 1450;

/// What it is started from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Programs<'a> {
    /// The store.
    pub(crate) chainfire: &'a Path,
    /// The control plane.
    pub(crate) prismnet: &'a Path,
    /// The agent.
    pub(crate) agent: &'a Path,
    /// Where all data goes.
    pub(crate) directory: &'a Path,
}

/// All of it. What is dropped is removed: agents first, then what they made, then hosts.
pub(crate) struct Lab {
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Daemon,
    net: NetLab,
    scratch: tempfile::TempDir,
}

/// A machine with an agent.
pub(crate) struct Host {
    /// As ports say it in `host_id`.
    pub(crate) name: String,
    /// Its agent.
    pub(crate) agent: Process,
    /// Where the store is, for those in its namespace.
    pub(crate) store: String,
    /// The agent's local socket.
    pub(crate) socket: PathBuf,
    namespaces: PathBuf,
    proxy: JoinHandle<()>,
}

impl Lab {
    /// Starts it with so many hosts, and so many more nodes on the underlay that are bare.
    ///
    /// # Errors
    /// What cannot be started or made; not being root.
    pub(crate) async fn start(
        programs: Programs<'_>,
        hosts: usize,
        bare: usize,
    ) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir_in(programs.directory)
            .with_context(|| programs.directory.display().to_string())?;
        let store = Store::start(programs.chainfire, 1, scratch.path()).await?;
        let endpoint = store.endpoints().swap_remove(0);
        let mut network = Daemon::over(store, programs.prismnet, scratch.path(), "")?;
        network.start().await?;
        let mut lab = Self {
            hosts: Vec::new(),
            network,
            net: NetLab::new(hosts + bare)?,
            scratch,
        };
        for index in 0..hosts {
            let host = lab.host(programs, index, &endpoint).await?;
            lab.hosts.push(host);
        }
        lab.wait_for_agents(&endpoint).await?;
        Ok(lab)
    }

    async fn host(
        &self,
        programs: Programs<'_>,
        index: usize,
        store: &str,
    ) -> anyhow::Result<Host> {
        let node = self.node(index);
        let listen = || {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = TcpListener::from_std(inside::run(&node, listen).await?)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let to = store.strip_prefix("http://").context("a store with TLS")?;
        let proxy = tokio::spawn(pass_on(listener, to.parse()?));
        let name = format!("host-{index}");
        let home = self.scratch.path().join(&name);
        fs::create_dir_all(&home)?;
        let namespaces = home.join("netns");
        let socket = home.join("agent.sock");
        let config = home.join("agent.toml");
        let text = format!(
            "host = \"{name}\"\nstate_directory = {:?}\nnamespace_directory = {namespaces:?}\nsocket = {socket:?}\n\
             [store]\nendpoints = [\"{endpoint}\"]\n\
             [tunnel]\naddress = \"{}\"\nmtu = {MTU}\n",
            home.join("state"),
            self.net.address(index),
        );
        fs::write(&config, text)?;
        // Not `ip netns exec`, which would give it mounts of its own: the namespaces it makes are entered from here.
        let arguments = [
            format!("--net={}", node.display()),
            programs.agent.display().to_string(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        let agent = Process::start(Path::new("nsenter"), &arguments, &home.join("agent.log"))?;
        Ok(Host {
            name,
            agent,
            store: endpoint,
            socket,
            namespaces,
            proxy,
        })
    }

    /// Until the control plane has told everybody where every host is.
    async fn wait_for_agents(&mut self, endpoint: &str) -> anyhow::Result<()> {
        let mut kv = connect_kv(endpoint).await?;
        let end = Instant::now() + START;
        for host in &mut self.hosts {
            let key = format!("/photon/prismnet/public/host/{}", host.name);
            while kv.get(key.as_str(), None).await?.kvs().is_empty() {
                host.agent.check()?;
                ensure!(Instant::now() < end, "{} says nothing", host.name);
                tokio::time::sleep(PROBE_EVERY).await;
            }
        }
        Ok(())
    }

    /// The name of a node's namespace.
    pub(crate) fn namespace(&self, index: usize) -> &str {
        self.net.namespace(index)
    }

    /// The namespace of a host, or of a bare node.
    pub(crate) fn node(&self, index: usize) -> PathBuf {
        Path::new("/run/netns").join(self.net.namespace(index))
    }

    /// The address of a node in the underlay.
    pub(crate) fn address(&self, index: usize) -> std::net::Ipv4Addr {
        self.net.address(index)
    }

    /// What the agents' mode of rules is, as the first one says.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn mode(&self) -> anyhow::Result<String> {
        let mut kv = connect_kv(&self.network.store.endpoints()[0]).await?;
        let key = "/photon/prismnet/host/host-0/observed/agent";
        let answer = kv.get(key, None).await?;
        let told = answer.kvs().first().context("host-0 tells nothing")?;
        let told: serde_json::Value = serde_json::from_slice(told.value())?;
        Ok(told["mode"].as_str().context("no mode")?.to_owned())
    }
}

impl Host {
    /// The namespace of a service's port, where the port is `eth0`.
    pub(crate) fn port(&self, id: &str) -> PathBuf {
        self.namespaces.join(format!("photon-{id}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.agent.kill();
        self.proxy.abort();
        if let Err(error) = remove_namespaces(&self.namespaces) {
            eprintln!("{}: {error:#}", self.namespaces.display());
        }
    }
}

/// What an agent left: its namespaces, and the directory that it bound to itself.
fn remove_namespaces(directory: &Path) -> anyhow::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // One that is not mounted was being made.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        fs::remove_file(&path)?;
    }
    let _ = umount2(directory, MntFlags::MNT_DETACH);
    Ok(())
}

async fn pass_on(listener: TcpListener, to: SocketAddr) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(to).await {
                let _ = from.set_nodelay(true);
                let _ = to.set_nodelay(true);
                // Ends when one side does.
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
