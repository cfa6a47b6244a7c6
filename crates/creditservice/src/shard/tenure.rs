//! One ownership of a shard, from its claim until it is given up or taken away.
//!
//! ```text
//!   claim ── load ── apply the catalog ──> can be asked: owner and pager ──┬── makes way ──> given up
//!                                                                         └── fails, or is dropped ──> left to the next claim
//! ```

use std::sync::Arc;

use creditservice_ledger::Shard;
use photon_store::Error;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    claim::{self, Candidate},
    load::load,
    owner::{Ended, Inbox, Owner, Term, Tools},
    raw::RawStore,
};
use crate::{
    catalog,
    clock::LedgerClock,
    export::{self, Exports},
    history::pager,
};

/// What a tenure works with.
#[derive(Debug)]
pub(super) struct Terms<S> {
    pub(super) store: S,
    pub(super) clock: Arc<LedgerClock>,
    pub(super) lease: Arc<dyn Term>,
    pub(super) candidate: Candidate,
    /// Journals that may be read at once.
    pub(super) loads: Arc<Semaphore>,
    /// After so many entries the state is written as a whole.
    pub(super) snapshot_entries: u64,
    /// Where old blocks go, if they go anywhere.
    pub(super) exports: Option<Arc<Exports>>,
}

/// Owns a shard. `own` is the revision of the owner's key if it is this process's from before. `seated` is told whom to ask,
/// and when nobody any more.
///
/// # Errors
/// Why it ended before it was told to make way.
pub(super) async fn hold<S: RawStore>(
    terms: Terms<S>,
    shard: Shard,
    own: Option<i64>,
    make_way: CancellationToken,
    seated: impl Fn(Option<Inbox>) + Send,
) -> Result<(), Error> {
    let Terms {
        store,
        clock,
        lease,
        candidate,
        loads,
        snapshot_entries,
        exports,
    } = terms;
    let permit = loads.acquire_owned().await;
    let Some(claim) = claim::claim(&store, shard, &candidate, own).await? else {
        return Ok(());
    };
    let began = Instant::now();
    let loaded = match load(&store, shard).await {
        Ok(loaded) => loaded,
        // Others may be able to read it.
        Err(error) => match claim.give_up(&store).await {
            // It was read while somebody else wrote to it: that is no broken journal.
            Err(deposed @ (Error::Conflict { .. } | Error::NotFound { .. })) => {
                return Err(deposed);
            }
            Err(failed) => {
                tracing::warn!(shard = shard.number(), error = %failed, "a shard could not be given up");
                return Err(error);
            }
            Ok(()) => return Err(error),
        },
    };
    drop(permit);
    let (blocks, replayed) = (loaded.link.block, loaded.replayed);
    let tools = Tools {
        store: store.clone(),
        clock: Arc::clone(&clock),
        lease: Arc::clone(&lease),
        snapshot_entries,
    };
    let mut owner = Owner::new(tools, claim.clone(), loaded);
    let rows = catalog::read_all(&store).await?;
    owner
        .prepare(rows.iter().map(catalog::Row::command).collect())
        .await?;
    let unpaged = owner.unpaged();
    let (inbox, works) = Inbox::new(Arc::clone(&unpaged), lease);
    seated(Some(inbox));
    tracing::debug!(
        shard = shard.number(),
        epoch = claim.epoch,
        blocks,
        replayed,
        ms = began.elapsed().as_millis(),
        "owns a shard"
    );
    let paging = pager::run(store.clone(), claim.clone(), unpaged, Arc::clone(&clock));
    let exporting = export::run(exports, store.clone(), claim.clone(), clock);
    // Dropped with the owner, perhaps in the middle of a write: the fence refuses it once there is another owner.
    let ended = {
        let (owning, paging) = (owner.run(works, make_way), async {
            tokio::join!(paging, exporting);
            // Deposed: the owner finds out by its own next write, or by the lease.
            std::future::pending::<()>().await;
        });
        tokio::pin!(owning, paging);
        tokio::select! {
            biased;
            ended = &mut owning => ended,
            () = &mut paging => Ended::Drained,
        }
    };
    seated(None);
    match ended {
        Ended::Drained => claim.give_up(&store).await,
        Ended::Failed(error) => Err(error),
    }
}
