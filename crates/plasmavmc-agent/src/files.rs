//! What a VM has on this host's disk: a directory of its own, called by its id.
//!
//! ```text
//!   vm/<vm>/desired.json    what was last wanted: enough to go on without the store, and to adopt it if the store forgot it
//!           note.json       which boot it was, and how it ended
//!           ports.json      the ports that were plugged for it
//!           snapshots.json  its snapshots, as far as they were taken
//!           console.log     what it wrote to its serial console
//!           console         the socket to it, while it runs
//!           seed-….img      what its guest is told of itself, by its digest
//!           <disk>.qcow2    its disks, unless they lie in another pool: see [`crate::pools`]
//! ```

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use photon_agent::memory::replace;
use plasmavmc_model::{DesiredDisk, DesiredVm, Digest, End, VmId, pool};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{pools::Pools, ports::Plugged, seed::Seed, snapshots::Notes, volumes::VolumeFiles};

/// What files that tell guests of themselves begin with.
const SEED: &str = "seed-";

/// Makes what guests' files are kept in, below the agent's directory, and says who gets there: root alone where it runs guests as root;
/// else whoever knows what a file is called and may read that, as libvirt's own user.
///
/// # Errors
/// What cannot be made.
pub fn close(state: &Path, is_root_alone: bool) -> io::Result<()> {
    for name in ["vm", "images"] {
        let directory = state.join(name);
        fs::create_dir_all(&directory)?;
        let mode = if is_root_alone { 0o700 } else { PASSABLE };
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Of directories: nobody sees what is in them.
const PASSABLE: u32 = 0o711;

/// Makes a directory that is passed through, whatever the process's umask says.
///
/// # Errors
/// What cannot be made.
pub(crate) fn passable(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(PASSABLE))
}

/// The directories of all VMs.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    pools: Pools,
}

/// The directory of one.
#[derive(Clone, Debug)]
pub struct VmFiles {
    vm: VmId,
    directory: PathBuf,
    pools: Pools,
}

/// What is remembered of a VM's boots; the rest is the hypervisor's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The last boot that was begun, counted from 1; 0 before the first.
    pub boot: u64,
    /// When.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When its end was asked for first.
    #[serde(default)]
    pub asked: Option<Timestamp>,
    /// When the power button was pressed last.
    #[serde(default)]
    pub pressed: Option<Timestamp>,
    /// Whether it was powered off by us.
    #[serde(default)]
    pub powered_off: bool,
    /// How it ended, once it has.
    #[serde(default)]
    pub ended: Option<End>,
    /// How many times in a row this boot crashed.
    #[serde(default)]
    pub crashes: u32,
    /// The generation that the crashes are counted of.
    #[serde(default)]
    pub generation: u64,
    /// Whether it stands still because we said so.
    #[serde(default)]
    pub paused: bool,
    /// How many times in a row it could not go on from its memory on disk.
    #[serde(default)]
    pub restores: u32,
    /// Why it did not, but began anew.
    #[serde(default)]
    pub lost: Option<String>,
    /// The number of the last revert that was done.
    #[serde(default)]
    pub reverted: u64,
}

#[derive(Serialize, Deserialize)]
struct Form<T> {
    v: u32,
    #[serde(flatten)]
    value: T,
}

impl Files {
    /// Below the agent's directory, for whoever has nothing to do with disks in other pools than `local`.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self::with(state, Pools::local(state))
    }

    /// Below the agent's directory, with disks in these pools.
    #[must_use]
    pub fn with(state: &Path, pools: Pools) -> Self {
        Self {
            root: state.join("vm"),
            pools,
        }
    }

    /// Where disks lie.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Of one VM. Nothing is made.
    #[must_use]
    pub fn of(&self, vm: VmId) -> VmFiles {
        VmFiles {
            vm,
            directory: self.root.join(vm.to_string()),
            pools: self.pools.clone(),
        }
    }

    /// VMs that have a directory.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> io::Result<Vec<VmId>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|name| name.parse::<VmId>().ok()));
        }
        Ok(all)
    }
}

