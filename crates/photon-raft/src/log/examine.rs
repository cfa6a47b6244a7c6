//! Reading a log without opening it for writing: every record, every checksum, nothing changed.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

use openraft::EntryPayload;
use raft_log::{ChunkId, Dump, DumpApi, RaftLogAction, RaftLogRecord, WALRecord, codeq::Span};

use super::{
    Outline,
    record::{DiskLogId, Records},
    store::failed,
};
use crate::{
    Error,
    codec::invalid,
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
    pub(crate) bytes: u64,
    /// Bytes at the end that were being written when the process died; cut off at the next start.
    pub(crate) torn_bytes: u64,
}

/// Reads the log in `dir`.
pub(crate) fn examine(dir: &Path) -> Result<Examined, Error> {
    walk(dir).map_err(|error| failed(dir, "reading", &error))
}

/// Where the reading of one file has got.
struct Current {
    chunk: ChunkId,
    /// Bytes of it that are whole records.
    good: u64,
    broken: Option<io::Error>,
}

fn walk(dir: &Path) -> io::Result<Examined> {
    let config = Arc::new(raft_log::Config::new(dir.display()));
    let path_of = {
        let config = Arc::clone(&config);
        move |chunk| config.wal.chunk_path(chunk)
    };
    let dump = Dump::<Records>::new(config)?;
    let mut examined = Examined::default();
    let mut current: Option<Current> = None;
    dump.write_with(|chunk, _, record| {
        if current.as_ref().is_none_or(|at| at.chunk != chunk) {
            if let Some(previous) = &current {
                follows(previous, chunk)?;
            }
            examined.files += 1;
            current = Some(Current {
                chunk,
                good: 0,
                broken: None,
            });
        }
        let Some(at) = &mut current else {
            return Ok(());
        };
        match record {
            Ok((segment, record)) => {
                at.good = segment.end().0;
                examined.apply(record)?;
            }
            Err(error) => at.broken = Some(error),
        }
        Ok(())
    })?;
    if let Some(last) = current {
        let path = path_of(last.chunk);
        let size = std::fs::metadata(&path)?.len();
        examined.bytes = last.chunk.offset() + size;
        if let Some(error) = last.broken {
            let torn = error.kind() == io::ErrorKind::UnexpectedEof
                || only_zeros(&File::open(&path)?, last.good, size)?;
            if !torn {
                return Err(at_offset(&error, last.good, &path));
            }
            examined.torn_bytes = size - last.good;
        }
    }
    Ok(examined)
}

fn at_offset(error: &io::Error, offset: u64, path: &str) -> io::Error {
    invalid(format!("{path} at byte {offset}: {error}"))
}

/// A file that another follows is complete, and the other one begins where it ends.
fn follows(previous: &Current, next: ChunkId) -> io::Result<()> {
    if let Some(error) = &previous.broken {
        return Err(invalid(format!(
            "the file that begins at {} is damaged at byte {}: {error}",
            previous.chunk.offset(),
            previous.good
        )));
    }
    let expected = previous.chunk.offset() + previous.good;
    if next.offset() != expected {
        return Err(invalid(format!(
            "a file is missing: one that begins at {expected} is followed by none until {}",
            next.offset()
        )));
    }
    Ok(())
}

/// Whether the rest of a file was never written; some file systems show that as zeros.
fn only_zeros(file: &File, mut from: u64, size: u64) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    while from < size {
        let read = file.read_at(&mut buffer, from)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from += read as u64;
    }
    Ok(true)
}

impl Examined {
    fn apply(&mut self, record: RaftLogRecord<Records>) -> io::Result<()> {
        let outline = &mut self.outline;
        let id = |id: &DiskLogId| id.log_id();
        match record {
            WALRecord::Checkpoint(state) => {
                *outline = Outline {
                    owner: state.user_data,
                    vote: state.vote().map(|vote| vote.0),
                    purged: state.purged().map(id),
                    committed: state.committed().map(id),
                    last: state.last().map(id),
                };
            }
            WALRecord::Action(RaftLogAction::SaveVote(vote)) => outline.vote = Some(vote.0),
            WALRecord::Action(RaftLogAction::Commit(id)) => outline.committed = Some(id.log_id()),
            WALRecord::Action(RaftLogAction::Append(id, payload)) => {
                let id = id.log_id();
                let expected = outline.last.map(|last| last.index + 1);
                if expected.is_some_and(|expected| expected != id.index) {
                    return Err(invalid(format!(
                        "entry {} follows entry {:?}",
                        id.index,
                        outline.last.map(|last| last.index)
                    )));
                }
                outline.last = Some(id);
                self.first.get_or_insert(id.index);
                if let EntryPayload::Membership(membership) = payload.0 {
                    self.memberships.push((id, membership));
                }
            }
            WALRecord::Action(RaftLogAction::TruncateAfter(upto)) => {
                outline.last = upto.map(|id| id.log_id());
                let end = outline.last.map_or(0, |last| last.index + 1);
                self.memberships.retain(|(id, _)| id.index < end);
                if self.first.is_some_and(|first| first >= end) {
                    self.first = None;
                }
            }
            WALRecord::Action(RaftLogAction::PurgeUpto(upto)) => {
                let upto = upto.log_id();
                outline.purged = outline.purged.max(Some(upto));
                outline.last = outline.last.max(Some(upto));
                if let Some(first) = self.first {
                    let next = first.max(upto.index + 1);
                    let exists = outline.last.is_some_and(|last| last.index >= next);
                    self.first = exists.then_some(next);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::path::PathBuf;

    use super::*;
    use crate::{
        log::LogStore,
        types::{Command, Entry, Vote, log_id},
    };

    fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        range
            .map(|index| Entry {
                log_id: log_id(2, index),
                payload: EntryPayload::Normal(Command(vec![7; 100].into())),
            })
            .collect()
    }

    /// A log with the entries 11 to 30 behind a purged 10, and its only file.
    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open_stopped(dir.path()).unwrap();
        log.found(
            5,
            Vote::new_committed(2, 5),
            log_id(1, 10),
            entries(11..=30),
        )
        .unwrap();
        log.close();
        let file = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "wal"))
            .unwrap();
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
        assert_eq!(examined.outline.last, Some(log_id(2, 30)));
        assert_eq!(examined.outline.committed, Some(log_id(2, 30)));
        assert_eq!((examined.first, examined.torn_bytes), (Some(11), 0));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn a_torn_tail_is_no_damage_and_anything_else_is() {
        let (dir, file) = written();
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert!(examine(dir.path()).unwrap().torn_bytes > 0);
        for at in (0..whole.len()).step_by(37) {
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
