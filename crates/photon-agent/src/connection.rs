//! Connections to the store: one that is not what it was is not believed until a person has said so.

use std::time::Duration;

use anyhow::Context as _;
use photon_store::{Seen, Store};
use tokio_util::sync::CancellationToken;

use crate::{config::StoreConfig, memory::Memory};

/// How often what was seen of the store is kept, and a person's word is looked for.
pub const KEEP: Duration = Duration::from_secs(5);
/// How long until the store is tried again.
pub const RECONNECT: Duration = Duration::from_secs(2);

/// Connects with what was seen before.
///
/// # Errors
/// A store that does not answer, a memory that cannot be read.
pub async fn connect(config: &StoreConfig, memory: &Memory) -> anyhow::Result<Store> {
    let mut options = config.options()?;
    options.seen = memory
        .seen()
        .context("what was seen of the store cannot be read")?;
    Ok(Store::connect(options).await?)
}

/// Keeps what was seen of the store, unless it is not what it was.
pub fn keep(store: &Store, memory: &Memory) {
    if store.change().is_some() {
        return;
    }
    if let Some(seen) = store.seen()
        && let Err(error) = memory.keep(Some(&seen))
    {
        tracing::warn!(%error, "what was seen of the store is not kept");
    }
}

/// Nothing is changed until a person has accepted the store as it is ([`accept`]), which changes what is remembered.
///
/// # Errors
/// A memory that cannot be read.
pub async fn wait_for_word(
    program: &str,
    change: &str,
    memory: &Memory,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    tracing::error!(
        change,
        "the store is not what it was: nothing is changed until `{program} accept-store`"
    );
    let before = memory.seen()?;
    while !stop.is_cancelled() {
        if memory.seen()? != before {
            tracing::info!("the store was accepted");
            return Ok(());
        }
        stop.run_until_cancelled(tokio::time::sleep(KEEP)).await;
    }
    Ok(())
}

/// Accepts the store as it is now, and what it says.
///
/// # Errors
/// A store that does not answer, a memory that cannot be written.
pub async fn accept(config: &StoreConfig, memory: &Memory) -> anyhow::Result<Option<Seen>> {
    let store = connect(config, memory).await?;
    let seen = store.accept_change().await?;
    memory.keep(seen.as_ref())?;
    Ok(seen)
}
