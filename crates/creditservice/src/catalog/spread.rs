//! Taking rows from the catalog to every shard.

use std::time::Duration;

use creditservice_ledger::{Actor, Limit, ResourceKind};
use futures::future::try_join_all;
use photon_core::Error;
use photon_store::Store;
use tokio::time::Instant;

use super::{Row, current, put_first};
use crate::shard::{Shards, ask::Ask};

/// How often a row is told again because it was changed meanwhile.
const ROUNDS: usize = 8;
/// Before what was not heard everywhere is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// Has every shard apply a row, and says what stands in the catalog then.
///
/// Of two who change a limit at once the last to write the catalog may be the first whom a shard hears. So each looks at
/// the catalog again after it told, and goes on until it told what stands there.
pub(crate) async fn tell(
    shards: &Shards,
    mut row: Row,
    by: Option<&Actor>,
    deadline: Instant,
) -> Result<Row, Error> {
    for _ in 0..ROUNDS {
        let telling = shards.all().map(|shard| {
            let mut request = creditservice_ledger::Request::from(row.command());
            request.by = by.cloned();
            shards.ask(shard, Ask::Apply(Box::new(request)), deadline)
        });
        try_join_all(telling).await?;
        match current(shards.store(), &row).await? {
            Some(now) if now != row => row = now,
            _ => return Ok(row),
        }
    }
    Err(Error::unavailable("it is changed by others all the time"))
}

/// Writes the kinds that are not in the catalog, and says which: owners that took over before do not read it again.
///
/// # Errors
/// When the catalog cannot be written.
pub(crate) async fn register_first(
    store: &Store,
    kinds: impl Iterator<Item = (ResourceKind, Limit)>,
) -> Result<Vec<Row>, photon_store::Error> {
    let mut new = Vec::new();
    for (kind, default) in kinds {
        let row = Row::Limit { kind, default };
        if put_first(store, &row).await? {
            new.push(row);
        }
    }
    Ok(new)
}

/// Tells rows until every shard has heard of them.
pub(crate) async fn tell_all(shards: Shards, rows: Vec<Row>) {
    for row in rows {
        // Nobody's doing: the configuration's.
        while let Err(error) = tell(&shards, row.clone(), None, Instant::now() + AGAIN).await {
            tracing::debug!(%error, ?row, "not every shard knows it yet");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
