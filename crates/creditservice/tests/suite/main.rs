//! CreditService's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod grpc;
mod guide;
mod house;
mod idempotency;
mod input;
mod instances;
mod money;
mod openapi;
mod process;
mod public;
mod quotas;
mod snapshots;
mod statements;
mod sweep;
mod tenancy;
