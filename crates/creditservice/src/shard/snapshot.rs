//! Snapshots of a shard's state, so that a new owner need not read its whole journal.
//!
//! ```text
//!   snapshot/<shard>/<block>/<chunk>     the state after that block, written first
//!   snapshot/<shard>/current             which one to begin with, written when all its chunks are there
//! ```
//! One that cannot be read is no harm: the journal has everything.

use creditservice_ledger::{Bounds, Shard, State, snapshot};
use photon_store::{Error, Scan, Store};
use serde::{Deserialize, Serialize};

use super::{block::Link, claim::Claim, layout, stored};

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

/// Writes a snapshot of the state after a block, and removes the one before.
pub(super) async fn write(
    store: &Store,
    claim: &Claim,
    state: State,
    link: Link,
) -> Result<(), Error> {
    let shard = claim.shard;
    let before = current(store, shard).await?;
    let seq = state.seq();
    let encoded = tokio::task::spawn_blocking(move || {
        snapshot::encode(&state, CHUNK_BYTES).collect::<Vec<_>>()
    })
    .await
    .map_err(|error| Error::Protocol(error.to_string()))?;
    let mut chunks = 0;
    for chunk in encoded {
        let mut transaction = claim.fenced(store)?;
        transaction.put_raw(&layout::chunk(shard, link.block, chunks), chunk, 0)?;
        transaction.commit().await?;
        chunks += 1;
    }
    let current = Current {
        block: link.block,
        hash: link.hash,
        seq,
        chunks,
    };
    let mut transaction = claim.fenced(store)?;
    transaction.put_raw(
        &layout::current_snapshot(shard),
        stored::encode(&current)?,
        0,
    )?;
    transaction.commit().await?;
    match before {
        Some(before) if before.block != current.block => remove(store, claim, before.block).await,
        _ => Ok(()),
    }
}

async fn remove(store: &Store, claim: &Claim, block: u64) -> Result<(), Error> {
    let scan = Scan::below(layout::snapshot(claim.shard, block), REMOVED);
    loop {
        let chunks = store.scan(&scan).await?;
        if chunks.entries.is_empty() {
            return Ok(());
        }
        let mut transaction = claim.fenced(store)?;
        for chunk in &chunks.entries {
            transaction.delete_raw(&chunk.key)?;
        }
        transaction.commit().await?;
    }
}

async fn current(store: &Store, shard: Shard) -> Result<Option<Current>, Error> {
    let entry = store.get_raw(&layout::current_snapshot(shard)).await?;
    entry.as_ref().map(stored::read).transpose()
}

/// The newest state that was written whole, and the block it is the state after.
pub(super) async fn read(store: &Store, shard: Shard) -> Result<Option<(State, Link)>, Error> {
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

async fn decode(store: &Store, shard: Shard, current: &Current) -> Result<State, Error> {
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
        let chunks = store.scan(&scan).await?.entries;
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
