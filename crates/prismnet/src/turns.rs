//! One after the other, within this process, at what everybody wants to write.
//!
//! A VPC's layout and a group's tally are compared and swapped: of many at once one wins and the others begin again. Standing
//! in line here saves them the losing; what is right is decided by the store, also between processes.

use std::{fmt, sync::Arc, time::Duration};

use moka::sync::Cache;
use photon_auth::Context;
use photon_core::{Code, Error};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The most lines that are remembered. One that is forgotten while somebody stands in it only loses its order.
const MOST: u64 = 10_000;
/// How long an empty line is remembered.
const IDLE: Duration = Duration::from_secs(60);

/// The lines of a process, by what is written.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Cache<String, Arc<Mutex<()>>>);

/// Whoever has it may write; the next one may when it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when it is dropped"]
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(IDLE)
                .build(),
        )
    }

    /// Waits for one's turn, within the request's deadline.
    ///
    /// # Errors
    /// `OVERLOADED` if it does not come.
    pub(crate) async fn take(&self, ctx: &Context, what: impl fmt::Display) -> Result<Turn, Error> {
        let line = self.0.get_with(what.to_string(), Arc::default);
        let turn = tokio::time::timeout_at(ctx.deadline, line.lock_owned()).await;
        turn.map(Turn)
            .map_err(|_| Error::new(Code::OVERLOADED, "too many change the same thing"))
    }
}
