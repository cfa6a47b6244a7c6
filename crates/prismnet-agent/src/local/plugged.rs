//! What was plugged, in a file for each port: where a pod's veth leads, the kernel does not tell in any way that leads back there.
//!
//! Written and synced before anything is made, and gone before anything is taken away: whatever happens between, what stands
//! without a file is no more than a veth, which goes with its pod, and what has a file is made again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use photon_agent::memory::replace;
use prismnet_model::{PortId, VpcId};
use serde::{Deserialize, Serialize};

use crate::kernel::far::Inode;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    v: u32,
    /// Which port.
    pub port: PortId,
    /// In which VPC.
    pub vpc: VpcId,
    /// Who asked, in its own words; may be empty.
    pub holder: String,
    /// Of a pod: where its far end is.
    pub far: Option<Far>,
}

/// Where the far end of a pod's veth is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Far {
    /// The namespace's path, as it was given.
    pub namespace: PathBuf,
    /// The namespace that it led to.
    pub inode: Inode,
    /// What the device is called there.
    pub interface: String,
}

impl Plug {
    /// A plug of the current form.
    #[must_use]
    pub fn new(port: PortId, vpc: VpcId, holder: String, far: Option<Far>) -> Self {
        Self {
            v: 1,
            port,
            vpc,
            holder,
            far,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub struct Plugged {
    directory: PathBuf,
    all: Mutex<BTreeMap<PortId, Plug>>,
}

impl Plugged {
    /// What earlier runs kept.
    ///
    /// # Errors
    /// A file that cannot be read: a pod would be without a port, and nobody would know.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut all = BTreeMap::new();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for entry in entries.into_iter().flatten() {
            let path = entry?.path();
            // What was not finished has another ending.
            if path.extension().is_some_and(|ending| ending == "json") {
                let plug = read(&path)?;
                all.insert(plug.port, plug);
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            all: Mutex::new(all),
        })
    }

    /// What is known of a port.
    #[must_use]
    pub fn get(&self, port: PortId) -> Option<Plug> {
        self.all.lock().get(&port).cloned()
    }

    /// All that are known.
    #[must_use]
    pub fn all(&self) -> Vec<Plug> {
        self.all.lock().values().cloned().collect()
    }

    /// From now on this one, also after a crash.
    ///
    /// # Errors
    /// A file that cannot be written; then nothing is known of it.
    pub fn keep(&self, plug: Plug) -> io::Result<()> {
        let mut all = self.all.lock();
        if all.get(&plug.port) != Some(&plug) {
            replace(&self.path(plug.port), &serde_json::to_vec(&plug)?)?;
            all.insert(plug.port, plug);
        }
        Ok(())
    }

    /// No longer any of that port.
    ///
    /// # Errors
    /// A file that cannot be removed; then it is still known.
    pub fn forget(&self, port: PortId) -> io::Result<()> {
        let mut all = self.all.lock();
        match fs::remove_file(self.path(port)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
            Ok(()) => fs::File::open(&self.directory)?.sync_all()?,
        }
        all.remove(&port);
        Ok(())
    }

    fn path(&self, port: PortId) -> PathBuf {
        self.directory.join(format!("{port}.json"))
    }
}

fn read(path: &Path) -> io::Result<Plug> {
    let invalid = |problem: String| {
        let problem = format!("{}: {problem}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let plug: Plug =
        serde_json::from_slice(&fs::read(path)?).map_err(|error| invalid(error.to_string()))?;
    if plug.v != 1 {
        return Err(invalid(format!("version {} is not known", plug.v)));
    }
    Ok(plug)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_kept_is_there_for_the_next_and_rubbish_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugged");
        let plugged = Plugged::read(&path).unwrap();
        let (port, vpc) = (PortId::generate(), VpcId::generate());
        let plug = Plug::new(port, vpc, "one".to_owned(), None);
        plugged.keep(plug.clone()).unwrap();
        let other = Plug::new(PortId::generate(), vpc, String::new(), None);
        plugged.keep(other.clone()).unwrap();
        plugged.forget(other.port).unwrap();
        plugged.forget(other.port).unwrap();
        // Half of a file is none.
        fs::write(path.join("port-x.json.new"), "{").unwrap();
        assert_eq!(Plugged::read(&path).unwrap().all(), vec![plug]);
        fs::write(path.join("port-x.json"), "{").unwrap();
        Plugged::read(&path).unwrap_err();
    }
}
