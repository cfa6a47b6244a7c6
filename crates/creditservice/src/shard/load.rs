//! A shard's state, from its newest snapshot and the journal behind it.
//!
//! ```text
//!   blocks   1 … 40 | 41 … 57 | 58 … 63
//!                   |         snapshot is the state after 57; 58 … 63 are replayed on it
//!                   entries up to those of 40 are in pages; those of 41 … 63 are not, and go to the pager
//! ```

use creditservice_ledger::{Shard, State};
use photon_store::{Error, Scan, Store};

use super::{
    block::{self, Link},
    layout, snapshot,
    stored::{self, Head, Paged},
};
use crate::history::Unpaged;

/// Blocks read at once; each has at most a little more than a group's limit.
const BLOCKS: u32 = 16;

/// What an owner goes on from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) link: Link,
    /// The revision of the head; 0 if there is none yet.
    pub(crate) head_revision: i64,
    pub(crate) unpaged: Unpaged,
    /// Entries behind the snapshot.
    pub(crate) replayed: u64,
}

/// Reads a shard whose epoch was raised before: nobody else writes to it any more.
///
/// # Errors
/// [`Error::Corrupt`] when the journal is not a chain that ends at its head, or its entries do not follow from each other.
pub(crate) async fn load(store: &Store, shard: Shard) -> Result<Loaded, Error> {
    let head = store.get_raw(&layout::head(shard)).await?;
    let paged = match store.get_raw(&layout::paged(shard)).await? {
        Some(entry) => stored::read::<Paged>(&entry)?,
        None => Paged::default(),
    };
    let (state, link) = match snapshot::read(store, shard).await? {
        Some(snapshot) => snapshot,
        None => (State::new(shard), Link::start()),
    };
    let mut loaded = Loaded {
        head_revision: head.as_ref().map_or(0, |entry| entry.revision),
        unpaged: Unpaged::new(paged.seq),
        replayed: state.seq(),
        state,
        link,
    };
    loaded.find_unpaged(store, shard, paged.seq).await?;
    loaded.replay(store, shard).await?;
    loaded.replayed = loaded.state.seq() - loaded.replayed;
    let expected = match &head {
        Some(entry) => Link::of(&stored::read::<Head>(entry)?),
        None => Link::start(),
    };
    if loaded.link != expected {
        return Err(corrupt(
            layout::head(shard),
            format!(
                "the journal ends with block {}, its head names block {}",
                loaded.link.block, expected.block
            ),
        ));
    }
    loaded
        .state
        .check()
        .map_err(|broken| corrupt(layout::journal(shard), broken))?;
    Ok(loaded)
}

impl Loaded {
    /// Takes in the entries that are in the snapshot's state and not in pages.
    async fn find_unpaged(&mut self, store: &Store, shard: Shard, paged: u64) -> Result<(), Error> {
        if paged >= self.state.seq() {
            return Ok(());
        }
        let last = self.link.block;
        let mut next = block_of(store, shard, paged + 1, last).await?;
        while next <= last {
            let block = block::read(store, shard, next).await?;
            for entry in block.entries {
                self.unpaged.push(entry);
            }
            next += 1;
        }
        Ok(())
    }

    async fn replay(&mut self, store: &Store, shard: Shard) -> Result<(), Error> {
        loop {
            let scan = Scan {
                from: Some(layout::block(shard, self.link.block + 1)),
                ..Scan::below(layout::journal(shard), BLOCKS)
            };
            let blocks = store.scan(&scan).await?;
            for entry in &blocks.entries {
                let block = self.link.follow(shard, &entry.key, &entry.value)?;
                for one in block.entries {
                    self.state
                        .replay(&one)
                        .map_err(|error| corrupt(entry.key.clone(), error))?;
                    self.unpaged.push(one);
                }
                // Others are served meanwhile.
                tokio::task::yield_now().await;
            }
            if !blocks.more {
                return Ok(());
            }
        }
    }
}

/// The block that has an entry, among those up to `last`.
async fn block_of(store: &Store, shard: Shard, seq: u64, last: u64) -> Result<u64, Error> {
    let (mut low, mut high) = (1, last);
    while low < high {
        let middle = low + (high - low) / 2;
        let block = block::read(store, shard, middle).await?;
        if block.entries.last().is_some_and(|entry| entry.seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn corrupt(key: String, reason: impl std::fmt::Display) -> Error {
    Error::Corrupt {
        key,
        reason: reason.to_string(),
    }
}
