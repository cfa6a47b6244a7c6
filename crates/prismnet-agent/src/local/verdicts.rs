//! What a person decided about ports that the store does not know: `prismnet-agent adopt|purge`.
//!
//! Kept in a file, because neither the store nor the kernel has a place for it. A record that is back counts more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
};

use prismnet_model::{PortId, VpcId};
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use crate::desired::Wanted;

/// What is to become of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays, and nobody has to be told of it.
    Adopted,
    /// It goes.
    Purged,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adopted => "adopted",
            Self::Purged => "purged",
        })
    }
}

/// All of them.
#[derive(Debug)]
pub struct Verdicts(Kept<(VpcId, Verdict)>);

impl Verdicts {
    /// What was decided before; `verdicts.json` in that directory.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        Ok(Self(Kept::read(directory.join("verdicts.json"))?))
    }

    /// From now on this, also after a crash.
    ///
    /// # Errors
    /// A file that cannot be written; then it is not so.
    pub fn decide(&self, vpc: VpcId, port: PortId, verdict: Verdict) -> io::Result<()> {
        self.0.put(port, (vpc, verdict))
    }

    /// No longer any about these.
    ///
    /// # Errors
    /// A file that cannot be written; then it is still so.
    pub fn withdraw(&self, ports: &BTreeSet<PortId>) -> io::Result<()> {
        self.0.forget(ports)
    }

    /// What is to go.
    #[must_use]
    pub fn purged(&self) -> Vec<(VpcId, PortId)> {
        let all = self.0.all().into_iter();
        all.filter(|(_, (_, verdict))| *verdict == Verdict::Purged)
            .map(|(port, (vpc, _))| (vpc, port))
            .collect()
    }

    /// What was decided about a port.
    #[must_use]
    pub fn get(&self, port: PortId) -> Option<Verdict> {
        self.0.get(port).map(|(_, verdict)| verdict)
    }

    /// Adds to what is wanted what was decided. Answers whose verdicts have had their day: the store knows them, or has
    /// ordered them away.
    pub fn apply(&self, all: &mut BTreeMap<VpcId, Wanted>) -> BTreeSet<PortId> {
        let mut over = BTreeSet::new();
        let verdicts = self.0.all();
        for port in verdicts.keys() {
            let is_known = all
                .values()
                .any(|wanted| wanted.ports.contains_key(port) || wanted.removed.contains(port));
            if is_known {
                over.insert(*port);
            }
        }
        for (port, (vpc, verdict)) in verdicts {
            if over.contains(&port) {
                continue;
            }
            let wanted = all.entry(vpc).or_default();
            match verdict {
                Verdict::Adopted => wanted.adopted.insert(port),
                Verdict::Purged => wanted.removed.insert(port),
            };
        }
        over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_verdict_lasts_until_the_store_knows_better() {
        let directory = tempfile::tempdir().unwrap();
        let (vpc, kept, gone) = (VpcId::generate(), PortId::generate(), PortId::generate());
        let verdicts = Verdicts::read(directory.path()).unwrap();
        verdicts.decide(vpc, kept, Verdict::Adopted).unwrap();
        verdicts.decide(vpc, gone, Verdict::Purged).unwrap();
        let verdicts = Verdicts::read(directory.path()).unwrap();
        assert_eq!(verdicts.get(kept), Some(Verdict::Adopted));
        let mut all = BTreeMap::new();
        assert!(verdicts.apply(&mut all).is_empty());
        assert_eq!(all[&vpc].adopted, BTreeSet::from([kept]));
        assert_eq!(all[&vpc].removed, BTreeSet::from([gone]));

        // The order is there now.
        let wanted = Wanted {
            removed: BTreeSet::from([kept]),
            ..Wanted::default()
        };
        let over = verdicts.apply(&mut BTreeMap::from([(vpc, wanted)]));
        assert_eq!(over, BTreeSet::from([kept]));
        verdicts.withdraw(&over).unwrap();
        let verdicts = Verdicts::read(directory.path()).unwrap();
        assert_eq!(verdicts.get(kept), None);
        assert_eq!(verdicts.get(gone), Some(Verdict::Purged));
    }
}
