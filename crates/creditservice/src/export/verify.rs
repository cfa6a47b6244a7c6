//! Whether a shard's journal is what was written: from block 1 to its head, over files and store.
//!
//! ```text
//!   files: 1 ………… exported | store: exported+1 ………… head
//!          every hash and link, every entry replayed     at `exported`, snapshot and head: they name what was found
//! ```
//! The service may go on meanwhile: blocks that are moved to files while they are read are looked for there.

use std::{collections::HashMap, fmt, path::PathBuf};

use creditservice_ledger::{Shard, State, snapshot};
use photon_store::{Error, Scan};

use super::{
    Exported,
    filed::{Filed, FiledBlocks},
};
use crate::shard::{
    block::{self, Link},
    layout,
    raw::RawStore,
    snapshot as stored_snapshot,
    stored::{self, Head},
};

/// Blocks read at once.
const BLOCKS: u32 = 16;
/// How often a snapshot is tried again that is replaced while it is read.
const ATTEMPTS: usize = 5;
/// Bytes of two states compared at once.
const COMPARED: usize = 256 << 10;

/// What is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where it shows; `None` if it is about the whole.
    block: Option<u64>,
    /// File and line, or key.
    place: Option<String>,
    what: String,
}

impl Fault {
    pub(super) fn at(block: u64, place: Option<String>, what: impl Into<String>) -> Self {
        Self {
            block: Some(block),
            place,
            what: what.into(),
        }
    }

    pub(super) fn somewhere(place: String, what: impl Into<String>) -> Self {
        Self {
            block: None,
            place: Some(place),
            what: what.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, place, what } = self;
        match (block, place) {
            (Some(block), Some(place)) => write!(f, "block {block} ({place}): {what}"),
            (Some(block), None) => write!(f, "block {block}: {what}"),
            (None, Some(place)) => write!(f, "{place}: {what}"),
            (None, None) => f.write_str(what),
        }
    }
}

/// Why it was not looked at any further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong with the journal.
    Fault(Fault),
    /// It could not be read.
    Failed(anyhow::Error),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupt { key, reason } => Self::Fault(Fault::somewhere(key, reason)),
            error => Self::Failed(error.into()),
        }
    }
}

/// A journal that is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intact {
    /// Its last block; 0 if there is none.
    pub(super) through: u64,
    pub(super) hash: String,
    /// How many of its blocks were read from files.
    pub(super) filed: u64,
    pub(super) entries: u64,
}

/// Reads a shard's whole journal.
pub(super) async fn verify<S: RawStore>(
    store: &S,
    directories: &[PathBuf],
    shard: Shard,
) -> Result<Intact, Stop> {
    let mut chain = Chain::new(shard, snapshot_of(store, shard).await?);
    let head = loop {
        // In this order: no block was exported that the head does not know.
        let exported = Exported::read(store, shard).await?;
        nothing_before(store, shard, &exported).await?;
        let head = head_of(store, shard).await?;
        chain.read_files(directories, &exported)?;
        if chain.read_store(store, &head).await? {
            break head;
        }
        // A block is missing in the store, unless it was moved to a file while we read.
        let missing = chain.link.block + 1;
        if Exported::read(store, shard).await?.block < missing {
            let what = format!(
                "missing in the store, whose head names block {}",
                head.block
            );
            return Err(Fault::at(missing, None, what).into());
        }
    };
    chain.ends_at(&head)?;
    chain.nothing_behind(store, &head).await?;
    Ok(Intact {
        through: chain.link.block,
        hash: chain.link.hash,
        filed: chain.filed,
        entries: chain.state.seq(),
    })
}

/// What was exported is in the store no more.
async fn nothing_before<S: RawStore>(store: &S, shard: Shard, exported: &Link) -> Result<(), Stop> {
    let scan = Scan {
        before: Some(layout::block(shard, exported.block + 1)),
        ..Scan::below(layout::journal(shard), 1)
    };
    match store.range(&scan).await?.entries.first() {
        Some(entry) => {
            let what = format!(
                "it is still there, and block {} was exported",
                exported.block
            );
            Err(Fault::somewhere(entry.key.clone(), what).into())
        }
        None => Ok(()),
    }
}

/// Where a journal ends.
#[derive(Debug)]
struct End {
    block: u64,
    hash: String,
    seq: u64,
}

async fn head_of<S: RawStore>(store: &S, shard: Shard) -> Result<End, Error> {
    let Some(entry) = store.read(&layout::head(shard)).await? else {
        let Link { block, hash } = Link::start();
        return Ok(End {
            block,
            hash,
            seq: 0,
        });
    };
    let Head {
        block, seq, hash, ..
    } = stored::read(&entry)?;
    Ok(End { block, hash, seq })
}

/// The newest snapshot, if there is one.
async fn snapshot_of<S: RawStore>(store: &S, shard: Shard) -> Result<Option<(State, Link)>, Stop> {
    let mut attempts = 0;
    loop {
        let Some(newest) = stored_snapshot::newest(store, shard).await? else {
            return Ok(None);
        };
        if let Some(read) = stored_snapshot::read(store, shard).await? {
            return Ok(Some(read));
        }
        attempts += 1;
        let now = stored_snapshot::newest(store, shard).await?;
        if now.as_ref() == Some(&newest) || attempts == ATTEMPTS {
            let place = layout::snapshot(shard, newest.block);
            return Err(Fault::somewhere(place, "the snapshot cannot be read").into());
        }
    }
}

