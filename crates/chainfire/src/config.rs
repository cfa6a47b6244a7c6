//! Every setting. `deploy/config/chainfire.toml` shows them all with their defaults.
//!
//! A file with nothing but `data_dir` starts a cluster of one in dev mode on loopback.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use chainfire_engine::watch::WatchOptions;
use nix::unistd::{AccessFlags, access, geteuid};
use photon_core::error::in_one_line;
use photon_raft::{NodeId, PeerTls};
use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, LogConfig, Mode, TlsConfig},
    listen::TlsError,
};
use serde::Deserialize;

/// The one Raft group of a ChainFire cluster.
pub const GROUP: &str = "chainfire";

/// Node ids and other ids of ours stay below this, so that they survive a JSON number.
pub const MAX_ID: u64 = 1 << 53;

/// The settings of one node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept. Required here or as `--data-dir`. One process at a time.
    #[serde(default)]
    pub data_dir: PathBuf,
    /// This node's id in its cluster: 1 to 2^53 - 1, never used again after the node was removed. Default 1.
    #[serde(default = "default_node_id")]
    pub node_id: NodeId,
    /// A name for people. Default `node-<node_id>`.
    #[serde(default)]
    pub name: String,
    /// What an empty data directory becomes. Default `new`.
    #[serde(default)]
    pub cluster: Cluster,
    /// REST.
    #[serde(default = "default_rest")]
    pub rest: Listener,
    /// etcd v3 and the native gRPC API, with etcd's HTTP paths beside them.
    #[serde(default = "default_grpc")]
    pub grpc: Listener,
    /// Other members.
    #[serde(default)]
    pub peer: Peer,
    /// Who may do what.
    #[serde(default)]
    pub auth: Auth,
    /// How large requests may be.
    #[serde(default)]
    pub limits: Limits,
    /// Connections, bodies and timeouts of the REST and gRPC listeners.
    #[serde(default)]
    pub http: LimitsConfig,
    /// Consensus.
    #[serde(default)]
    pub raft: Raft,
    /// Memory.
    #[serde(default)]
    pub cache: Cache,
    /// Bytes of keys, values and history after which writes are refused; a present value counts twice, because it is
    /// stored twice. 0: no quota. Default 64 GiB.
    #[serde(default = "default_quota")]
    pub quota_bytes: u64,
    /// Hours of history kept; 0 keeps all of it until a client compacts. Default 24.
    #[serde(default = "default_retention")]
    pub history_retention_hours: u64,
    /// Logging. Default level `info`, and warnings only from the parts that talk a lot.
    #[serde(default = "default_log")]
    pub log: LogConfig,
}

fn default_node_id() -> NodeId {
    1
}

fn default_quota() -> u64 {
    64 << 30
}

fn default_retention() -> u64 {
    24
}

fn default_log() -> LogConfig {
    LogConfig {
        level: "info,openraft=warn".to_owned(),
        ..LogConfig::default()
    }
}

/// What an empty data directory becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cluster {
    /// A new cluster with this node as its only member.
    #[default]
    New,
    /// A node that waits until a cluster adds it.
    Join,
}

/// Where a service listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `address:port`; port 0 takes any free one.
    pub address: SocketAddr,
    /// `host:port` that others are told. Default: the address listened on.
    #[serde(default)]
    pub advertise: Option<String>,
    /// Certificates; without it the listener is plain text.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn default_rest() -> Listener {
    Listener {
        address: loopback(8081),
        advertise: None,
        tls: None,
    }
}

fn default_grpc() -> Listener {
    Listener {
        address: loopback(50051),
        advertise: None,
        tls: None,
    }
}

/// The listener for other members, and how this node calls theirs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peer {
    /// `address:port`. Default 127.0.0.1:2380.
    pub address: SocketAddr,
    /// `host:port` that other members are told. Default: the address listened on.
    pub advertise: Option<String>,
    /// Certificates, shown and demanded on both sides.
    pub tls: Option<PeerTlsFiles>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            address: loopback(2380),
            advertise: None,
            tls: None,
        }
    }
}

/// PEM files of the peer listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTlsFiles {
    /// The chain this node shows, as server and as client.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signed every member's certificate.
    pub ca: PathBuf,
    /// A DNS name that every member's certificate must carry. Default: none is demanded; a member's
    /// certificate is then told from a client's by its extended key usage, which must be both `serverAuth` and
    /// `clientAuth` (as `photonctl pki` issues them for peers).
    #[serde(default)]
    pub peer_name: Option<String>,
}

