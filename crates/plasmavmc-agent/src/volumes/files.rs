//! What a volume has in its pool.
//!
//! ```text
//!   volumes/<volume>.qcow2   it
//!           <volume>.new     one that is being made
//!           <volume>.json    what is noted of it
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use photon_core::Name;
use plasmavmc_model::{SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{
    files::{read, write},
    pools::Pools,
};

/// The files of a volume.
#[derive(Clone, Debug)]
pub struct VolumeFiles {
    directory: PathBuf,
    volume: VolumeId,
}

/// What is noted of a volume; the rest is in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// That it was made: if its file is not there any more, it is not made again, for it would be empty.
    #[serde(default)]
    pub made: bool,
    /// The number of the last revert that was done.
    #[serde(default)]
    pub reverted: u64,
    /// Its snapshots that were taken: each is taken once.
    #[serde(default)]
    pub taken: BTreeMap<SnapshotId, Timestamp>,
    /// Those that could not be.
    #[serde(default)]
    pub failed: BTreeMap<SnapshotId, FailedSnapshot>,
}

/// A snapshot that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSnapshot {
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

impl VolumeFiles {
    /// Of a volume in a pool. Nothing is made. Blocks.
    ///
    /// # Errors
    /// Why that pool cannot be used, in a sentence.
    pub fn of(pools: &Pools, pool: &Name, volume: VolumeId) -> Result<Self, String> {
        Ok(Self {
            directory: pools.volumes(pool)?,
            volume,
        })
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.volume))
    }

    /// Where it is.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.file("qcow2")
    }

    /// What is noted of it; nothing if there is nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn note(&self) -> io::Result<Note> {
        Ok(read(&self.file("json"))?.unwrap_or_default())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_note(&self, note: &Note) -> io::Result<()> {
        write(&self.file("json"), note)
    }

    /// Whether there is anything of it.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.all().iter().any(|path| path.exists())
    }

    /// In the order in which they are removed: it is noted that it was made as long as it is there.
    fn all(&self) -> [PathBuf; 4] {
        ["new", "qcow2", "json.new", "json"].map(|kind| self.file(kind))
    }

    /// Removes everything.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        for path in self.all() {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match fs::File::open(&self.directory) {
            Ok(directory) => directory.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The volume that a file in a pool's directory belongs to, by its name.
    #[must_use]
    pub fn owner(file: &Path) -> Option<VolumeId> {
        let name = file.file_name()?.to_str()?;
        let (volume, kind) = name.split_once('.')?;
        let is_ours = matches!(kind, "qcow2" | "new" | "json" | "json.new");
        volume.parse().ok().filter(|_| is_ours)
    }
}
