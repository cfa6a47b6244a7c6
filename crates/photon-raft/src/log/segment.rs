//! The log's files: made with their full length, written in the middle, removed whole. A file gets its name when its
//! length is durable, so no crash leaves a short one.
//!
//! A file that has its length already is cheaper to fsync than one that grows: nothing but the data has to be written
//! (`photon-bench fsync` measures it).

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

use crate::codec::invalid;

const PREFIX: &str = "log-";
const SUFFIX: &str = ".seg";
/// A file that is being made.
const UNFINISHED: &str = "unfinished";
/// What chunked-wal wrote before there was anything to be compatible with.
const OLD: (&str, &str) = ("r-", ".wal");

/// One open file.
#[derive(Debug)]
pub(super) struct Segment {
    /// Of its first frame.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    file: File,
}

impl Segment {
    /// Makes the file whose first frame will be `number`, with `bytes` of zeros, and makes its length and then its
    /// name durable. A file of this name, which has no frame, is replaced.
    pub(super) fn create(dir: &Path, number: u64, bytes: u64) -> io::Result<Self> {
        let (path, unfinished) = (path(dir, number), dir.join(UNFINISHED));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)?;
        if let Err(error) = allocate(&file, bytes) {
            // What was allocated before the disk was full is given back: there is nothing in it.
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        sync_dir(dir)?;
        Ok(Self {
            number,
            path,
            bytes,
            file,
        })
    }

    /// Opens a file that is there. Where it has holes (a copy may), they get their blocks now.
    pub(super) fn open(dir: &Path, number: u64) -> io::Result<Self> {
        let path = path(dir, number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            number,
            path,
            bytes,
            file,
        })
    }

    /// Gives holes their blocks, so that a write into them cannot fail for want of space.
    pub(super) fn fill_holes(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        allocate(&self.file, self.bytes)
    }

    /// Writes `bytes` at `offset` and waits until they are on disk.
    pub(super) fn write_durably(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }

    /// Writes zeros over `len` bytes and waits until they are on disk.
    pub(super) fn clear(&self, mut offset: u64, len: u64) -> io::Result<()> {
        let zeros = [0; 64 << 10];
        let end = offset + len;
        while offset < end {
            let part =
                usize::try_from(end - offset).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.file.write_all_at(&zeros[..part], offset)?;
            offset += part as u64;
        }
        self.file.sync_data()
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Removes the file that a crash has left before it had a name.
pub(super) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number:020}{SUFFIX}"))
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let len = i64::try_from(bytes).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Err(Errno::EINTR) => {}
            // The file system cannot; then at least the length is right.
            Err(Errno::EOPNOTSUPP) if file.metadata()?.len() < bytes => {
                return file.set_len(bytes);
            }
            Err(Errno::EOPNOTSUPP) | Ok(()) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The files in `dir`, oldest first, by the number of their first frame.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(OLD.0) && name.ends_with(OLD.1) {
            return Err(invalid(format!(
                "{name} is a log file in the format of an earlier development version, which this version does not read"
            )));
        }
        let Some(number) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let number = number
            .strip_suffix(SUFFIX)
            .filter(|number| number.len() == 20)
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| invalid(format!("{name} is no name of a log file")))?;
        found.push((number, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// Keeps other processes away from the log in a directory while it lives.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "held, not used")] File);

impl DirLock {
    /// Takes the lock, making its file if there is none.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock_path(dir))?;
        Self::over(file)
    }

    /// Takes the lock unless it has no file: then nobody ever wrote here.
    pub(super) fn take_if_there(dir: &Path) -> io::Result<Option<Self>> {
        match File::open(lock_path(dir)) {
            Ok(file) => Self::over(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn over(file: File) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "it is in use by another process",
            )),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("LOCK")
}

/// Creates `dir` and makes its name durable.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    let mut at: PathBuf = dir.to_owned();
    while at.pop() {
        if at.as_os_str().is_empty() {
            break;
        }
        sync_dir(&at)?;
    }
    Ok(())
}
