//! The crate over a real store: tokens that must not pass, revocation, an absent store, both modes, and a small service
//! that the sweep is run against.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod absence;
mod callers;
mod decisions;
mod forged;
mod idempotency;
mod revocation;
mod service;
mod sweeping;
mod world;