impl Peer {
    /// The certificates, read.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn tls(&self) -> Result<Option<PeerTls>, photon_raft::Error> {
        self.tls
            .as_ref()
            .map(|files| {
                PeerTls::from_files(
                    &files.certificate,
                    &files.key,
                    &files.ca,
                    files.peer_name.clone(),
                )
            })
            .transpose()
    }
}

/// Who may do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// `dev`: no credential is needed; refused unless every listener is loopback. `enforce`: nothing
    /// without a client certificate or a token. Default `dev`.
    pub mode: Mode,
}

impl Default for Auth {
    fn default() -> Self {
        Self { mode: Mode::Dev }
    }
}

/// How large requests may be and how many may be under way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest write in bytes, encoded. Default 1.5 MiB, as etcd.
    pub request_bytes: usize,
    /// Most operations and compares of a transaction. Default 128, as etcd.
    pub txn_ops: usize,
    /// Writes this node may have under way. Default 5000.
    pub proposals_in_flight: usize,
    /// Watches of one stream. Default 100,000.
    pub watches_per_stream: usize,
    /// Seconds without an event after which a watch that asked for it is told its progress. Default 600.
    pub watch_progress_seconds: u64,
    /// Seconds that a token of etcd's authentication lives since its last use on a member. Default 300, as etcd.
    pub token_ttl_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 1536 << 10,
            txn_ops: 128,
            proposals_in_flight: 5000,
            watches_per_stream: 100_000,
            watch_progress_seconds: 600,
            token_ttl_seconds: 300,
        }
    }
}

/// Consensus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// Milliseconds between heartbeats of the leader. Default 100.
    pub heartbeat_ms: u64,
    /// Milliseconds without a heartbeat after which a member stands for election: from 1.1 to 1.4 times as many, at
    /// random. Default 1000.
    pub election_timeout_ms: u64,
    /// Log entries after which the store is flushed and the log cut. Default 100,000.
    pub snapshot_every: u64,
    /// Entries kept behind the cut for members that lag. Default 50,000.
    pub keep_entries: u64,
    /// Megabytes of log entries kept in memory. Default 64.
    pub log_cache_mib: usize,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_timeout_ms: 1000,
            snapshot_every: 100_000,
            keep_entries: 50_000,
            log_cache_mib: 64,
        }
    }
}

/// Memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Mebibytes of blocks read from disk. Default 64.
    pub block_mib: usize,
    /// Mebibytes of writes collected before they go to disk. Default 48.
    pub memtable_mib: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            block_mib: 64,
            memtable_mib: 40,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The setting, as written in the file.
    pub field: Cow<'static, str>,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

const NO_DATA_DIR: &str = "is required, here or as --data-dir";

