//! Pages: up to [`ENTRIES`] entries of one project, under the number of the first. Full ones never change; the newest one is
//! written again until it is full.

use std::sync::Arc;

use creditservice_ledger::{Entry, Shard};
use photon_core::Name;
use photon_store::{Error, Scan};
use serde::{Deserialize, Serialize};

use crate::shard::{layout, raw::RawStore, stored};

/// Entries of a full page.
pub(crate) const ENTRIES: usize = 256;
/// A page with so many bytes is full, whatever it has.
const BYTES: usize = 256 << 10;

/// A page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) shard: Shard,
    pub(crate) entries: Vec<Entry>,
}

impl Page {
    fn last_seq(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }
}

/// A page to be written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) key: String,
    pub(super) bytes: Vec<u8>,
}

/// The newest page of a project.
pub(super) async fn newest<S: RawStore>(store: &S, project: &Name) -> Result<Option<Page>, Error> {
    let pages = before(store, project, None, 1).await?;
    Ok(pages.into_iter().next())
}

/// At most `limit` pages of a project that begin before an entry, the newest first.
pub(crate) async fn before<S: RawStore>(
    store: &S,
    project: &Name,
    seq: Option<u64>,
    limit: u32,
) -> Result<Vec<Page>, Error> {
    let scan = Scan {
        before: seq.map(|seq| layout::page(project, seq)),
        descending: true,
        ..Scan::below(layout::history(project), limit)
    };
    read(store, &scan).await
}

/// At most `limit` pages of a project that begin at an entry or behind it, the oldest first.
pub(crate) async fn from<S: RawStore>(
    store: &S,
    project: &Name,
    seq: u64,
    limit: u32,
) -> Result<Vec<Page>, Error> {
    let scan = Scan {
        from: Some(layout::page(project, seq)),
        ..Scan::below(layout::history(project), limit)
    };
    read(store, &scan).await
}

/// Pages with what comes behind an entry, the oldest first; at least two are asked for. The first is the one that the entry lies
/// in: it may have grown since it was read.
pub(crate) async fn behind<S: RawStore>(
    store: &S,
    project: &Name,
    seq: u64,
    limit: u32,
) -> Result<Vec<Page>, Error> {
    let within = before(store, project, Some(seq.saturating_add(1)), 1).await?;
    let first = within.first().and_then(|page| page.entries.first());
    from(
        store,
        project,
        first.map_or(0, |entry| entry.seq),
        limit.max(2),
    )
    .await
}

async fn read<S: RawStore>(store: &S, scan: &Scan) -> Result<Vec<Page>, Error> {
    let scanned = store.range(scan).await?;
    scanned.entries.iter().map(stored::read).collect()
}

/// The pages that come of adding entries to a project's newest one. What is in it already is not added again.
pub(super) fn add(
    shard: Shard,
    project: &Name,
    newest: Option<Page>,
    entries: &[Arc<Entry>],
) -> Result<Vec<Written>, Error> {
    let mut page = newest.unwrap_or(Page {
        shard,
        entries: Vec::new(),
    });
    let there = page.last_seq();
    let mut written = Vec::new();
    let mut bytes = length(&page)?;
    let mut changed = false;
    for entry in entries.iter().filter(|entry| entry.seq > there) {
        if page.entries.len() >= ENTRIES || bytes >= BYTES {
            if changed {
                written.push(write(project, &page)?);
            }
            page.entries.clear();
            bytes = 0;
        }
        bytes += length(entry.as_ref())?;
        page.entries.push(Entry::clone(entry));
        changed = true;
    }
    if changed {
        written.push(write(project, &page)?);
    }
    Ok(written)
}

fn write(project: &Name, page: &Page) -> Result<Written, Error> {
    let first = page.entries.first().map_or(0, |entry| entry.seq);
    Ok(Written {
        key: layout::page(project, first),
        bytes: stored::encode(page)?,
    })
}

