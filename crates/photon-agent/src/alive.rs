//! That the agent is alive: a key under its lease.

use std::time::Duration;

use photon_store::{Error, Lease, Record, Store};
use tokio_util::sync::CancellationToken;

use crate::told::remove;

/// How long the key stays after the agent was heard of last.
const ALIVE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(2);
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(2);

/// Keeps the record `now()` at a key under a lease, as long as it is not stopped. Then the lease is given back: nobody has to wait for
/// its end.
pub async fn stay_alive<T: Record>(
    store: &Store,
    key: &str,
    now: impl Fn() -> T,
    stop: CancellationToken,
) {
    loop {
        let Some(result) = stop.run_until_cancelled(be_alive(store, key, now())).await else {
            return;
        };
        match result {
            Ok(lease) => {
                if stop.run_until_cancelled(lease.lost()).await.is_none() {
                    let _ = tokio::time::timeout(LEAVING, lease.revoke()).await;
                    return;
                }
                tracing::warn!("the lease is lost: what is here is shown as unknown meanwhile");
            }
            Err(error) => tracing::debug!(%error, "no lease; trying again"),
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn be_alive<T: Record>(store: &Store, key: &str, alive: T) -> Result<Lease, Error> {
    let lease = store.lease(ALIVE).await?;
    let all = store.collection::<T>();
    // What an earlier run left under its lease: nobody else writes this key.
    remove(&all, key).await?;
    all.create_under(key, alive, lease.id()).await?;
    Ok(lease)
}