fn invalid(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Invalid {
    Invalid {
        field: field.into(),
        problem: problem.into(),
    }
}

impl Config {
    /// The defaults over a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            node_id: default_node_id(),
            name: String::new(),
            cluster: Cluster::default(),
            rest: default_rest(),
            grpc: default_grpc(),
            peer: Peer::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            http: LimitsConfig::default(),
            raft: Raft::default(),
            cache: Cache::default(),
            quota_bytes: default_quota(),
            history_retention_hours: default_retention(),
            log: default_log(),
        }
    }

    /// Refuses what cannot work, before anything is opened.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", NO_DATA_DIR));
        }
        self.validate_values()
    }

    /// All of it but the data directory, which the command line may still give.
    fn validate_values(&self) -> Result<(), Invalid> {
        if self.node_id == 0 || self.node_id >= MAX_ID {
            return Err(invalid("node_id", "must be 1 to 2^53 - 1"));
        }
        if self.raft.heartbeat_ms == 0 {
            return Err(invalid("raft.heartbeat_ms", "must be at least 1"));
        }
        if self.raft.election_timeout_ms < 5 * self.raft.heartbeat_ms {
            return Err(invalid(
                "raft.election_timeout_ms",
                "must be at least five heartbeats",
            ));
        }
        if self.limits.request_bytes < 1024 || self.limits.request_bytes > 64 << 20 {
            return Err(invalid("limits.request_bytes", "must be 1 KiB to 64 MiB"));
        }
        // A token must at least live until its first use; beyond a day nothing ends a forgotten one.
        if !(1..=86_400).contains(&self.limits.token_ttl_seconds) {
            return Err(invalid("limits.token_ttl_seconds", "must be 1 to 86400"));
        }
        if self.limits.txn_ops == 0 || self.limits.proposals_in_flight == 0 {
            return Err(invalid("limits", "must be at least 1"));
        }
        if let Some(limit) = self.http.zero() {
            return Err(invalid(format!("http.{limit}"), "must be at least 1"));
        }
        if let Some(problem) = self.log.misunderstood() {
            return Err(invalid("log.level", problem));
        }
        self.validate_listeners()
    }

    fn validate_listeners(&self) -> Result<(), Invalid> {
        let listeners = [
            (
                "rest.address",
                "rest.advertise",
                self.rest.address,
                &self.rest.advertise,
            ),
            (
                "grpc.address",
                "grpc.advertise",
                self.grpc.address,
                &self.grpc.advertise,
            ),
            (
                "peer.address",
                "peer.advertise",
                self.peer.address,
                &self.peer.advertise,
            ),
        ];
        for (address_field, advertise_field, address, advertise) in listeners {
            if self.auth.mode == Mode::Dev && !address.ip().is_loopback() {
                return Err(invalid(
                    address_field,
                    format!(
                        "{address} is not loopback; auth.mode = \"dev\" asks nobody who they are, so use \"enforce\""
                    ),
                ));
            }
            match advertise {
                Some(advertise) => check_advertised(advertise_field, advertise)?,
                None if address.ip().is_unspecified() => {
                    return Err(invalid(
                        advertise_field,
                        format!("is required because {address} is no address others can reach"),
                    ));
                }
                None => {}
            }
        }
        let clash = |(field, other, one, two): (_, &str, SocketAddr, SocketAddr)| {
            let same =
                one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified();
            let taken = one.port() != 0 && one.port() == two.port() && same;
            taken.then(|| invalid(field, format!("{one} is taken by {other}")))
        };
        let (rest, grpc, peer) = (self.rest.address, self.grpc.address, self.peer.address);
        let pairs = [
            ("grpc.address", "rest.address", grpc, rest),
            ("peer.address", "rest.address", peer, rest),
            ("peer.address", "grpc.address", peer, grpc),
        ];
        if let Some(clash) = pairs.into_iter().find_map(clash) {
            return Err(clash);
        }
        if self.auth.mode == Mode::Enforce {
            for (field, tls) in [
                ("rest.tls", self.rest.tls.is_some()),
                ("grpc.tls", self.grpc.tls.is_some()),
                ("peer.tls", self.peer.tls.is_some()),
            ] {
                if !tls {
                    return Err(invalid(field, "is required in auth.mode = \"enforce\""));
                }
            }
        }
        Ok(())
    }

    /// Looks at what the settings name: certificates and the data directory. Leaves nothing behind.
    ///
    /// # Errors
    /// The first thing that a start would fail with, or that callers and other members would refuse.
    pub fn check(&self) -> Result<(), Invalid> {
        for (field, listener) in [("rest.tls", &self.rest), ("grpc.tls", &self.grpc)] {
            if let Some(tls) = &listener.tls {
                photon_server::listen::check_tls(tls)
                    .map_err(|error| invalid(field, in_one_line(&error)))?;
            }
        }
        self.check_peer_tls()
            .map_err(|problem| invalid("peer.tls", problem))?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", NO_DATA_DIR));
        }
        check_data_dir(&self.data_dir).map_err(|problem| invalid("data_dir", problem))
    }

    fn check_peer_tls(&self) -> Result<(), String> {
        let (Some(files), Some(tls)) = (
            &self.peer.tls,
            self.peer.tls().map_err(|error| error.to_string())?,
        ) else {
            return Ok(());
        };
        tls.check()
            .map_err(|error| format!("{error} ({} and beside it)", files.certificate.display()))?;
        let name = files.peer_name.as_deref();
        photon_server::listen::check_member(&files.certificate, &files.ca, name).map_err(|error| {
            match error {
                TlsError::Name { .. } => format!("peer_name: {}", in_one_line(&error)),
                error => in_one_line(&error),
            }
        })
    }

    /// The name for people.
    pub fn display_name(&self) -> String {
        if self.name.is_empty() {
            format!("node-{}", self.node_id)
        } else {
            self.name.clone()
        }
    }

    /// How long a request may take: etcd's five seconds and two elections.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(5000 + 2 * self.raft.election_timeout_ms)
    }

    /// How long the cluster may be without a leader before streams that require one end.
    pub fn leaderless_limit(&self) -> Duration {
        Duration::from_millis(3 * self.raft.election_timeout_ms)
    }

    /// The shortest lease: one and a half election timeouts, so that a change of leader does not end it.
    pub fn min_lease_ttl_seconds(&self) -> i64 {
        let milliseconds = self.raft.election_timeout_ms * 3 / 2;
        i64::try_from(milliseconds.div_ceil(1000)).unwrap_or(i64::MAX)
    }

    /// How much history is kept; `None`: all of it.
    pub fn history_retention(&self) -> Option<Duration> {
        (self.history_retention_hours > 0)
            .then(|| Duration::from_secs(self.history_retention_hours.saturating_mul(3600)))
    }

    /// Where the state machine lives.
    pub fn state_dir(&self) -> PathBuf {
        self.data_dir.join("state")
    }

    /// Where snapshots that are read by clients are put together.
    pub fn snapshot_dir(&self) -> PathBuf {
        self.data_dir.join("outgoing")
    }

    /// What the engine is opened with.
    pub fn engine_options(&self) -> chainfire_engine::Options {
        chainfire_engine::Options {
            block_cache_bytes: self.cache.block_mib << 20,
            memtable_bytes: self.cache.memtable_mib << 20,
            quota_bytes: i64::try_from(self.quota_bytes).unwrap_or(i64::MAX),
            max_txn_ops: self.limits.txn_ops,
            token_ttl: Duration::from_secs(self.limits.token_ttl_seconds),
            watch: WatchOptions {
                watchers_per_stream: self.limits.watches_per_stream,
                progress_interval: Duration::from_secs(self.limits.watch_progress_seconds),
                ..WatchOptions::default()
            },
            ..chainfire_engine::Options::default()
        }
    }

    /// What the Raft group is started with, given where the listeners really are.
    pub fn raft_config(&self, grpc: SocketAddr, peer: SocketAddr) -> photon_raft::Config {
        let election = self.raft.election_timeout_ms;
        photon_raft::Config {
            name: self.display_name(),
            advertise_client: vec![self.advertised_grpc(grpc)],
            heartbeat: Duration::from_millis(self.raft.heartbeat_ms),
            // A voter gives its vote to nobody for election_max after the leader's last word, and stands itself
            // election_min to election_max later: 1.1 to 1.4 timeouts in all.
            election_min: Duration::from_millis(election * 4 / 10),
            election_max: Duration::from_millis(election * 7 / 10),
            snapshot_every: self.raft.snapshot_every,
            keep_entries: self.raft.keep_entries,
            log_cache_bytes: self.raft.log_cache_mib << 20,
            max_command_bytes: self.limits.request_bytes + (64 << 10),
            ..photon_raft::Config::new(
                GROUP,
                self.node_id,
                &self.data_dir,
                self.advertised_peer(peer),
            )
        }
    }

    /// `host:port` for clients.
    pub fn advertised_grpc(&self, bound: SocketAddr) -> String {
        self.grpc
            .advertise
            .clone()
            .unwrap_or_else(|| bound.to_string())
    }

    /// `host:port` for other members.
    pub fn advertised_peer(&self, bound: SocketAddr) -> String {
        self.peer
            .advertise
            .clone()
            .unwrap_or_else(|| bound.to_string())
    }

    /// `http` or `https`, for the addresses clients are told.
    pub fn client_scheme(&self) -> &'static str {
        if self.grpc.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// `http` or `https`, for the addresses etcd's clients are shown as peer URLs.
    pub fn peer_scheme(&self) -> &'static str {
        if self.peer.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

