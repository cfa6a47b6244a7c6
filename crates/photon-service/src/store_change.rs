//! Going on after the store was restored or replaced under a running process, on an operator's word.
//!
//! ```text
//!   serving ──the store has changed──> refusing everything ──accepted, and nobody is under way──> forgets ──> serving
//! ```
//!
//! The store's client refuses by itself (`photon_store`: is this still the store we knew?). What is left to do is to wait
//! for the word (`<service> accept-store`), and to forget what was known of the store before: revisions of one look right
//! in the other.

use std::{io::Write as _, sync::Arc, time::Duration};

use photon_auth::Auth;
use photon_server::Readiness;
use photon_store::{Change, Changed, Options, Seen, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::readiness;

/// Between two looks at whether the store has changed, and whether it is accepted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longer than any request: so long after the change was noticed nobody is under way who read something before.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// What a service knows of its store, and what it begins with there.
pub trait Knows: Send + Sync + 'static {
    /// Forgets everything that was read of the store, when it has become another one. Nobody is under way.
    fn forget(&self) -> impl Future<Output = ()> + Send;

    /// Does what else is done at the start, in the store that was accepted. What fails is tried again; it is dropped when the
    /// store changes once more.
    fn begin_again(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl<K: Knows> Knows for Arc<K> {
    fn forget(&self) -> impl Future<Output = ()> + Send {
        K::forget(self)
    }

    fn begin_again(&self) -> impl Future<Output = ()> + Send {
        K::begin_again(self)
    }
}

/// One that only forgets.
impl<F, Forgetting> Knows for F
where
    F: Fn() -> Forgetting + Send + Sync + 'static,
    Forgetting: Future<Output = ()> + Send,
{
    fn forget(&self) -> impl Future<Output = ()> + Send {
        self()
    }
}

/// [`readiness`], with what an operator has to do when the store is not the one it was.
#[must_use]
pub fn readiness_over(service: &str, store: &Store, auth: &Auth) -> Readiness {
    match store.change() {
        Some(change) => Readiness::NotReady(format!(
            "the store was restored or replaced ({change}): everything is refused until `{service} accept-store`"
        )),
        None => readiness(auth),
    }
}

/// Says for all processes of a service that the store is accepted as it is now.
///
/// # Errors
/// A store that does not answer, or does not take it.
pub async fn accept_store(options: Options, service: &str) -> anyhow::Result<Seen> {
    photon_server::main_with::install_crypto();
    // One that remembers nothing: what it finds is what is accepted.
    let store = Store::connect(Options {
        seen: None,
        ..options
    });
    let store = Box::pin(store).await?;
    Ok(store.accept_for(service).await?)
}

/// Says on standard output what was accepted.
pub fn say_accepted(seen: &Seen) {
    let (cluster, revision) = (seen.cluster_id, seen.revision);
    // Who reads no further has what it wanted.
    let _ = writeln!(
        std::io::stdout(),
        "accepted: cluster {cluster:x} at revision {revision}"
    );
}

/// Waits, whenever the store has changed, until it is accepted; has everything forgotten that was known of the one before, and
/// goes on. Until it is stopped.
pub async fn follow_acceptance<K: Knows>(
    store: Store,
    service: &'static str,
    knows: K,
    stop: CancellationToken,
) {
    let work = async {
        let mut change = changed(&store).await;
        loop {
            tracing::error!(
                %change,
                "the store was restored or replaced: everything is refused until `{service} accept-store`"
            );
            let now = accepted(&store, service).await;
            knows.forget().await;
            store.accept_as(now);
            tracing::warn!("the store was accepted as it is now");
            change = tokio::select! {
                change = changed(&store) => change,
                never = async {
                    knows.begin_again().await;
                    std::future::pending::<Change>().await
                } => never,
            };
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Waits until the store is not the one it was.
async fn changed(store: &Store) -> Change {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(change) = store.change() {
            return change;
        }
    }
}

/// Waits for the word, and until nobody is under way.
async fn accepted(store: &Store, service: &str) -> Seen {
    let quiet = Instant::now() + UNDER_WAY;
    let changed = loop {
        match store.look_at_change(service).await {
            Ok(changed) => break changed,
            Err(error) => tracing::debug!(%error, "the changed store does not answer"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    loop {
        if let Some(now) = word(store, service, &changed).await
            && Instant::now() >= quiet
        {
            return now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn word(store: &Store, service: &str, changed: &Changed) -> Option<Seen> {
    match store.is_accepted(service, changed).await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::debug!(%error, "the changed store does not say whether it is accepted");
            None
        }
    }
}
