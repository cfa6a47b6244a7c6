//! One request with a key.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use parking_lot::Mutex;
use photon_authz::{Permission, Scope};
use photon_core::Error;
use photon_store::{
    Transaction,
    idempotency::{Allowed, Answer, Found, Idempotency, Kept, Making, Withheld},
};

use super::{Tell, errors, key::Key};
use crate::context::Context;

/// The largest content of an answer that is kept, in bytes.
const MOST_KEPT: usize = 64 << 10;
/// How long after its change a request may still be on its way to its answer; longer than any may take.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(60);
/// How long keeping an answer may hold it up.
const KEEPING: Duration = Duration::from_secs(5);
/// Decisions that are remembered of one request. A request with more is not told its answer again.
const MOST_DECISIONS: usize = 64;

/// A request that comes with a key.
#[derive(Debug)]
pub(crate) struct Attempt {
    records: Idempotency,
    name: String,
    fingerprint: String,
    recorded: AtomicBool,
    decisions: Mutex<Vec<Allowed>>,
}

impl Attempt {
    /// A request of a caller at a route with a content.
    pub(crate) fn new(ctx: &Context, key: &Key, method: &str, path: &str, content: &[u8]) -> Self {
        Self {
            records: ctx.auth().idempotency().clone(),
            name: key.name(&ctx.caller, method, path),
            fingerprint: key.fingerprint(content),
            recorded: AtomicBool::new(false),
            decisions: Mutex::default(),
        }
    }

    /// What was answered before to the same request; `None` if there was none.
    ///
    /// # Errors
    /// 422 if it was not the same; 409 if its answer cannot be told; 403 if its sender may not do that any more; those of
    /// the store.
    pub(crate) async fn earlier(&self, ctx: &Context) -> Result<Option<Kept>, Error> {
        match self.records.find(&self.name).await? {
            Some(found) => self.tell(ctx, found.making).map(Some),
            None => Ok(None),
        }
    }

    fn tell(&self, ctx: &Context, making: Making) -> Result<Kept, Error> {
        if making.fingerprint != self.fingerprint {
            return Err(errors::another_request());
        }
        decide_again(ctx, &making.allowed)?;
        match making.answer {
            Answer::Kept(kept) => Ok(kept),
            Answer::Withheld { because } => Err(errors::made(&making, Some(because))),
            Answer::Pending if ctx.auth().now().duration_since(making.at) < IN_FLIGHT => {
                Err(errors::in_flight(&making))
            }
            Answer::Pending => Err(errors::made(&making, None)),
        }
    }

    /// Notes a decision that let this request go on.
    pub(crate) fn note(&self, permission: &Permission, scope: &Scope) {
        let decision = Allowed {
            permission: permission.to_string(),
            scope: scope.to_string(),
        };
        let mut decisions = self.decisions.lock();
        if decisions.len() <= MOST_DECISIONS && !decisions.contains(&decision) {
            decisions.push(decision);
        }
    }

    /// See [`Context::once`].
    pub(crate) fn record(
        &self,
        ctx: &Context,
        transaction: &mut Transaction,
        kind: &str,
        id: &str,
        tell: Tell,
    ) -> photon_store::Result<()> {
        let allowed = self.decisions.lock().clone();
        let answer = if tell == Tell::Once {
            Answer::Withheld {
                because: Withheld::ShownOnce,
            }
        } else if allowed.len() > MOST_DECISIONS {
            Answer::Withheld {
                because: Withheld::TooLarge,
            }
        } else {
            Answer::Pending
        };
        let making = Making {
            fingerprint: self.fingerprint.clone(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            at: ctx.auth().now(),
            request_id: ctx.request_id.to_string(),
            allowed,
            answer,
        };
        transaction.once(&self.records, &self.name, &making)?;
        self.recorded.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the answer of a request that made something.
    ///
    /// # Errors
    /// A use case that did not record what it made.
    pub(crate) async fn succeeded(&self, ctx: &Context, kept: Kept) -> Result<(), Error> {
        if !self.recorded.load(Ordering::Relaxed) {
            return Err(errors::not_recorded(ctx.permission()));
        }
        if !ctx.is_decided() {
            return Ok(()); // it is held back, now and later
        }
        let answer = if kept.body.len() > MOST_KEPT {
            Answer::Withheld {
                because: Withheld::TooLarge,
            }
        } else {
            Answer::Kept(kept)
        };
        if let Some(found) = self.found().await
            && found.making.answer == Answer::Pending
            && is_of(&found, ctx)
        {
            self.keep(found, answer).await;
        }
        Ok(())
    }

    /// What a request that was refused is to be told instead, if another one with the same key was faster. If it has made
    /// its thing and failed then, that is recorded.
    pub(crate) async fn refused(&self, ctx: &Context) -> Option<Result<Kept, Error>> {
        let found = self.found().await?;
        if !is_of(&found, ctx) {
            return Some(self.tell(ctx, found.making));
        }
        if found.making.answer == Answer::Pending {
            let because = Withheld::Failed;
            self.keep(found, Answer::Withheld { because }).await;
        }
        None
    }

    /// The record, if the store shows it in time.
    async fn found(&self) -> Option<Found> {
        match tokio::time::timeout(KEEPING, self.records.find(&self.name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the record of an idempotency key cannot be read");
                None
            }
            Err(_) => {
                tracing::warn!("the record of an idempotency key is not read in time");
                None
            }
        }
    }

    /// Best effort: the change has happened, and its sender is told so in any case.
    async fn keep(&self, found: Found, answer: Answer) {
        let keeping = self.records.answer(&self.name, found, answer);
        match tokio::time::timeout(KEEPING, keeping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the answer to a request with an idempotency key is not kept");
            }
            Err(_) => {
                tracing::warn!(
                    "the answer to a request with an idempotency key is not kept in time"
                );
            }
        }
    }
}

/// Whether a record is that of this very request.
fn is_of(found: &Found, ctx: &Context) -> bool {
    found.making.request_id == ctx.request_id.to_string()
}

/// Lets a request be told what it was told before only if its sender may still do what it did then.
fn decide_again(ctx: &Context, allowed: &[Allowed]) -> Result<(), Error> {
    for decision in allowed {
        let permission = Permission::new(decision.permission.as_str()).map_err(Error::internal)?;
        let scope: Scope = decision.scope.parse().map_err(Error::internal)?;
        ctx.allow_permission(&permission, &scope)?;
    }
    if allowed.is_empty() {
        // It was about its sender's own, which nobody else has this key for.
        ctx.allow_self();
    }
    Ok(())
}
