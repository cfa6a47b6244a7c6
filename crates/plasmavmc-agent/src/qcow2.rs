//! What a disk's file says of itself: its size, and the snapshots within it. Read as it is, also while a machine has it open; so what is
//! being changed at that moment may make no sense, and is read again.
//!
//! The format is that of qemu's `docs/interop/qcow2.txt`.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

const MAGIC: &[u8] = b"QFI\xfb";
/// Bytes of the header that are looked at.
const HEADER: usize = 72;
/// The most snapshots that are looked at: many times as many as a VM may have.
const MOST: u64 = 4096;
/// The most bytes of them. What follows is cut off.
const MOST_BYTES: u64 = 1 << 20;
/// Bytes of a snapshot's entry before what has no fixed size.
const ENTRY: usize = 40;
/// Where qemu keeps its locks on a file, as of `block/file-posix.c`: a byte for each thing that it does, and one for each that others may
/// not.
const LOCKS: (i64, i64) = (100, 200);

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size, in bytes, as its guest sees it.
    pub size: u64,
    /// The snapshots within it.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot within a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is called.
    pub name: String,
    /// Bytes of a machine's memory that are in it.
    pub memory_bytes: u64,
    /// When it was taken, in seconds since 1970.
    pub at: u32,
}

/// What the file says; `None` if there is no file.
///
/// # Errors
/// A file that cannot be read, or makes no sense.
pub fn read(path: &Path) -> io::Result<Option<Disk>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = Vec::with_capacity(HEADER);
    (&file).take(HEADER as u64).read_to_end(&mut header)?;
    let header = Bytes(&header);
    if !header.0.starts_with(MAGIC) {
        return Err(nonsense("it is no qcow2"));
    }
    let (count, at) = (header.number(60, 4)?, header.number(64, 8)?);
    let size = header.number(24, 8)?;
    if count == 0 {
        let snapshots = Vec::new();
        return Ok(Some(Disk { size, snapshots }));
    }
    if count > MOST {
        return Err(nonsense("it has more snapshots than there may be"));
    }
    let end = file.metadata()?.len();
    let length = end.saturating_sub(at).min(MOST_BYTES);
    let mut table = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut table, at)?;
    let snapshots = snapshots(&table, count)?;
    Ok(Some(Disk { size, snapshots }))
}

fn snapshots(table: &[u8], count: u64) -> io::Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    let mut rest = table;
    for _ in 0..count {
        let entry = Bytes(rest);
        let size = |at, bytes| -> io::Result<usize> {
            usize::try_from(entry.number(at, bytes)?).map_err(io::Error::other)
        };
        let (id, name, extra) = (size(12, 2)?, size(14, 2)?, size(36, 4)?);
        // What qemu takes.
        if extra > 1024 {
            return Err(nonsense("a snapshot has more to say than there is"));
        }
        let memory_bytes = match extra {
            0..8 => entry.number(32, 4)?,
            _ => entry.number(ENTRY, 8)?,
        };
        let begin = ENTRY + extra + id;
        let text = rest.get(begin..begin + name).ok_or_else(cut)?;
        all.push(Snapshot {
            name: String::from_utf8_lossy(text).into_owned(),
            memory_bytes,
            at: u32::try_from(entry.number(16, 4)?).map_err(io::Error::other)?,
        });
        let end = (begin + name).next_multiple_of(8);
        // The last one need not be filled up.
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok(all)
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// The most significant byte comes first.
    fn number(&self, at: usize, bytes: usize) -> io::Result<u64> {
        let field = self.0.get(at..at + bytes).ok_or_else(cut)?;
        Ok(field
            .iter()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)))
    }
}

fn cut() -> io::Error {
    nonsense("it is cut off")
}

fn nonsense(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether a process has the file open as a disk, in a way that keeps others from changing it. One that is not there, nobody has.
///
/// # Errors
/// A file that cannot be opened.
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let (begin, length) = (LOCKS.0, 2 * (LOCKS.1 - LOCKS.0));
    let mut lock = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).map_err(io::Error::other)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: begin,
        l_len: length,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::{fs, process::Command};

    use super::*;

    fn img(words: &[&str]) -> bool {
        let ran = Command::new("qemu-img").args(words).output();
        ran.is_ok_and(|output| output.status.success())
    }

    #[test]
    fn a_disk_says_its_size_and_its_snapshots() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let file = path.to_str().unwrap();
        assert_eq!(read(&path).unwrap(), None);
        if !img(&["create", "-q", "-f", "qcow2", file, "8M"]) {
            photon_testkit::skip::report("plasmavmc-agent::qcow2", "no qemu-img");
            return;
        }
        let found = read(&path).unwrap().unwrap();
        assert_eq!((found.size, found.snapshots), (8 << 20, Vec::new()));
        let names = ["one", "a longer name of another", "3"];
        for name in names {
            assert!(img(&["snapshot", "-c", name, file]));
        }
        assert!(img(&["resize", "-q", file, "16M"]));
        let found = read(&path).unwrap().unwrap();
        assert_eq!(found.size, 16 << 20);
        let read_names: Vec<&str> = found.snapshots.iter().map(|one| &*one.name).collect();
        assert_eq!(read_names, names);
        assert!(
            found
                .snapshots
                .iter()
                .all(|one| one.memory_bytes == 0 && one.at > 1_700_000_000)
        );
        assert!(!is_in_use(&path).unwrap());

        // What makes no sense is no disk without snapshots.
        let bytes = fs::read(&path).unwrap();
        let at = usize::try_from(Bytes(&bytes).number(64, 8).unwrap()).unwrap();
        fs::write(&path, &bytes[..at + 60]).unwrap();
        read(&path).unwrap_err();
        let mut many = bytes.clone();
        many[60..64].copy_from_slice(&[0xff; 4]);
        fs::write(&path, &many).unwrap();
        read(&path).unwrap_err();
        let mut far = bytes.clone();
        far[64..72].copy_from_slice(&[0x7f; 8]);
        fs::write(&path, &far).unwrap();
        read(&path).unwrap_err();
        fs::write(&path, "QFI").unwrap();
        read(&path).unwrap_err();
    }

    #[test]
    fn a_lock_of_qemus_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        assert!(!is_in_use(&path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(!is_in_use(&path).unwrap());
        let other = File::options().read(true).write(true).open(&path).unwrap();
        let lock = libc::flock {
            l_type: i16::try_from(libc::F_RDLCK).unwrap(),
            l_whence: 0,
            l_start: 201,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(is_in_use(&path).unwrap());
        drop(other);
        assert!(!is_in_use(&path).unwrap());
    }
}
