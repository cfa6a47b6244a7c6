//! What the ledger promises, tried from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod build;
mod harness;
mod idempotency;
mod metering;
mod model;
mod quotas;
mod reference;
mod refusals;
mod replays;
mod reservations;
mod scale;
mod seed;
mod snapshots;
mod steps;
mod wallets;
