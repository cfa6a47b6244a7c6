//! Every setting. `deploy/config/creditservice.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use creditservice_ledger::{Limit, ResourceKind};
use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig},
};
use photon_service::config::{
    AuthConfig, StoreConfig, check_listener_files, check_listeners, check_url, invalid,
};
use serde::Deserialize;

use crate::export::ExportConfig;

/// The settings of one process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// REST. Default 127.0.0.1:8086.
    #[serde(default = "default_rest")]
    pub rest: ListenConfig,
    /// gRPC. Default 127.0.0.1:50057.
    #[serde(default = "default_grpc")]
    pub grpc: ListenConfig,
    /// Where the state is kept.
    #[serde(default)]
    pub store: StoreConfig,
    /// Who may do what.
    #[serde(default)]
    pub auth: AuthConfig,
    /// The `iss` of the tokens that are accepted, as IAM is told it. Default `https://iam.photon.internal`.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// How processes share the shards.
    #[serde(default)]
    pub shards: ShardsConfig,
    /// How long blocks of the journal stay in the store.
    #[serde(default)]
    pub export: ExportConfig,
    /// What projects without a wallet may do.
    #[serde(default)]
    pub billing: BillingConfig,
    /// What projects may have.
    #[serde(default)]
    pub quotas: QuotasConfig,
    /// Connections, bodies and timeouts of the listeners.
    #[serde(default)]
    pub http: LimitsConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
}

fn loopback(port: u16) -> ListenConfig {
    ListenConfig::plain(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

fn default_rest() -> ListenConfig {
    loopback(8086)
}

fn default_grpc() -> ListenConfig {
    loopback(50057)
}

fn default_issuer() -> String {
    photon_auth::DEFAULT_ISSUER.to_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rest: default_rest(),
            grpc: default_grpc(),
            store: StoreConfig::default(),
            auth: AuthConfig::default(),
            issuer: default_issuer(),
            shards: ShardsConfig::default(),
            export: ExportConfig::default(),
            billing: BillingConfig::default(),
            quotas: QuotasConfig::default(),
            http: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// `[shards]`: how processes share the shards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardsConfig {
    /// Into how many shards projects are spread; taken by the very first start over a store, and nothing after it. Each has
    /// one owner at a time, so it is the most processes that share the work; and with fewer of them more commands
    /// come into one transaction. 1 to 1024. Default 4.
    pub count: u16,
    /// Seconds after which the shards of a process that is gone are taken over by others. 2 to 60. Default 3.
    pub lease_seconds: u64,
    /// The URL at which other processes of this service reach the gRPC listener. Default: its own address, which serves
    /// only if that is one address and no wildcard.
    pub advertise: Option<String>,
    /// Entries after which the state of a shard is written as a whole, so that whoever takes it over reads no more of its
    /// journal. 1 to 1,000,000. Default 16,384.
    pub snapshot_entries: u64,
}

impl Default for ShardsConfig {
    fn default() -> Self {
        Self {
            count: 4,
            lease_seconds: 3,
            advertise: None,
            snapshot_entries: 16_384,
        }
    }
}

/// `[billing]`: what projects without a wallet may do.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BillingConfig {
    /// Whether services are refused to create things for a project without a wallet. Default: not in dev mode, and in
    /// enforce mode.
    pub required: Option<bool>,
}

/// `[quotas]`: what projects may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotasConfig {
    /// The kinds of units that are registered at the start, each with the limit of projects without one of their own: a
    /// whole number, or `"unlimited"`. A kind that is registered already stays as it is. Default: what the services
    /// of the suite count, with [`DEFAULT_LIMITS`].
    pub defaults: BTreeMap<ResourceKind, Limit>,
}

/// What the services of the suite count, and how much of it a project may have if nobody says: plenty for one who builds,
/// little for a loop that went wrong.
pub const DEFAULT_LIMITS: [(&str, i64); 17] = [
    ("vm", 50),
    ("vcpu", 100),
    ("memory_mib", 262_144),
    ("disk_gib", 4_096),
    ("volume", 200),
    ("snapshot", 500),
    ("image", 100),
    ("vpc", 20),
    ("subnet", 200),
    ("port", 2_000),
    ("security_group", 200),
    ("security_group_rule", 4_000),
    ("route", 400),
    ("floating_ip", 50),
    ("pod", 1_000),
    ("service", 500),
    ("namespace", 100),
];

impl Default for QuotasConfig {
    fn default() -> Self {
        let named = |(kind, limit): (&str, i64)| {
            let kind = ResourceKind::new(kind).ok()?;
            Some((kind, Limit::at_most(limit).ok()?))
        };
        Self {
            defaults: DEFAULT_LIMITS.into_iter().filter_map(named).collect(),
        }
    }
}

