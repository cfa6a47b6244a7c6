//! Entries that are written and not in pages yet.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use creditservice_ledger::{Entry, Time};
use parking_lot::Mutex;
use photon_core::Name;

use super::page::ENTRIES;

/// More than so many are paged although their pages are not full.
const COMFORTABLE: usize = 20_000;
/// Older ones are paged although their pages are not full.
const OLD_SECONDS: i64 = 60;
/// Projects paged at once: each has up to three keys in the transaction.
const PROJECTS: usize = 24;
/// Entries of one project paged at once.
const AT_ONCE: usize = 2 * ENTRIES;

/// Entries of one shard by project.
#[derive(Debug)]
pub(crate) struct Unpaged(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Of each project in order.
    projects: HashMap<Name, Vec<Arc<Entry>>>,
    /// All of them.
    seqs: BTreeSet<u64>,
    /// The last entry seen.
    last: u64,
}

/// What is to be paged of one project.
pub(crate) type Batch = Vec<(Name, Vec<Arc<Entry>>)>;

impl Unpaged {
    /// None; everything up to `paged` is in pages.
    pub(crate) fn new(paged: u64) -> Self {
        Self(Mutex::new(Inner {
            projects: HashMap::new(),
            seqs: BTreeSet::new(),
            last: paged,
        }))
    }

    /// Takes an entry that is written, in their order. Those in pages already are left out.
    pub(crate) fn push(&self, entry: Entry) {
        let mut inner = self.0.lock();
        if entry.seq <= inner.last {
            return;
        }
        inner.last = entry.seq;
        let Some(project) = entry.project.clone() else {
            return;
        };
        inner.seqs.insert(entry.seq);
        inner
            .projects
            .entry(project)
            .or_default()
            .push(Arc::new(entry));
    }

    /// Those of a project, by `seq`.
    pub(crate) fn of(&self, project: &Name) -> Vec<Entry> {
        let entries = self.0.lock().projects.get(project).cloned();
        let entries = entries.unwrap_or_default();
        entries.iter().map(|entry| Entry::clone(entry)).collect()
    }

    /// What should be paged now: full pages; and the oldest ones when they are old, or there are too many.
    pub(super) fn due(&self, now: Time) -> Batch {
        let inner = self.0.lock();
        let crowded = inner.seqs.len() > COMFORTABLE;
        let old = now.plus_seconds(-OLD_SECONDS);
        let mut due: Vec<(&Name, &Vec<Arc<Entry>>)> = inner
            .projects
            .iter()
            .filter(|(_, entries)| {
                entries.len() >= ENTRIES
                    || crowded
                    || entries.first().is_some_and(|first| first.at <= old)
            })
            .collect();
        // The oldest first: only then the journal behind them is not needed any more.
        due.sort_unstable_by_key(|(_, entries)| entries.first().map(|first| first.seq));
        due.into_iter()
            .take(PROJECTS)
            .map(|(project, entries)| {
                let some = entries.iter().take(AT_ONCE).cloned().collect();
                (project.clone(), some)
            })
            .collect()
    }

    /// Up to which entry everything is in pages, once a batch is.
    pub(super) fn paged_after(&self, batch: &Batch) -> u64 {
        let inner = self.0.lock();
        let now: BTreeSet<u64> = batch
            .iter()
            .flat_map(|(_, entries)| entries.iter().map(|entry| entry.seq))
            .collect();
        let left = inner.seqs.iter().find(|seq| !now.contains(seq));
        left.map_or(inner.last, |first_left| first_left - 1)
    }

    /// A batch is in pages.
    pub(super) fn forget(&self, batch: &Batch) {
        let mut inner = self.0.lock();
        for (project, entries) in batch {
            for entry in entries {
                inner.seqs.remove(&entry.seq);
            }
            if let Some(all) = inner.projects.get_mut(project) {
                all.drain(..entries.len().min(all.len()));
                if all.is_empty() {
                    inner.projects.remove(project);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn entry(seq: u64, project: &str, second: i64) -> Entry {
        let json = serde_json::json!({
            "seq": seq, "at": second * 1_000_000, "project": project, "what": "adjustment",
        });
        serde_json::from_value(json).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn full_and_old_ones_are_due() {
        let unpaged = Unpaged::new(2);
        unpaged.push(entry(2, "old", 100)); // in pages already
        unpaged.push(entry(3, "old", 100));
        for seq in 4..4 + 256 {
            unpaged.push(entry(seq, "busy", 200));
        }
        unpaged.push(entry(260, "new", 201));
        assert_eq!(unpaged.of(&name("old")).len(), 1);
        let projects = |batch: &Batch| -> Vec<String> {
            batch
                .iter()
                .map(|(project, _)| project.to_string())
                .collect()
        };
        let now = |second| Time::from_seconds(second);
        assert_eq!(projects(&unpaged.due(now(150))), ["busy"]);
        let batch = unpaged.due(now(201));
        assert_eq!(projects(&batch), ["old", "busy"]);
        assert_eq!(unpaged.paged_after(&batch), 259);
        unpaged.push(entry(261, "busy", 202));
        unpaged.forget(&batch);
        assert!(unpaged.of(&name("old")).is_empty());
        assert_eq!(unpaged.of(&name("busy")).len(), 1);
        assert!(unpaged.due(now(201)).is_empty());
        let batch = unpaged.due(now(300));
        assert_eq!(projects(&batch), ["new", "busy"]);
        assert_eq!(unpaged.paged_after(&batch), 261);
        let only_busy = vec![batch[1].clone()];
        assert_eq!(unpaged.paged_after(&only_busy), 259);
    }
}
