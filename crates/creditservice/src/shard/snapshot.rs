//! Snapshots of a shard's state, so that a new owner need not read its whole journal.
//!
//! ```text
//!   snapshot/<shard>/<block>/<chunk>     the state after that block, written first
//!   snapshot/<shard>/current             which one to begin with, written when all its chunks are there
//! ```
//! One that cannot be read is no harm as long as the journal has everything: before blocks are exported it is read.

use creditservice_ledger::{Bounds, Shard, State, snapshot};
use photon_store::{Error, Scan};
use serde::{Deserialize, Serialize};

use super::{block::Link, claim::Claim, layout, raw::RawStore, stored};

/// The store takes 1.5 MiB.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks read at once.
const CHUNKS: u32 = 16;
/// Chunks removed at once; etcd takes 128 operations.
const REMOVED: u32 = 100;

/// Which snapshot to begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    /// The last block in it.
    block: u64,
    /// That block's hash.
    hash: String,
    seq: u64,
    chunks: u32,
}

/// Writes a snapshot of the state after a block, and removes those before.
pub(super) async fn write<S: RawStore>(
    store: &S,
    claim: &Claim,
    state: State,
    link: Link,
) -> Result<(), Error> {
    let shard = claim.shard;
    let key = layout::current_snapshot(shard);
    let stood = store.read(&key).await?;
    let seq = state.seq();
    let encode = move || snapshot::encode(&state, CHUNK_BYTES).collect::<Vec<_>>();
    let encoded = store.aside(encode).await?;
    let mut chunks = 0;
    for chunk in encoded {
        let mut changes = claim.fenced();
        changes.put(layout::chunk(shard, link.block, chunks), chunk);
        store.commit(changes).await?;
        chunks += 1;
    }
    let current = Current {
        block: link.block,
        hash: link.hash,
        seq,
        chunks,
    };
    let mut changes = claim.fenced();
    // A write whose answer was lost may happen late: not on top of a newer one, since the journal before that may be gone.
    match stood {
        Some(entry) => changes.at_revision(key.clone(), entry.revision),
        None => changes.absent(key.clone()),
    };
    changes.put(key, stored::encode(&current)?);
    store.commit(changes).await?;
    remove_before(store, claim, current.block).await
}

/// Removes what is there of older snapshots, also of those that were begun and never finished.
async fn remove_before<S: RawStore>(store: &S, claim: &Claim, block: u64) -> Result<(), Error> {
    let scan = Scan {
        before: Some(layout::snapshot(claim.shard, block)),
        ..Scan::below(layout::snapshots(claim.shard), REMOVED)
    };
    loop {
        let chunks = store.range(&scan).await?;
        if chunks.entries.is_empty() {
            return Ok(());
        }
        let mut changes = claim.fenced();
        for chunk in chunks.entries {
            changes.delete(chunk.key);
        }
        store.commit(changes).await?;
    }
}

async fn current<S: RawStore>(store: &S, shard: Shard) -> Result<Option<Current>, Error> {
    let entry = store.read(&layout::current_snapshot(shard)).await?;
    entry.as_ref().map(stored::read).transpose()
}

/// Which block the newest snapshot is the state after, if there is one. Whether it can be read is another question.
pub(crate) async fn newest<S: RawStore>(store: &S, shard: Shard) -> Result<Option<Link>, Error> {
    let current = current(store, shard).await?;
    Ok(current.map(|Current { block, hash, .. }| Link { block, hash }))
}

/// The newest state that was written whole, and the block it is the state after.
pub(crate) async fn read<S: RawStore>(
    store: &S,
    shard: Shard,
) -> Result<Option<(State, Link)>, Error> {
    let Some(current) = current(store, shard).await? else {
        return Ok(None);
    };
    match decode(store, shard, &current).await {
        Ok(state) => {
            let link = Link {
                block: current.block,
                hash: current.hash,
            };
            Ok(Some((state, link)))
        }
        Err(error @ Error::Corrupt { .. }) => {
            tracing::error!(shard = shard.number(), %error, "a snapshot is left out; the whole journal is read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn decode<S: RawStore>(store: &S, shard: Shard, current: &Current) -> Result<State, Error> {
    let prefix = layout::snapshot(shard, current.block);
    let corrupt = |reason: &dyn std::fmt::Display| Error::Corrupt {
        key: prefix.clone(),
        reason: reason.to_string(),
    };
    let mut decoder = snapshot::Decoder::new(Bounds::default());
    let mut number = 0;
    while number < current.chunks {
        let scan = Scan {
            from: Some(layout::chunk(shard, current.block, number)),
            ..Scan::below(prefix.clone(), CHUNKS)
        };
        let chunks = store.range(&scan).await?.entries;
        if chunks.is_empty() {
            return Err(corrupt(&"chunks are missing"));
        }
        for chunk in chunks {
            decoder
                .push(&chunk.value)
                .map_err(|error| corrupt(&error))?;
            number += 1;
            // Others are served meanwhile.
            tokio::task::yield_now().await;
        }
    }
    let state = decoder.finish().map_err(|error| corrupt(&error))?;
    if state.shard() != shard || state.seq() != current.seq {
        return Err(corrupt(&"it is of another state"));
    }
    Ok(state)
}
