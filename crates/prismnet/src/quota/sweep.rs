//! Claims that nobody has told CreditService of: their process died, or CreditService was away.

use std::time::Duration;

use jiff::Timestamp;
use photon_core::Error;
use photon_store::PageRequest;

use super::{Inner, claim::Claim};

/// How old a claim is before others than its own process tell.
const OLD: Duration = Duration::from_secs(30);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Claims looked at together.
const CHUNK: usize = 500;

/// Looks now and then. Every process does: what is told may be told twice.
pub(super) async fn run(inner: &Inner) {
    let mut failing = false;
    loop {
        // Not in step with the other processes.
        tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.5..1.5))).await;
        match tell_old(inner, Timestamp::now() - OLD).await {
            Ok(0) => failing = false,
            Ok(told) => {
                failing = false;
                tracing::info!(told, "CreditService was told what it had not heard of");
            }
            // Said once: it may last for as long as CreditService is away.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, causes = error.causes(), "CreditService could not be told; trying again");
            }
            Err(_) => {}
        }
    }
}

/// Tells of the claims from before a time, and says how many.
async fn tell_old(inner: &Inner, before: Timestamp) -> Result<usize, Error> {
    let claims = inner.store.collection::<Claim>();
    let mut request = PageRequest {
        limit: CHUNK,
        ..PageRequest::default()
    };
    let mut told = 0;
    loop {
        let page = claims.list(&request).await?;
        for claim in page.items.iter().filter(|claim| claim.value.at < before) {
            inner.say(&claim.value, claim.revision, true).await?;
            told += 1;
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(told),
        }
    }
}
