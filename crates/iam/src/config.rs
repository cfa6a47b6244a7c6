//! Every setting. `deploy/config/iam.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig, Mode},
};
use photon_service::config::{
    AuthConfig, StoreConfig, check_listener_files, check_listeners, check_url, invalid,
};
use serde::Deserialize;

use crate::{
    audit::AuditConfig, guess::GuessConfig, pki::PkiConfig, signing::SigningConfig,
    token::TokenConfig, user::UsersConfig,
};

/// The settings of one process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// REST. Default 127.0.0.1:8083.
    #[serde(default = "default_rest")]
    pub rest: ListenConfig,
    /// gRPC. Default 127.0.0.1:50053.
    #[serde(default = "default_grpc")]
    pub grpc: ListenConfig,
    /// Where the state is kept.
    #[serde(default)]
    pub store: StoreConfig,
    /// Who may do what.
    #[serde(default)]
    pub auth: AuthConfig,
    /// The `iss` of the tokens that are issued in enforce mode; every service is told the same. Default
    /// `https://iam.photon.internal`.
    #[serde(default = "default_issuer")]
    pub issuer: String,
    /// Where clients reach this service, for its discovery documents. Default: the issuer.
    #[serde(default)]
    pub public_url: Option<String>,
    /// The keys that sign tokens.
    #[serde(default)]
    pub signing: SigningConfig,
    /// How long tokens live.
    #[serde(default)]
    pub tokens: TokenConfig,
    /// What is asked of users.
    #[serde(default)]
    pub users: UsersConfig,
    /// How many wrong passwords and keys are looked at.
    #[serde(default)]
    pub guessing: GuessConfig,
    /// How long audit records stay.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Certificates that this service issues.
    #[serde(default)]
    pub pki: PkiConfig,
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
    loopback(8083)
}

fn default_grpc() -> ListenConfig {
    loopback(50053)
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
            public_url: None,
            signing: SigningConfig::default(),
            tokens: TokenConfig::default(),
            users: UsersConfig::default(),
            guessing: GuessConfig::default(),
            audit: AuditConfig::default(),
            pki: PkiConfig::default(),
            http: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// [`Config::load`].
///
/// # Errors
/// As it.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(path)
}

impl Config {
    /// Reads a file, if one is given, and `IAM__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, "IAM")?;
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
        self.auth.validate()?;
        let sentence = ConfigError::Invalid;
        check_url("issuer", &self.issuer)?;
        if let Some(url) = &self.public_url {
            check_url("public_url", url)?;
        }
        self.signing.validate(self.auth.mode).map_err(sentence)?;
        self.tokens.validate().map_err(sentence)?;
        self.guessing.validate().map_err(sentence)?;
        self.audit.validate()?;
        self.pki.validate()?;
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
        self.pki.check()?;
        match &self.signing.wrapping_key_file {
            Some(path) if self.auth.mode == Mode::Enforce => {
                std::fs::File::open(path).map(drop).map_err(|error| {
                    let problem = format!(
                        "cannot read {}: {error}; `iam init` makes it",
                        path.display()
                    );
                    invalid("signing.wrapping_key_file", problem)
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use photon_core::error::in_one_line;
    use photon_service::config::StoreTls;

    use super::*;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/iam.toml");

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path())).map_err(|error| in_one_line(&error))
    }

    #[test]
    fn nothing_is_needed_for_dev_mode_on_loopback() {
        let config = read("").unwrap();
        assert_eq!(config.rest.address.to_string(), "127.0.0.1:8083");
        assert_eq!(config.grpc.address.to_string(), "127.0.0.1:50053");
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
            "[signing]",
            "[tokens]",
            "[guessing]",
            "[audit]",
            "[pki]",
            "[http]",
            "[log]",
        ] {
            let error = read(&format!("{section}\nno_such_key = 1\n")).unwrap_err();
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }

    #[test]
    fn impossible_values_are_named() {
        let enforce = "[auth]\nmode = \"enforce\"\n[signing]\nwrapping_key_file = \"/k\"\n";
        for (text, field) in [
            ("[rest]\naddress = \"10.0.0.1:8083\"", "rest.address"),
            ("[grpc]\naddress = \"0.0.0.0:50053\"", "grpc.address"),
            ("[grpc]\naddress = \"127.0.0.1:8083\"", "grpc.address"),
            ("[auth]\nmode = \"enforce\"", "signing.wrapping_key_file"),
            (
                "[auth]\nmax_staleness_seconds = 0",
                "auth.max_staleness_seconds",
            ),
            ("[store]\nendpoints = []", "store.endpoints"),
            (
                "[store]\nendpoints = [\"127.0.0.1:50051\"]",
                "store.endpoints",
            ),
            ("[store]\nendpoints = [\"ftp://a\"]", "store.endpoints"),
            ("[store]\nendpoints = [\"https://a:1\"]", "store.tls"),
            ("[store.tls]\nca = \"a\"\nkey = \"b\"", "certificate"),
            (
                "[store]\nrequest_timeout_ms = 0",
                "store.request_timeout_ms",
            ),
            ("issuer = \"iam\"", "issuer"),
            ("issuer = \"https://iam/\"", "issuer"),
            ("public_url = \"https://iam/?a=b\"", "public_url"),
            ("[tokens]\nmax_ttl_seconds = 1", "tokens.max_ttl_seconds"),
            (
                "[guessing]\nper_address_burst = 0",
                "guessing.per_address_burst",
            ),
            ("[audit]\nretention_days = 0", "audit.retention_days"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            ("[log]\nlevel = \"info,iam=loud\"", "log.level"),
            (
                &format!("{enforce}[rest]\naddress = \"10.0.0.1:8083\""),
                "rest.tls",
            ),
            (
                &format!("{enforce}[store]\nendpoints = [\"http://10.0.0.1:50051\"]"),
                "store.endpoints",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
        read(enforce).unwrap();
    }

    #[test]
    fn files_that_are_not_there_are_found() {
        let mut config = Config::default();
        config.check().unwrap();
        config.store.tls = Some(StoreTls {
            ca: "/no/such/ca".into(),
            certificate: "/no/such/certificate".into(),
            key: "/no/such/key".into(),
            server_name: None,
        });
        assert!(in_one_line(&config.check().unwrap_err()).contains("/no/such/ca"));
        config.store.tls = None;
        config.auth.mode = Mode::Enforce;
        config.signing.wrapping_key_file = Some("/no/such/key".into());
        assert!(in_one_line(&config.check().unwrap_err()).contains("signing.wrapping_key_file"));
    }
}
