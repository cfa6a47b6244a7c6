//! Every setting. `deploy/config/prismnet-agent.toml` shows them all.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use photon_agent::config::{StoreConfig, invalid};
use photon_core::Name;
use photon_server::{
    ServiceConfig,
    config::{ConfigError, LogConfig},
};
use prismnet_model::Block;
use serde::Deserialize;

/// The settings of one host's agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This host's name, as ports say it in `host_id`: `[a-z0-9][a-z0-9._-]{0,62}`. Required.
    pub host: Name,
    /// Where the agent keeps what it remembers. Default `/var/lib/photon/prismnet-agent`.
    #[serde(default = "default_state")]
    pub state_directory: PathBuf,
    /// Where namespaces have their names. Default `/run/netns`, as `ip netns` has it.
    #[serde(default = "default_namespaces")]
    pub namespace_directory: PathBuf,
    /// Where programs of this host ask for ports to be plugged (`photon.host.v1`). Default `/run/photon/prismnet-agent.sock`.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Users beside root who may ask there. Default: none.
    #[serde(default)]
    pub socket_uids: Vec<u32>,
    /// Seconds after which everything is looked at anyway. 1 to 3600. Default 30.
    #[serde(default = "default_resync")]
    pub resync_seconds: u64,
    /// Where the records are.
    #[serde(default)]
    pub store: StoreConfig,
    /// The tunnels to other hosts.
    #[serde(default)]
    pub tunnel: TunnelConfig,
    /// What ports are told.
    #[serde(default)]
    pub dhcp: DhcpConfig,
    /// Ways out of VPCs.
    #[serde(default)]
    pub egress: EgressConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/photon/prismnet-agent")
}

fn default_namespaces() -> PathBuf {
    PathBuf::from("/run/netns")
}

/// Where the agent is asked by programs of its host, if nobody says otherwise.
pub const SOCKET: &str = "/run/photon/prismnet-agent.sock";

fn default_socket() -> PathBuf {
    PathBuf::from(SOCKET)
}

fn default_resync() -> u64 {
    30
}

/// `[tunnel]`: how this host reaches others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelConfig {
    /// This host's address in the underlay. Default: none, and then ports here reach nobody on other hosts.
    pub address: Option<Ipv4Addr>,
    /// Bytes of the largest packet inside a tunnel: the underlay's, less 50. 576 to 65485. Default 1450.
    pub mtu: u32,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            address: None,
            mtu: 1450,
        }
    }
}

/// `[egress]`: what ports reach outside.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// Blocks that no VPC reaches by its way out, `a.b.c.d/n`. Hosts' tunnel addresses, this host itself and link-local
    /// addresses are out of reach anyway. At most 1000. Default: none.
    pub deny: Vec<Block>,
}

/// `[dhcp]`: what ports are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DhcpConfig {
    /// Name servers. Default: none.
    pub dns: Vec<Ipv4Addr>,
    /// Seconds after which a client asks again. 60 to 604800. Default 3600.
    pub lease_seconds: u32,
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            dns: Vec::new(),
            lease_seconds: 3600,
        }
    }
}

impl Config {
    /// A host without a tunnel, with everything else at its default.
    #[must_use]
    pub fn new(host: Name) -> Self {
        Self {
            host,
            state_directory: default_state(),
            namespace_directory: default_namespaces(),
            socket: default_socket(),
            socket_uids: Vec::new(),
            resync_seconds: default_resync(),
            store: StoreConfig::default(),
            tunnel: TunnelConfig::default(),
            dhcp: DhcpConfig::default(),
            egress: EgressConfig::default(),
            log: LogConfig::default(),
        }
    }

    /// Reads a file, if one is given, and `PRISMNET_AGENT__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, ENVIRONMENT)?;
        ServiceConfig::validate(&config)?;
        Ok(config)
    }
}

/// The most blocks of `egress.deny`: each is a rule that every packet of a way out is held against.
const MOST_DENIED: usize = 1_000;

/// What settings in the environment begin with.
pub const ENVIRONMENT: &str = "PRISMNET_AGENT";

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=3600).contains(&self.resync_seconds) {
            return Err(invalid("resync_seconds", "must be from 1 to 3600"));
        }
        if !(576..=65_485).contains(&self.tunnel.mtu) {
            return Err(invalid("tunnel.mtu", "must be from 576 to 65485"));
        }
        if self.egress.deny.len() > MOST_DENIED {
            return Err(invalid("egress.deny", "must have at most 1000 blocks"));
        }
        if !(60..=604_800).contains(&self.dhcp.lease_seconds) {
            return Err(invalid("dhcp.lease_seconds", "must be from 60 to 604800"));
        }
        for (field, path) in [
            ("state_directory", &self.state_directory),
            ("namespace_directory", &self.namespace_directory),
            ("socket", &self.socket),
        ] {
            if !path.is_absolute() {
                return Err(invalid(field, "must be absolute"));
            }
        }
        // What the kernel takes (sockaddr_un), with room for the name that it has while it is made.
        if self.socket.as_os_str().len() > 100 {
            return Err(invalid("socket", "must not have more than 100 bytes"));
        }
        self.store.validate()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.store.options().map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_testkit::config::Trial;

    use super::*;

    const TRIAL: Trial<Config> = Trial {
        load: Config::load,
        example: concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/config/prismnet-agent.toml"
        ),
    };

    #[test]
    fn the_example_parses_and_shows_the_defaults() {
        TRIAL.example_shows(|example| Config::new(example.host.clone()));
    }

    #[test]
    fn what_cannot_be_is_named() {
        TRIAL.names(&[
            ("", "host"),
            ("host = \"Not A Name\"", "host"),
            ("host = \"a\"\nno_such_key = 1", "no_such_key"),
            ("host = \"a\"\nresync_seconds = 0", "resync_seconds"),
            ("host = \"a\"\n[tunnel]\nmtu = 100", "tunnel.mtu"),
            (
                "host = \"a\"\n[dhcp]\nlease_seconds = 1",
                "dhcp.lease_seconds",
            ),
            (
                "host = \"a\"\n[egress]\ndeny = [\"10.0.0.1/8\"]",
                "egress.deny",
            ),
            ("host = \"a\"\n[store]\nendpoints = []", "store.endpoints"),
            (
                "host = \"a\"\n[store]\nendpoints = [\"http://192.0.2.1:1\"]",
                "store.endpoints",
            ),
            (
                "host = \"a\"\n[store]\nendpoints = [\"https://192.0.2.1:1\"]",
                "store.tls",
            ),
            (
                "host = \"a\"\nstate_directory = \"here\"",
                "state_directory",
            ),
            ("host = \"a\"\nsocket = \"here\"", "socket"),
            ("host = \"a\"\nsocket_uids = [-1]", "socket_uids"),
        ]);
        TRIAL
            .read("host = \"a\"\n[tunnel]\naddress = \"192.0.2.1\"")
            .unwrap();
    }
}
