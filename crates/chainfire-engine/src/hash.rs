//! A hash of the keys' history that is equal on all members, however far each has got with physical compaction.

use std::io;

use crate::{
    codec,
    disk::{self, Family},
    view::View,
};

/// The hash of everything up to a revision that the compacted revision leaves readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32 of the entries in order of revision.
    pub hash: u32,
    /// The compacted revision; -1 if there was none. Members agree only if this is equal too.
    pub compact_revision: i64,
    /// The revision up to which was hashed.
    pub hash_revision: i64,
}

/// Hashes the view up to a revision that is neither future nor compacted.
pub(crate) fn hash(view: &View, revision: i64) -> io::Result<HashKv> {
    let mut crc = crc32fast::Hasher::new();
    let mut iterator = view.moment.iterator(Family::Rev, None);
    iterator.seek_to_first();
    while let Some((stored, value)) = iterator.item() {
        let rev = codec::parse_rev_key(stored)?;
        if rev.main > revision {
            break;
        }
        let entry = codec::parse_rev_value(value, rev.main)?;
        if rev.main > view.compacted || survives(view, &entry, rev)? {
            crc.update(stored);
            crc.update(value);
        }
        iterator.next();
    }
    disk::finished(&iterator)?;
    Ok(HashKv {
        hash: crc.finalize(),
        compact_revision: view.compacted,
        hash_revision: revision,
    })
}

/// Whether an entry at or below the compacted revision is what its key is there. Tombstones are left out, even
/// those that are kept for watches, as in etcd.
fn survives(view: &View, entry: &codec::Entry<'_>, rev: codec::Rev) -> io::Result<bool> {
    if entry.put.is_none() {
        return Ok(false);
    }
    if view.collected >= view.compacted {
        // What is superseded is already gone.
        return Ok(true);
    }
    let newest = view.version_at(entry.key, view.compacted)?;
    Ok(newest.is_some_and(|(newest, _)| newest == rev))
}