fn length<T: Serialize>(value: &T) -> Result<usize, Error> {
    let json = serde_json::to_vec(value).map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(json.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn entries(seqs: impl Iterator<Item = u64>) -> Vec<Arc<Entry>> {
        let entry = |seq| {
            let json = serde_json::json!({
                "seq": seq, "at": 5, "project": "shop", "what": "adjustment",
            });
            Arc::new(serde_json::from_value(json).unwrap())
        };
        seqs.map(entry).collect()
    }

    fn page_of(written: &Written) -> Page {
        stored::decode(&written.key, &written.bytes).unwrap()
    }

    #[test]
    fn the_newest_page_is_filled_and_others_follow() {
        let (shard, project) = (Shard::new(3).unwrap(), Name::new("shop").unwrap());
        let written = add(shard, &project, None, &entries((1..=300).map(|n| n * 2))).unwrap();
        assert_eq!(written.len(), 2);
        assert_eq!(written[0].key, layout::page(&project, 2));
        assert_eq!(page_of(&written[0]).entries.len(), ENTRIES);
        assert_eq!(written[1].key, layout::page(&project, 514));
        let newest = page_of(&written[1]);
        assert_eq!(newest.entries.len(), 44);
        // Some come twice, as after a takeover.
        let more = entries((290..=310).map(|n| n * 2));
        let written = add(shard, &project, Some(newest.clone()), &more).unwrap();
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].key, layout::page(&project, 514));
        let seqs: Vec<u64> = page_of(&written[0])
            .entries
            .iter()
            .map(|one| one.seq)
            .collect();
        assert_eq!(seqs, (257..=310).map(|n| n * 2).collect::<Vec<_>>());
        // Nothing new: nothing is written.
        let again = entries((290..=300).map(|n| n * 2));
        assert!(
            add(shard, &project, Some(newest), &again)
                .unwrap()
                .is_empty()
        );
    }

    /// A page that was read when it was not full has more when what follows is read.
    #[tokio::test]
    async fn what_was_added_to_the_last_page_is_not_left_out() {
        let (shard, project) = (Shard::FIRST, Name::new("shop").unwrap());
        let disk = Disk::default();
        let put = |written: Vec<Written>| {
            for one in written {
                disk.0.lock().insert(one.key, one.bytes);
            }
        };
        put(add(shard, &project, None, &entries(1..=200)).unwrap());
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let pages = behind(&disk, &project, after, 2).await.unwrap();
            let new: Vec<u64> = pages
                .iter()
                .flat_map(|page| &page.entries)
                .map(|entry| entry.seq)
                .filter(|seq| *seq > after)
                .collect();
            let Some(last) = new.last() else { break };
            after = *last;
            seen.extend(new);
            if seen.len() == 200 {
                let newest = pages.into_iter().next_back();
                put(add(shard, &project, newest, &entries(201..=700)).unwrap());
            }
        }
        assert_eq!(seen, (1..=700).collect::<Vec<_>>());
    }

    /// Pages in memory.
    #[derive(Clone, Debug, Default)]
    struct Disk(Arc<parking_lot::Mutex<std::collections::BTreeMap<String, Vec<u8>>>>);

    impl RawStore for Disk {
        async fn read(&self, _: &str) -> Result<Option<photon_store::Entry>, Error> {
            Ok(None)
        }

        async fn range(&self, scan: &Scan) -> Result<photon_store::Scanned, Error> {
            let disk = self.0.lock();
            let from = scan.from.as_ref().unwrap_or(&scan.prefix);
            let is_asked = |key: &&String| {
                key.starts_with(&scan.prefix)
                    && *key >= from
                    && scan.before.as_ref().is_none_or(|before| *key < before)
            };
            let mut keys: Vec<&String> = disk.keys().filter(is_asked).collect();
            if scan.descending {
                keys.reverse();
            }
            let limit = usize::try_from(scan.limit).unwrap();
            let entry = |key: &String| photon_store::Entry {
                key: key.clone(),
                value: disk[key].clone().into(),
                create_revision: 1,
                revision: 1,
                lease: 0,
            };
            Ok(photon_store::Scanned {
                more: keys.len() > limit,
                entries: keys.into_iter().take(limit).map(entry).collect(),
            })
        }

        async fn commit(&self, _: crate::shard::raw::Changes) -> Result<i64, Error> {
            Err(Error::Protocol("nothing is written".to_owned()))
        }

        async fn aside<T: Send + 'static>(
            &self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, Error> {
            Ok(work())
        }
    }
}
