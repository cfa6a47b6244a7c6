//! Orders to take down ports that were deleted, swept once nobody can need them.
//!
//! A host that was away for longer than an order lives finds the port's record absent: an orphan, which it keeps and shows.

use std::time::Duration;

use jiff::Timestamp;
use photon_store::{Expected, PageRequest, Store};
use prismnet_model::Gone;
use tokio_util::sync::CancellationToken;

/// How long an order stands.
const STANDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(3600);
/// Orders looked at together.
const CHUNK: usize = 1_000;

/// Removes old orders now and then, until it is stopped. Every process does; removing twice is no harm.
pub(crate) async fn sweep(store: Store, stop: CancellationToken) {
    loop {
        // Not in step with the other processes, and not all when they are started together.
        let pause = EVERY.mul_f64(rand::random_range(0.5..1.5));
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        let before = Timestamp::now() - STANDS;
        match stop.run_until_cancelled(remove(&store, before)).await {
            Some(Ok(0)) => {}
            Some(Ok(removed)) => tracing::info!(removed, "old orders to take ports down are gone"),
            Some(Err(error)) => tracing::warn!(%error, "old orders could not be looked for"),
            None => return,
        }
    }
}

/// Removes the orders from before a time, and says how many.
async fn remove(store: &Store, before: Timestamp) -> photon_store::Result<usize> {
    let orders = store.collection::<Gone>();
    let mut request = PageRequest {
        limit: CHUNK,
        ..PageRequest::default()
    };
    let mut removed = 0;
    loop {
        let page = orders.list(&request).await?;
        for order in page.items.iter().filter(|order| order.value.at < before) {
            match orders.delete(&order.key, Expected::Any).await {
                Ok(_) => removed += 1,
                Err(photon_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(removed),
        }
    }
}
