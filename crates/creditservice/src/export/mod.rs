//! Old blocks of the journal go to files, and leave the store only when they are safe there.
//!
//! ```text
//!   e+1 … n  ──read, chain checked──> <directory>/<shard>/<YYYY-MM>.<host>.jsonl, fsync ──> ONE fenced transaction:
//!                                                                         blocks removed, `exported` names n and its hash
//! ```
//! A block is old when the newest snapshot has it (one that was read back whole), its entries are in the pages of their
//! projects, and it is older than `[export] keep_days`. The shard's owner exports, beside its work. A crash between append and
//! removal leaves blocks in both places: they come again, and are not appended twice. Of several hosts each files what it
//! owns; the files of all of them together are the journal's beginning.
//!
//! | module | what |
//! |---|---|
//! | `config` | `[export]` |
//! | `line` `file` | a block as a line; appending lines |
//! | `filed` | reading what all hosts filed, in the order of the chain |
//! | `verify` `command` | `creditservice verify-journal`: the whole chain, over files and store |

pub mod command;
pub(crate) mod config;
mod file;
mod filed;
mod line;
mod verify;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use creditservice_ledger::{Shard, Time};
use photon_store::{Error, Scan};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use self::config::ExportConfig;
use self::line::{Line, month_of};
use crate::{
    clock::LedgerClock,
    shard::{
        Claim,
        block::Link,
        layout,
        raw::RawStore,
        snapshot,
        stored::{self, Paged},
    },
};

/// Blocks read at once.
const BLOCKS: u32 = 16;
/// Blocks moved at once; etcd takes 128 operations in a transaction.
const AT_ONCE: usize = 96;
/// Bytes moved at once, unless a single block has more.
const BYTES: usize = 4 << 20;
/// Moves of one round; then others have their turn.
const MOVES: usize = 16;
/// Until the next round, if there is more to move.
const NEXT_ROUND: Duration = Duration::from_secs(1);
/// Shards of this process that are exported at once.
const SHARDS: usize = 2;
/// What a disk may take for one move.
const DISK: Duration = Duration::from_secs(60);
/// What tells hosts apart, the first that there is.
const HOST_NAMES: [&str; 3] = [
    "/proc/sys/kernel/hostname",
    "/etc/hostname",
    "/etc/machine-id",
];

/// Up to which block a journal was exported; what is in the store follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exported {
    pub(crate) block: u64,
    /// The block's hash.
    pub(crate) hash: String,
}

impl Exported {
    /// Nothing was, if there is no record.
    pub(crate) async fn read<S: RawStore>(store: &S, shard: Shard) -> Result<Link, Error> {
        Ok(Self::read_with_revision(store, shard).await?.0)
    }

    async fn read_with_revision<S: RawStore>(
        store: &S,
        shard: Shard,
    ) -> Result<(Link, i64), Error> {
        let Some(entry) = store.read(&layout::exported(shard)).await? else {
            return Ok((Link::start(), 0));
        };
        let Self { block, hash } = stored::read(&entry)?;
        Ok((Link { block, hash }, entry.revision))
    }
}

/// Where a shard's journal in the store begins: behind this block. It is checked that it does.
///
/// # Errors
/// [`Error::Corrupt`] when it begins elsewhere; those of any read.
pub(crate) async fn beginning<S: RawStore>(store: &S, shard: Shard) -> Result<Link, Error> {
    let exported = Exported::read(store, shard).await?;
    let first = store
        .range(&Scan::below(layout::journal(shard), 1))
        .await?
        .entries;
    if let Some(first) = first.first() {
        exported.clone().follow(shard, &first.key, &first.value)?;
    }
    Ok(exported)
}

/// Where this process exports to, and when.
#[derive(Debug)]
pub(crate) struct Exports {
    directory: PathBuf,
    /// This machine, in the names of files.
    host: String,
    keep_seconds: i64,
    every: Duration,
    turns: Semaphore,
}

