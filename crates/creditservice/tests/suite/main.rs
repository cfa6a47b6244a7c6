//! CreditService's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod export;
mod grpc;
mod guide;
mod house;
mod idempotency;
mod input;
mod instances;
mod leader;
mod money;
mod openapi;
mod payers;
mod process;
mod public;
mod quotas;
mod restored;
mod snapshots;
mod statements;
mod sweep;
mod tenancy;
