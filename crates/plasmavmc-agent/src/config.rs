//! Every setting. `deploy/config/plasmavmc-agent.toml` shows them all.

use std::{
    net::SocketAddr,
    path::{Component, Path, PathBuf},
};

use photon_agent::config::{StoreConfig, invalid};
use photon_core::{Name, error::in_one_line};
use photon_server::{
    ServiceConfig, TlsConfig,
    config::{ConfigError, LogConfig},
    listen::check_tls,
};
use plasmavmc_model::pool;
use serde::Deserialize;

use crate::libvirt::embed;

/// The settings of one host's agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This host's name: `[a-z0-9][a-z0-9._-]{0,62}`. Required.
    pub host: Name,
    /// Where the agent keeps VMs' disks, images, and what it remembers. Default `/var/lib/photon/plasmavmc-agent`.
    #[serde(default = "default_state")]
    pub state_directory: PathBuf,
    /// Seconds after which everything is looked at anyway. 1 to 3600. Default 30.
    #[serde(default = "default_resync")]
    pub resync_seconds: u64,
    /// Where the records are.
    #[serde(default)]
    pub store: StoreConfig,
    /// Where the control plane and other hosts' agents ask.
    #[serde(default)]
    pub door: DoorConfig,
    /// What runs guests.
    #[serde(default)]
    pub hypervisor: HypervisorConfig,
    /// What plugs their ports.
    #[serde(default)]
    pub ports: PortsConfig,
    /// What is kept from VMs.
    #[serde(default)]
    pub reserve: ReserveConfig,
    /// Where disks may lie beside `local`, which is below `state_directory`. At most 16. Default none.
    #[serde(default)]
    pub pools: Vec<PoolConfig>,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/photon/plasmavmc-agent")
}

fn default_resync() -> u64 {
    30
}

/// `[door]`: where the control plane, and the agents of other hosts, ask this one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorConfig {
    /// Address and port; port 0 takes a free one. Default 127.0.0.1:50064.
    pub listen: SocketAddr,
    /// The `address:port` under which others reach it. Default: `listen`, which must then name an address.
    pub advertise: Option<String>,
    /// Certificates; required unless `listen` is loopback. Without them the door opens only where the store has none, either.
    pub tls: Option<TlsConfig>,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50064)),
            advertise: None,
            tls: None,
        }
    }
}

impl DoorConfig {
    fn validate(&self, store: &StoreConfig) -> Result<(), ConfigError> {
        let ip = self.listen.ip().to_canonical();
        match &self.tls {
            None if !ip.is_loopback() => {
                let problem = format!("is required: door.listen, {ip}, is not loopback");
                return Err(invalid("door.tls", problem));
            }
            Some(tls) if tls.client_ca.is_none() => {
                return Err(invalid("door.tls.client_ca", "is required"));
            }
            Some(_) if store.tls.is_none() => {
                let problem = "is required with door.tls: what is shown to other hosts is the same certificate";
                return Err(invalid("store.tls", problem));
            }
            _ => {}
        }
        let is_good = |text: &String| {
            let port = text
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse()));
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            matches!(port, Some((host, Ok(1_u16..))) if !host.is_empty() && host.bytes().all(is_plain))
        };
        match &self.advertise {
            Some(text) if !is_good(text) => Err(invalid("door.advertise", "must be address:port")),
            None if ip.is_unspecified() => {
                let problem = format!("is required: nobody can reach a host at {ip}");
                Err(invalid("door.advertise", problem))
            }
            _ => Ok(()),
        }
    }
}

/// `[hypervisor]`: what runs guests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HypervisorConfig {
    /// Where libvirt is, for example `qemu:///system`. Default: within the agent, below its own directory.
    pub uri: Option<String>,
    /// Whether KVM is used where it works. Whether it does, a real boot has to show. Default true.
    pub kvm: bool,
    /// Whether guests are emulated where KVM does not work. Slow, and told in their status. Default true.
    pub emulation: bool,
    /// Seconds that boot may take. 1 to 600. Default 15.
    pub probe_seconds: u64,
    /// The machine type of new VMs, with its version, for example `pc-q35-7.2`. Default: the newest q35 that is here.
    pub machine: Option<String>,
    /// The CPU model of new VMs, in libvirt's words. Default: `host-model` with KVM, `qemu64` without.
    pub cpu: Option<String>,
}

impl Default for HypervisorConfig {
    fn default() -> Self {
        Self {
            uri: None,
            kvm: true,
            emulation: true,
            probe_seconds: 15,
            machine: None,
            cpu: None,
        }
    }
}

/// `[ports]`: what plugs VMs' ports.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PortsConfig {
    /// prismnet-agent's socket. Default `/run/photon/prismnet-agent.sock`.
    pub socket: PathBuf,
}

