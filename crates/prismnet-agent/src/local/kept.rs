//! Something said of ports, in a file that is written whole and synced: what is said is so after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use parking_lot::Mutex;
use photon_agent::memory::replace;
use prismnet_model::PortId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// By port.
#[derive(Debug)]
pub struct Kept<T> {
    path: PathBuf,
    all: Mutex<BTreeMap<PortId, T>>,
}

#[derive(Serialize, Deserialize)]
struct Form<T> {
    v: u32,
    ports: BTreeMap<PortId, T>,
}

impl<T: Clone + PartialEq + Serialize + DeserializeOwned> Kept<T> {
    /// What was said before.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(path: PathBuf) -> io::Result<Self> {
        let invalid = |problem: String| {
            let problem = format!("{}: {problem}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        };
        let ports = match fs::read(&path) {
            Ok(bytes) => {
                let form: Form<T> =
                    serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
                if form.v != 1 {
                    return Err(invalid(format!("version {} is not known", form.v)));
                }
                form.ports
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path,
            all: Mutex::new(ports),
        })
    }

    /// What is said of a port.
    #[must_use]
    pub fn get(&self, port: PortId) -> Option<T> {
        self.all.lock().get(&port).cloned()
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> BTreeMap<PortId, T> {
        self.all.lock().clone()
    }

    /// From now on this.
    ///
    /// # Errors
    /// A file that cannot be written; then it is not so.
    pub fn put(&self, port: PortId, said: T) -> io::Result<()> {
        self.change(|all| drop(all.insert(port, said)))
    }

    /// No longer anything of these.
    ///
    /// # Errors
    /// A file that cannot be written; then it is still so.
    pub fn forget(&self, ports: &BTreeSet<PortId>) -> io::Result<()> {
        self.change(|all| all.retain(|port, _| !ports.contains(port)))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<PortId, T>)) -> io::Result<()> {
        let mut all = self.all.lock();
        let mut ports = all.clone();
        change(&mut ports);
        if ports == *all {
            return Ok(());
        }
        let form = Form { v: 1, ports };
        replace(&self.path, &serde_json::to_vec(&form)?)?;
        *all = form.ports;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_said_is_there_for_the_next_and_rubbish_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/kept.json");
        let read = || Kept::<u32>::read(path.clone());
        let (one, two) = (PortId::generate(), PortId::generate());
        let kept = read().unwrap();
        kept.put(one, 1).unwrap();
        kept.put(two, 2).unwrap();
        kept.forget(&BTreeSet::from([two])).unwrap();
        assert_eq!(read().unwrap().all(), BTreeMap::from([(one, 1)]));
        fs::write(&path, "{\"v\":2,\"ports\":{}}").unwrap();
        assert!(read().unwrap_err().to_string().contains("version 2"));
    }
}