impl Exports {
    /// `None` without a directory.
    ///
    /// # Errors
    /// When this machine has no name.
    pub(crate) fn open(config: &ExportConfig) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(directory) = config.directory.clone() else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Self {
            directory,
            host: host()?,
            keep_seconds: i64::from(config.keep_days) * 86_400,
            every: Duration::from_secs(config.every_seconds),
            turns: Semaphore::new(SHARDS),
        })))
    }
}

/// This machine's name, as it can be part of a file's.
fn host() -> anyhow::Result<String> {
    HOST_NAMES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| in_file_names(text.trim()))
        .find(|name| !name.is_empty())
        .with_context(|| {
            let places = HOST_NAMES.join(", ");
            format!("export.directory: this machine needs a name for its files: {places}")
        })
}

fn in_file_names(name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '_',
    };
    name.chars().map(plain).take(64).collect()
}

/// Exports a shard's blocks until it is dropped, or the shard has another owner. Without a place to export to it does nothing.
pub(crate) async fn run<S: RawStore>(
    exports: Option<Arc<Exports>>,
    store: S,
    claim: Claim,
    clock: Arc<LedgerClock>,
) {
    let Some(exports) = exports else {
        return;
    };
    let shard = claim.shard;
    let mut exporter = Exporter {
        exports: Arc::clone(&exports),
        store,
        claim,
        clock,
        trusted: None,
    };
    // Not all shards at the same moment.
    let mut pause = exports.every.mul_f64(rand::random_range(0.0..1.0));
    let mut said = String::new();
    loop {
        tokio::time::sleep(pause).await;
        // Nobody closes it.
        let turn = exports.turns.acquire().await;
        let round = exporter.round().await;
        drop(turn);
        pause = exports.every;
        match round {
            Ok(Round::Done) => said.clear(),
            Ok(Round::More) => pause = NEXT_ROUND.min(exports.every),
            Err(error) if is_deposed(&error, shard) => return,
            Err(error) => {
                // What is not exported stays in the store. The same is said once.
                let error = format!("{error:#}");
                if error != said {
                    tracing::warn!(shard = shard.number(), error, "blocks cannot be exported");
                    said = error;
                }
            }
        }
    }
}

/// Other requirements than the fence fail when an earlier removal, whose answer was lost, happened late.
fn is_deposed(error: &anyhow::Error, shard: Shard) -> bool {
    match error.downcast_ref() {
        Some(Error::Conflict { key } | Error::NotFound { key }) => *key == layout::epoch(shard),
        _ => false,
    }
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Done,
    /// There may be more.
    More,
}

/// What exports one shard, during one ownership.
#[derive(Debug)]
struct Exporter<S> {
    exports: Arc<Exports>,
    store: S,
    claim: Claim,
    clock: Arc<LedgerClock>,
    /// The newest snapshot that was read back whole.
    trusted: Option<Link>,
}

/// Up to where blocks are not needed in the store any more.
#[derive(Debug)]
struct Bound {
    snapshot: Link,
    /// The last entry before which all are in pages.
    paged: u64,
    /// The youngest that is old.
    at: Time,
}

impl<S: RawStore> Exporter<S> {
    /// Moves what is old, at most [`MOVES`] times.
    async fn round(&mut self) -> anyhow::Result<Round> {
        let Some(bound) = self.bound().await? else {
            return Ok(Round::Done);
        };
        let mut blocks = 0;
        for _ in 0..MOVES {
            let (exported, revision) =
                Exported::read_with_revision(&self.store, self.claim.shard).await?;
            let (lines, through) = self.old(exported, &bound).await?;
            if lines.is_empty() {
                self.tell(blocks);
                return Ok(Round::Done);
            }
            self.trust(&bound.snapshot).await?;
            let keys: Vec<u64> = lines.iter().map(|line| line.block).collect();
            self.append(lines).await?;
            self.remove(&keys, through, revision).await?;
            blocks += keys.len();
        }
        self.tell(blocks);
        Ok(Round::More)
    }

    fn tell(&self, blocks: usize) {
        if blocks > 0 {
            tracing::info!(shard = self.claim.shard.number(), blocks, "blocks exported");
        }
    }

