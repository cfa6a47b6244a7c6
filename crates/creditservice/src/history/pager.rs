//! The pager of a shard: copies what is written into pages, while its owner lasts.

use std::{sync::Arc, time::Duration};

use creditservice_ledger::Shard;
use photon_store::Error;

use super::{Unpaged, page, unpaged::Batch};
use crate::{
    clock::LedgerClock,
    shard::{
        Claim, layout,
        raw::RawStore,
        stored::{self, Paged},
    },
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of one transaction; the store takes 1.5 MiB.
const BYTES: usize = 1 << 20;

/// Pages until it is dropped or the shard has another owner.
pub(crate) async fn run<S: RawStore>(
    store: S,
    claim: Claim,
    unpaged: Arc<Unpaged>,
    clock: Arc<LedgerClock>,
) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = page_what_is_due(&store, &claim, &unpaged, &clock).await {
            if is_deposed(&error, claim.shard) {
                return;
            }
            // What is not paged stays in memory, and in the journal.
            tracing::warn!(shard = claim.shard.number(), %error, "entries are not in pages yet");
        }
    }
}

fn is_deposed(error: &Error, shard: Shard) -> bool {
    match error {
        Error::Conflict { key } | Error::NotFound { key } => *key == layout::epoch(shard),
        _ => false,
    }
}

async fn page_what_is_due<S: RawStore>(
    store: &S,
    claim: &Claim,
    unpaged: &Unpaged,
    clock: &LedgerClock,
) -> Result<(), Error> {
    loop {
        let batch = unpaged.due(clock.now());
        if batch.is_empty() {
            return Ok(());
        }
        let done = write(store, claim, unpaged, batch).await?;
        unpaged.forget(&done);
    }
}

/// Writes a batch, or as much of it as goes into one transaction, and returns that.
async fn write<S: RawStore>(
    store: &S,
    claim: &Claim,
    unpaged: &Unpaged,
    batch: Batch,
) -> Result<Batch, Error> {
    let mut changes = claim.fenced();
    // A write whose answer was lost may happen late: not on top of this one, which would take entries out of pages again.
    let paged_key = layout::paged(claim.shard);
    match store.read(&paged_key).await? {
        Some(before) => changes.at_revision(paged_key.clone(), before.revision),
        None => changes.absent(paged_key.clone()),
    };
    let mut bytes = 0;
    let mut done = Batch::new();
    for (project, entries) in batch {
        let newest = page::newest(store, &project).await?;
        let pages = page::add(claim.shard, &project, newest, &entries)?;
        let more: usize = pages.iter().map(|page| page.bytes.len()).sum();
        if !done.is_empty() && bytes + more > BYTES {
            break;
        }
        bytes += more;
        for page in pages {
            changes.put(page.key, page.bytes);
        }
        done.push((project, entries));
    }
    let paged = Paged {
        seq: unpaged.paged_after(&done),
    };
    changes.put(paged_key, stored::encode(&paged)?);
    store.commit(changes).await?;
    Ok(done)
}