/// Refuses an address that others could not call: it has to be `host:port`, of a host that is one.
///
/// # Errors
/// What it has to be, under the name of its setting.
pub fn check_advertised(field: &'static str, address: &str) -> Result<(), Invalid> {
    if !is_host_and_port(address) {
        return Err(invalid(
            field,
            format!("must be host:port, without a scheme, not {address:?}"),
        ));
    }
    let unspecified = address
        .parse()
        .is_ok_and(|address: SocketAddr| address.ip().is_unspecified());
    if unspecified {
        return Err(invalid(
            field,
            format!("{address} is no address others can reach"),
        ));
    }
    Ok(())
}

/// Whether this could be called: a name or an address, IPv6 in brackets, and a port that is not 0.
pub(crate) fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let good_host = match bracketed {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => {
            let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(named)
        }
    };
    good_host
        && port.bytes().all(|digit| digit.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether this user could start a node in the directory, which may not be there yet. Another user's is refused also
/// where its permissions allow it: what this one writes there the other could not read again.
fn check_data_dir(path: &Path) -> Result<(), String> {
    let there = path.ancestors().find(|path| path.exists());
    // What is relative begins here.
    let there = there.filter(|path| !path.as_os_str().is_empty());
    let there = there.unwrap_or(Path::new("."));
    let shown = there.display();
    let metadata = std::fs::metadata(there).map_err(|error| format!("{shown}: {error}"))?;
    if !metadata.is_dir() {
        return Err(format!("{shown} is no directory"));
    }
    let (me, owner) = (geteuid(), std::os::unix::fs::MetadataExt::uid(&metadata));
    if there == path && !me.is_root() && owner != me.as_raw() {
        return Err(format!(
            "{shown} belongs to user id {owner}, and this is user id {me}"
        ));
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        format!(
            "{shown} cannot be written to by this user: {}",
            error.desc()
        )
    })?;
    takes_files(there).map_err(|error| format!("nothing can be made in {shown}: {error}"))
}

