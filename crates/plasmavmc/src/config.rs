//! Every setting. `deploy/config/plasmavmc.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig},
};
use photon_service::config::{
    AuthConfig, StoreConfig, check_listener_files, check_listeners, check_url, invalid,
};
use serde::Deserialize;

/// The settings of one process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// REST. Default 127.0.0.1:8084.
    #[serde(default = "default_rest")]
    pub rest: ListenConfig,
    /// gRPC. Default 127.0.0.1:50054.
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
    /// What VMs are where nobody says otherwise.
    #[serde(default)]
    pub vm: VmConfig,
    /// How much of a host is given out.
    #[serde(default)]
    pub placement: PlacementConfig,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: DeadlineConfig,
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
    loopback(8084)
}

fn default_grpc() -> ListenConfig {
    loopback(50054)
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
            vm: VmConfig::default(),
            placement: PlacementConfig::default(),
            deadlines: DeadlineConfig::default(),
            http: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// `[vm]`: what VMs are where nobody says otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VmConfig {
    /// The image of a VM that names none, by name or `sha256:…`. Default `photon-mini`.
    pub default_image: String,
    /// Seconds that a guest has to shut down before it is powered off. 1 to 3600. Default 60.
    pub shutdown_timeout_seconds: u32,
}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            default_image: "photon-mini".to_owned(),
            shutdown_timeout_seconds: 60,
        }
    }
}

/// `[placement]`: how much of a host is given out, as a multiple of what it has. 0.1 to 100.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementConfig {
    /// CPUs. Default 4.
    pub cpu_overcommit: f64,
    /// Memory. Default 1.
    pub memory_overcommit: f64,
    /// Space for disks, which are thin. Default 1.
    pub disk_overcommit: f64,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            cpu_overcommit: 4.0,
            memory_overcommit: 1.0,
            disk_overcommit: 1.0,
        }
    }
}

/// `[deadlines]`: how long things may take before they have failed, in seconds. 1 to 86400.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlineConfig {
    /// To find a host with room. Default 60.
    pub placing_seconds: u64,
    /// For a host to make what a VM needs. Default 300.
    pub preparing_seconds: u64,
    /// From a start until the VM runs. Default 180.
    pub starting_seconds: u64,
    /// From the end of the guest's time until the VM is off. Default 30.
    pub stopping_seconds: u64,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self {
            placing_seconds: 60,
            preparing_seconds: 300,
            starting_seconds: 180,
            stopping_seconds: 30,
        }
    }
}

impl DeadlineConfig {
    pub(crate) fn placing(&self) -> Duration {
        Duration::from_secs(self.placing_seconds)
    }

    pub(crate) fn preparing(&self) -> Duration {
        Duration::from_secs(self.preparing_seconds)
    }

    pub(crate) fn starting(&self) -> Duration {
        Duration::from_secs(self.starting_seconds)
    }

    pub(crate) fn stopping(&self) -> Duration {
        Duration::from_secs(self.stopping_seconds)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (name, seconds) in [
            ("placing_seconds", self.placing_seconds),
            ("preparing_seconds", self.preparing_seconds),
            ("starting_seconds", self.starting_seconds),
            ("stopping_seconds", self.stopping_seconds),
        ] {
            if !(1..=86_400).contains(&seconds) {
                return Err(invalid(&format!("deadlines.{name}"), "must be 1 to 86400"));
            }
        }
        Ok(())
    }
}

impl PlacementConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        for (name, factor) in [
            ("cpu_overcommit", self.cpu_overcommit),
            ("memory_overcommit", self.memory_overcommit),
            ("disk_overcommit", self.disk_overcommit),
        ] {
            if !(0.1..=100.0).contains(&factor) {
                return Err(invalid(&format!("placement.{name}"), "must be 0.1 to 100"));
            }
        }
        Ok(())
    }
}

impl VmConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        crate::image::Wanted::parse(&self.default_image).ok_or_else(|| {
            invalid(
                "vm.default_image",
                "must be a name, or sha256:… of an image",
            )
        })?;
        if (1..=3600).contains(&self.shutdown_timeout_seconds) {
            Ok(())
        } else {
            Err(invalid("vm.shutdown_timeout_seconds", "must be 1 to 3600"))
        }
    }
}

impl Config {
    /// Reads a file, if one is given, and `PLASMAVMC__…` from the environment.
    ///
    /// # Errors
    /// What they say that cannot be.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config: Self = photon_server::config::load(path, "PLASMAVMC")?;
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
        self.vm.validate()?;
        self.placement.validate()?;
        self.deadlines.validate()?;
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
        "/../../deploy/config/plasmavmc.toml"
    );

    fn read(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(Some(file.path())).map_err(|error| in_one_line(&error))
    }

    #[test]
    fn nothing_is_needed_for_dev_mode_on_loopback() {
        let config = read("").unwrap();
        assert_eq!(config.rest.address.to_string(), "127.0.0.1:8084");
        assert_eq!(config.grpc.address.to_string(), "127.0.0.1:50054");
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
            "[store]",
            "[auth]",
            "[vm]",
            "[placement]",
            "[deadlines]",
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
            ("[rest]\naddress = \"10.0.0.1:8084\"", "rest.address"),
            ("[grpc]\naddress = \"127.0.0.1:8084\"", "grpc.address"),
            (
                "[auth]\nmax_staleness_seconds = 0",
                "auth.max_staleness_seconds",
            ),
            ("[vm]\ndefault_image = \"Ubuntu\"", "vm.default_image"),
            (
                "[vm]\nshutdown_timeout_seconds = 0",
                "vm.shutdown_timeout_seconds",
            ),
            (
                "[placement]\ncpu_overcommit = 0.0",
                "placement.cpu_overcommit",
            ),
            (
                "[placement]\nmemory_overcommit = -1.0",
                "placement.memory_overcommit",
            ),
            (
                "[deadlines]\nstarting_seconds = 0",
                "deadlines.starting_seconds",
            ),
            ("[store]\nendpoints = []", "store.endpoints"),
            ("issuer = \"iam\"", "issuer"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            (
                "[auth]\nmode = \"enforce\"\n[rest]\naddress = \"10.0.0.1:8084\"",
                "rest.tls",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}
