//! What a guest has written to its serial console: a file that qemu appends to, over all boots.
//!
//! Offsets count everything that was ever written. Of that the end is kept, 1 to 2 MiB: what is before has its blocks taken out of the file,
//! whose length does not change. So no byte that is written meanwhile is lost, and an offset means the same for ever.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    unistd::{Whence, lseek},
};

/// So much is kept when there is twice as much.
pub const KEPT: u64 = 1 << 20;
/// What holes in files begin and end at.
const BLOCK: u64 = 4096;
/// The most bytes of one read.
pub const MOST: usize = 512 << 10;

/// A part of what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Where it begins; behind what was asked for, if that is no longer kept.
    pub offset: u64,
    /// The bytes; none at the end.
    pub data: Vec<u8>,
    /// The first byte that is kept: so many before it are cut off.
    pub first: u64,
    /// How many were ever written.
    pub end: u64,
}

/// Reads, from that offset, or as much as the limit from the end. A console that nothing was written to is empty.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path, offset: Option<u64>, limit: usize) -> io::Result<Part> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Part::default()),
        Err(error) => return Err(error),
    };
    let (first, end) = (first(&file)?, file.metadata()?.len());
    let limit = limit.min(MOST);
    let last = end.saturating_sub(limit as u64);
    // Beyond the end nothing was ever said: whoever asks knows another file, and begins anew.
    let asked = offset.map_or(last, |offset| if offset > end { 0 } else { offset });
    let offset = asked.max(first);
    let length = usize::try_from(end.saturating_sub(offset)).map_or(limit, |left| left.min(limit));
    let mut data = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut data[filled..], offset + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    data.truncate(filled);
    Ok(Part {
        offset,
        data,
        first,
        end,
    })
}

/// Where what is kept begins.
fn first(file: &File) -> io::Result<u64> {
    match lseek(file, 0, Whence::SeekData) {
        Ok(first) => Ok(u64::try_from(first).unwrap_or(0)),
        // There is nothing.
        Err(Errno::ENXIO) => Ok(file.metadata()?.len()),
        // A file system without holes.
        Err(Errno::EINVAL) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Cuts off the beginning of what has become too long, and answers whether it did.
///
/// # Errors
/// A file that cannot be written.
pub fn trim(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.len() > 2 * KEPT => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let (first, end) = (first(&file)?, file.metadata()?.len());
    if end - first <= 2 * KEPT {
        return Ok(false);
    }
    let cut = (end - KEPT) / BLOCK * BLOCK;
    let length = i64::try_from(cut).map_err(io::Error::other)?;
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(&file, hole, 0, length) {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP) => {
            // Better than a full disk. Whoever appends goes on at the beginning.
            file.set_len(0)?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::{io::Write as _, os::unix::fs::MetadataExt as _};

    use super::*;

    fn writer(path: &Path) -> File {
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true).open(path).unwrap()
    }

    #[test]
    fn the_end_is_kept_and_offsets_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        assert_eq!(read(&path, None, 10).unwrap(), Part::default());
        assert!(!trim(&path).unwrap());
        let mut writer = writer(&path);
        // A number a line, so that every byte tells where it is.
        let lines: String = (0..500_000).map(|line| format!("{line:07}\n")).collect();
        writer.write_all(&lines.as_bytes()[..100]).unwrap();
        let whole = read(&path, Some(0), MOST).unwrap();
        assert_eq!((whole.first, whole.end, whole.data.len()), (0, 100, 100));
        writer.write_all(&lines.as_bytes()[100..]).unwrap();
        assert!(trim(&path).unwrap());
        assert!(!trim(&path).unwrap());
        writer.write_all(b"after").unwrap();

        let all = lines.len() as u64 + 5;
        let kept = read(&path, Some(0), 8).unwrap();
        assert!(kept.first > 0 && kept.offset == kept.first && kept.end == all);
        assert!(kept.end - kept.first >= KEPT && kept.end - kept.first <= KEPT + 2 * BLOCK);
        assert_eq!(kept.data, format!("{:07}\n", kept.first / 8).as_bytes());
        let tail = read(&path, None, 9).unwrap();
        assert_eq!((tail.offset, &tail.data[4..]), (all - 9, &b"after"[..]));
        assert!(read(&path, Some(all), 9).unwrap().data.is_empty());
        // Another file than one thought.
        assert_eq!(read(&path, Some(all + 1), 8).unwrap().offset, kept.first);
        let on_disk = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(on_disk <= KEPT + 16 * BLOCK, "{on_disk}");
    }
}
