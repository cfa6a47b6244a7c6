//! Appending blocks to the files of their months.
//!
//! ```text
//!   <directory>/<shard>/<YYYY-MM>.<host>.jsonl       a block a line, in the order of the chain
//! ```
//! A file belongs to a shard and a host, so hosts may share a directory; processes of one host take turns by a lock on the
//! file. What is there already is not written again: after a crash between append and removal the same blocks come once
//! more. Nothing is appended to a file that says otherwise about a block: it is another journal's.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};

use super::line::{LONGEST, Line, Name};
use crate::shard::block;

/// Read from a file's end at first, and more as long as that does not tell.
const FIRST_LOOK: u64 = 64 << 10;
/// At most so much: a few batches.
const LONGEST_LOOK: u64 = 64 << 20;

/// Appends blocks that follow each other, without those that are there already. When it returns they are safe on disk.
///
/// # Errors
/// A file that cannot be written, that somebody else is writing, or that is of another journal. Some may have been written.
pub(super) fn append(directory: &Path, host: &str, lines: &[Line]) -> anyhow::Result<()> {
    make(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|line| line.month == first.month);
        let (now, later) = rest.split_at(same.count());
        let path = directory.join(format!("{}.{host}.jsonl", first.month));
        append_to(&path, now).with_context(|| format!("cannot append to {}", path.display()))?;
        rest = later;
    }
    // A new file's name must survive a power cut as well as its contents.
    sync(directory).with_context(|| format!("cannot write {}", directory.display()))
}

/// Makes a directory that lasts.
fn make(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(sync)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn append_to(path: &Path, lines: &[Line]) -> anyhow::Result<()> {
    let Some(first) = lines.first() else {
        return Ok(());
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // A predecessor that was paused may be at it still.
    file.try_lock().context("another process has it")?;
    let tail = Tail::read(&mut file, first.block)?;
    let new = tail.missing(lines)?;
    if !new.is_empty() || !tail.is_closed {
        file.set_len(tail.end)?;
        file.seek(SeekFrom::Start(tail.end))?;
        let mut text = Vec::new();
        if !tail.is_closed {
            text.push(b'\n');
        }
        for line in new {
            text.extend_from_slice(&line.bytes);
            text.push(b'\n');
        }
        file.write_all(&text)?;
    }
    file.sync_all()?;
    let is_same = fs::metadata(path).is_ok_and(|now| {
        file.metadata()
            .is_ok_and(|ours| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
    });
    ensure!(is_same, "it was replaced meanwhile");
    Ok(())
}

/// The end of a file.
#[derive(Debug)]
struct Tail {
    /// Its last lines with their blocks' numbers: at least those from the block asked for on, and the one before.
    lines: Vec<(u64, Vec<u8>)>,
    /// Where they end; what a crash left unfinished lies behind.
    end: u64,
    /// Whether the last one ends with a newline.
    is_closed: bool,
}

impl Tail {
    fn read(file: &mut File, first: u64) -> anyhow::Result<Self> {
        let length = file.metadata()?.len();
        let mut look = FIRST_LOOK;
        loop {
            let from = length.saturating_sub(look);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            io::Read::take(&mut *file, look).read_to_end(&mut bytes)?;
            // Its first line is whole only at the beginning of the file.
            let skip = match from {
                0 => Some(0),
                _ => bytes
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map(|at| at + 1),
            };
            if let Some(skip) = skip {
                let tail = Self::parse(&bytes[skip..], from + skip as u64)?;
                let reaches = tail.lines.first().is_some_and(|(block, _)| *block < first);
                if from == 0 || reaches {
                    return Ok(tail);
                }
            }
            ensure!(
                look < LONGEST_LOOK,
                "it goes on far behind block {first}: it is of another journal"
            );
            look *= 4;
        }
    }

    fn parse(bytes: &[u8], begin: u64) -> anyhow::Result<Self> {
        let mut tail = Self {
            lines: Vec::new(),
            end: begin,
            is_closed: true,
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let closed = line.strip_suffix(b"\n");
            let content = closed.unwrap_or(line);
            match Name::of(content) {
                Ok(name) => tail.lines.push((name.block, content.to_vec())),
                // Nothing was removed from the store because of it.
                Err(_) if closed.is_none() => break,
                Err(error) => bail!("the line at byte {} is no block: {error}", tail.end),
            }
            tail.end += line.len() as u64;
            tail.is_closed = closed.is_some();
        }
        Ok(tail)
    }

    /// Those that are not in the file.
    fn missing<'a>(&self, lines: &'a [Line]) -> anyhow::Result<&'a [Line]> {
        let Some(first) = lines.first() else {
            return Ok(lines);
        };
        let before = self
            .lines
            .partition_point(|(block, _)| *block < first.block);
        let (before, there) = self.lines.split_at(before);
        if let Some((number, bytes)) = before.last()
            && number + 1 == first.block
        {
            ensure!(
                block::hash(bytes) == first.prev,
                "it has another block {number}: it is of another journal"
            );
        }
        for ((number, bytes), line) in there.iter().zip(lines) {
            ensure!(
                (number, bytes) == (&line.block, &line.bytes),
                "it has block {number} where block {} of this journal would be: it is of another one",
                line.block
            );
        }
        Ok(&lines[there.len().min(lines.len())..])
    }
}

/// Reads a file line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    /// Of the line read last, from 1.
    pub(super) number: u64,
}

