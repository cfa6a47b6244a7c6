//! Every setting. `deploy/config/creditservice.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use creditservice_ledger::{Limit, ResourceKind};
use photon_core::error::in_one_line;
use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig, Mode},
    listen::check_tls,
};
use photon_store::{Options, TlsFiles};
use serde::Deserialize;

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
    pub auth: Auth,
    /// The `iss` of the tokens that are accepted, as IAM is told it. Default `https://iam.photon.internal`.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// How processes share the shards.
    #[serde(default)]
    pub shards: ShardsConfig,
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
            auth: Auth::default(),
            issuer: default_issuer(),
            shards: ShardsConfig::default(),
            billing: BillingConfig::default(),
            quotas: QuotasConfig::default(),
            http: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// `[auth]`: who may do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// `dev`: a request without a credential is the local operator, and unknown orgs and projects are taken as they come;
    /// refused unless every listener is loopback. `enforce`: nothing without a token or a client certificate, and nobody
    /// may do what no binding gives. Default `dev`.
    pub mode: Mode,
    /// Seconds for which decisions are made from what is known while the store cannot be reached; then everything is
    /// refused. 1 to 3600. Default 60.
    pub max_staleness_seconds: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: Mode::Dev,
            max_staleness_seconds: 60,
        }
    }
}

/// `[shards]`: how processes share the shards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardsConfig {
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

/// `[store]`: ChainFire, or etcd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Client URLs of its members, `http://host:port` or `https://host:port`. Default `http://127.0.0.1:50051`.
    pub endpoints: Vec<String>,
    /// Certificates; required for `https`. Towards other processes of this service they are shown too.
    pub tls: Option<StoreTls>,
    /// Milliseconds one call of the store may take, its retries included. Default 5000.
    pub request_timeout_ms: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:50051".to_owned()],
            tls: None,
            request_timeout_ms: 5_000,
        }
    }
}

/// PEM files for a store over TLS. They are read again when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreTls {
    /// The authority that signed the members' certificates.
    pub ca: PathBuf,
    /// Our certificate; its common name is the user in the store.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name to expect in the members' certificates, if it is not the host in the URL.
    #[serde(default)]
    pub server_name: Option<String>,
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::Invalid(format!("{field}: {problem}"))
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

    fn check_listeners(&self) -> Result<(), ConfigError> {
        for (name, listener) in [("rest", &self.rest), ("grpc", &self.grpc)] {
            let address = listener.address;
            if address.ip().to_canonical().is_loopback() {
                continue;
            }
            match self.auth.mode {
                Mode::Dev => {
                    return Err(invalid(
                        &format!("{name}.address"),
                        format!(
                            "{address} is not loopback: auth.mode = \"dev\" lets everybody who can connect do everything"
                        ),
                    ));
                }
                Mode::Enforce if listener.tls.is_none() => {
                    return Err(invalid(
                        &format!("{name}.tls"),
                        format!(
                            "is required: tokens would cross the network to {address} in the clear"
                        ),
                    ));
                }
                Mode::Enforce => {}
            }
        }
        let (rest, grpc) = (self.rest.address, self.grpc.address);
        if rest == grpc && rest.port() != 0 {
            return Err(invalid(
                "grpc.address",
                format!("{grpc} is taken by rest.address"),
            ));
        }
        Ok(())
    }
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_listeners()?;
        self.store.validate(self.auth.mode)?;
        self.shards.validate(&self.grpc)?;
        if !(1..=3600).contains(&self.auth.max_staleness_seconds) {
            return Err(invalid("auth.max_staleness_seconds", "must be 1 to 3600"));
        }
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
        for (field, listener) in [("rest.tls", &self.rest), ("grpc.tls", &self.grpc)] {
            if let Some(tls) = &listener.tls {
                check_tls(tls).map_err(|error| invalid(field, in_one_line(&error)))?;
            }
        }
        self.store.options()?;
        Ok(())
    }
}

impl ShardsConfig {
    fn validate(&self, grpc: &ListenConfig) -> Result<(), ConfigError> {
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

impl StoreConfig {
    fn validate(&self, mode: Mode) -> Result<(), ConfigError> {
        const FIELD: &str = "store.endpoints";
        if self.endpoints.is_empty() {
            return Err(invalid(FIELD, "must not be empty"));
        }
        for endpoint in &self.endpoints {
            let uri: http::Uri = endpoint
                .parse()
                .map_err(|error| invalid(FIELD, format!("{endpoint:?}: {error}")))?;
            let host = uri.host().unwrap_or_default();
            match uri.scheme_str() {
                Some("https") if self.tls.is_none() => {
                    return Err(invalid("store.tls", format!("is required for {endpoint}")));
                }
                Some("http") if mode == Mode::Enforce && !is_loopback(host) => {
                    let problem = format!("{endpoint} must be https in enforce mode");
                    return Err(invalid(FIELD, problem));
                }
                Some("http" | "https") => {}
                _ => {
                    let problem = format!("{endpoint:?} must begin with http:// or https://");
                    return Err(invalid(FIELD, problem));
                }
            }
        }
        if self.request_timeout_ms == 0 {
            return Err(invalid("store.request_timeout_ms", "must not be 0"));
        }
        Ok(())
    }

    /// The files of the certificates.
    #[must_use]
    pub fn tls_files(&self) -> Option<TlsFiles> {
        self.tls.as_ref().map(|tls| TlsFiles {
            authority: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            server_name: tls.server_name.clone(),
        })
    }

    /// How to connect, with the files read.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn options(&self) -> Result<Options, ConfigError> {
        let tls = self.tls_files().map(|files| files.read()).transpose();
        Ok(Options {
            tls: tls.map_err(|error| invalid("store.tls", error))?,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            ..Options::new(&self.endpoints)
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An address of ours as others are told it: no query, no fragment, no slash at its end.
fn check_url(field: &str, text: &str) -> Result<(), ConfigError> {
    let refuse = |problem: &str| Err(invalid(field, format!("{text:?} {problem}")));
    let Ok(uri) = text.parse::<http::Uri>() else {
        return refuse("is not a URL");
    };
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some() => {}
        _ => return refuse("must begin with http:// or https:// and name a host"),
    }
    if text.contains(['?', '#']) || text.ends_with('/') {
        return refuse("must end with a host or a path, without a slash");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

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
            ("[shards]\nlease_seconds = 1", "shards.lease_seconds"),
            ("[shards]\nsnapshot_entries = 0", "shards.snapshot_entries"),
            ("[shards]\nadvertise = \"here\"", "shards.advertise"),
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
