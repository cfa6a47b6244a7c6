//! What a VM has on this host's disk: a directory of its own, called by its id.
//!
//! ```text
//!   vm/<vm>/desired.json    what was last wanted: enough to go on without the store, and to adopt it if the store forgot it
//!           note.json       which boot it was, and how it ended
//!           console.log     what it wrote to its serial console
//!           <disk>.qcow2    its disks
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use photon_agent::memory::replace;
use photon_core::Name;
use plasmavmc_model::{DesiredVm, End, VmId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most bytes of a console's log before it begins anew; the former one is kept beside it.
const CONSOLE_BYTES: u64 = 4 << 20;

/// The directories of all VMs.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

/// The directory of one.
#[derive(Clone, Debug)]
pub struct VmFiles {
    directory: PathBuf,
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
}

#[derive(Serialize, Deserialize)]
struct Form<T> {
    v: u32,
    #[serde(flatten)]
    value: T,
}

impl Files {
    /// Below the agent's directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            root: state.join("vm"),
        }
    }

    /// Of one VM. Nothing is made.
    #[must_use]
    pub fn of(&self, vm: VmId) -> VmFiles {
        VmFiles {
            directory: self.root.join(vm.to_string()),
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

    /// Where a disk is. A name has no path in it.
    #[must_use]
    pub fn disk(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{name}.qcow2"))
    }

    /// Where its console's output is.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Keeps the console's log from growing for ever. Whoever writes it appends to it: it is emptied in place.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn trim_console(&self) -> io::Result<()> {
        let path = self.console();
        match fs::metadata(&path) {
            Ok(file) if file.len() > CONSOLE_BYTES => {
                fs::copy(&path, path.with_extension("log.1"))?;
                fs::OpenOptions::new().write(true).open(&path)?.set_len(0)
            }
            _ => Ok(()),
        }
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
        fs::create_dir_all(&self.directory)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
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

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &serde_json::to_vec(&Form { v: 1, value })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use super::*;

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

    #[test]
    fn a_console_begins_anew_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let own = Files::new(directory.path()).of(VmId::generate());
        own.trim_console().unwrap();
        own.prepare().unwrap();
        let open = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(own.console());
        let mut writer = open.unwrap();
        writer.write_all(&vec![b'x'; 5 << 20]).unwrap();
        own.trim_console().unwrap();
        writer.write_all(b"after").unwrap();
        assert_eq!(fs::read(own.console()).unwrap(), b"after");
        let former = own.console().with_extension("log.1");
        assert_eq!(fs::metadata(former).unwrap().len(), 5 << 20);
    }
}