impl Default for PortsConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/photon/prismnet-agent.sock"),
        }
    }
}

/// `[reserve]`: what this host keeps for itself and others; the rest is told to be for VMs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReserveConfig {
    /// CPUs. Default 0.
    pub cpus: u32,
    /// Memory, in MiB. Default 0.
    pub memory_mib: u64,
    /// Space in the state directory's file system, in GiB. Default 0.
    pub disk_gib: u64,
}

/// `[[pools]]`: a directory for disks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// What it is called, by everybody: `[a-z0-9][a-z0-9._-]{0,62}`, not `local`.
    pub name: Name,
    /// The directory: absolute, and not within another pool or the state directory, nor around them.
    pub path: PathBuf,
    /// Whether every host with a pool of that name sees the same files. Default false.
    #[serde(default)]
    pub shared: bool,
}

/// The most pools of one host.
const MOST_POOLS: usize = 16;

/// What a socket's path has room for, less `/vm/vm-<uuid>/console` and the null behind it.
const LONGEST_STATE: usize = 108 - 1 - "/vm/vm-00000000-0000-0000-0000-000000000000/console".len();

/// What settings in the environment begin with.
pub const ENVIRONMENT: &str = "PLASMAVMC_AGENT";

impl Config {
    /// Everything at its default.
    #[must_use]
    pub fn new(host: Name) -> Self {
        Self {
            host,
            state_directory: default_state(),
            resync_seconds: default_resync(),
            store: StoreConfig::default(),
            door: DoorConfig::default(),
            hypervisor: HypervisorConfig::default(),
            ports: PortsConfig::default(),
            reserve: ReserveConfig::default(),
            pools: Vec::new(),
            log: LogConfig::default(),
        }
    }

    /// Reads a file, if one is given, and `PLASMAVMC_AGENT__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, ENVIRONMENT)?;
        ServiceConfig::validate(&config)?;
        Ok(config)
    }

    /// Where libvirt is.
    #[must_use]
    pub fn uri(&self) -> String {
        let own = || embed::uri(&self.state_directory.join("libvirt"));
        self.hypervisor.uri.clone().unwrap_or_else(own)
    }
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=3600).contains(&self.resync_seconds) {
            return Err(invalid("resync_seconds", "must be from 1 to 3600"));
        }
        if !self.state_directory.is_absolute() {
            return Err(invalid("state_directory", "must be absolute"));
        }
        if !self.ports.socket.is_absolute() {
            return Err(invalid("ports.socket", "must be absolute"));
        }
        if self.state_directory.as_os_str().len() > LONGEST_STATE {
            let problem =
                format!("must not be longer than {LONGEST_STATE} bytes: sockets are in it");
            return Err(invalid("state_directory", problem));
        }
        let hypervisor = &self.hypervisor;
        if !(1..=600).contains(&hypervisor.probe_seconds) {
            return Err(invalid("hypervisor.probe_seconds", "must be from 1 to 600"));
        }
        if !hypervisor.kvm && !hypervisor.emulation {
            let problem = "must not be false together with hypervisor.kvm: nothing could run";
            return Err(invalid("hypervisor.emulation", problem));
        }
        self.validate_root()?;
        self.validate_pools()?;
        self.door.validate(&self.store)?;
        self.store.validate()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(tls) = &self.door.tls {
            check_tls(tls).map_err(|error| invalid("door.tls", in_one_line(&error)))?;
        }
        self.store.options().map(drop)
    }
}

impl Config {
    fn validate_pools(&self) -> Result<(), ConfigError> {
        if self.pools.len() > MOST_POOLS {
            return Err(invalid("pools", format!("must be at most {MOST_POOLS}")));
        }
        let mut before = vec![(pool::local(), self.state_directory.as_path())];
        for pool in &self.pools {
            let (name, path) = (&pool.name, pool.path.as_path());
            if before.iter().any(|(other, _)| other == name) {
                let problem = format!("must be different, and not local: {name}");
                return Err(invalid("pools.name", problem));
            }
            let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
            if !path.is_absolute() || !path.components().all(is_plain) {
                let problem = format!("must be absolute and without ..: {}", path.display());
                return Err(invalid("pools.path", problem));
            }
            let overlaps =
                |other: &&(Name, &Path)| path.starts_with(other.1) || other.1.starts_with(path);
            if let Some((other, _)) = before.iter().find(overlaps) {
                let problem = format!(
                    "{} must not be within pool {other}, nor around it",
                    path.display()
                );
                return Err(invalid("pools.path", problem));
            }
            before.push((name.clone(), path));
        }
        Ok(())
    }

