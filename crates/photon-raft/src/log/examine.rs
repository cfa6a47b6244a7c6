//! Reading a log without opening it for writing: every record, every checksum, nothing changed.

use std::{cell::RefCell, io, path::Path};

use openraft::EntryPayload;

use super::{
    index::{Outline, next},
    record::{self, Change},
    recover::recover,
    segment::DirLock,
    store::failed,
};
use crate::{
    Error,
    types::{LogId, Membership},
};

/// What is in a log.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) outline: Outline,
    /// Index of the first entry that can still be read; `None`: there is no entry.
    pub(crate) first: Option<u64>,
    /// The newest memberships, oldest first; those that were cut off again are not among them.
    pub(crate) memberships: Vec<(LogId, Membership)>,
    pub(crate) files: usize,
    /// Of all files, up to where each ends.
    pub(crate) bytes: u64,
    /// Bytes at the end that were being written when the process died; cut off at the next start.
    pub(crate) torn_bytes: u64,
}

/// Reads the log in `dir`.
pub(crate) fn examine(dir: &Path) -> Result<Examined, Error> {
    walk(dir).map_err(|error| failed(dir, "reading", &error))
}

fn walk(dir: &Path) -> io::Result<Examined> {
    let _lock = DirLock::take_if_there(dir)?;
    let memberships = RefCell::new(Vec::new());
    let recovered = recover(
        dir,
        0,
        &mut |id, bytes| {
            if let EntryPayload::Membership(membership) = record::payload(bytes)? {
                memberships.borrow_mut().push((id, membership));
            }
            Ok(())
        },
        &mut |change| {
            if let Change::TruncateAfter(last) = change {
                let end = next(*last);
                memberships
                    .borrow_mut()
                    .retain(|(id, _): &(LogId, Membership)| id.index < end);
            }
        },
    )?;
    let entries = recovered.index.range();
    Ok(Examined {
        outline: *recovered.index.outline(),
        first: (!entries.is_empty()).then_some(entries.start),
        memberships: memberships.into_inner(),
        files: recovered.segments.len(),
        bytes: recovered.used,
        torn_bytes: recovered.torn,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::path::PathBuf;

    use super::*;
    use crate::{
        log::{
            LogStore,
            tests::{frames, segment_files},
        },
        types::{Commands, Entry, Vote, log_id},
    };

    fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        range
            .map(|index| Entry {
                log_id: log_id(2, index),
                payload: EntryPayload::Normal(Commands::one(vec![7; 100].into())),
            })
            .collect()
    }

    /// A log with the entries 11 to 30 behind a purged 10, entry 31 in a frame of its own, and its only file.
    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open_any(dir.path(), 16 << 10, 0).unwrap();
        let vote = Vote::new_committed(2, 5);
        log.found(5, vote, log_id(1, 10), entries(11..=30)).unwrap();
        log.found(5, vote, log_id(1, 10), entries(31..=31)).unwrap();
        log.close();
        let file = segment_files(dir.path()).remove(0);
        (dir, file)
    }

    #[test]
    fn what_was_written_is_read_and_left_alone() {
        let (dir, file) = written();
        let before = std::fs::read(&file).unwrap();
        let examined = examine(dir.path()).unwrap();
        assert_eq!(examined.outline.owner, Some(5));
        assert_eq!(examined.outline.vote, Some(Vote::new_committed(2, 5)));
        assert_eq!(examined.outline.purged, Some(log_id(1, 10)));
        assert_eq!(examined.outline.last, Some(log_id(2, 31)));
        assert_eq!(examined.outline.committed, Some(log_id(2, 31)));
        assert_eq!((examined.first, examined.torn_bytes), (Some(11), 0));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_torn_tail_is_no_damage_and_anything_else_is() {
        let (dir, file) = written();
        let whole = std::fs::read(&file).unwrap();
        let frames = frames(&whole);
        assert_eq!(frames.len(), 2);
        let mut torn = whole.clone();
        torn[frames[1].end - 1] = 0;
        std::fs::write(&file, &torn).unwrap();
        let examined = examine(dir.path()).unwrap();
        assert!(examined.torn_bytes > 0);
        assert_eq!(examined.outline.last, Some(log_id(2, 30)));
        assert_eq!(std::fs::read(&file).unwrap(), torn);
        for at in frames[0].clone().step_by(37) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&file, &damaged).unwrap();
            match examine(dir.path()) {
                Err(Error::Storage(text)) => assert!(text.contains("join again"), "{text}"),
                other => panic!("a flipped bit at {at} was read as {other:?}"),
            }
        }
    }
}
