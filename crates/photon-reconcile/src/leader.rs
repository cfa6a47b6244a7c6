//! One process of all that does the work.

use std::time::Duration;

use photon_store::{Fence, Leadership, Store};
use tokio_util::sync::CancellationToken;

/// How long one candidacy waits before it is renewed.
const CANDIDACY: Duration = Duration::from_secs(60);
/// After a store that did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long work may take to end when the leadership is over. What it writes then is refused by its fence.
const ENDING: Duration = Duration::from_secs(5);

/// Stands for election under `name` again and again, and works while it leads, until it is stopped. `ttl` is how long after a
/// crash the next process waits. The work gets the fence that everything it writes must carry, and a token that is cancelled
/// when the leadership is over, or may be.
pub async fn lead<F, Fut>(
    store: Store,
    name: &str,
    who: &str,
    ttl: Duration,
    stop: CancellationToken,
    work: F,
) where
    F: Fn(Fence, CancellationToken) -> Fut,
    Fut: Future<Output = ()>,
{
    loop {
        let campaign = store.campaign(name, who.to_owned(), ttl, CANDIDACY);
        let won = match stop.run_until_cancelled(campaign).await {
            None => return,
            Some(Ok(leadership)) => leadership,
            Some(Err(error)) => {
                tracing::debug!(name, %error, "this process does not lead");
                if stop
                    .run_until_cancelled(tokio::time::sleep(PAUSE))
                    .await
                    .is_none()
                {
                    return;
                }
                continue;
            }
        };
        tracing::info!(name, "this process leads");
        work_as(&won, &stop, &work).await;
        if won.is_lost() {
            tracing::warn!(name, "this process leads no more");
        }
        if let Err(error) = won.resign().await {
            // It ends by itself.
            tracing::debug!(name, %error, "the leadership could not be given up");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Works until the leadership is over, or it is stopped.
async fn work_as<F, Fut>(won: &Leadership, stop: &CancellationToken, work: &F)
where
    F: Fn(Fence, CancellationToken) -> Fut,
    Fut: Future<Output = ()>,
{
    let over = stop.child_token();
    let mut working = Box::pin(work(won.fence().clone(), over.clone()));
    tokio::select! {
        () = &mut working => return,
        () = won.lost() => {}
        () = stop.cancelled() => {}
    }
    over.cancel();
    if tokio::time::timeout(ENDING, working).await.is_err() {
        tracing::warn!("work is cut off that has not ended in time");
    }
}
