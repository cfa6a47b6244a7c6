//! The front of every service: who asks, and may they.
//!
//! ```text
//!  /photon/iam/public/ ──feed──> follow ──> Known, Policies, Heard
//!                                                 |
//!  request ──> door / Guard ──> Scheme ──────> Auth ──> Caller ──> Context ──> use case: ctx.allow(&scope)?
//!              (open routes      bearer token   verify                            decide: policy, would-be
//!               pass)            certificate    cached                            refusals in dev mode
//!                                dev operator
//! ```
//!
//! Nothing here calls IAM. What it publishes is followed by watch; decisions go on from what is known while the store is
//! away, for a bounded time, and then stop with 503.
//!
//! What it is not: it issues no tokens, writes nothing but which request with an idempotency key has made what, and knows
//! no resource of any service.

#![warn(missing_docs)]

mod auth;
mod cache;
mod caller;
mod context;
mod counts;
mod follow;
pub mod grpc;
mod heard;
pub mod idempotency;
mod keys;
mod known;
mod methods;
mod options;
mod read;
mod rehearsal;
pub mod rest;
mod scheme;
#[cfg(feature = "sweep")]
pub mod sweep;
pub mod token;

pub use auth::Auth;
pub use caller::{Caller, OnBehalf, Who};
pub use context::Context;
pub use idempotency::Tell;
pub use options::{AuthOptions, Clock, DEFAULT_ISSUER, RateLimit, SERVICES};
pub use rehearsal::WouldRefuse;
pub use scheme::{Asking, ON_BEHALF_OF, ON_BEHALF_PROJECT, Scheme, bearer};
pub use token::{AUDIENCE, Actor, Claims, ScopeType, TYPE};