/// How far a journal was read.
struct Chain {
    shard: Shard,
    link: Link,
    state: State,
    /// Blocks that came from files.
    filed: u64,
    /// To be found on the way.
    snapshot: Option<(State, Link)>,
    /// Blocks in files that should be in the store too, or come to be moved while we read: hash and place.
    ahead: HashMap<u64, (String, String)>,
}

impl Chain {
    fn new(shard: Shard, snapshot: Option<(State, Link)>) -> Self {
        Self {
            shard,
            link: Link::start(),
            state: State::new(shard),
            filed: 0,
            snapshot,
            ahead: HashMap::new(),
        }
    }

    /// Goes on with what is in files, up to what was exported.
    fn read_files(&mut self, directories: &[PathBuf], exported: &Link) -> Result<(), Stop> {
        let mut blocks = FiledBlocks::open(directories, self.shard)?;
        while let Some(filed) = blocks.next()? {
            if filed.block <= self.link.block {
                continue;
            }
            let Filed {
                block,
                bytes,
                place,
            } = filed;
            if block > exported.block {
                self.ahead.insert(block, (block::hash(&bytes), place));
                continue;
            }
            let expected = self.link.block + 1;
            if block != expected {
                return Err(missing_in_files(expected, block - 1));
            }
            self.follow(&bytes, &place)?;
            self.filed += 1;
        }
        if self.link.block < exported.block {
            return Err(missing_in_files(self.link.block + 1, exported.block));
        }
        if self.link.block == exported.block && self.link != *exported {
            let what = "it is not the block that was exported: the store remembers another hash";
            return Err(Fault::at(exported.block, None, what).into());
        }
        Ok(())
    }

    /// Goes on with what is in the store, and says whether the head was reached.
    async fn read_store<S: RawStore>(&mut self, store: &S, head: &End) -> Result<bool, Stop> {
        while self.link.block < head.block {
            let scan = Scan {
                from: Some(layout::block(self.shard, self.link.block + 1)),
                ..Scan::below(layout::journal(self.shard), BLOCKS)
            };
            let blocks = store.range(&scan).await?.entries;
            let before = self.link.block;
            for entry in blocks {
                let expected = self.link.block + 1;
                if self.link.block == head.block {
                    break;
                }
                if entry.key != layout::block(self.shard, expected) {
                    return Ok(false);
                }
                self.follow(&entry.value, &entry.key)?;
                if let Some((hash, place)) = self.ahead.remove(&expected)
                    && hash != self.link.hash
                {
                    let what = format!("another one than in the store, at {}", entry.key);
                    return Err(Fault::at(expected, Some(place), what).into());
                }
            }
            if self.link.block == before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes in the next block.
    fn follow(&mut self, bytes: &[u8], place: &str) -> Result<(), Stop> {
        let number = self.link.block + 1;
        let fault = |what: String| Fault::at(number, Some(place.to_owned()), what);
        let key = layout::block(self.shard, number);
        let block = match self.link.follow(self.shard, &key, bytes) {
            Ok(block) => block,
            Err(Error::Corrupt { reason, .. }) => return Err(fault(reason).into()),
            Err(error) => return Err(error.into()),
        };
        for entry in &block.entries {
            self.state
                .replay(entry)
                .map_err(|error| fault(error.to_string()))?;
        }
        if self
            .snapshot
            .as_ref()
            .is_some_and(|(_, link)| link.block == number)
            && let Some((state, link)) = self.snapshot.take()
        {
            if link != self.link {
                let what = "it has another hash than the block that the snapshot is of";
                return Err(fault(what.to_owned()).into());
            }
            if !snapshot::encode(&state, COMPARED).eq(snapshot::encode(&self.state, COMPARED)) {
                let what = "the snapshot after it is not what the journal comes to";
                return Err(fault(what.to_owned()).into());
            }
        }
        Ok(())
    }

    /// The head names what was found, and the ledger adds up.
    fn ends_at(&self, head: &End) -> Result<(), Stop> {
        if self.link.hash != head.hash || self.state.seq() != head.seq {
            let what = "it is not the block that the head names";
            return Err(Fault::at(head.block, None, what).into());
        }
        if let Some((_, link)) = &self.snapshot {
            let what = format!(
                "there is a snapshot after it, and the journal ends with block {}",
                head.block
            );
            return Err(Fault::at(link.block, None, what).into());
        }
        self.state
            .check()
            .map_err(|broken| Fault::at(head.block, None, broken.to_string()).into())
    }

    /// Neither in the store nor in files is there a block behind the end; those written meanwhile are before a later head.
    async fn nothing_behind<S: RawStore>(&self, store: &S, head: &End) -> Result<(), Stop> {
        let scan = Scan {
            from: Some(layout::block(self.shard, head.block + 1)),
            ..Scan::below(layout::journal(self.shard), 1)
        };
        let stored = store.range(&scan).await?.entries;
        let now = head_of(store, self.shard).await?.block;
        if now > head.block {
            return Ok(());
        }
        if let Some(entry) = stored.first() {
            let what = format!("it lies behind the end, which is block {now}");
            return Err(Fault::somewhere(entry.key.clone(), what).into());
        }
        match self.ahead.iter().min_by_key(|(block, _)| **block) {
            Some((block, (_, place))) => {
                let what = format!(
                    "it was exported, and the store's journal ends with block {now}: it is an older or another store"
                );
                Err(Fault::at(*block, Some(place.clone()), what).into())
            }
            None => Ok(()),
        }
    }
}

fn missing_in_files(from: u64, through: u64) -> Stop {
    let what = if from == through {
        "missing: it was exported, and is in none of the files".to_owned()
    } else {
        format!(
            "missing, and all up to {through}: they were exported, and are in none of the files"
        )
    };
    Fault::at(from, None, what).into()
}
