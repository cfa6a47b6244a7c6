//! Every setting. `deploy/config/prismnet.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig},
};
use photon_service::{
    config::{AuthConfig, StoreConfig, check_listener_files, check_listeners, check_url, invalid},
    credit::QuotaConfig,
};
use prismnet_model::Block;
use serde::Deserialize;

/// The settings of one process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// REST. Default 127.0.0.1:8087.
    #[serde(default = "default_rest")]
    pub rest: ListenConfig,
    /// gRPC. Default 127.0.0.1:50056.
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
    /// What tenants' networks must keep away from.
    #[serde(default)]
    pub network: NetworkConfig,
    /// How much projects may have.
    #[serde(default)]
    pub quota: QuotaConfig,
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
    loopback(8087)
}

fn default_grpc() -> ListenConfig {
    loopback(50056)
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
            network: NetworkConfig::default(),
            quota: QuotaConfig::default(),
            http: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// `[network]`: what tenants' networks must keep away from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// The networks that the hosts themselves live in. No VPC may overlap one, and the tunnels of hosts lead only to
    /// addresses in them; in dev mode without any, hosts are believed. Default: none.
    pub underlay: Vec<Block>,
}

impl Config {
    /// Reads a file, if one is given, and `PRISMNET__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, "PRISMNET")?;
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
        self.quota.validate(self.auth.mode, &self.store)?;
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
        self.store.options()?;
        Ok(())
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
        "/../../deploy/config/prismnet.toml"
    );

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path())).map_err(|error| in_one_line(&error))
    }

    #[test]
    fn nothing_is_needed_for_dev_mode_on_loopback() {
        let config = read("").unwrap();
        assert_eq!(config.rest.address.to_string(), "127.0.0.1:8087");
        assert_eq!(config.grpc.address.to_string(), "127.0.0.1:50056");
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
            "[network]",
            "[quota]",
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
            ("[rest]\naddress = \"10.0.0.1:8087\"", "rest.address"),
            ("[grpc]\naddress = \"127.0.0.1:8087\"", "grpc.address"),
            (
                "[auth]\nmax_staleness_seconds = 0",
                "auth.max_staleness_seconds",
            ),
            ("[network]\nunderlay = [\"10.0.0.1/8\"]", "underlay"),
            ("[quota]\nendpoint = \"here\"", "quota.endpoint"),
            ("[quota]\nendpoint = \"https://a:1\"", "store.tls"),
            (
                "[quota]\nendpoint = \"http://a:1\"\nunlimited = true",
                "quota.unlimited",
            ),
            ("[auth]\nmode = \"enforce\"", "quota.endpoint"),
            (
                "[auth]\nmode = \"enforce\"\n[quota]\nendpoint = \"http://a:1\"",
                "quota.endpoint",
            ),
            ("[store]\nendpoints = []", "store.endpoints"),
            ("[store]\nendpoints = [\"https://a:1\"]", "store.tls"),
            (
                "[store]\nrequest_timeout_ms = 0",
                "store.request_timeout_ms",
            ),
            ("issuer = \"iam\"", "issuer"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            ("[log]\nlevel = \"info,prismnet=loud\"", "log.level"),
            (
                "[auth]\nmode = \"enforce\"\n[rest]\naddress = \"10.0.0.1:8087\"",
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
        read("[auth]\nmode = \"enforce\"\n[quota]\nunlimited = true").unwrap();
        read("[network]\nunderlay = [\"192.0.2.0/24\"]\n[quota]\nendpoint = \"http://127.0.0.1:50057\"").unwrap();
    }
}
