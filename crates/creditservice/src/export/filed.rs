//! What all hosts filed of one shard, read in the order of the chain.
//!
//! Ledger time never goes back, so months follow each other; within a month the files of all hosts and directories are
//! merged by block. A block may be in several of them, if a host crashed between append and removal and another one went
//! on: then they must say the same.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use creditservice_ledger::Shard;

use super::{
    file::Lines,
    line::Name,
    verify::{Fault, Stop},
};

/// A block in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) block: u64,
    pub(super) bytes: Vec<u8>,
    /// File and line, for people.
    pub(super) place: String,
}

/// The blocks of one shard in files, by their numbers, each once.
#[derive(Debug)]
pub(super) struct FiledBlocks {
    shard: Shard,
    /// Not begun with.
    months: BTreeMap<String, Vec<PathBuf>>,
    /// Those of this month, that have more.
    open: Vec<OpenFile>,
    /// The block before.
    last: u64,
}

impl FiledBlocks {
    /// Of a shard, below these directories; one that is not there has none.
    pub(super) fn open(directories: &[PathBuf], shard: Shard) -> anyhow::Result<Self> {
        let mut months: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for directory in directories {
            let below = directory.join(shard.number().to_string());
            let cannot = || format!("cannot read {}", below.display());
            let found = match fs::read_dir(&below) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(cannot),
            };
            for path in found {
                let path = path.with_context(cannot)?.path();
                if let Some(month) = month(&path) {
                    months.entry(month).or_default().push(path);
                }
            }
        }
        months.values_mut().for_each(|paths| paths.sort());
        Ok(Self {
            shard,
            months,
            open: Vec::new(),
            last: 0,
        })
    }

    /// The next block.
    pub(super) fn next(&mut self) -> Result<Option<Filed>, Stop> {
        loop {
            if self.open.is_empty() {
                let Some((_, paths)) = self.months.pop_first() else {
                    return Ok(None);
                };
                for path in paths {
                    self.open.extend(OpenFile::begin(path, self.shard)?);
                }
                continue;
            }
            return self.take_first().map(Some);
        }
    }

    fn take_first(&mut self) -> Result<Filed, Stop> {
        let first = self.open.iter().map(|file| file.next.block).min();
        let first = first.unwrap_or_default();
        let mut taken: Option<Filed> = None;
        let mut open = Vec::new();
        for mut file in std::mem::take(&mut self.open) {
            while !file.is_over && file.next.block == first {
                let filed = file.take(self.shard)?;
                match &taken {
                    None => taken = Some(filed),
                    Some(taken) if taken.bytes != filed.bytes => {
                        let what = format!("{} and {} differ", taken.place, filed.place);
                        return Err(Fault::at(first, None, what).into());
                    }
                    Some(_) => {}
                }
            }
            if !file.is_over {
                open.push(file);
            }
        }
        self.open = open;
        let Some(taken) = taken else {
            return Err(anyhow::anyhow!("no file has block {first} any more").into());
        };
        if first <= self.last {
            let what = format!("it stands behind block {}", self.last);
            return Err(Fault::at(first, Some(taken.place), what).into());
        }
        self.last = first;
        Ok(taken)
    }
}

/// The month of `<YYYY-MM>.<host>.jsonl`.
fn month(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let month = name.strip_suffix(".jsonl")?.get(..7)?;
    let (year, rest) = month.split_once('-')?;
    let is_month = year.len() == 4 && [year, rest].iter().all(|part| part.parse::<u16>().is_ok());
    is_month.then(|| month.to_owned())
}

/// A file and its next block.
#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    next: Filed,
    is_over: bool,
}

impl OpenFile {
    /// `None` if there is nothing in it.
    fn begin(path: PathBuf, shard: Shard) -> Result<Option<Self>, Stop> {
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(&path).with_context(cannot)?;
        let mut lines = Lines::new(BufReader::new(file));
        let next = read(&path, &mut lines, shard)?;
        Ok(next.map(|next| Self {
            path,
            lines,
            next,
            is_over: false,
        }))
    }

    /// The block it stands at; then it stands at the one behind it, or is over.
    fn take(&mut self, shard: Shard) -> Result<Filed, Stop> {
        let after = read(&self.path, &mut self.lines, shard)?;
        self.is_over = after.is_none();
        let Some(after) = after else {
            return Ok(self.next.clone());
        };
        if after.block < self.next.block {
            let what = format!("it stands behind block {}", self.next.block);
            return Err(Fault::at(after.block, Some(after.place), what).into());
        }
        Ok(std::mem::replace(&mut self.next, after))
    }
}

fn read(
    path: &Path,
    lines: &mut Lines<BufReader<File>>,
    shard: Shard,
) -> Result<Option<Filed>, Stop> {
    let line = lines.next();
    let line = line.with_context(|| format!("cannot read {}", path.display()))?;
    let Some(bytes) = line else {
        return Ok(None);
    };
    let place = format!("{}, line {}", path.display(), lines.number);
    match Name::of(&bytes) {
        Ok(name) if name.shard == shard => Ok(Some(Filed {
            block: name.block,
            bytes,
            place,
        })),
        Ok(name) => {
            let what = format!("it is of shard {}", name.shard.number());
            Err(Fault::at(name.block, Some(place), what).into())
        }
        Err(error) => Err(Fault::somewhere(place, format!("no block: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{
        super::{file::append, line::chain},
        *,
    };

    fn all(directories: &[PathBuf]) -> Result<Vec<u64>, String> {
        let shard = Shard::new(7).unwrap();
        let mut blocks = FiledBlocks::open(directories, shard).unwrap();
        let mut numbers = Vec::new();
        loop {
            match blocks.next() {
                Ok(Some(filed)) => numbers.push(filed.block),
                Ok(None) => return Ok(numbers),
                Err(stop) => return Err(stop.to_string()),
            }
        }
    }

    #[test]
    fn the_files_of_all_hosts_are_one_chain() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = [one.path().to_owned(), other.path().to_owned()];
        let [here, there] = [one.path().join("7"), other.path().join("7")];
        let months = ["2026-10", "2026-10", "2026-10", "2026-11", "2026-11"];
        let lines = chain(7, &months);
        assert_eq!(all(&directories).unwrap(), [0_u64; 0]);
        append(&here, "a", &lines[..1]).unwrap();
        append(&there, "b", &lines[1..2]).unwrap();
        append(&here, "a", &lines[2..4]).unwrap();
        // Twice, in two places.
        append(&there, "b", &lines[3..]).unwrap();
        append(&here, "c", &lines[4..]).unwrap();
        std::fs::write(here.join("notes.txt"), "x").unwrap();
        std::fs::write(here.join("2026-1x.a.jsonl"), "x").unwrap();
        assert_eq!(all(&directories).unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(all(&directories[..1]).unwrap(), [1, 3, 4, 5]);

        // A line that says something else than the same block elsewhere.
        let path = here.join("2026-11.c.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"at\":5", "\"at\":6")).unwrap();
        let fault = all(&directories).unwrap_err();
        assert!(
            fault.contains("block 5") && fault.contains("differ"),
            "{fault}"
        );
        // Of another shard; no block; out of order.
        for (bad, why) in [
            (text.replace("\"shard\":7", "\"shard\":8"), "of shard 8"),
            (format!("{{}}\n{text}"), "line 1: no block"),
            (text.replace("\"block\":5", "\"block\":3"), "block 3"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let fault = all(&directories).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }
}
