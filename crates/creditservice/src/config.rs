//! Every setting. `deploy/config/creditservice.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::{collections::BTreeMap, path::Path, time::Duration};

use creditservice_ledger::{Limit, ResourceKind};
use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig},
};
use photon_service::config::{
    AuthConfig, Common, StoreConfig, check_url, default_issuer, invalid, loopback,
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

fn default_rest() -> ListenConfig {
    loopback(8086)
}

fn default_grpc() -> ListenConfig {
    loopback(50057)
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

    /// What every service has.
    pub(crate) fn common(&self) -> Common<'_> {
        Common {
            rest: &self.rest,
            grpc: &self.grpc,
            store: &self.store,
            auth: &self.auth,
            issuer: &self.issuer,
            http: &self.http,
            log: &self.log,
        }
    }
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.common().validate()?;
        self.shards.validate(&self.grpc)?;
        self.export.validate()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common().check()?;
        self.export.check()
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
    use photon_testkit::config::Trial;

    use super::*;

    const TRIAL: Trial<Config> = Trial {
        load: Config::load,
        example: concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/config/creditservice.toml"
        ),
    };

    #[test]
    fn it_has_what_every_service_has() {
        TRIAL.is_a_services(8086, 50057, "[auth]\nmode = \"enforce\"\n");
    }

    #[test]
    fn unknown_keys_are_refused_everywhere() {
        TRIAL.refuses_unknown_keys_in(&["[shards]", "[export]", "[billing]"]);
    }

    #[test]
    fn impossible_values_are_named() {
        TRIAL.names(&[
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
        ]);
    }
}
