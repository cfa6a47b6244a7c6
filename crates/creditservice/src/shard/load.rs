//! A shard's state, from its newest snapshot and the journal behind it.
//!
//! ```text
//!   blocks   1 … 40 | 41 … 57 | 58 … 63
//!                   |         snapshot is the state after 57; 58 … 63 are replayed on it
//!                   entries up to those of 40 are in pages; those of 41 … 63 are not, and go to the pager
//! ```
//! So 1 … 40 are not read, and may have been exported.

use creditservice_ledger::{Shard, State};
use photon_store::{Error, Scan};

use super::{
    block::{self, Link},
    layout,
    raw::RawStore,
    snapshot,
    stored::{self, Head, Paged},
};
use crate::{export, history::Unpaged};

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
pub(crate) async fn load<S: RawStore>(store: &S, shard: Shard) -> Result<Loaded, Error> {
    let head = store.read(&layout::head(shard)).await?;
    let paged = match store.read(&layout::paged(shard)).await? {
        Some(entry) => stored::read::<Paged>(&entry)?,
        None => Paged::default(),
    };
    let exported = export::beginning(store, shard).await?.block;
    let (state, link) = match snapshot::read(store, shard).await? {
        Some(snapshot) => snapshot,
        None => (State::new(shard), Link::start()),
    };
    if link.block < exported {
        let reason = format!(
            "blocks up to {exported} were exported, and there is no snapshot after them that can be read"
        );
        return Err(corrupt(layout::current_snapshot(shard), reason));
    }
    let mut loaded = Loaded {
        head_revision: head.as_ref().map_or(0, |entry| entry.revision),
        unpaged: Unpaged::new(paged.seq),
        replayed: state.seq(),
        state,
        link,
    };
    loaded
        .find_unpaged(store, shard, paged.seq, exported)
        .await?;
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
    async fn find_unpaged<S: RawStore>(
        &mut self,
        store: &S,
        shard: Shard,
        paged: u64,
        exported: u64,
    ) -> Result<(), Error> {
        if paged >= self.state.seq() {
            return Ok(());
        }
        let last = self.link.block;
        let mut next = block_of(store, shard, paged + 1, exported + 1, last).await?;
        let mut follows = false;
        while next <= last {
            let block = block::read(store, shard, next).await?;
            for entry in block.entries {
                follows |= entry.seq <= paged + 1;
                self.unpaged.push(entry);
            }
            next += 1;
        }
        if follows {
            return Ok(());
        }
        let reason = format!("entry {} is neither in pages nor in the journal", paged + 1);
        Err(corrupt(layout::paged(shard), reason))
    }

    async fn replay<S: RawStore>(&mut self, store: &S, shard: Shard) -> Result<(), Error> {
        loop {
            let scan = Scan {
                from: Some(layout::block(shard, self.link.block + 1)),
                ..Scan::below(layout::journal(shard), BLOCKS)
            };
            let blocks = store.range(&scan).await?;
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

/// The block that has an entry, among those from `first` to `last`.
async fn block_of<S: RawStore>(
    store: &S,
    shard: Shard,
    seq: u64,
    first: u64,
    last: u64,
) -> Result<u64, Error> {
    let (mut low, mut high) = (first, last);
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
