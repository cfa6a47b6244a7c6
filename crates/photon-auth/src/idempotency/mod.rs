//! Creates that may be sent twice: a request with an `Idempotency-Key` makes its thing once, however often it comes.
//!
//! ```text
//!   request ─> key? ─no──────────────────────────────────────────> handler ─> answer
//!               │yes
//!               v                known
//!        name, fingerprint ──> record? ──> same request? ──> still allowed? ──> the first answer again, or 409
//!               │unknown                     no: 422           no: 403
//!               v
//!            handler ─> use case: ctx.once(transaction, …) ─> commit ─> answer ─> kept in the record
//!                              (the record in the same transaction: one of many at once wins)
//! ```
//!
//! | part | what |
//! |---|---|
//! | `key` | the header, and what a record is found by |
//! | `attempt` | one request with a key: what is known of it, what it leaves behind |
//! | `errors` | what its sender is told when the first answer cannot be told again |
//! | `rest`, `grpc` | around the handlers and methods that were declared to create |
//! | `sweep` | records go after [`KEPT_FOR`] |
//!
//! A request with a key runs to its end also when its sender goes away: the answer is what it will come back for. How it
//! is stored: [`photon_store::idempotency`].

mod attempt;
mod errors;
pub(crate) mod grpc;
mod key;
pub(crate) mod rest;
mod run;
mod sweep;

use std::time::Duration;

pub(crate) use attempt::Attempt;
pub(crate) use run::Running;
pub(crate) use sweep::{Sweeper, forget_old};

/// The header, and in lower case the metadata, that a key stands in.
pub const KEY: &str = "Idempotency-Key";
/// The header, or metadata, that says of an answer that it is an earlier one.
pub const REPLAYED: &str = "idempotency-replayed";
/// How long a key is remembered, at least.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// The longest key.
pub const LONGEST_KEY: usize = 255;

/// Whether the answer to a create may be told again to the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// It is kept for a day, beside the record.
    Again,
    /// There is a secret in it: it is told once and never stored.
    Once,
}