    /// `None` if there is no snapshot.
    async fn bound(&self) -> Result<Option<Bound>, Error> {
        let shard = self.claim.shard;
        let Some(snapshot) = snapshot::newest(&self.store, shard).await? else {
            return Ok(None);
        };
        let paged = match self.store.read(&layout::paged(shard)).await? {
            Some(entry) => stored::read::<Paged>(&entry)?.seq,
            None => 0,
        };
        Ok(Some(Bound {
            snapshot,
            paged,
            at: self.clock.now().plus_seconds(-self.exports.keep_seconds),
        }))
    }

    /// The next blocks that are old, and where the chain stands behind them.
    async fn old(&self, mut link: Link, bound: &Bound) -> Result<(Vec<Line>, Link), Error> {
        let shard = self.claim.shard;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let scan = Scan {
                from: Some(layout::block(shard, link.block + 1)),
                ..Scan::below(layout::journal(shard), BLOCKS)
            };
            let scanned = self.store.range(&scan).await?;
            for entry in &scanned.entries {
                let is_full = lines.len() == AT_ONCE || bytes + entry.value.len() > BYTES;
                if link.block >= bound.snapshot.block || (is_full && !lines.is_empty()) {
                    return Ok((lines, link));
                }
                let mut next = link.clone();
                // What is broken stays in the store, and all behind it: nobody must say that the export broke it.
                let block = next.follow(shard, &entry.key, &entry.value)?;
                let corrupt = |reason: &str| Error::Corrupt {
                    key: entry.key.clone(),
                    reason: reason.to_owned(),
                };
                if next.block == bound.snapshot.block && next != bound.snapshot {
                    return Err(corrupt("it is not the block that the snapshot is of"));
                }
                if entry.value.contains(&b'\n') {
                    return Err(corrupt("it is more than one line"));
                }
                let Some(last) = block.entries.last() else {
                    return Err(corrupt("it has no entries"));
                };
                if last.seq > bound.paged || last.at > bound.at {
                    return Ok((lines, link));
                }
                bytes += entry.value.len();
                lines.push(Line {
                    block: next.block,
                    prev: block.prev,
                    month: month_of(last.at),
                    bytes: entry.value.to_vec(),
                });
                link = next;
            }
            if !scanned.more {
                return Ok((lines, link));
            }
        }
    }

    /// Without the blocks before it there is nothing but the snapshot to go on from: so it is read first.
    async fn trust(&mut self, newest: &Link) -> anyhow::Result<()> {
        let reaches = |link: &Link| link.block >= newest.block;
        if self.trusted.as_ref().is_some_and(reaches) {
            return Ok(());
        }
        let read = snapshot::read(&self.store, self.claim.shard).await?;
        // By now there may be a newer one.
        let read = read.map(|(_, link)| link);
        ensure!(
            read.as_ref().is_some_and(reaches),
            "the snapshot after block {} cannot be read, so the journal is kept",
            newest.block
        );
        self.trusted = read;
        Ok(())
    }

    async fn append(&self, lines: Vec<Line>) -> anyhow::Result<()> {
        let exports = Arc::clone(&self.exports);
        let shard = self.claim.shard.number().to_string();
        let writing = self
            .store
            .aside(move || file::append(&exports.directory.join(shard), &exports.host, &lines));
        tokio::time::timeout(DISK, writing)
            .await
            .context("the disk does not answer")??
    }

    async fn remove(&self, blocks: &[u64], through: Link, revision: i64) -> Result<(), Error> {
        let shard = self.claim.shard;
        let key = layout::exported(shard);
        let exported = Exported {
            block: through.block,
            hash: through.hash,
        };
        let mut changes = self.claim.fenced();
        match revision {
            0 => changes.absent(key.clone()),
            revision => changes.at_revision(key.clone(), revision),
        };
        for block in blocks {
            changes.delete(layout::block(shard, *block));
        }
        changes.put(key, stored::encode(&exported)?);
        self.store.commit(changes).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn hosts_have_names_for_files() {
        assert!(!host().unwrap().is_empty());
        assert_eq!(in_file_names("ctl-1.example"), "ctl-1.example");
        assert_eq!(in_file_names("../a b/ü"), ".._a_b__");
        assert!(Exports::open(&ExportConfig::default()).unwrap().is_none());
    }
}
