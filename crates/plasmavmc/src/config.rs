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
use photon_service::{
    config::{AuthConfig, StoreConfig, check_listener_files, check_listeners, check_url, invalid},
    credit::QuotaConfig,
    peer,
};
use serde::Deserialize;

use crate::image::allowed::Allowed;

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
    /// Where VMs' networks are.
    #[serde(default)]
    pub prismnet: PrismnetConfig,
    /// What images may be.
    #[serde(default)]
    pub images: ImageConfig,
    /// How much of a host is given out.
    #[serde(default)]
    pub placement: PlacementConfig,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: DeadlineConfig,
    /// How much projects may have.
    #[serde(default)]
    pub quota: QuotaConfig,
    /// How running VMs are paid for.
    #[serde(default)]
    pub billing: BillingConfig,
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
            prismnet: PrismnetConfig::default(),
            images: ImageConfig::default(),
            placement: PlacementConfig::default(),
            deadlines: DeadlineConfig::default(),
            quota: QuotaConfig::default(),
            billing: BillingConfig::default(),
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

/// `[prismnet]`: where VMs' networks are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrismnetConfig {
    /// PrismNET's gRPC, `http://host:port` or `https://host:port`. Shown there is the certificate of `store.tls`. Default:
    /// none, and then a VM with networks is refused.
    pub endpoint: Option<String>,
}

/// `[images]`: what images may be, and where they may come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// The largest image, in MiB. 1 to 16,777,216. Default 65536.
    pub largest_mib: u64,
    /// The largest disk that an image may seem to be, in GiB. 1 to 16384. Default 2048.
    pub largest_virtual_gib: u64,
    /// Seconds that one request of an upload may take. 1 to 86400. Default 3600.
    pub request_seconds: u64,
    /// Uploads at once, in one process; more are answered 503 `OVERLOADED`. Default 16.
    pub uploads: usize,
    /// Where images may be fetched from: hosts (all of theirs, by https), or URLs (all below them). Default none.
    pub url_allow: Vec<String>,
    /// Seconds that fetching one may take. 1 to 86400. Default 3600.
    pub fetch_seconds: u64,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            largest_mib: 65_536,
            largest_virtual_gib: 2_048,
            request_seconds: 3_600,
            uploads: 16,
            url_allow: Vec::new(),
            fetch_seconds: 3_600,
        }
    }
}

impl ImageConfig {
    pub(crate) fn largest_bytes(&self) -> u64 {
        self.largest_mib << 20
    }

    pub(crate) fn largest_virtual_bytes(&self) -> u64 {
        self.largest_virtual_gib << 30
    }

    pub(crate) fn fetching(&self) -> Duration {
        Duration::from_secs(self.fetch_seconds)
    }

    /// Of a valid configuration; else nothing is allowed.
    pub(crate) fn allowed(&self) -> Allowed {
        Allowed::parse(&self.url_allow).unwrap_or_default()
    }

    /// The limits of the door by which content comes.
    pub(crate) fn limits(&self, http: &LimitsConfig) -> LimitsConfig {
        LimitsConfig {
            body_bytes: usize::try_from(self.largest_bytes()).unwrap_or(usize::MAX),
            request_timeout_ms: self.request_seconds * 1_000,
            max_in_flight: self.uploads,
            ..http.clone()
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let seconds = 1..=86_400;
        for (name, is_good, range) in [
            (
                "largest_mib",
                (1..=16_777_216).contains(&self.largest_mib),
                "1 to 16777216",
            ),
            (
                "largest_virtual_gib",
                (1..=16_384).contains(&self.largest_virtual_gib),
                "1 to 16384",
            ),
            (
                "request_seconds",
                seconds.contains(&self.request_seconds),
                "1 to 86400",
            ),
            (
                "fetch_seconds",
                seconds.contains(&self.fetch_seconds),
                "1 to 86400",
            ),
            ("uploads", (1..=1_024).contains(&self.uploads), "1 to 1024"),
        ] {
            if !is_good {
                return Err(invalid(
                    &format!("images.{name}"),
                    format!("must be {range}"),
                ));
            }
        }
        let parsed = Allowed::parse(&self.url_allow);
        parsed
            .map(drop)
            .map_err(|problem| invalid("images.url_allow", problem))
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
    /// For CreditService to count the units of a VM. Default 60.
    pub quota_seconds: u64,
    /// To find a host with room. Default 60.
    pub placing_seconds: u64,
    /// For PrismNET to make a VM's ports, or to put them on a host. Default 60.
    pub connecting_seconds: u64,
    /// For a host to make what a VM needs. Default 300.
    pub preparing_seconds: u64,
    /// From a start until the VM runs. Default 180.
    pub starting_seconds: u64,
    /// From the end of the guest's time until the VM is off. Default 30.
    pub stopping_seconds: u64,
    /// For a host to write the memory of a VM to disk. Default 300.
    pub suspending_seconds: u64,
    /// For a host to take a snapshot, or to make disks as they were in one. Default 600.
    pub snapshot_seconds: u64,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self {
            quota_seconds: 60,
            placing_seconds: 60,
            connecting_seconds: 60,
            preparing_seconds: 300,
            starting_seconds: 180,
            stopping_seconds: 30,
            suspending_seconds: 300,
            snapshot_seconds: 600,
        }
    }
}

impl DeadlineConfig {
    pub(crate) fn quota(&self) -> Duration {
        Duration::from_secs(self.quota_seconds)
    }

