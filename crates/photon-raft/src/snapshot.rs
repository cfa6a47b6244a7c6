//! Copies of the state machine on their way from a leader to a follower.
//!
//! The leader lets the state machine write a copy into `<data>/snapshot/build-*` and streams it file
//! by file; every chunk carries a CRC, and totals close the stream. The follower writes it to
//! `<data>/snapshot/recv-*`, makes it durable, and only then hands it to openraft. Either directory
//! is removed when its transfer ends, and leftovers are removed at start.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use photon_proto::photon::raft::v1::{
    Mark as MarkMessage, SnapshotChunk, SnapshotEnd, SnapshotFile, SnapshotHeader, SnapshotPart,
    snapshot_part::Part,
};
use tokio::sync::mpsc;

use crate::{
    codec::{FORMAT_VERSION, Mark, get_vote, invalid, put_vote},
    log::create_dir,
    types::Vote,
};

const CHUNK: usize = 256 << 10;
const MAX_PATH: usize = 512;
const MAX_FILES: u64 = 1_000_000;

/// A directory that is removed when its owner lets go of it.
#[derive(Debug)]
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // The state machine may have moved it away.
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, dir = %self.0.display(), "cannot remove a snapshot directory; it is removed at the next start");
        }
    }
}

/// `<data>/snapshot`.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    next: AtomicU64,
}

impl Scratch {
    /// Creates the directory, or empties it of what a crash left.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        create_dir(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let ours = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("build-") || name.starts_with("recv-"));
            if ours {
                tracing::info!(dir = %path.display(), "removing an unfinished snapshot");
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(Self {
            dir,
            next: AtomicU64::new(1),
        })
    }

    fn name(&self, kind: &str) -> ScratchDir {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        ScratchDir(self.dir.join(format!("{kind}-{n}")))
    }

    /// A name for a copy to be made; the directory does not exist yet.
    pub(crate) fn build(&self) -> ScratchDir {
        self.name("build")
    }

    /// An empty directory for a copy to be received.
    pub(crate) fn receive(&self) -> io::Result<ScratchDir> {
        let dir = self.name("recv");
        fs::create_dir(dir.path())?;
        Ok(dir)
    }
}

/// All files under `dir`, as sorted relative paths.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fn walk(root: &Path, at: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(root.join(at))? {
            let entry = entry?;
            let path = at.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                walk(root, &path, out)?;
            } else {
                out.push(path);
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    walk(dir, Path::new(""), &mut out)?;
    out.sort();
    Ok(out)
}

/// Streams the copy in `dir` into `parts`. Blocking; ends early when the receiver is gone.
pub(crate) fn send(
    dir: &Path,
    vote: &Vote,
    mark: MarkMessage,
    parts: &mpsc::Sender<SnapshotPart>,
) -> io::Result<()> {
    let put = |part| {
        parts
            .blocking_send(SnapshotPart { part: Some(part) })
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the transfer has ended"))
    };
    put(Part::Header(SnapshotHeader {
        version: FORMAT_VERSION,
        vote: Some(put_vote(vote)),
        mark: Some(mark),
    }))?;
    let mut end = SnapshotEnd::default();
    let mut total = crc32fast::Hasher::new();
    for path in files(dir)? {
        let name = path
            .to_str()
            .ok_or_else(|| invalid("a snapshot's file names must be UTF-8"))?
            .to_owned();
        let mut file = File::open(dir.join(&path))?;
        let size = file.metadata()?.len();
        total.update(name.as_bytes());
        put(Part::File(SnapshotFile { path: name, size }))?;
        end.files += 1;
        let mut left = size;
        while left > 0 {
            let mut data = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
            file.read_exact(&mut data)?;
            left -= data.len() as u64;
            end.bytes += data.len() as u64;
            total.update(&data);
            let crc = crc32fast::hash(&data);
            put(Part::Chunk(SnapshotChunk {
                data: data.into(),
                crc,
            }))?;
        }
    }
    end.crc = total.finalize();
    put(Part::End(end))
}

/// A snapshot as it arrives. Every method blocks.
#[derive(Debug)]
pub(crate) struct Incoming {
    dir: ScratchDir,
    header: Option<(Vote, Mark)>,
    file: Option<(File, u64)>,
    total: crc32fast::Hasher,
    seen: SnapshotEnd,
    complete: bool,
}

impl Incoming {
    pub(crate) fn new(dir: ScratchDir) -> Self {
        Self {
            dir,
            header: None,
            file: None,
            total: crc32fast::Hasher::new(),
            seen: SnapshotEnd::default(),
            complete: false,
        }
    }

    /// Takes the next part. An error ends the transfer.
    pub(crate) fn take(&mut self, part: SnapshotPart) -> io::Result<()> {
        if self.complete {
            return Err(invalid("snapshot goes on after its end"));
        }
        match part.part.ok_or_else(|| invalid("empty snapshot part"))? {
            Part::Header(header) => self.header(header),
            _ if self.header.is_none() => Err(invalid("snapshot does not begin with a header")),
            Part::File(file) => self.file(&file),
            Part::Chunk(chunk) => self.chunk(&chunk),
            Part::End(end) => self.end(end),
        }
    }

    fn header(&mut self, header: SnapshotHeader) -> io::Result<()> {
        if self.header.is_some() {
            return Err(invalid("snapshot has two headers"));
        }
        if header.version != FORMAT_VERSION {
            return Err(invalid(format!(
                "snapshot has format version {}, this program knows {FORMAT_VERSION}",
                header.version
            )));
        }
        let mark = Mark::from_message(header.mark.ok_or_else(|| invalid("snapshot has no mark"))?)?;
        self.header = Some((get_vote(header.vote.as_ref())?, mark));
        Ok(())
    }

