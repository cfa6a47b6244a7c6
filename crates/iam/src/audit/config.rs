//! `[audit]`.

use std::path::PathBuf;

use photon_server::config::ConfigError;
use serde::Deserialize;

/// How long audit records stay in the store, and where they go then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days that a record stays in the store; at least 1. Default 90.
    pub retention_days: u32,
    /// The directory that older records are moved to, as files of JSON lines. Absent: they stay in the store.
    pub export_dir: Option<PathBuf>,
    /// Seconds between two looks for records to move; 10 to 86,400. Default 3600.
    pub export_every_seconds: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            retention_days: 90,
            export_dir: None,
            export_every_seconds: 3600,
        }
    }
}

impl AuditConfig {
    /// What the types cannot say.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=36_500).contains(&self.retention_days) {
            return Err(refused("audit.retention_days must be 1 to 36500"));
        }
        if !(10..=86_400).contains(&self.export_every_seconds) {
            return Err(refused("audit.export_every_seconds must be 10 to 86400"));
        }
        if let Some(directory) = &self.export_dir
            && !directory.is_absolute()
        {
            return Err(refused("audit.export_dir must be an absolute path"));
        }
        Ok(())
    }
}

fn refused(what: &str) -> ConfigError {
    ConfigError::Invalid(what.to_owned())
}