    pub(crate) fn placing(&self) -> Duration {
        Duration::from_secs(self.placing_seconds)
    }

    pub(crate) fn connecting(&self) -> Duration {
        Duration::from_secs(self.connecting_seconds)
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

    pub(crate) fn suspending(&self) -> Duration {
        Duration::from_secs(self.suspending_seconds)
    }

    pub(crate) fn snapshot(&self) -> Duration {
        Duration::from_secs(self.snapshot_seconds)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (name, seconds) in [
            ("quota_seconds", self.quota_seconds),
            ("placing_seconds", self.placing_seconds),
            ("connecting_seconds", self.connecting_seconds),
            ("preparing_seconds", self.preparing_seconds),
            ("starting_seconds", self.starting_seconds),
            ("stopping_seconds", self.stopping_seconds),
            ("suspending_seconds", self.suspending_seconds),
            ("snapshot_seconds", self.snapshot_seconds),
        ] {
            if !(1..=86_400).contains(&seconds) {
                return Err(invalid(&format!("deadlines.{name}"), "must be 1 to 86400"));
            }
        }
        Ok(())
    }
}

/// `[billing]`: how running VMs are paid for, where CreditService is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BillingConfig {
    /// Seconds that are held at a time, and charged when they are over. 1 to 604800. Default 3600.
    pub period_seconds: u64,
    /// Seconds that a VM runs on for which there is no credit. 0 to 604800. Default 900.
    pub grace_seconds: u64,
}

impl Default for BillingConfig {
    fn default() -> Self {
        Self {
            period_seconds: 3600,
            grace_seconds: 900,
        }
    }
}

impl BillingConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        const WEEK: u64 = 604_800;
        if !(1..=WEEK).contains(&self.period_seconds) {
            return Err(invalid("billing.period_seconds", "must be 1 to 604800"));
        }
        if self.grace_seconds > WEEK {
            return Err(invalid("billing.grace_seconds", "must be 0 to 604800"));
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
        if let Some(url) = &self.prismnet.endpoint {
            peer::check("prismnet.endpoint", url, &self.store, self.auth.mode)?;
        }
        self.images.validate()?;
        self.placement.validate()?;
        self.deadlines.validate()?;
        self.quota.validate(self.auth.mode, &self.store)?;
        self.billing.validate()?;
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
            "[prismnet]",
            "[images]",
            "[placement]",
            "[deadlines]",
            "[quota]",
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
            ("[prismnet]\nendpoint = \"prismnet\"", "prismnet.endpoint"),
            (
                "[prismnet]\nendpoint = \"https://127.0.0.1:50056\"",
                "store.tls",
            ),
            ("[images]\nlargest_mib = 0", "images.largest_mib"),
            ("[images]\nuploads = 0", "images.uploads"),
            ("[images]\nurl_allow = [\"ftp://a\"]", "images.url_allow"),
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
            (
                "[deadlines]\nsuspending_seconds = 0",
                "deadlines.suspending_seconds",
            ),
            (
                "[deadlines]\nsnapshot_seconds = 86401",
                "deadlines.snapshot_seconds",
            ),
            ("[quota]\nendpoint = \"here\"", "quota.endpoint"),
            ("[auth]\nmode = \"enforce\"", "quota.endpoint"),
            ("[billing]\nperiod_seconds = 0", "billing.period_seconds"),
            ("[billing]\ngrace_seconds = 604801", "billing.grace_seconds"),
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