impl VmFiles {
    /// What was last wanted.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn desired(&self) -> io::Result<Option<DesiredVm>> {
        read(&self.directory.join("desired.json"))
    }

    /// Keeps what is wanted.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_desired(&self, desired: &DesiredVm) -> io::Result<()> {
        self.prepare()?;
        write(&self.directory.join("desired.json"), desired)
    }

    /// What is remembered of its boots; nothing if there is nothing.
    ///
    /// # Errors
    /// A file that cannot be read: to take it for a VM that never ran would start it.
    pub fn note(&self) -> io::Result<Note> {
        Ok(read(&self.directory.join("note.json"))?.unwrap_or_default())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_note(&self, note: &Note) -> io::Result<()> {
        write(&self.directory.join("note.json"), note)
    }

    /// What was noted of its snapshots; nothing if there is nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn snapshots(&self) -> io::Result<Notes> {
        Ok(read(&self.directory.join("snapshots.json"))?.unwrap_or_default())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_snapshots(&self, notes: &Notes) -> io::Result<()> {
        write(&self.directory.join("snapshots.json"), notes)
    }

    /// What was plugged for it; nothing if there is nothing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn plugged(&self) -> io::Result<Plugged> {
        Ok(read(&self.directory.join("ports.json"))?.unwrap_or_default())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_plugged(&self, plugged: &Plugged) -> io::Result<()> {
        write(&self.directory.join("ports.json"), plugged)
    }

    /// Where a disk is, a volume or its own. A name has no path in it. Blocks.
    ///
    /// # Errors
    /// Why its pool cannot be used, in a sentence.
    pub fn disk(&self, disk: &DesiredDisk) -> Result<PathBuf, String> {
        if let Some(volume) = disk.volume {
            let pool = disk.pool.clone().unwrap_or_else(pool::local);
            return Ok(VolumeFiles::of(&self.pools, &pool, volume.id)?.disk());
        }
        let directory = self.pools.disks_of(disk.pool.as_ref(), self.vm)?;
        Ok(directory.join(format!("{}.qcow2", disk.name)))
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where what its guest is told is.
    #[must_use]
    pub fn seed(&self, digest: Digest) -> PathBuf {
        let digest = digest.to_string();
        self.directory.join(format!("{SEED}{}.img", &digest[..16]))
    }

    /// Keeps what its guest is told, for nobody else to read, and removes what it was told before. A guest that runs keeps what it
    /// has open.
    ///
    /// # Errors
    /// A file that cannot be written or removed.
    pub fn keep_seed(&self, seed: &Seed) -> io::Result<()> {
        let path = self.seed(seed.digest());
        let beside = path.with_extension("new");
        fs::create_dir_all(&self.directory)?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&seed.volume()?)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_seed = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(SEED.as_bytes());
            if is_seed && entry.path() != path {
                fs::remove_file(entry.path())?;
            }
        }
        fs::File::open(&self.directory)?.sync_all()
    }

    /// Where its console's output is.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Where its console can be typed to, while it runs.
    #[must_use]
    pub fn console_socket(&self) -> PathBuf {
        self.directory.join("console")
    }

    /// Whether there is anything.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.directory.exists()
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// What cannot be made.
    pub fn prepare(&self) -> io::Result<()> {
        passable(&self.directory)
    }

    /// Removes everything that is its own: never a volume.
    ///
    /// # Errors
    /// What cannot be removed; a pool where it had a disk cannot be used.
    pub fn remove(&self) -> io::Result<()> {
        let disks = self.desired()?.map_or_else(Vec::new, |vm| vm.disks);
        let own = disks.iter().filter(|disk| disk.volume.is_none());
        // Which pools it had is in its directory, which goes last.
        for disk in own {
            let directory = self.pools.disks_of(disk.pool.as_ref(), self.vm);
            let directory = directory.map_err(io::Error::other)?;
            if directory != self.directory {
                remove(&directory)?;
            }
        }
        remove(&self.directory)
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let form: Form<T> = serde_json::from_slice(&bytes).map_err(|error| {
        let problem = format!("{}: {error}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })?;
    Ok(Some(form.value))
}

pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &serde_json::to_vec(&Form { v: 1, value })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn guests_files_are_reached_by_who_runs_them() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let own = Files::new(directory.path()).of(VmId::generate());
        for (is_root_alone, expected) in [(false, 0o711), (true, 0o700), (true, 0o700)] {
            close(directory.path(), is_root_alone).unwrap();
            for name in ["vm", "images"] {
                assert_eq!(mode(&directory.path().join(name)), expected, "{name}");
            }
        }
        // As with a process's umask of 0077.
        fs::create_dir(&own.directory).unwrap();
        fs::set_permissions(&own.directory, fs::Permissions::from_mode(0o700)).unwrap();
        own.prepare().unwrap();
        assert_eq!(mode(&own.directory), 0o711);
    }

    #[test]
    fn what_is_kept_is_read_and_rubbish_is_no_clean_slate() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let vm = VmId::generate();
        let own = files.of(vm);
        assert_eq!(own.note().unwrap(), Note::default());
        assert!(own.desired().unwrap().is_none() && files.list().unwrap().is_empty());
        let note = Note {
            boot: 3,
            started: Some(Timestamp::now()),
            ..Note::default()
        };
        own.keep_note(&note).unwrap();
        assert_eq!(own.note().unwrap(), note);
        assert_eq!(files.list().unwrap(), [vm]);
        fs::write(own.directory.join("note.json"), "{").unwrap();
        own.note().unwrap_err();
        own.remove().unwrap();
        own.remove().unwrap();
        assert!(!own.exist());
    }
}