/// Makes something there and takes it away: permissions do not tell whether a file system takes files, as `/proc`.
fn takes_files(dir: &Path) -> std::io::Result<()> {
    // Named like the lock, because this may be the data directory of a node that begins in this moment.
    let probe = dir.join(format!("LOCK.check-{}", std::process::id()));
    std::fs::create_dir(&probe)?;
    std::fs::remove_dir(&probe)
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_values()
            .map_err(|error| ConfigError::Invalid(error.to_string()))
    }

    fn check(&self) -> Result<(), ConfigError> {
        Self::check(self).map_err(|error| ConfigError::Invalid(error.to_string()))
    }
}

/// Reads a file, if one is given, and `CHAINFIRE__…` from the environment.
///
/// # Errors
/// What the file says that cannot be.
pub fn load(path: Option<&Path>) -> anyhow::Result<Config> {
    let config: Config = photon_server::config::load(path, "CHAINFIRE")?;
    Config::validate(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use super::*;

    const EXAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/config/chainfire.toml"
    );

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path())).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_data_directory_is_enough() {
        let config = read("data_dir = \"/x\"").unwrap();
        assert_eq!(config.rest.address, loopback(8081));
        assert_eq!(config.grpc.address, loopback(50051));
        assert_eq!(config.peer.address, loopback(2380));
        assert_eq!(config.auth.mode, Mode::Dev);
        assert_eq!(config.display_name(), "node-1");
        assert_eq!(config.request_timeout(), Duration::from_secs(7));
        assert_eq!(config.min_lease_ttl_seconds(), 2);
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::new("/x")));
    }

    #[test]
    fn the_example_parses_and_shows_the_defaults() {
        let example = load(Some(Path::new(EXAMPLE))).unwrap();
        let mut defaults = Config::new("/var/lib/chainfire");
        // What the example has to show although the default is derived.
        defaults.name = "node-1".to_owned();
        defaults.rest.advertise = Some("127.0.0.1:8081".to_owned());
        defaults.grpc.advertise = Some("127.0.0.1:50051".to_owned());
        defaults.peer.advertise = Some("127.0.0.1:2380".to_owned());
        assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn unknown_keys_are_refused_everywhere() {
        for section in [
            "",
            "[rest]\naddress = \"127.0.0.1:1\"",
            "[grpc]\naddress = \"127.0.0.1:1\"",
            "[peer]",
            "[auth]",
            "[limits]",
            "[http]",
            "[raft]",
            "[cache]",
            "[log]",
        ] {
            let error =
                read(&format!("data_dir = \"/x\"\n{section}\nno_such_key = 1\n")).unwrap_err();
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }

    #[test]
    fn a_lost_leader_is_replaced_soon_and_not_for_a_hiccup() {
        let address: SocketAddr = loopback(1);
        for (heartbeat_ms, election_timeout_ms) in [(100, 1000), (1, 5), (3, 15), (500, 5000)] {
            let mut config = Config::new("/x");
            config.raft.heartbeat_ms = heartbeat_ms;
            config.raft.election_timeout_ms = election_timeout_ms;
            config.validate().unwrap();
            let raft = config.raft_config(address, address);
            let timeout = Duration::from_millis(election_timeout_ms);
            // What photon-raft makes of them: nobody stands earlier, and everybody has by then.
            let (first, last) = (raft.election_max + raft.election_min, raft.election_max * 2);
            assert!(first >= timeout && last <= timeout * 3 / 2, "{raft:?}");
            // It refuses what is closer.
            assert!(raft.election_min > raft.heartbeat && raft.election_max >= raft.heartbeat * 3);
            assert!(raft.election_min < raft.election_max);
        }
    }

    #[test]
    fn dev_mode_stays_on_loopback() {
        let error = read("data_dir = \"/x\"\n[rest]\naddress = \"10.0.0.1:8081\"").unwrap_err();
        assert!(
            error.contains("rest.address") && error.contains("loopback"),
            "{error}"
        );
    }

    #[test]
    fn enforce_needs_certificates_everywhere() {
        let error = read("data_dir = \"/x\"\n[auth]\nmode = \"enforce\"").unwrap_err();
        assert!(error.contains("rest.tls"), "{error}");
    }

    #[test]
    fn impossible_values_are_named() {
        for (text, field) in [
            ("node_id = 0", "node_id"),
            ("node_id = 9007199254740992", "node_id"),
            ("[raft]\nheartbeat_ms = 0", "raft.heartbeat_ms"),
            (
                "[raft]\nelection_timeout_ms = 100",
                "raft.election_timeout_ms",
            ),
            ("[limits]\nrequest_bytes = 1", "limits.request_bytes"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            ("[http]\nidle_timeout_ms = 0", "http.idle_timeout_ms"),
            ("[log]\nlevel = \"info,openraft=loud\"", "log.level"),
            ("[peer]\naddress = \"127.0.0.1:50051\"", "peer.address"),
            ("[grpc]\naddress = \"127.0.0.1:8081\"", "grpc.address"),
            ("[peer]\nadvertise = \"nonsense\"", "peer.advertise"),
            ("[peer]\nadvertise = \"https://a:1\"", "peer.advertise"),
            ("[peer]\nadvertise = \"a:0\"", "peer.advertise"),
            ("[peer]\nadvertise = \"a b:1\"", "peer.advertise"),
            ("[peer]\nadvertise = \"0.0.0.0:2380\"", "peer.advertise"),
            ("[peer]\nadvertise = \"[::]:2380\"", "peer.advertise"),
            (
                "[grpc]\naddress = \"127.0.0.1:1\"\nadvertise = \"nonsense\"",
                "grpc.advertise",
            ),
            (
                "[rest]\naddress = \"127.0.0.1:1\"\nadvertise = \"\"",
                "rest.advertise",
            ),
        ] {
            let error = read(&format!("data_dir = \"/x\"\n{text}")).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn any_address_needs_one_to_tell_others() {
        let mut config = Config::new("/x");
        config.auth.mode = Mode::Enforce;
        config.grpc.address = "0.0.0.0:50051".parse().unwrap();
        let error = config.validate().unwrap_err();
        assert_eq!(error.field, "grpc.advertise");
    }

    #[test]
    fn listeners_share_a_port_on_different_addresses_only() {
        let mut config = Config::new("/x");
        config.rest.address = "127.0.0.2:50051".parse().unwrap();
        config.validate().unwrap();
        config.rest.address = "[::]:50051".parse().unwrap();
        config.auth.mode = Mode::Enforce;
        config.rest.advertise = Some("host:50051".to_owned());
        let error = config.validate().unwrap_err();
        assert!(error.problem.contains("taken by rest.address"), "{error}");
        for listener in [&mut config.rest, &mut config.grpc] {
            listener.address.set_port(0);
        }
        let error = config.validate().unwrap_err();
        assert_eq!(error.field, "rest.tls");
    }

    #[test]
    fn a_data_directory_that_cannot_be_is_found() {
        let dir = tempfile::tempdir().unwrap();
        // Missing is fine: it is made at the start.
        Config::new(dir.path().join("a/b")).check().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = Config::new(&path).check().unwrap_err();
            assert_eq!(error.field, "data_dir", "{}: {error}", path.display());
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "the check leaves nothing behind"
        );
        // Permissions alone would let root.
        let error = Config::new("/proc/x").check().unwrap_err();
        assert_eq!(error.field, "data_dir", "{error}");
    }

    #[test]
    fn a_configuration_without_a_data_directory_is_not_good() {
        // It loads, because the command line may still give one.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# nothing\n").unwrap();
        let config: Config =
            photon_server::config::load_from(Some(file.path()), "NONE", []).unwrap();
        ServiceConfig::validate(&config).unwrap();
        let error = ServiceConfig::check(&config).unwrap_err().to_string();
        assert!(error.contains("data_dir: is required"), "{error}");
    }

    #[test]
    fn addresses_that_can_be_called_are_taken() {
        for good in [
            "a:1",
            "10.0.0.1:2380",
            "[fe80::1]:2380",
            "node-1.example:65535",
        ] {
            check_advertised("peer.advertise", good).unwrap();
        }
    }

    /// What is there, can be read and belongs together, and still does not do for what it is named for.
    #[test]
    fn certificates_for_something_else_are_found() {
        let pki = photon_testkit::pki::TestPki::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (server, client) = (pki.server("s", &[]).unwrap(), pki.client("root").unwrap());
        let member = pki.peer("node-1", &[]).unwrap();
        let as_peer = |files: &photon_testkit::pki::Files, peer_name: Option<&str>| {
            let mut config = Config::new(dir.path());
            config.peer.tls = Some(PeerTlsFiles {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                ca: files.authority.clone(),
                peer_name: peer_name.map(str::to_owned),
            });
            config.check()
        };
        as_peer(&member, None).unwrap();
        as_peer(&member, Some("localhost")).unwrap();
        for files in [&server, &client] {
            let error = as_peer(files, None).unwrap_err();
            assert_eq!(error.field, "peer.tls");
            assert!(error.problem.contains("extended key usage"), "{error}");
        }
        let error = as_peer(&member, Some("peer.chainfire")).unwrap_err();
        assert!(error.problem.contains("peer_name"), "{error}");
        let mut config = Config::new(dir.path());
        config.rest.tls = Some(TlsConfig {
            certificate: client.certificate,
            key: client.key,
            client_ca: None,
            require_client_certificate: false,
        });
        let error = config.check().unwrap_err();
        assert_eq!(error.field, "rest.tls");
        assert!(error.problem.contains("serverAuth"), "{error}");
    }

    /// Files of a node, by an authority of their own.
    fn certificates_of(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
        let pki = photon_testkit::pki::TestPki::new().unwrap();
        let files = pki
            .peer("node-1", &[IpAddr::V4(Ipv4Addr::LOCALHOST)])
            .unwrap();
        let copy = |from: &Path, name: &str| {
            let to = dir.join(name);
            std::fs::copy(from, &to).unwrap();
            to
        };
        (
            copy(&files.certificate, "crt"),
            copy(&files.key, "key"),
            copy(&files.authority, "ca"),
        )
    }

    #[test]
    fn certificates_that_cannot_be_used_are_found() {
        photon_server::main_with::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key, ca) = certificates_of(dir.path());
        let data = dir.path().join("data");
        let listener = |certificate: &Path, key: &Path| {
            let mut config = Config::new(&data);
            config.grpc.tls = Some(TlsConfig {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                client_ca: Some(ca.clone()),
                require_client_certificate: false,
            });
            config.check()
        };
        let peer = |certificate: &Path, key: &Path| {
            let mut config = Config::new(&data);
            config.peer.tls = Some(PeerTlsFiles {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                ca: ca.clone(),
                peer_name: None,
            });
            config.check()
        };
        listener(&certificate, &key).unwrap();
        peer(&certificate, &key).unwrap();

        let other = tempfile::tempdir().unwrap();
        let (_, other_key, _) = certificates_of(other.path());
        let garbage = dir.path().join("garbage");
        std::fs::write(&garbage, "no PEM").unwrap();
        let missing = dir.path().join("missing");
        for (certificate, key) in [
            (&missing, &key),
            (&certificate, &missing),
            (&garbage, &key),
            (&certificate, &garbage),
            (&certificate, &other_key),
        ] {
            assert_eq!(listener(certificate, key).unwrap_err().field, "grpc.tls");
            assert_eq!(peer(certificate, key).unwrap_err().field, "peer.tls");
        }
    }
}
