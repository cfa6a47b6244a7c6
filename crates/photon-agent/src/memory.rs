//! What is kept over a restart: which store it was, and how far. Everything else is in the kernel and in the store.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use photon_store::Seen;
use serde::{Deserialize, Serialize};

/// The file, by its path.
#[derive(Clone, Debug)]
pub struct Memory {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    seen: Option<Seen>,
}

impl Memory {
    /// `state.json` in that directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("state.json"),
        }
    }

    /// What was kept; `None` before anything was.
    ///
    /// # Errors
    /// A file that cannot be read: to believe any store then would be wrong.
    pub fn seen(&self) -> io::Result<Option<Seen>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let form: Form = serde_json::from_slice(&bytes).map_err(|error| {
            let problem = format!("{}: {error}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?;
        Ok(form.seen)
    }

    /// Keeps it: the file is the old one or the new one, whatever happens.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self, seen: Option<&Seen>) -> io::Result<()> {
        let form = Form {
            v: 1,
            seen: seen.cloned(),
        };
        replace(&self.path, &serde_json::to_vec(&form)?)
    }
}

/// The file is the old one or the new one, whatever happens, and the new one when this has returned.
///
/// # Errors
/// A file that cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let beside = path.with_extension("json.new");
    let mut options = OpenOptions::new();
    // Nobody else's to read: it may hold what a tenant keeps secret.
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_kept_is_read_and_rubbish_is_no_clean_slate() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(&directory.path().join("deep"));
        assert_eq!(memory.seen().unwrap(), None);
        let seen = Seen {
            cluster_id: 7,
            incarnation: Some("one".to_owned()),
            revision: 12,
        };
        memory.keep(Some(&seen)).unwrap();
        assert_eq!(memory.seen().unwrap(), Some(seen));
        fs::write(directory.path().join("deep/state.json"), "{").unwrap();
        memory.seen().unwrap_err();
    }
}