impl Config {
    /// Reads a file, if one is given, and `CREDITSERVICE__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, "CREDITSERVICE")?;
        ServiceConfig::validate(&config)?;
        Ok(config)
    }
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_listeners(self.auth.mode, &self.rest, &self.grpc)?;
        self.store.validate(self.auth.mode)?;
        self.shards.validate(&self.grpc)?;
        self.export.validate()?;
        self.auth.validate()?;
        check_url("issuer", &self.issuer)?;
        if let Some(name) = self.http.zero() {
            return Err(invalid(&format!("http.{name}"), "must not be 0"));
        }
        match self.log.misunderstood() {
            Some(problem) => Err(invalid("log.level", problem)),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_listener_files(&self.rest, &self.grpc)?;
        self.export.check()?;
        self.store.options()?;
        Ok(())
    }
}

impl ShardsConfig {
    fn validate(&self, grpc: &ListenConfig) -> Result<(), ConfigError> {
        if !(1..=1024).contains(&self.count) {
            return Err(invalid("shards.count", "must be 1 to 1024"));
        }
        if !(2..=60).contains(&self.lease_seconds) {
            return Err(invalid("shards.lease_seconds", "must be 2 to 60"));
        }
        if !(1..=1_000_000).contains(&self.snapshot_entries) {
            return Err(invalid("shards.snapshot_entries", "must be 1 to 1000000"));
        }
        match &self.advertise {
            Some(url) => check_url("shards.advertise", url),
            None if grpc.address.ip().is_unspecified() => Err(invalid(
                "shards.advertise",
                format!(
                    "is required: {} is no address that others can reach this process at",
                    grpc.address
                ),
            )),
            None => Ok(()),
        }
    }

    /// [`ShardsConfig::lease_seconds`] as a duration.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use photon_core::error::in_one_line;
    use photon_server::Mode;

    use super::*;

    const EXAMPLE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/config/creditservice.toml"
    );

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path())).map_err(|error| in_one_line(&error))
    }

    #[test]
    fn nothing_is_needed_for_dev_mode_on_loopback() {
        let config = read("").unwrap();
        assert_eq!(config.rest.address.to_string(), "127.0.0.1:8086");
        assert_eq!(config.grpc.address.to_string(), "127.0.0.1:50057");
        assert_eq!(config.auth.mode, Mode::Dev);
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_example_parses_and_shows_the_defaults() {
        let example = Config::load(Some(Path::new(EXAMPLE))).unwrap();
        assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn unknown_keys_are_refused_everywhere() {
        for section in [
            "",
            "[rest]\naddress = \"127.0.0.1:1\"",
            "[grpc]\naddress = \"127.0.0.1:1\"",
            "[store]",
            "[store.tls]\nca = \"x\"\ncertificate = \"x\"\nkey = \"x\"",
            "[auth]",
            "[shards]",
            "[export]",
            "[billing]",
            "[http]",
            "[log]",
        ] {
            let error = read(&format!("{section}\nno_such_key = 1\n")).unwrap_err();
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }

    #[test]
    fn impossible_values_are_named() {
        for (text, field) in [
            ("[rest]\naddress = \"10.0.0.1:8086\"", "rest.address"),
            ("[grpc]\naddress = \"127.0.0.1:8086\"", "grpc.address"),
            (
                "[auth]\nmax_staleness_seconds = 0",
                "auth.max_staleness_seconds",
            ),
            ("[shards]\ncount = 0", "shards.count"),
            ("[shards]\nlease_seconds = 1", "shards.lease_seconds"),
            ("[shards]\nsnapshot_entries = 0", "shards.snapshot_entries"),
            ("[shards]\nadvertise = \"here\"", "shards.advertise"),
            ("[export]\ndirectory = \"here\"", "export.directory"),
            ("[export]\nkeep_days = 36501", "export.keep_days"),
            ("[export]\nevery_seconds = 0", "export.every_seconds"),
            (
                "[auth]\nmode = \"enforce\"\n[grpc]\naddress = \"0.0.0.0:50057\"\n[grpc.tls]\ncertificate = \"a\"\nkey = \"b\"",
                "shards.advertise",
            ),
            ("[store]\nendpoints = []", "store.endpoints"),
            ("[store]\nendpoints = [\"https://a:1\"]", "store.tls"),
            (
                "[store]\nrequest_timeout_ms = 0",
                "store.request_timeout_ms",
            ),
            ("issuer = \"iam\"", "issuer"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            ("[log]\nlevel = \"info,creditservice=loud\"", "log.level"),
            (
                "[auth]\nmode = \"enforce\"\n[rest]\naddress = \"10.0.0.1:8086\"",
                "rest.tls",
            ),
            (
                "[auth]\nmode = \"enforce\"\n[store]\nendpoints = [\"http://10.0.0.1:50051\"]",
                "store.endpoints",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
        read("[auth]\nmode = \"enforce\"").unwrap();
    }
}
