//! `[pki]`.

use std::path::PathBuf;

use photon_core::{Name, error::in_one_line};
use photon_pki::Authority;
use photon_server::config::ConfigError;
use serde::Deserialize;

/// The longest common name of a certificate (RFC 5280, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// Certificates that this service issues.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PkiConfig {
    /// The directory with the authority's `ca.crt` and `ca.key`, as `photonctl pki init` makes them. Absent: this service
    /// issues nothing, and certificates are renewed and issued by `photonctl pki` alone.
    pub ca_dir: Option<PathBuf>,
    /// The agents of a host: each gets a certificate `<agent>@<host>` when the host joins. Default `plasmavmc-agent`,
    /// `prismnet-agent`, `k8shost-agent`.
    pub host_agents: Vec<Name>,
}

impl Default for PkiConfig {
    fn default() -> Self {
        Self {
            ca_dir: None,
            host_agents: ["plasmavmc-agent", "prismnet-agent", "k8shost-agent"]
                .into_iter()
                .filter_map(|agent| Name::new(agent).ok())
                .collect(),
        }
    }
}

impl PkiConfig {
    /// What the types cannot say.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refused = |what: &str| Err(ConfigError::Invalid(what.to_owned()));
        if self.ca_dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            return refused("pki.ca_dir must be an absolute path");
        }
        if self.host_agents.is_empty() || self.host_agents.len() > 16 {
            return refused("pki.host_agents must name 1 to 16 agents");
        }
        if self
            .host_agents
            .iter()
            .any(|agent| agent.as_str().len() > 30)
        {
            return refused("the names in pki.host_agents must be at most 30 characters");
        }
        Ok(())
    }

    /// What `--check` looks at besides: that the authority is there, and its key belongs to it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Some(directory) = &self.ca_dir else {
            return Ok(());
        };
        Authority::load(directory)
            .map(drop)
            .map_err(|error| ConfigError::Invalid(format!("pki.ca_dir: {}", in_one_line(&error))))
    }

    /// The common name of an agent's certificate. The `@` keeps it apart from services, whose names have none.
    pub(crate) fn common_name(agent: &Name, host: &Name) -> String {
        format!("{agent}@{host}")
    }

    /// The most characters of a host's name, so that every agent's common name fits into a certificate.
    pub(crate) fn longest_host(&self) -> usize {
        let longest = self.host_agents.iter().map(|agent| agent.as_str().len());
        LONGEST_COMMON_NAME - 1 - longest.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_longest_host_fits() {
        let config = PkiConfig::default();
        config.validate().unwrap();
        let host = Name::new("h".repeat(config.longest_host())).unwrap();
        for agent in &config.host_agents {
            let name = PkiConfig::common_name(agent, &host);
            assert!(name.len() <= LONGEST_COMMON_NAME, "{name}");
            assert!(Name::new(name).is_err(), "it could be taken for a service");
        }
    }

    #[test]
    fn an_authority_that_cannot_be_used_is_found() {
        let mut config = PkiConfig::default();
        config.check().unwrap();
        let dir = tempfile::tempdir().unwrap();
        config.ca_dir = Some(dir.path().join("none"));
        let error = config.check().unwrap_err().to_string();
        assert!(
            error.contains("pki.ca_dir") && error.contains("none"),
            "{error}"
        );
        config.ca_dir = Some("relative".into());
        assert!(config.validate().is_err());
        config.ca_dir = Some(dir.path().join("ca"));
        Authority::create("root")
            .unwrap()
            .save(&dir.path().join("ca"))
            .unwrap();
        config.check().unwrap();
    }
}
