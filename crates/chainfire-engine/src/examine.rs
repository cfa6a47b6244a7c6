//! Looking at a state that nobody uses: everything is read, every checksum and every invariant that can be
//! checked is checked, nothing is changed.

use std::{io, path::Path};

use bytes::Bytes;

use crate::{
    codec::{self, Meta},
    disk::{self, Disk, Family},
    hash::{self, HashKv},
    loaded::{self, Identity},
    place::Place,
};

/// What is in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Which cluster it belongs to; the id is 0 before one was set.
    pub identity: Identity,
    /// The newest revision.
    pub revision: i64,
    /// The compacted revision; -1 if there was no compaction.
    pub compacted: i64,
    /// Live keys.
    pub keys: u64,
    /// Events kept, those of the live keys included.
    pub events: u64,
    /// Leases.
    pub leases: usize,
    /// Alarms that are raised.
    pub alarms: usize,
    /// Bytes of files.
    pub bytes: i64,
    /// The hash of the whole history, as members report it.
    pub hash: HashKv,
    /// What Raft keeps with the state.
    pub mark: Option<Bytes>,
}

/// Reads all of the state in a directory, as [`crate::Engine::open`] takes it; `None`: there is none yet.
///
/// # Errors
/// Damage; the text says what to do.
pub fn examine(dir: &Path) -> io::Result<Option<Examined>> {
    Place::find(dir)?
        .map(|live| examine_database(&live))
        .transpose()
}

/// Reads all of a checkpoint.
///
/// # Errors
/// Damage; the text says what to do.
pub fn examine_database(dir: &Path) -> io::Result<Examined> {
    let disk = Disk::open_read_only(dir)?;
    let outline = loaded::outline(&disk)?;
    let view = &outline.view;
    let (mut events, mut newest) = (0, 0);
    each(&disk, Family::Rev, |key, value| {
        let rev = codec::parse_rev_key(key)?;
        codec::parse_rev_value(value, rev.main)?;
        events += 1;
        newest = rev.main;
        Ok(())
    })?;
    if newest > view.revision {
        return Err(codec::corrupt("it has events beyond its revision"));
    }
    for family in [Family::Lease, Family::Auth, Family::Meta] {
        each(&disk, family, |_, _| Ok(()))?;
    }
    let keys = versions_and_keys(&disk, events)?;
    let hash = hash::hash(view, view.revision)?;
    Ok(Examined {
        revision: view.revision,
        compacted: view.compacted,
        keys,
        events,
        leases: outline.leases,
        alarms: outline.alarms,
        bytes: disk.total_bytes(),
        hash,
        mark: outline.mark,
        identity: outline.identity,
    })
}

/// Calls `look` for every record of a family. Reading a block checks its checksum.
fn each(
    disk: &Disk,
    family: Family,
    mut look: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut iterator = disk.everything(family);
    iterator.seek_to_first();
    while let Some((key, value)) = iterator.item() {
        look(key, value)?;
        iterator.next();
    }
    disk::finished(&iterator)
}

/// Every event has its version; a key is current exactly when its newest version is not a tombstone, and with the
/// same revisions. Answers how many keys are live.
fn versions_and_keys(disk: &Disk, events: u64) -> io::Result<u64> {
    let mut current = disk.everything(Family::Cur);
    current.seek_to_first();
    let (mut keys, mut versions) = (0, 0);
    let (mut escaped, mut key) = (Vec::new(), Vec::new());
    each(disk, Family::Ver, |stored, value| {
        versions += 1;
        let (of, rev) = codec::split_ver_key(stored)?;
        let meta = codec::parse_ver_value(value, rev.main)?;
        // Versions of a key are together, newest first.
        if versions > 1 && of == escaped {
            return Ok(());
        }
        escaped.clear();
        escaped.extend_from_slice(of);
        let Some(meta) = meta else {
            return Ok(());
        };
        codec::unescape(of, &mut key)?;
        if !is_current(&key, &meta, current.item())? {
            return Err(codec::corrupt(
                "a key's newest version is not its current one",
            ));
        }
        keys += 1;
        current.next();
        Ok(())
    })?;
    if current.valid() {
        return Err(codec::corrupt("a current key has no newest version"));
    }
    disk::finished(&current)?;
    if versions != events {
        return Err(codec::corrupt(&format!(
            "it has {events} events and {versions} versions"
        )));
    }
    Ok(keys)
}

fn is_current(key: &[u8], meta: &Meta, item: Option<(&[u8], &[u8])>) -> io::Result<bool> {
    let Some((found, stored)) = item else {
        return Ok(false);
    };
    let (current, _) = codec::parse_cur_value(stored)?;
    Ok(found == key && current == *meta)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_proto::{
        etcdserverpb::{DeleteRangeRequest, PutRequest},
        photon::chainfire::command::v1::{Command, command::Op},
    };
    use prost::Message as _;

    use super::*;
    use crate::{Engine, Options};

    fn command(op: Op) -> Bytes {
        let command = Command {
            caller: None,
            op: Some(op),
        };
        command.encode_to_vec().into()
    }

    /// 300 keys written twice, of which 100 are deleted again.
    fn written(dir: &Path) {
        let engine = Engine::open(dir, Options::default()).unwrap();
        let put = |n: i32| {
            command(Op::Put(PutRequest {
                key: format!("k/{n:03}\0").into(),
                value: vec![b'v'; 200].into(),
                ..PutRequest::default()
            }))
        };
        let commands: Vec<Bytes> = (0..600).map(|n| put(n % 300)).collect();
        engine.apply(&commands, b"mark").unwrap();
        let delete = command(Op::DeleteRange(DeleteRangeRequest {
            key: "k/1".into(),
            range_end: "k/2".into(),
            ..DeleteRangeRequest::default()
        }));
        engine.apply(&[delete], b"mark").unwrap();
        engine.flush().unwrap();
    }

    #[test]
    fn a_state_is_counted_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(examine(dir.path()).unwrap(), None);
        written(dir.path());
        let examined = examine(dir.path()).unwrap().unwrap();
        assert_eq!((examined.keys, examined.events), (200, 700));
        assert_eq!((examined.revision, examined.compacted), (602, -1));
        assert_eq!(examined.mark.as_deref(), Some(&b"mark"[..]));
        let engine = Engine::open(dir.path(), Options::default()).unwrap();
        assert_eq!(engine.hash_kv(0).unwrap(), examined.hash);
    }

    #[test]
    fn a_flipped_bit_in_any_table_is_found() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let tables: Vec<_> = std::fs::read_dir(dir.path().join("db-1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
            .collect();
        assert!(tables.len() >= 4, "{tables:?}");
        for table in tables {
            let whole = std::fs::read(&table).unwrap();
            let mut damaged = whole.clone();
            // Data comes first in a table.
            damaged[20.min(whole.len() / 4)] ^= 1;
            std::fs::write(&table, &damaged).unwrap();
            let error = examine(dir.path()).unwrap_err();
            assert!(error.to_string().contains("restore"), "{error}");
            std::fs::write(&table, &whole).unwrap();
        }
        assert!(examine(dir.path()).is_ok());
    }
}
