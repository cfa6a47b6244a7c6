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
}
