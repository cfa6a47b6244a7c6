//! Orders to take down what was deleted, until nobody can need them: all hosts have carried them out, or they are old.
//!
//! A host that was away for longer than an order lives finds the record absent: an orphan, which it keeps and shows.

use std::time::Duration;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Expected, PageRequest, Record, Store};
use prismnet_model::{Gone, GoneFloatingIp};
use tokio_util::sync::CancellationToken;

use crate::host::Hosts;

/// How long an order stands that not all hosts have carried out.
const STANDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(20);
/// Orders looked at together.
const CHUNK: usize = 1_000;

/// What was deleted, when, and who must have heard of it at least.
trait Order: Record {
    fn at(&self) -> Timestamp;

    /// The host it was on.
    fn host(&self) -> Option<&Name>;
}

impl Order for Gone {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn host(&self) -> Option<&Name> {
        Some(&self.host)
    }
}

impl Order for GoneFloatingIp {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn host(&self) -> Option<&Name> {
        None
    }
}

/// Removes orders that nobody needs now and then, until it is stopped. Every process does; removing twice is no harm.
pub(crate) async fn sweep(store: Store, hosts: Hosts, stop: CancellationToken) {
    let work = async {
        loop {
            // Not in step with the other processes, and not all when they are started together.
            tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.5..1.5))).await;
            let before = Timestamp::now() - STANDS;
            match remove_all(&store, &hosts, before).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "orders that nobody needs are gone"),
                Err(error) => tracing::warn!(%error, "old orders could not be looked for"),
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn remove_all(
    store: &Store,
    hosts: &Hosts,
    before: Timestamp,
) -> photon_store::Result<usize> {
    let ports = remove::<Gone>(store, hosts, before).await?;
    let floating = remove::<GoneFloatingIp>(store, hosts, before).await?;
    Ok(ports + floating)
}

/// Removes the orders from before a time, and those that are carried out; says how many.
async fn remove<T: Order>(
    store: &Store,
    hosts: &Hosts,
    before: Timestamp,
) -> photon_store::Result<usize> {
    let orders = store.collection::<T>();
    let mut request = PageRequest {
        limit: CHUNK,
        ..PageRequest::default()
    };
    let mut removed = 0;
    loop {
        let page = orders.list(&request).await?;
        for order in &page.items {
            let is_old = order.value.at() < before;
            if !is_old && !hosts.have_done(order.revision, order.value.host()) {
                continue;
            }
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