    /// Where an embedded libvirt keeps everything becomes part of the paths of sockets, and of an address.
    fn validate_root(&self) -> Result<(), ConfigError> {
        let field = match self.hypervisor.uri {
            Some(_) => "hypervisor.uri",
            None => "state_directory",
        };
        let Some(root) = embed::root(&self.uri()) else {
            return Ok(());
        };
        let root = root.to_string_lossy();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        if root.len() > embed::LONGEST_ROOT || !root.starts_with('/') {
            let problem = format!(
                "leads to {root}, which must be absolute and not longer than {} bytes",
                embed::LONGEST_ROOT
            );
            return Err(invalid(field, problem));
        }
        if !root.bytes().all(is_plain) {
            return Err(invalid(
                field,
                "must have only a-z A-Z 0-9 / . _ - in its path",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use super::*;

    const EXAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/config/plasmavmc-agent.toml"
    );

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path())).map_err(|error| in_one_line(&error))
    }

    #[test]
    fn the_example_parses_and_shows_the_defaults() {
        let example = Config::load(Some(Path::new(EXAMPLE))).unwrap();
        let default = Config::new(example.host.clone());
        assert_eq!(format!("{example:?}"), format!("{default:?}"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let long = format!("host = \"a\"\nstate_directory = \"/{}\"", "d".repeat(60));
        let long_beside = format!("{long}\n[hypervisor]\nuri = \"qemu:///system\"");
        for (text, field) in [
            ("", "host"),
            ("host = \"Not A Name\"", "host"),
            ("host = \"a\"\nno_such_key = 1", "no_such_key"),
            ("host = \"a\"\nresync_seconds = 0", "resync_seconds"),
            (
                "host = \"a\"\nstate_directory = \"here\"",
                "state_directory",
            ),
            (
                "host = \"a\"\nstate_directory = \"/a b\"",
                "state_directory",
            ),
            (
                "host = \"a\"\nstate_directory = \"/a&b\"",
                "state_directory",
            ),
            (&long, "state_directory"),
            (&long_beside, "state_directory"),
            (
                "host = \"a\"\n[hypervisor]\nuri = \"qemu:///embed?root=here\"",
                "hypervisor.uri",
            ),
            (
                "host = \"a\"\n[hypervisor]\nprobe_seconds = 0",
                "hypervisor.probe_seconds",
            ),
            (
                "host = \"a\"\n[hypervisor]\nkvm = false\nemulation = false",
                "hypervisor.emulation",
            ),
            ("host = \"a\"\n[ports]\nsocket = \"here\"", "ports.socket"),
            ("host = \"a\"\n[reserve]\ncpus = -1", "cpus"),
            (
                "host = \"a\"\n[[pools]]\nname = \"Fast\"\npath = \"/p\"",
                "name",
            ),
            ("host = \"a\"\n[[pools]]\nname = \"fast\"", "path"),
            (
                "host = \"a\"\n[[pools]]\nname = \"local\"\npath = \"/p\"",
                "pools.name",
            ),
            (
                "host = \"a\"\n[[pools]]\nname = \"b\"\npath = \"/b\"\n[[pools]]\nname = \"b\"\npath = \"/c\"",
                "pools.name",
            ),
            (
                "host = \"a\"\n[[pools]]\nname = \"b\"\npath = \"b\"",
                "pools.path",
            ),
            (
                "host = \"a\"\n[[pools]]\nname = \"b\"\npath = \"/b/../c\"",
                "pools.path",
            ),
            (
                "host = \"a\"\n[[pools]]\nname = \"b\"\npath = \"/b\"\n[[pools]]\nname = \"c\"\npath = \"/b/c\"",
                "pools.path",
            ),
            (
                "host = \"a\"\nstate_directory = \"/s/t\"\n[[pools]]\nname = \"b\"\npath = \"/s\"",
                "pools.path",
            ),
            (
                "host = \"a\"\nstate_directory = \"/s\"\n[[pools]]\nname = \"b\"\npath = \"/s/t\"",
                "pools.path",
            ),
            ("host = \"a\"\n[door]\nlisten = \"192.0.2.1:1\"", "door.tls"),
            (
                "host = \"a\"\n[door]\nadvertise = \"x y:1\"",
                "door.advertise",
            ),
            (
                "host = \"a\"\n[door.tls]\ncertificate = \"c\"\nkey = \"k\"",
                "door.tls.client_ca",
            ),
            (
                "host = \"a\"\n[door.tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"",
                "store.tls",
            ),
            (
                "host = \"a\"\n[store]\nendpoints = [\"http://192.0.2.1:1\"]",
                "store.endpoints",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
        let good = "host = \"a\"\n[[pools]]\nname = \"b\"\npath = \"/b\"\n[[pools]]\nname = \"c\"\npath = \"/bc\"\nshared = true";
        assert!(read(good).unwrap().pools[1].shared);
        read("host = \"a\"\n[hypervisor]\nuri = \"qemu:///system\"").unwrap();
    }
}