    fn file(&mut self, file: &SnapshotFile) -> io::Result<()> {
        self.close_file()?;
        let relative = checked_path(&file.path)?;
        self.seen.files += 1;
        if self.seen.files > MAX_FILES {
            return Err(invalid("snapshot has too many files"));
        }
        let path = self.dir.path().join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        self.total.update(file.path.as_bytes());
        self.file = Some((File::create_new(path)?, file.size));
        Ok(())
    }

    fn chunk(&mut self, chunk: &SnapshotChunk) -> io::Result<()> {
        if crc32fast::hash(&chunk.data) != chunk.crc {
            return Err(invalid("snapshot chunk is damaged"));
        }
        let (file, left) = self
            .file
            .as_mut()
            .ok_or_else(|| invalid("snapshot chunk without a file"))?;
        let len = chunk.data.len() as u64;
        *left = left
            .checked_sub(len)
            .ok_or_else(|| invalid("snapshot file is longer than announced"))?;
        file.write_all(&chunk.data)?;
        self.total.update(&chunk.data);
        self.seen.bytes += len;
        Ok(())
    }

    fn close_file(&mut self) -> io::Result<()> {
        match self.file.take() {
            Some((_, left)) if left > 0 => Err(invalid("snapshot file is shorter than announced")),
            Some((file, _)) => file.sync_all(),
            None => Ok(()),
        }
    }

    fn end(&mut self, end: SnapshotEnd) -> io::Result<()> {
        self.close_file()?;
        self.seen.crc = self.total.clone().finalize();
        if self.seen != end {
            return Err(invalid("snapshot totals do not match"));
        }
        sync_dirs(self.dir.path())?;
        self.complete = true;
        Ok(())
    }

    /// The whole, durable copy.
    pub(crate) fn finish(self) -> io::Result<(Vote, Mark, ScratchDir)> {
        match self.header {
            Some((vote, mark)) if self.complete => Ok((vote, mark, self.dir)),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "snapshot is incomplete",
            )),
        }
    }
}

/// Plain components only: a peer must not write outside the directory.
fn checked_path(path: &str) -> io::Result<PathBuf> {
    let relative = PathBuf::from(path);
    let plain = !path.is_empty()
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && relative
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
    if plain {
        Ok(relative)
    } else {
        Err(invalid("snapshot names a path that is not allowed"))
    }
}

fn sync_dirs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn scratch() -> (tempfile::TempDir, Scratch) {
        let tmp = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(tmp.path().join("snapshot")).unwrap();
        (tmp, scratch)
    }

    /// The parts of a copy with an empty file, a large one and one in a subdirectory.
    fn parts(scratch: &Scratch) -> Vec<SnapshotPart> {
        let dir = scratch.build();
        fs::create_dir_all(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("empty"), b"").unwrap();
        fs::write(dir.path().join("large"), vec![7; CHUNK * 2 + 5]).unwrap();
        fs::write(dir.path().join("sub/small"), b"small").unwrap();
        let (tx, mut rx) = mpsc::channel(100);
        send(
            dir.path(),
            &Vote::new_committed(3, 1),
            Mark::default().message(),
            &tx,
        )
        .unwrap();
        drop(tx);
        std::iter::from_fn(|| rx.try_recv().ok()).collect()
    }

    fn receive(
        scratch: &Scratch,
        parts: impl IntoIterator<Item = SnapshotPart>,
    ) -> io::Result<(Vote, Mark, ScratchDir)> {
        let mut incoming = Incoming::new(scratch.receive()?);
        for part in parts {
            incoming.take(part)?;
        }
        incoming.finish()
    }

    #[test]
    fn a_copy_arrives_whole() {
        let (_tmp, scratch) = scratch();
        let (vote, mark, dir) = receive(&scratch, parts(&scratch)).unwrap();
        assert_eq!(vote, Vote::new_committed(3, 1));
        assert_eq!(mark, Mark::default());
        assert_eq!(fs::read(dir.path().join("sub/small")).unwrap(), b"small");
        assert_eq!(
            fs::read(dir.path().join("large")).unwrap(),
            vec![7; CHUNK * 2 + 5]
        );
        assert_eq!(fs::read(dir.path().join("empty")).unwrap(), b"");
        let path = dir.path().to_owned();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_doubled_or_damaged_part_is_noticed() {
        let (_tmp, scratch) = scratch();
        let whole = parts(&scratch);
        for i in 0..whole.len() {
            let mut missing = whole.clone();
            missing.remove(i);
            assert!(receive(&scratch, missing).is_err(), "part {i} missing");
            let mut doubled = whole.clone();
            doubled.insert(i, whole[i].clone());
            assert!(receive(&scratch, doubled).is_err(), "part {i} twice");
            let mut damaged = whole.clone();
            if let Some(Part::Chunk(chunk)) = &mut damaged[i].part {
                let mut data = chunk.data.to_vec();
                data[0] ^= 1;
                chunk.data = data.into();
                assert!(receive(&scratch, damaged).is_err(), "part {i} damaged");
            }
        }
        assert_eq!(
            fs::read_dir(&scratch.dir).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }

    #[test]
    fn paths_stay_inside() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a\0b",
            "./..",
            &"x".repeat(600),
        ] {
            assert!(checked_path(path).is_err(), "{path:?}");
        }
        assert!(checked_path("a/b.sst").is_ok());
    }

    #[test]
    fn leftovers_are_removed_at_start() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("snapshot");
        fs::create_dir_all(dir.join("recv-3/sub")).unwrap();
        fs::create_dir_all(dir.join("build-1")).unwrap();
        fs::create_dir_all(dir.join("kept")).unwrap();
        Scratch::open(dir.clone()).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }
}