impl<R: io::BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line without its newline. What a crash left unfinished at the end is none.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = self.reader.by_ref().take(LONGEST);
        if limited.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let is_closed = line.last() == Some(&b'\n');
        if is_closed {
            line.pop();
        } else if line.len() as u64 == LONGEST {
            return Err(io::Error::other(format!(
                "line {} is too long",
                self.number
            )));
        } else if Name::of(&line).is_err() {
            return Ok(None);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::PathBuf;

    use super::{super::line::chain, *};

    const MONTHS: [&str; 5] = ["2026-10", "2026-10", "2026-11", "2026-11", "2026-11"];

    fn written(lines: &[Line]) -> Vec<u8> {
        let mut text = Vec::new();
        for line in lines {
            text.extend_from_slice(&line.bytes);
            text.push(b'\n');
        }
        text
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("deep/7");
        (dir, place)
    }

    #[test]
    fn files_are_by_month_and_host_and_nobody_elses_business() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, place) = place();
        let lines = chain(7, &MONTHS);
        append(&place, "a", &lines[..1]).unwrap();
        append(&place, "a", &lines[1..4]).unwrap();
        append(&place, "b", &lines[4..]).unwrap();
        let read = |name: &str| fs::read(place.join(name)).unwrap();
        assert_eq!(read("2026-10.a.jsonl"), written(&lines[..2]));
        assert_eq!(read("2026-11.a.jsonl"), written(&lines[2..4]));
        assert_eq!(read("2026-11.b.jsonl"), written(&lines[4..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place), 0o700);
        assert_eq!(mode(&place.join("2026-11.b.jsonl")), 0o600);
    }

    /// Wherever a crash ends an append, the same blocks come again and are there once.
    #[test]
    fn a_crash_anywhere_leaves_nothing_twice_and_nothing_out() {
        let lines = chain(7, &["2026-11"; 5]);
        let whole = written(&lines);
        let before = written(&lines[..2]).len();
        // Around the ends of lines, and here and there within: each syncs files.
        let near_end = |cut: usize| {
            let around = cut.saturating_sub(2)..whole.len().min(cut + 2);
            whole[around].contains(&b'\n')
        };
        let cuts = before..=whole.len();
        for cut in cuts.filter(|cut| near_end(*cut) || cut % 29 == 0) {
            let (_dir, place) = place();
            append(&place, "a", &lines[..2]).unwrap();
            let path = place.join("2026-11.a.jsonl");
            fs::write(&path, &whole[..cut]).unwrap();
            append(&place, "a", &lines[2..4]).unwrap();
            append(&place, "a", &lines[4..]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_of_another_journal_is_not_gone_on_with() {
        let lines = chain(7, &["2026-11"; 5]);
        let mut others = lines.clone();
        for line in &mut others {
            line.bytes.push(b' ');
        }
        let longer = chain(7, &["2026-11"; 9]);
        for (there, added, why) in [
            (&others[..2], &lines[2..], "another block 2"),
            (&others[2..3], &lines[2..], "another one"),
            // A block is left out.
            (&lines[3..], &lines[2..4], "block 4 where block 3"),
            // The whole file is behind what comes, and says otherwise.
            (&others[..], &lines[..2], "another one"),
        ] {
            let (_dir, place) = place();
            append(&place, "a", there).unwrap();
            let path = place.join("2026-11.a.jsonl");
            let was = fs::read(&path).unwrap();
            let refused = format!("{:#}", append(&place, "a", added).unwrap_err());
            assert!(refused.contains(why), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), was);
        }
        // Nor is one that cannot be read.
        let (_dir, place) = place();
        append(&place, "a", &lines[..2]).unwrap();
        let path = place.join("2026-11.a.jsonl");
        fs::write(&path, b"no block\n").unwrap();
        let refused = format!("{:#}", append(&place, "a", &lines[2..]).unwrap_err());
        assert!(refused.contains("no block"), "{refused}");
        // One that goes on behind what comes, and agrees, has it already.
        fs::write(&path, written(&longer)).unwrap();
        append(&place, "a", &lines[2..]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), written(&longer));
    }

    #[test]
    fn long_lines_are_found_from_the_end() {
        let (_dir, place) = place();
        let mut lines = chain(7, &["2026-11"; 4]);
        // Longer than the first look, each.
        for line in &mut lines {
            let pad = vec![b' '; 2 * usize::try_from(FIRST_LOOK).unwrap()];
            line.bytes.extend_from_slice(&pad);
        }
        let hash = block::hash(&lines[1].bytes);
        lines[2].prev = hash;
        append(&place, "a", &lines[..2]).unwrap();
        append(&place, "a", &lines[2..3]).unwrap();
        append(&place, "a", &lines[2..]).unwrap();
        let text = fs::read(place.join("2026-11.a.jsonl")).unwrap();
        assert_eq!(text, written(&lines));
    }

    #[test]
    fn two_do_not_write_at_once() {
        let (_dir, place) = place();
        let lines = chain(7, &["2026-11"; 2]);
        append(&place, "a", &lines[..1]).unwrap();
        let other = File::open(place.join("2026-11.a.jsonl")).unwrap();
        other.lock().unwrap();
        let refused = format!("{:#}", append(&place, "a", &lines[1..]).unwrap_err());
        assert!(refused.contains("another process"), "{refused}");
        drop(other);
        append(&place, "a", &lines[1..]).unwrap();
    }

    #[test]
    fn lines_end_where_a_crash_did() {
        let lines = chain(7, &["2026-11"; 2]);
        let mut text = written(&lines);
        text.pop();
        let read = |text: &[u8]| {
            let mut lines = Lines::new(text);
            let mut all = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                all.push(line);
            }
            all.len()
        };
        assert_eq!(read(&text), 2);
        text.pop();
        assert_eq!(read(&text), 1);
        let endless = vec![b'x'; usize::try_from(LONGEST).unwrap() + 1];
        assert!(Lines::new(&endless[..]).next().is_err());
    }
}
