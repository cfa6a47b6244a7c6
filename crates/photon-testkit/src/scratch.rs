//! Directories that disappear after a test and stay when it failed.

use std::path::{Path, PathBuf};

/// Environment variable that keeps the directories of tests that passed too.
pub const KEEP: &str = "PHOTON_KEEP";

/// A temporary directory: removed on drop, kept (and its path printed) when the thread is panicking or
/// `PHOTON_KEEP` is set, so that logs and data of a failed test can be read.
#[derive(Debug)]
pub struct Scratch(Option<tempfile::TempDir>, PathBuf);

impl Scratch {
    /// Creates an empty directory whose name contains `name`.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn new(name: &str) -> std::io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("photon-{name}-"))
            .tempdir()?;
        let path = dir.path().to_owned();
        Ok(Self(Some(dir), path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.1
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        if std::thread::panicking() || std::env::var_os(KEEP).is_some() {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn removed_after_success_and_kept_after_a_panic() {
        let gone = Scratch::new("gone").unwrap();
        let path = gone.path().to_owned();
        assert!(path.is_dir());
        drop(gone);
        assert!(!path.exists() || std::env::var_os(KEEP).is_some());

        let kept = Scratch::new("kept").unwrap();
        let path = kept.path().to_owned();
        let panicked = std::thread::spawn(move || {
            let _kept = kept;
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err() && path.is_dir());
        std::fs::remove_dir_all(path).unwrap();
    }
}
