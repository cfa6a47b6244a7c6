//! What a person decided about VMs that nobody knows: a file that the command writes and the running agent reads.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use photon_agent::memory::replace;
use plasmavmc_model::VmId;
use serde::{Deserialize, Serialize};

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays, and is not listed any more.
    Adopted,
    /// It is taken down.
    Purged,
}

/// The file.
#[derive(Clone, Debug)]
pub struct Verdicts {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Form {
    v: u32,
    vms: BTreeMap<VmId, Verdict>,
}

impl Verdicts {
    /// In the agent's directory.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            path: state.join("verdicts.json"),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn all(&self) -> io::Result<BTreeMap<VmId, Verdict>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let form: Form = serde_json::from_slice(&bytes).map_err(|error| {
            let problem = format!("{}: {error}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?;
        Ok(form.vms)
    }

    /// Decides about one.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn decide(&self, vm: VmId, verdict: Verdict) -> io::Result<()> {
        self.change(|vms| {
            vms.insert(vm, verdict);
        })
    }

    /// Forgets those that are over.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn withdraw(&self, over: &[VmId]) -> io::Result<()> {
        if over.is_empty() {
            return Ok(());
        }
        self.change(|vms| vms.retain(|vm, _| !over.contains(vm)))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<VmId, Verdict>)) -> io::Result<()> {
        let mut vms = self.all()?;
        let before = vms.clone();
        change(&mut vms);
        if vms == before {
            return Ok(());
        }
        replace(&self.path, &serde_json::to_vec(&Form { v: 1, vms })?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn verdicts_are_kept_until_they_are_over() {
        let directory = tempfile::tempdir().unwrap();
        let verdicts = Verdicts::new(directory.path());
        let (one, two) = (VmId::generate(), VmId::generate());
        assert!(verdicts.all().unwrap().is_empty());
        verdicts.decide(one, Verdict::Adopted).unwrap();
        verdicts.decide(two, Verdict::Adopted).unwrap();
        verdicts.decide(two, Verdict::Purged).unwrap();
        let all = BTreeMap::from([(one, Verdict::Adopted), (two, Verdict::Purged)]);
        assert_eq!(verdicts.all().unwrap(), all);
        verdicts.withdraw(&[two]).unwrap();
        assert_eq!(
            verdicts.all().unwrap(),
            BTreeMap::from([(one, Verdict::Adopted)])
        );
    }
}
