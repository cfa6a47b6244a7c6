//! Every setting. `deploy/config/iam.toml` shows them all with their defaults.
//!
//! Without a file it is dev mode on loopback, with a store on its usual port.

use std::path::Path;

use photon_server::{
    ServiceConfig,
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig, Mode},
};
use photon_service::config::{
    AuthConfig, Common, StoreConfig, check_url, default_issuer, invalid, loopback,
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

fn default_rest() -> ListenConfig {
    loopback(8083)
}

fn default_grpc() -> ListenConfig {
    loopback(50053)
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
        let sentence = ConfigError::Invalid;
        if let Some(url) = &self.public_url {
            check_url("public_url", url)?;
        }
        self.signing.validate(self.auth.mode).map_err(sentence)?;
        self.tokens.validate().map_err(sentence)?;
        self.guessing.validate().map_err(sentence)?;
        self.audit.validate()?;
        self.pki.validate()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common().check()?;
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

    use photon_core::error::in_one_line;
    use photon_service::config::StoreTls;
    use photon_testkit::config::Trial;

    use super::*;

    const TRIAL: Trial<Config> = Trial {
        load: Config::load,
        example: concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/iam.toml"),
    };

    #[test]
    fn it_has_what_every_service_has() {
        let enforce = "[auth]\nmode = \"enforce\"\n[signing]\nwrapping_key_file = \"/k\"\n";
        TRIAL.is_a_services(8083, 50053, enforce);
    }

    #[test]
    fn unknown_keys_are_refused_everywhere() {
        TRIAL.refuses_unknown_keys_in(&["[signing]", "[tokens]", "[guessing]", "[audit]", "[pki]"]);
    }

    #[test]
    fn impossible_values_are_named() {
        TRIAL.names(&[
            ("[auth]\nmode = \"enforce\"", "signing.wrapping_key_file"),
            ("public_url = \"https://iam/?a=b\"", "public_url"),
            ("[tokens]\nmax_ttl_seconds = 1", "tokens.max_ttl_seconds"),
            (
                "[guessing]\nper_address_burst = 0",
                "guessing.per_address_burst",
            ),
            ("[audit]\nretention_days = 0", "audit.retention_days"),
        ]);
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
