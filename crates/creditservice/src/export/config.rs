//! `[export]`.

use std::path::PathBuf;

use photon_server::config::ConfigError;
use serde::Deserialize;

/// How long blocks of the journal stay in the store, and where they go then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// The directory that old blocks are moved to, as files of JSON lines. Absent: they stay in the store.
    pub directory: Option<PathBuf>,
    /// Days that a block stays in the store; 0 to 36,500. It stays longer while it is needed there: until a snapshot has
    /// it, and its entries are in the pages of their projects. Default 1.
    pub keep_days: u32,
    /// Seconds between two looks for blocks to move; 1 to 86,400. Default 60.
    pub every_seconds: u64,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            directory: None,
            keep_days: 1,
            every_seconds: 60,
        }
    }
}

impl ExportConfig {
    /// What the types cannot say.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.keep_days > 36_500 {
            return Err(refused("export.keep_days must be 0 to 36500"));
        }
        if !(1..=86_400).contains(&self.every_seconds) {
            return Err(refused("export.every_seconds must be 1 to 86400"));
        }
        match &self.directory {
            Some(directory) if !directory.is_absolute() => {
                Err(refused("export.directory must be an absolute path"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the directory is one, or can become one.
    ///
    /// # Errors
    /// Names what is in its way.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        match directory.ancestors().find(|path| path.exists()) {
            Some(found) if !found.is_dir() => Err(refused(&format!(
                "export.directory: {} is not a directory",
                found.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn refused(what: &str) -> ConfigError {
    ConfigError::Invalid(what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_directory_is_one_or_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| ExportConfig {
            directory: Some(dir.path().join(path)),
            ..ExportConfig::default()
        };
        std::fs::write(dir.path().join("file"), "").unwrap();
        at("").check().unwrap();
        at("not/yet").check().unwrap();
        for bad in ["file", "file/below"] {
            let refused = at(bad).check().unwrap_err().to_string();
            assert!(refused.contains("export.directory"), "{refused}");
        }
        ExportConfig::default().check().unwrap();
    }
}
